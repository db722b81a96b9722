//! `ringfence:agent/session`: the conversation across runs.

use super::bindings::ringfence::agent::session::Host;
use super::bindings::ringfence::agent::types::{Error, Message};
use super::convert::all;
use crate::error::CallError;
use crate::sandbox::{Guest, State};
use crate::session::SessionKey;

impl Guest {
    fn session_key(&self) -> Result<Option<SessionKey>, CallError> {
        self.check_granted("session", self.instance.grants.session())?;
        Ok(self.context.session.as_ref().map(|session| SessionKey {
            tenant: self.context.tenant.clone(),
            agent: self.instance.name.clone(),
            session: session.clone(),
        }))
    }
}

impl Host for State {
    async fn history(&mut self, most: u32) -> wasmtime::Result<Result<Vec<Message>, Error>> {
        self.guest.count_host_call()?;
        let key = match self.guest.session_key() {
            Ok(Some(key)) => key,
            Ok(None) => return Ok(Ok(Vec::new())),
            Err(error) => return Ok(Err(error.into())),
        };
        let history = self.guest.core.history(key, most).await;
        Ok(history.map(all).map_err(Into::into))
    }

    async fn append(&mut self, messages: Vec<Message>) -> wasmtime::Result<Result<(), Error>> {
        self.guest.count_host_call()?;
        let result = async {
            let key = self
                .guest
                .session_key()?
                .ok_or_else(|| CallError::Invalid("this run belongs to no session".to_owned()))?;
            self.guest.core.append(key, all(messages)).await
        };
        Ok(result.await.map_err(Into::into))
    }
}
