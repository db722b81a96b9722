//! Sessions of clients up to 2025-11-25: bounded in number, closed when nobody uses them, and good for
//! nobody but the caller, and the endpoint, that opened them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use parking_lot::Mutex;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::common::server_side_http::{ServerSseMessage, SessionId};
use rmcp::transport::streamable_http_server::SessionManager;
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::endpoint::{ENDPOINT, Endpoint};
use crate::gateway::settings::Settings;
use crate::gateway::shared::Shared;

/// Why a session cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionsError {
    #[error("too many sessions are open: close some or try later")]
    Full,
    #[error("session not found")]
    NotFound,
    #[error(transparent)]
    Local(#[from] LocalSessionManagerError),
}

/// The sessions of a gateway.
pub(super) struct Sessions {
    inner: LocalSessionManager,
    table: Arc<Mutex<HashMap<SessionId, Session>>>,
    shared: Weak<Shared>,
    most: usize,
    most_per_principal: usize,
    idle: Duration,
}

struct Session {
    endpoint: Arc<Endpoint>,
    used: Instant,
    /// Streams and calls that are open; such a session is in use.
    open: usize,
    /// Calls that are answered outside of the session's own task, by the JSON text of their id.
    calls: HashMap<String, CancellationToken>,
}

impl Sessions {
    pub(super) fn new(shared: Weak<Shared>, settings: &Settings) -> Self {
        let mut inner = LocalSessionManager::default();
        // This type knows better what is idle: it sees the calls that go past the session's task.
        inner.session_config.keep_alive = None;
        inner.session_config.sse_retry = None;
        Self {
            inner,
            table: Arc::default(),
            shared,
            most: settings.sessions,
            most_per_principal: settings.sessions_per_principal,
            idle: settings.session_idle,
        }
    }

    /// Whether a caller may open one more session.
    pub(super) fn has_room(&self, endpoint: &Endpoint) -> bool {
        let table = self.table.lock();
        let own = table
            .values()
            .filter(|s| s.endpoint.identity.name() == endpoint.identity.name())
            .count();
        table.len() < self.most && own < self.most_per_principal
    }

    /// Notes a call that is answered outside of the session's task. None when the caller has no such
    /// session, or the id is in use.
    pub(super) fn begin_call(
        &self,
        session: &str,
        endpoint: &Endpoint,
        id: &str,
    ) -> Option<SessionCall> {
        let mut table = self.table.lock();
        let (key, _) = table.get_key_value(session)?;
        let key = key.clone();
        let entry = table
            .get_mut(session)
            .filter(|s| s.endpoint.is_like(endpoint))?;
        if entry.calls.contains_key(id) {
            return None;
        }
        let cancel = CancellationToken::new();
        entry.calls.insert(id.to_owned(), cancel.clone());
        entry.open += 1;
        let open = Open {
            table: self.table.clone(),
            session: key,
        };
        Some(SessionCall {
            open,
            id: id.to_owned(),
            cancel,
        })
    }

    /// Cancels a call of [`Sessions::begin_call`], if there is one of that id.
    pub(super) fn cancel(&self, session: &str, endpoint: &Endpoint, id: &str) {
        let table = self.table.lock();
        let entry = table.get(session).filter(|s| s.endpoint.is_like(endpoint));
        if let Some(cancel) = entry.and_then(|s| s.calls.get(id)) {
            cancel.cancel();
        }
    }

    /// Closes sessions that were not used for their time.
    pub(super) async fn close_idle(&self) {
        let now = Instant::now();
        let idle: Vec<SessionId> = self
            .table
            .lock()
            .iter()
            .filter(|(_, s)| s.open == 0 && now.duration_since(s.used) >= self.idle)
            .map(|(id, _)| id.clone())
            .collect();
        for id in idle {
            self.forget(&id);
            if let Err(error) = self.inner.close_session(&id).await {
                tracing::debug!(%error, "an idle session was gone already");
            }
        }
    }

