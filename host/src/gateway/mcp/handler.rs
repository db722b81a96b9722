//! What rmcp asks of an endpoint.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestMethod,
    CompleteRequestParams, CompleteResult, ErrorData, Implementation, ListPromptsRequestMethod,
    ListPromptsResult, ListResourceTemplatesRequestMethod, ListResourceTemplatesResult,
    ListResourcesRequestMethod, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ProgressNotificationParam, ProgressToken, ServerCapabilities, ServerConfig, SubscriptionFilter,
    Tool,
};
use rmcp::service::{NotificationContext, Peer, RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::content;
use super::endpoint::{Endpoint, Extras};
use crate::error::CallError;
use crate::gateway::auth::{Refused, Visible};
use crate::gateway::shared::Shared;
use crate::output::{self, Events, OutputEvent};
use crate::telemetry::RemoteTrace;

/// Functions of one page of a list.
const PAGE: usize = 250;

/// Serves one session of an endpoint, or one request to it.
pub(super) struct Handler {
    endpoint: Arc<Endpoint>,
    /// Cancelled when the session ends.
    closed: CancellationToken,
    _close: DropGuard,
}

impl Handler {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        let closed = CancellationToken::new();
        Self {
            endpoint,
            _close: closed.clone().drop_guard(),
            closed,
        }
    }

    async fn call(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let shared = self.endpoint.shared()?;
        let listing = self.endpoint.listing(&shared);
        let entry = listing
            .find(&request.name)
            .ok_or_else(|| content::unknown(&request.name))?;
        let permit = match self.endpoint.permit(entry).await {
            Ok(permit) => permit,
            Err(Refused::Hidden) => return Err(content::unknown(&request.name)),
            Err(Refused::Denied(reason)) => {
                let denied = CallError::denied("tools", entry.tool.as_str(), &reason);
                return Ok(content::failure(&denied));
            }
            Err(Refused::Unreviewed(why)) => {
                return Ok(content::failure(&CallError::Unavailable(why.to_string())));
            }
        };
        let progress = context.meta.get_progress_token();
        let (sink, events) = match &progress {
            Some(_) => Some(output::events()).unzip(),
            None => (None, None),
        };
        let extras = Extras {
            events: sink,
            cancel: Some(context.ct.clone()),
            trace: context
                .meta
                .0
                .get_traceparent()
                .and_then(|parent| RemoteTrace::read(parent, context.meta.0.get_tracestate())),
        };
        let arguments = request.arguments.unwrap_or_default();
        let call = self
            .endpoint
            .call(&shared, permit, &request.name, entry, arguments, extras);
        match progress.zip(events) {
            None => call.await,
            Some((token, events)) => {
                let mut report = Report {
                    token,
                    peer: context.peer.clone(),
                    last: None,
                };
                report.during(events, call).await
            }
        }
    }
}

/// Progress of one call on its way to the client.
struct Report {
    token: ProgressToken,
    peer: Peer<RoleServer>,
    last: Option<f64>,
}

impl Report {
    /// Waits for the call, passing on what it reports before its answer.
    async fn during<T>(&mut self, mut events: Events, call: impl Future<Output = T>) -> T {
        let mut call = std::pin::pin!(call);
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                event = events.next(), if open => match event {
                    Some(event) => self.pass(event).await,
                    None => open = false,
                },
                answer = &mut call => {
                    while let Some(Some(event)) = futures::FutureExt::now_or_never(events.next()) {
                        self.pass(event).await;
                    }
                    return answer;
                }
            }
        }
    }

    async fn pass(&mut self, event: OutputEvent) {
        // MCP has no partial results, so pieces of the answer wait for the answer.
        let OutputEvent::Progress(progress) = event else {
            return;
        };
        // The protocol wants each value to be larger than the last.
        if !progress.done.is_finite() || self.last.is_some_and(|last| progress.done <= last) {
            return;
        }
        self.last = Some(progress.done);
        let mut params = ProgressNotificationParam::new(self.token.clone(), progress.done);
        params.total = progress.total.filter(|total| total.is_finite());
        params.message = progress.message;
        // A client that is gone cancels the call; there is nobody to tell.
        let _ = self.peer.notify_progress(params).await;
    }
}

/// Waits until an endpoint offers its caller something else than before.
struct Watch {
    changes: watch::Receiver<u64>,
    before: Vec<Tool>,
}

