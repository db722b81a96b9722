//! `wasi:http/outgoing-handler`: requests to the outside, each one a call through mediation.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use tracing::Instrument as _;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::{self, Host as _};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{
    Error, RequestOptions, Result, WasiBody, WasiHttpHooks, WasiHttpView as _,
};

use crate::error::CallError;
use crate::limits::HTTP_CHUNK_BYTES;
use crate::mediation::{Principal, Request};
use crate::sandbox::{Core, State};

/// Turns a guest's outgoing requests into calls. It is a part of the sandbox's state that stands apart
/// from the guest, since `wasi:http` borrows both at once.
pub(crate) struct OutgoingHooks {
    pub(crate) core: Arc<Core>,
    pub(crate) principal: Arc<Principal>,
    pub(crate) context: crate::mediation::CallContext,
}

type Io = Box<dyn Future<Output = Result<()>> + Send>;
type Sent = Result<(::http::Response<WasiBody>, Io)>;

impl WasiHttpHooks for OutgoingHooks {
    fn send_request(
        &mut self,
        request: ::http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let context = self.context.nested(self.principal.clone());
        let core = self.core.clone();
        let sent = async move {
            let call = core.spawn(context, Request::Outgoing(request));
            let answer = match options.and_then(|options| options.first_byte_timeout) {
                // A guest may ask for less time than the host allows, never for more.
                Some(limit) => tokio::time::timeout(limit, call)
                    .await
                    .map_err(|_| Error::ConnectionReadTimeout)?,
                None => call.await,
            };
            let response = answer
                .and_then(|reply| reply.into_http())
                .map_err(|error| to_wasi(&error))?;
            let io: Io = Box::new(async { Ok(()) });
            Ok((response.map(|body| body.boxed_unsync()), io))
        };
        // It may be waited for in another task than the guest's.
        Box::new(sent.in_current_span())
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        HTTP_CHUNK_BYTES
    }
}

/// The interface as wasmtime names it. If it named it otherwise, ours would not stand in its place and
/// requests would not be counted: the guest `host-calls` would fail its test.
const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

type Handled =
    std::result::Result<Resource<HostFutureIncomingResponse>, outgoing_handler::ErrorCode>;

/// Puts `handle` in the place of wasmtime's: the same, counted as a call to a capability.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.instance(OUTGOING_HANDLER)?.func_wrap(
        "handle",
        |mut store: StoreContextMut<'_, State>,
         (request, options): (
            Resource<HostOutgoingRequest>,
            Option<Resource<RequestOptions>>,
        )| {
            let state = store.data_mut();
            state.guest.count_host_call()?;
            let handled: Handled = match state.http().handle(request, options) {
                Ok(future) => Ok(future),
                Err(error) => Err(error.downcast()?),
            };
            Ok((handled,))
        },
    )
}

/// What `wasi:http` has for our errors. A denial stays a denial.
fn to_wasi(error: &CallError) -> Error {
    match error {
        CallError::Denied(_) | CallError::BudgetExceeded(_) => Error::HttpRequestDenied,
        CallError::LimitExceeded { .. } => Error::ConnectionLimitReached,
        CallError::Timeout | CallError::Canceled => Error::ConnectionTimeout,
        CallError::Invalid(_) => Error::HttpRequestUriInvalid,
        CallError::NotFound(_) => Error::DestinationNotFound,
        CallError::Unavailable(_) => Error::DestinationUnavailable,
        CallError::Failed(text) | CallError::UnknownOutcome(text) => {
            Error::InternalError(Some(text.clone()))
        }
    }
}