    fn forget(&self, id: &SessionId) {
        let open = {
            let mut table = self.table.lock();
            if let Some(session) = table.remove(id) {
                session.calls.values().for_each(CancellationToken::cancel);
            }
            table.len()
        };
        self.report(open);
    }

    fn report(&self, open: usize) {
        if let Some(shared) = self.shared.upgrade() {
            shared.host.metrics().mcp_sessions(open);
        }
    }

    /// Marks a session of the current request's caller as used.
    fn touch(&self, id: &SessionId) -> Result<(), SessionsError> {
        let mut table = self.table.lock();
        let session = table.get_mut(id).ok_or(SessionsError::NotFound)?;
        let own = ENDPOINT
            .try_with(|endpoint| session.endpoint.is_like(endpoint))
            .unwrap_or(false);
        if !own {
            return Err(SessionsError::NotFound);
        }
        session.used = Instant::now();
        Ok(())
    }

    /// As [`Sessions::touch`]; the session is in use until what is returned is dropped.
    fn hold(&self, id: &SessionId) -> Result<Open, SessionsError> {
        self.touch(id)?;
        if let Some(session) = self.table.lock().get_mut(id) {
            session.open += 1;
        }
        Ok(Open {
            table: self.table.clone(),
            session: id.clone(),
        })
    }
}

/// Something of a session that is open.
struct Open {
    table: Arc<Mutex<HashMap<SessionId, Session>>>,
    session: SessionId,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(session) = self.table.lock().get_mut(&self.session) {
            session.open = session.open.saturating_sub(1);
            session.used = Instant::now();
        }
    }
}

/// A call of a session that is answered outside of the session's task.
pub(super) struct SessionCall {
    open: Open,
    id: String,
    /// Cancelled when the client cancels the call or the session ends.
    pub(super) cancel: CancellationToken,
}

impl Drop for SessionCall {
    fn drop(&mut self) {
        if let Some(session) = self.open.table.lock().get_mut(&self.open.session) {
            session.calls.remove(&self.id);
        }
    }
}

/// A stream that keeps its session in use.
struct Held<S> {
    stream: Pin<Box<S>>,
    _open: Open,
}

impl<S: Stream> Stream for Held<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.stream.as_mut().poll_next(cx)
    }
}

impl SessionManager for Sessions {
    type Error = SessionsError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), SessionsError> {
        let endpoint = ENDPOINT
            .try_with(Arc::clone)
            .map_err(|_| SessionsError::NotFound)?;
        if !self.has_room(&endpoint) {
            return Err(SessionsError::Full);
        }
        let (id, transport) = self.inner.create_session().await?;
        let session = Session {
            endpoint,
            used: Instant::now(),
            open: 0,
            calls: HashMap::new(),
        };
        let open = {
            let mut table = self.table.lock();
            table.insert(id.clone(), session);
            table.len()
        };
        self.report(open);
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, SessionsError> {
        self.touch(id)?;
        Ok(self.inner.initialize_session(id, message).await?)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, SessionsError> {
        Ok(self.touch(id).is_ok() && self.inner.has_session(id).await?)
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), SessionsError> {
        // The session's own task closes it too, and serves no request.
        let serves_request = ENDPOINT.try_with(|_| ()).is_ok();
        if serves_request && self.touch(id).is_err() {
            return Ok(());
        }
        self.forget(id);
        Ok(self.inner.close_session(id).await?)
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        let open = self.hold(id)?;
        let stream = self.inner.create_stream(id, message).await?;
        Ok(Held {
            stream: Box::pin(stream),
            _open: open,
        })
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), SessionsError> {
        self.touch(id)?;
        Ok(self.inner.accept_message(id, message).await?)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        let open = self.hold(id)?;
        let stream = self.inner.create_standalone_stream(id).await?;
        Ok(Held {
            stream: Box::pin(stream),
            _open: open,
        })
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        let open = self.hold(id)?;
        let stream = self.inner.resume(id, last_event_id).await?;
        Ok(Held {
            stream: Box::pin(stream),
            _open: open,
        })
    }
}