impl Watch {
    async fn new(endpoint: &Endpoint) -> Result<Self, ErrorData> {
        let shared = endpoint.shared()?;
        let mut changes = shared.host.directory().changes(&endpoint.tenant);
        changes.mark_unchanged();
        let seen = look(endpoint, &shared).await?;
        let before = endpoint.listing(&shared).visible(&seen);
        Ok(Self { changes, before })
    }

    /// None when the gateway is gone.
    async fn changed(&mut self, endpoint: &Endpoint) -> Option<()> {
        loop {
            self.changes.changed().await.ok()?;
            let shared = endpoint.shared().ok()?;
            // Who may see nothing any more, or cannot be asked about, is told nothing.
            let Ok(seen) = endpoint.look(&shared).await else {
                continue;
            };
            let now = endpoint.listing(&shared).visible(&seen);
            if now != self.before {
                self.before = now;
                return Some(());
            }
        }
    }
}

/// What the caller may see now, with failures of the protocol.
async fn look(endpoint: &Endpoint, shared: &Shared) -> Result<Visible, ErrorData> {
    endpoint.look(shared).await.map_err(|why| match why {
        Refused::Hidden => ErrorData::invalid_request("not found", None),
        Refused::Denied(reason) => ErrorData::invalid_request(reason, None),
        Refused::Unreviewed(why) => ErrorData::internal_error(why.to_string(), None),
    })
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed();
        let what = match &self.endpoint.tool {
            Some(tool) => format!("Functions of the tool {tool}."),
            None => "Functions are named TOOL_FUNCTION.".to_owned(),
        };
        ServerConfig::new(capabilities.build())
            .with_server_info(Implementation::new("ringfence", env!("CARGO_PKG_VERSION")))
            .with_instructions(format!(
                "{what} Each call runs in a fresh sandbox. A result whose _meta has \
                 \"{}\" says why a call was refused or failed.",
                content::ERROR_META
            ))
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let shared = self.endpoint.shared()?;
        let seen = look(&self.endpoint, &shared).await?;
        let listing = self.endpoint.listing(&shared);
        let after = request
            .and_then(|request| request.cursor)
            .map(|cursor| read_cursor(&cursor));
        let (tools, more) = listing.page(&seen, after.transpose()?.as_deref(), PAGE);
        let last = tools.last().map(|tool| URL_SAFE_NO_PAD.encode(&*tool.name));
        let mut result = ListToolsResult::with_all_items(tools);
        result.next_cursor = last.filter(|_| more);
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.call(request, context)
            .await
            .map(CallToolResponse::Complete)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        let shared = self.endpoint.shared().ok()?;
        let listing = self.endpoint.listing(&shared);
        let entry = listing.find(name)?;
        let seen = self.endpoint.saw(&entry.tool);
        seen.then(|| listing.tool(name).cloned()).flatten()
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let Ok(mut watch) = Watch::new(&self.endpoint).await else {
            return;
        };
        let (endpoint, closed) = (self.endpoint.clone(), self.closed.clone());
        let peer = context.peer;
        tokio::spawn(async move {
            let news = async {
                while watch.changed(&endpoint).await.is_some() {
                    if peer.notify_tool_list_changed().await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = news => {}
                () = closed.cancelled() => {}
            }
        });
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        let mut accepted = SubscriptionFilter::new();
        accepted.tools_list_changed = requested.tools_list_changed;
        Some(accepted)
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let shared = self.endpoint.shared()?;
        let Ok(_slot) = shared.mcp.subscriptions.clone().try_acquire_owned() else {
            let message = "too many subscriptions are open: close some or try later";
            return Err(ErrorData::internal_error(message, None));
        };
        let mut watch = Watch::new(&self.endpoint).await?;
        let stop = shared.mcp.stop.clone();
        drop(shared);
        let news = async {
            while watch.changed(&self.endpoint).await.is_some() {
                let accepted = context.accepted().tools_list_changed == Some(true);
                if accepted && context.sink().notify_tool_list_changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = news => {}
            () = context.cancelled() => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    }

    // There are no prompts, resources or completions, and none are declared.

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Err(ErrorData::method_not_found::<CompleteRequestMethod>())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListPromptsRequestMethod>())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListResourcesRequestMethod>())
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Err(ErrorData::method_not_found::<
            ListResourceTemplatesRequestMethod,
        >())
    }
}

fn read_cursor(cursor: &str) -> Result<String, ErrorData> {
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| ErrorData::invalid_params("the cursor is not one of this server", None))
}
