//! One open connection to a server, in whichever era it speaks.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    ClientCapabilities, ClientConfig, ClientRequest, Implementation, ListToolsRequest,
    PaginatedRequestParams, ProtocolVersion, ServerResult, SubscriptionFilter,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, NotificationContext, RoleClient, RunningService,
    ServiceError, serve_client_with_lifecycle,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, Peer};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::result::RemoteFunction;
use super::transport::EgressTransport;
use super::{MCP_FUNCTIONS, MCP_MESSAGE_BYTES, MCP_PAGES};

/// Tells the poller about announced changes.
#[derive(Debug, Clone)]
struct Handler {
    changed: Arc<Notify>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new("ringfence", env!("CARGO_PKG_VERSION")),
        )
        // Asked for where the older era is spoken; the newer one has a list of its own.
        .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }
}

/// An open connection; closed when dropped.
pub(super) struct Session {
    service: RunningService<RoleClient, Handler>,
    listener: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.listener.abort();
        self.service.cancellation_token().cancel();
    }
}

impl Session {
    /// Opens it: the newer era first, the older one where the server does not know that.
    pub(super) async fn open(
        transport: EgressTransport,
        changed: Arc<Notify>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let uri = transport.allowed.target().uri().to_string();
        let config = StreamableHttpClientTransportConfig::with_uri(uri)
            .max_sse_event_size(MCP_MESSAGE_BYTES)
            .reinit_on_expired_session(true);
        let open = |lifecycle| {
            let (transport, config) = (transport.clone(), config.clone());
            let transport = StreamableHttpClientTransport::with_client(transport, config);
            let handler = Handler {
                changed: changed.clone(),
            };
            serve_client_with_lifecycle(handler, transport, lifecycle)
        };
        let opening = async {
            let newer = ClientLifecycleMode::Auto {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
                legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
            };
            match open(newer).await {
                // It knows the newer era, and speaks the older one only.
                Err(ClientInitializeError::NoCompatibleProtocolVersion { .. }) => {
                    open(ClientLifecycleMode::Initialize).await
                }
                opened => opened,
            }
        };
        let service = tokio::time::timeout(timeout, opening)
            .await
            .map_err(|_| "it did not answer in time".to_owned())?
            .map_err(|error| cause(&error))?;
        let listener = tokio::spawn(listen(service.peer().clone(), changed)).abort_handle();
        Ok(Self { service, listener })
    }

    pub(super) fn peer(&self) -> &Peer<RoleClient> {
        self.service.peer()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.service.is_closed() || self.service.peer().is_transport_closed()
    }

    /// The server's functions, and how many were left out. Asked of the server itself: rmcp's own
    /// helper would answer from its cache when the server fails.
    pub(super) async fn list(&self) -> Result<(Vec<RemoteFunction>, usize), ServiceError> {
        let mut functions = Vec::new();
        let mut left_out = 0;
        let mut cursor = None;
        for _ in 0..MCP_PAGES {
            let request = ClientRequest::ListToolsRequest(ListToolsRequest {
                method: Default::default(),
                params: Some(PaginatedRequestParams::default().with_cursor(cursor.take())),
                extensions: Default::default(),
            });
            let ServerResult::ListToolsResult(page) = self.peer().send_request(request).await?
            else {
                return Err(ServiceError::UnexpectedResponse);
            };
            for tool in page.tools {
                match RemoteFunction::new(tool) {
                    Some(function) if functions.len() < MCP_FUNCTIONS => functions.push(function),
                    _ => left_out += 1,
                }
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok((functions, left_out));
            }
        }
        // Further pages are counted as one: their length is not known.
        Ok((functions, left_out + 1))
    }
}

/// Waits for announcements as the newer era has them. Servers without them end this at once.
async fn listen(peer: Peer<RoleClient>, changed: Arc<Notify>) {
    let filter = SubscriptionFilter::builder().tools_list_changed().build();
    if let Ok(mut subscription) = peer.listen(filter).await {
        // What changed between the first look and now was announced to nobody.
        changed.notify_one();
        while let Ok(Some(_)) = subscription.next().await {
            changed.notify_one();
        }
    }
}

/// The last cause of an error: what happened, without the layers around it.
pub(super) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    current.to_string().chars().take(512).collect()
}
