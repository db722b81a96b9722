//! `ringfence:agent/models`: language models. The credential stays with the host.

use ringfence_api::Name;
use wasmtime::component::Resource;

use futures::StreamExt as _;

use super::bindings::ringfence::agent::models::{
    Completion, CompletionEvent, Host, HostCompletionStream, ModelInfo, Request as ModelRequest,
};
use super::bindings::ringfence::agent::types::Error;
use crate::error::CallError;
use crate::limits::{OPEN_STREAMS, name};
use crate::mediation::{AnswerStream, Request};

use crate::sandbox::State;

/// An answer that a guest is reading.
#[expect(unreachable_pub, reason = "generated code re-exports it")]
pub struct OpenStream(AnswerStream);

fn model_name(text: &str) -> Result<Name, CallError> {
    text.parse()
        .map_err(|_| CallError::NotFound(format!("no model {text:?}")))
}

impl Host for State {
    async fn list(&mut self) -> wasmtime::Result<Result<Vec<ModelInfo>, Error>> {
        self.guest.count_host_call()?;
        let any = self.guest.instance.grants.models().next().is_some();
        if let Err(error) = self.guest.check_granted("models", any) {
            return Ok(Err(error.into()));
        }
        let view = self.guest.core.directory.view(&self.guest.context.tenant);
        let granted = self.guest.instance.grants.models();
        Ok(Ok(granted
            .filter_map(|name| view.models.get_key_value(name))
            .map(|(name, model)| ModelInfo {
                name: name.to_string(),
                description: model.description.to_string(),
            })
            .collect()))
    }

    async fn complete(
        &mut self,
        request: ModelRequest,
    ) -> wasmtime::Result<Result<Completion, Error>> {
        self.guest.count_host_call()?;
        let result = async {
            let model = model_name(&request.model)?;
            let request = Request::Complete {
                model,
                request: request.into(),
            };
            self.guest.effect(request).await?.into_completion()
        };
        Ok(result.await.map(Into::into).map_err(Into::into))
    }

    async fn stream(
        &mut self,
        request: ModelRequest,
    ) -> wasmtime::Result<Result<Resource<OpenStream>, Error>> {
        self.guest.count_host_call()?;
        let result = async {
            if self.guest.open_streams >= OPEN_STREAMS {
                return Err(CallError::limit(name::OPEN_STREAMS, OPEN_STREAMS as u64));
            }
            let model = model_name(&request.model)?;
            let request = Request::Stream {
                model,
                request: request.into(),
            };
            self.guest.effect(request).await?.into_stream()
        };
        match result.await {
            Ok(stream) => {
                let stream = self.table.push(OpenStream(stream))?;
                self.guest.open_streams += 1;
                Ok(Ok(stream))
            }
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl HostCompletionStream for State {
    async fn next(
        &mut self,
        stream: Resource<OpenStream>,
    ) -> wasmtime::Result<Result<Option<CompletionEvent>, Error>> {
        self.guest.count_host_call()?;
        let event = self.table.get_mut(&stream)?.0.next().await;
        Ok(match event {
            Some(Ok(event)) => Ok(Some(event.into())),
            Some(Err(error)) => Err(error.into()),
            None => Ok(None),
        })
    }

    async fn drop(&mut self, stream: Resource<OpenStream>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        self.guest.open_streams = self.guest.open_streams.saturating_sub(1);
        Ok(())
    }
}
