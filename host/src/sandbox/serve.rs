//! Running tools that serve HTTP (`wasi:http/incoming-handler`).

use std::sync::Arc;

use ringfence_api::Digest;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};

use super::call::run;
use super::enter::enter;
use super::program::Sandboxes;
use crate::body::{self, Body};
use crate::core::Core;
use crate::directory::Instance;
use crate::error::CallError;
use crate::mediation::CallContext;

impl Sandboxes {
    /// Hands a request to a tool. The response starts as soon as the guest sets it; the sandbox lives
    /// until the body has been sent or its reader is gone.
    pub(crate) async fn incoming(
        &self,
        core: &Arc<Core>,
        instance: &Arc<Instance>,
        digest: &Digest,
        context: &CallContext,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, CallError> {
        let program = self.program(digest).await?;
        let proxy = program.proxy.clone().ok_or_else(|| {
            CallError::NotFound(format!("tool {} does not serve HTTP", instance.name))
        })?;
        let entered = enter(&self.engine, core, instance, context, None)?;
        let (sender, receiver) = oneshot::channel();
        let task = {
            let context = context.clone();
            let running = async move {
                run(entered, &context, async |store| {
                    let mut http = store.data_mut().http();
                    let request = http.new_incoming_request(Scheme::Http, request)?;
                    let outparam = http.new_response_outparam(sender)?;
                    let running = proxy.instantiate_async(&mut *store).await?;
                    running
                        .wasi_http_incoming_handler()
                        .call_handle(&mut *store, request, outparam)
                        .await
                })
                .await
            };
            tokio::spawn(running.in_current_span())
        };
        let task = AbortOnDropHandle::new(task);
        match receiver.await {
            Ok(Ok(response)) => {
                let most = instance.limits.output_bytes;
                Ok(response.map(|guest| body::bounded(guest, most, Some(task))))
            }
            Ok(Err(error)) => Err(refused(&error)),
            // The sender is gone with the store: the task knows why.
            Err(_) => Err(match task.await {
                Ok(Ok(())) => CallError::Failed("the tool ended without a response".to_owned()),
                Ok(Err(error)) => error,
                Err(_) => CallError::Failed("the host failed inside this call".to_owned()),
            }),
        }
    }
}

fn refused(error: &ErrorCode) -> CallError {
    CallError::Failed(format!("the tool answered with an error: {error:?}"))
}
