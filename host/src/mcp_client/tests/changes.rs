//! A server whose list of functions changes and that says so, in each era, long before it would be asked
//! again.

use std::borrow::Cow;

use rmcp::model::{ProtocolVersion, SubscriptionFilter};
use rmcp::service::{NotificationContext, SubscriptionContext};
use tokio::sync::watch;

use super::*;

/// Its functions are `0`, `1` and so on, as many as it is told.
#[derive(Clone)]
struct Growing {
    versions: &'static [ProtocolVersion],
    functions: watch::Receiver<usize>,
}

impl ServerHandler for Growing {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools();
        ServerConfig::new(capabilities.enable_tool_list_changed().build())
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(self.versions)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let count = *self.functions.borrow();
        let tool = |n: usize| Tool::new(n.to_string(), "a function", Arc::default());
        Ok(ListToolsResult::with_all_items(
            (0..count).map(tool).collect(),
        ))
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let mut functions = self.functions.clone();
        functions.mark_unchanged();
        tokio::spawn(async move {
            while functions.changed().await.is_ok() {
                if context.peer.notify_tool_list_changed().await.is_err() {
                    return;
                }
            }
        });
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut functions = self.functions.clone();
        while functions.changed().await.is_ok() {
            if context.sink().notify_tool_list_changed().await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn an_announced_change_is_seen_at_once() {
    let eras: [&[ProtocolVersion]; 2] = [
        &[ProtocolVersion::LATEST_WITH_INITIALIZE],
        &[
            ProtocolVersion::V_2026_07_28,
            ProtocolVersion::LATEST_WITH_INITIALIZE,
        ],
    ];
    for versions in eras {
        let (grow, functions) = watch::channel(1);
        let handler = Growing {
            versions,
            functions,
        };
        let manager = Arc::new(LocalSessionManager::default());
        let config = StreamableHttpServerConfig::default();
        let service = StreamableHttpService::new(move || Ok(handler.clone()), manager, config);
        let router = Router::new().route_service("/mcp", service);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let spec = McpSpec {
            url: url.parse().unwrap(),
            headers: Vec::new(),
            addresses: AddressScope::Private,
            // Looking again by itself is out of the question.
            poll_ms: Some(3_600_000),
            timeout_ms: Some(5000),
        };
        let server = McpServer::connect(&spec, &egress()).unwrap();
        assert_eq!(server.functions().await.unwrap().len(), 1);
        let mut changes = server.changes();
        for count in 2..4 {
            // The subscription opens beside the first look: until it is there, news are sent again.
            let seen = async {
                loop {
                    grow.send(count).unwrap();
                    let wait = Duration::from_millis(200);
                    let changed =
                        changes.wait_for(|f| f.as_ref().is_some_and(|f| f.len() == count));
                    if tokio::time::timeout(wait, changed).await.is_ok() {
                        return;
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(10), seen)
                .await
                .unwrap_or_else(|_| panic!("{versions:?}: the change to {count} is not seen"));
        }
    }
}
