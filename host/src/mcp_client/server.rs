//! A server as a provider of functions: kept fresh, called, and honest about what failed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use ringfence_api::McpSpec;
use rmcp::model::{CallToolRequestParams, CallToolResponse, ErrorCode, JsonObject};
use rmcp::service::ServiceError;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::result::{RemoteFunction, function_result};
use super::session::{Session, cause};
use super::transport::EgressTransport;
use super::{DEFAULT_POLL, DEFAULT_TIMEOUT, MAX_TIMEOUT, MIN_POLL};
use crate::egress::{Allowed, Egress, EgressError, EndpointError};
use crate::error::CallError;
use crate::function::FunctionResult;
use crate::secret::SecretError;

/// The longest pause before a lost server is tried again.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The first one; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Why a server's resource cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum McpError {
    /// Its URL or headers.
    #[error("the MCP server cannot be used")]
    Endpoint(#[from] EndpointError),
    /// A secret that the operator does not allow.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Its interval.
    #[error("mcp.pollMs is less than {}", MIN_POLL.as_millis())]
    Poll,
    /// Its timeout.
    #[error("mcp.timeoutMs is not between 1 and {}", MAX_TIMEOUT.as_millis())]
    Timeout,
}

/// How a server is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct McpStatus {
    /// When its functions were last listed.
    pub last_success: Option<SystemTime>,
    /// What the last look failed with; nothing after a look that succeeded.
    pub last_error: Option<String>,
    /// Looks that failed since the last success.
    pub failures: u32,
    /// Functions that were left out because there are too many or they are too large.
    pub left_out: usize,
}

/// An MCP server outside. Its watch over the server ends when the last clone is dropped.
#[derive(Clone)]
pub struct McpServer {
    shared: Arc<Shared>,
    _poller: Arc<Poller>,
}

impl std::fmt::Debug for McpServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("McpServer")
            .field(
                "target",
                &self.shared.transport.allowed.target().to_string(),
            )
            .finish_non_exhaustive()
    }
}

struct Poller(AbortHandle);

impl Drop for Poller {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Functions = Arc<[RemoteFunction]>;

struct Shared {
    transport: EgressTransport,
    poll: Duration,
    session: tokio::sync::Mutex<Link>,
    /// Nothing until the first look succeeded.
    functions: watch::Sender<Option<Functions>>,
    /// Looks that ended, so that the first caller can wait for one.
    looks: watch::Sender<u64>,
    status: Mutex<McpStatus>,
    /// Somebody needs the server, or it announced a change.
    wake: Arc<Notify>,
}

#[derive(Default)]
struct Link {
    session: Option<Arc<Session>>,
    pause: Duration,
    not_before: Option<Instant>,
    last_error: String,
}

impl McpServer {
    /// Makes a server from its resource. Nothing is sent before somebody needs it. Has to be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// What is wrong with the resource.
    pub fn connect(spec: &McpSpec, egress: &Egress) -> Result<Self, McpError> {
        let poll = spec.poll_ms.map_or(DEFAULT_POLL, Duration::from_millis);
        let timeout = spec
            .timeout_ms
            .map_or(DEFAULT_TIMEOUT, Duration::from_millis);
        if poll < MIN_POLL {
            return Err(McpError::Poll);
        }
        if timeout.is_zero() || timeout > MAX_TIMEOUT {
            return Err(McpError::Timeout);
        }
        for reference in spec
            .headers
            .iter()
            .filter_map(|header| header.value_from.as_ref())
        {
            egress.secrets().check(reference)?;
        }
        let shared = Arc::new(Shared {
            transport: EgressTransport {
                egress: egress.clone(),
                allowed: Allowed::endpoint(&spec.url, spec.addresses, &spec.headers)?,
                timeout,
            },
            poll,
            session: tokio::sync::Mutex::default(),
            functions: watch::Sender::new(None),
            looks: watch::Sender::new(0),
            status: Mutex::default(),
            wake: Arc::new(Notify::new()),
        });
        let poller = tokio::spawn(poll_forever(shared.clone())).abort_handle();
        Ok(Self {
            shared,
            _poller: Arc::new(Poller(poller)),
        })
    }

    /// The functions that are known; waits for the first look where there was none yet.
    ///
    /// # Errors
    /// The server was never reached: `unavailable` with the reason.
    pub async fn functions(&self) -> Result<Arc<[RemoteFunction]>, CallError> {
        let shared = &self.shared;
        let mut looks = shared.looks.subscribe();
        if let Some(functions) = shared.functions.borrow().clone() {
            return Ok(functions);
        }
        shared.wake.notify_one();
        let waited = tokio::time::timeout(shared.transport.timeout, looks.changed()).await;
        if let Some(functions) = shared.functions.borrow().clone() {
            return Ok(functions);
        }
        match waited {
            Err(_) => Err(CallError::Timeout),
            Ok(_) => {
                let reason = shared.status.lock().last_error.clone().unwrap_or_default();
                Err(CallError::Unavailable(format!(
                    "the MCP server cannot be listed: {reason}"
                )))
            }
        }
    }

    /// Looks at the server now, whatever the interval says.
    pub fn refresh(&self) {
        self.shared.wake.notify_one();
    }

    /// How the server is doing.
    pub fn status(&self) -> McpStatus {
        self.shared.status.lock().clone()
    }

