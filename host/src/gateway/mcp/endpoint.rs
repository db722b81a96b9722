//! One MCP endpoint as one caller sees it.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use ringfence_api::{Name, TenantName};
use rmcp::model::{CallToolResult, ErrorData};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::content;
use super::listing::{Entry, Listing};
use crate::error::CallError;
use crate::gateway::auth::{Identity, Permission, Permit, Refused, TOOLS, Visible};
use crate::gateway::shared::Shared;
use crate::mediation::{Reply, Request};
use crate::output::EventSink;
use crate::telemetry::{RemoteTrace, spans};

tokio::task_local! {
    /// The endpoint of the request that this task serves.
    pub(super) static ENDPOINT: Arc<Endpoint>;
}

/// A tenant's tools, or one of them, and who looks at them.
pub(super) struct Endpoint {
    pub(super) shared: Weak<Shared>,
    pub(super) tenant: TenantName,
    pub(super) tool: Option<Name>,
    pub(super) identity: Arc<Identity>,
    /// What the caller was found to see when they looked last.
    seen: RwLock<Visible>,
}

/// What goes with a call beside its arguments.
#[derive(Default)]
pub(super) struct Extras {
    /// Where progress goes.
    pub(super) events: Option<EventSink>,
    /// Cancelled when the client gives up.
    pub(super) cancel: Option<CancellationToken>,
    /// The client's trace.
    pub(super) trace: Option<RemoteTrace>,
}

impl Endpoint {
    pub(super) fn new(
        shared: Weak<Shared>,
        tenant: TenantName,
        tool: Option<Name>,
        identity: Arc<Identity>,
    ) -> Self {
        Self {
            shared,
            tenant,
            tool,
            identity,
            seen: RwLock::new(Visible::Only(BTreeSet::new())),
        }
    }

    /// Finds out which tools the caller may call now. Who may call none has to be allowed to list them,
    /// else the endpoint is not there for them.
    pub(super) async fn look(&self, shared: &Shared) -> Result<Visible, Refused> {
        let seen = match &self.tool {
            Some(tool) => {
                let permission = Permission::call_tool(tool);
                self.identity.check(&self.tenant, permission).await?;
                shared.host.look(&self.tenant).await;
                Visible::All
            }
            None => {
                shared.host.look(&self.tenant).await;
                let names = || {
                    let view = shared.host.directory().view(&self.tenant);
                    view.all_tools().into_keys().collect()
                };
                let seen = self
                    .identity
                    .sees(&self.tenant, "call", TOOLS, names)
                    .await?;
                if seen.is_none() {
                    let permission = Permission::all("list", TOOLS);
                    self.identity.check(&self.tenant, permission).await?;
                }
                seen
            }
        };
        self.seen.write().clone_from(&seen);
        Ok(seen)
    }

    /// Whether the caller saw a tool when they looked last.
    pub(super) fn saw(&self, tool: &Name) -> bool {
        self.seen.read().has(tool)
    }

    /// Whether there is such a tool.
    pub(super) fn has(&self, shared: &Shared, tool: &Name) -> bool {
        let view = shared.host.directory().view(&self.tenant);
        view.any_tool(tool).is_some()
    }

    /// Asks for the permission to call a function.
    pub(super) async fn permit(&self, entry: &Entry) -> Result<Permit, Refused> {
        let permission = Permission::call_tool(&entry.tool);
        self.identity.permit(&self.tenant, permission).await
    }

    /// The inside of the gateway; an error once it is gone.
    pub(super) fn shared(&self) -> Result<Arc<Shared>, ErrorData> {
        self.shared
            .upgrade()
            .ok_or_else(|| ErrorData::internal_error("the gateway is shutting down", None))
    }

    /// What is on offer.
    pub(super) fn listing(&self, shared: &Shared) -> Arc<Listing> {
        shared
            .mcp
            .listings
            .get(shared.host.directory(), &self.tenant, self.tool.as_ref())
    }

    /// Whether both are the same endpoint of the same caller.
    pub(super) fn is_like(&self, other: &Endpoint) -> bool {
        self.tenant == other.tenant && self.tool == other.tool && self.identity.is(&other.identity)
    }

    /// Calls a function. The error is one of the protocol: there is no such function.
    pub(super) async fn call(
        &self,
        shared: &Shared,
        permit: Permit,
        name: &str,
        entry: &Entry,
        arguments: Map<String, Value>,
        extras: Extras,
    ) -> Result<CallToolResult, ErrorData> {
        let span = spans::mcp_request("tools/call", name);
        if let Some(trace) = &extras.trace {
            trace.adopt(&span);
        }
        let (mut context, _in_flight) = shared.begin(permit);
        context.events = extras.events;
        let request = Request::Function {
            tool: entry.tool.clone(),
            function: entry.function.clone(),
            arguments,
        };
        let call = shared.host.call(context, request);
        let given_up = async {
            match &extras.cancel {
                Some(cancel) => cancel.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let answer = async {
            tokio::select! {
                answer = call => answer.and_then(Reply::into_function),
                () = given_up => Err(CallError::Canceled),
            }
        }
        .instrument(span.clone())
        .await;
        match answer {
            Ok(result) => Ok(content::result(result)),
            Err(error) => {
                spans::record_error(&span, error.code());
                let gone = matches!(error, CallError::NotFound(_))
                    && self.listing(shared).find(name).is_none();
                if gone {
                    Err(content::unknown(name))
                } else {
                    Ok(content::failure(&error))
                }
            }
        }
    }
}
