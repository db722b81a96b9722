//! `wasi:http/outgoing-handler`: requests to the outside, each one a call through mediation.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpHooks};

use crate::error::CallError;
use crate::limits::HTTP_CHUNK_BYTES;
use crate::mediation::{Principal, Request};
use crate::sandbox::{Core, HostCalls};

/// Turns a guest's outgoing requests into calls. It is a part of the sandbox's state that stands apart
/// from the guest, since `wasi:http` borrows both at once.
pub(crate) struct OutgoingHooks {
    pub(crate) core: Arc<Core>,
    pub(crate) principal: Arc<Principal>,
    pub(crate) context: crate::mediation::CallContext,
    pub(crate) host_calls: HostCalls,
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
        let counted = self.host_calls.count();
        let context = self.context.nested(self.principal.clone());
        let core = self.core.clone();
        Box::new(async move {
            counted.map_err(|error| to_wasi(&error))?;
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
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        HTTP_CHUNK_BYTES
    }
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