    /// Changes of the list of functions, for announcing them further.
    pub fn changes(&self) -> watch::Receiver<Option<Arc<[RemoteFunction]>>> {
        self.shared.functions.subscribe()
    }

    /// Calls a function with one JSON object. Dropping the future cancels the call at the server.
    ///
    /// # Errors
    /// `unavailable` where nothing was sent, `unknown-outcome` where the connection broke after that,
    /// `timeout`, `not-found`, `invalid`, or `failed` with the server's own words.
    pub async fn call(
        &self,
        function: &str,
        arguments: JsonObject,
    ) -> Result<FunctionResult, CallError> {
        let work = async {
            let session = self
                .shared
                .session()
                .await
                .map_err(CallError::Unavailable)?;
            let params = CallToolRequestParams::new(function.to_owned()).with_arguments(arguments);
            match session.peer().call_tool_once(params).await {
                Ok(CallToolResponse::Complete(result)) => function_result(result),
                Ok(CallToolResponse::InputRequired(_)) => Err(CallError::Failed(
                    "the MCP server asks for further input, which a tool cannot give".to_owned(),
                )),
                Ok(CallToolResponse::Task(_)) => Err(CallError::UnknownOutcome(
                    "the MCP server answered with a task that was not asked for".to_owned(),
                )),
                Ok(_) => Err(CallError::UnknownOutcome(
                    "the MCP server answered in a way that this host does not know".to_owned(),
                )),
                Err(error) => Err(failure(function, &error)),
            }
        };
        match tokio::time::timeout(self.shared.transport.timeout, work).await {
            Ok(result) => result,
            Err(_) => Err(CallError::Timeout),
        }
    }
}

impl Shared {
    /// The open session, or a new one. While a server cannot be reached, attempts are spaced out and
    /// callers in between are told at once.
    async fn session(&self) -> Result<Arc<Session>, String> {
        let mut link = self.session.lock().await;
        if let Some(session) = link.session.as_ref().filter(|session| !session.is_closed()) {
            return Ok(session.clone());
        }
        link.session = None;
        if link.not_before.is_some_and(|at| Instant::now() < at) {
            return Err(link.last_error.clone());
        }
        let (transport, changed) = (self.transport.clone(), self.wake.clone());
        match Session::open(transport, changed, self.transport.timeout).await {
            Ok(session) => {
                let session = Arc::new(session);
                *link = Link {
                    session: Some(session.clone()),
                    ..Link::default()
                };
                Ok(session)
            }
            Err(error) => {
                link.pause = (link.pause * 2).clamp(FIRST_PAUSE, MAX_PAUSE);
                link.not_before = Some(Instant::now() + link.pause);
                link.last_error.clone_from(&error);
                Err(error)
            }
        }
    }

    async fn look(&self) {
        let listing = async {
            let session = self.session().await?;
            session.list().await.map_err(|error| cause(&error))
        };
        let listed = tokio::time::timeout(self.transport.timeout, listing).await;
        let listed = listed.unwrap_or_else(|_| Err("it did not answer in time".to_owned()));
        match listed {
            Ok((functions, left_out)) => {
                *self.status.lock() = McpStatus {
                    last_success: Some(SystemTime::now()),
                    left_out,
                    ..McpStatus::default()
                };
                self.functions.send_if_modified(|known| {
                    let changed = known.as_deref() != Some(functions.as_slice());
                    if changed {
                        *known = Some(functions.into());
                    }
                    changed
                });
            }
            Err(error) => {
                tracing::warn!(server = %self.transport.allowed.target(), error, "an MCP server cannot be listed");
                let mut status = self.status.lock();
                status.failures = status.failures.saturating_add(1);
                status.last_error = Some(error);
            }
        }
        self.looks.send_modify(|looks| *looks += 1);
    }
}

async fn poll_forever(shared: Arc<Shared>) {
    shared.wake.notified().await;
    loop {
        let started = Instant::now();
        shared.look().await;
        tokio::select! {
            () = tokio::time::sleep(shared.poll) => {}
            () = shared.wake.notified() => {
                // A server that announces changes without end is not asked without end.
                tokio::time::sleep_until(started + FIRST_PAUSE).await;
            }
        }
    }
}

fn failure(function: &str, error: &ServiceError) -> CallError {
    match error {
        ServiceError::McpError(error) => {
            let text: String = error.message.chars().take(2048).collect();
            match error.code {
                ErrorCode::METHOD_NOT_FOUND => CallError::NotFound(format!("{function}: {text}")),
                ErrorCode::INVALID_PARAMS => CallError::Invalid(text),
                _ => CallError::Failed(text),
            }
        }
        ServiceError::Timeout { .. } => CallError::Timeout,
        ServiceError::Cancelled { .. } => CallError::Canceled,
        ServiceError::TransportSend(error) => {
            let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&*error.error);
            while let Some(current) = next {
                if let Some(error) = current.downcast_ref::<EgressError>() {
                    return match error {
                        error if error.is_unsent() => error.clone().into(),
                        EgressError::Limit { .. } => error.clone().into(),
                        EgressError::Timeout(_) => CallError::Timeout,
                        error => CallError::UnknownOutcome(error.to_string()),
                    };
                }
                next = current.source();
            }
            CallError::Failed(cause(&*error.error))
        }
        ServiceError::TransportClosed => {
            CallError::UnknownOutcome("the connection to the MCP server broke".to_owned())
        }
        other => CallError::Failed(cause(other)),
    }
}
