//! What a call is: everything that anybody, inside a sandbox or outside, asks the host to do.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ringfence_api::{FunctionName, Kind, Name, TenantName};
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::answer::AnswerStream;
use super::principal::Principal;
use super::run_id::RunId;
use crate::directory::Instance;
use crate::error::CallError;
use crate::function::FunctionResult;
use crate::message::{Message, Part};
use crate::model::{Completion, CompletionRequest, Usage};
use crate::output::EventSink;
use crate::telemetry::{RemoteTrace, Target};

/// What a call is aimed at, and with what.
pub enum Request {
    /// A function of a tool.
    Function {
        /// The tool.
        tool: Name,
        /// The function.
        function: FunctionName,
        /// Its arguments by name.
        arguments: Map<String, Value>,
    },
    /// An agent.
    Agent {
        /// The agent.
        agent: Name,
        /// The conversation, oldest first.
        messages: Vec<Message>,
    },
    /// A model, for a whole answer.
    Complete {
        /// The model.
        model: Name,
        /// What is asked.
        request: CompletionRequest,
    },
    /// A model, for an answer in pieces.
    Stream {
        /// The model.
        model: Name,
        /// What is asked.
        request: CompletionRequest,
    },
    /// An HTTP request to the outside.
    Outgoing(http::Request<crate::body::Body>),
    /// An HTTP request to a tool that exports `wasi:http/incoming-handler`.
    Incoming {
        /// The tool.
        tool: Name,
        /// The request.
        request: http::Request<crate::body::Body>,
    },
}

/// What came of a call.
pub enum Reply {
    /// Of a function.
    Function(FunctionResult),
    /// Of an agent.
    Agent(AgentReply),
    /// Of a model.
    Completion(Completion),
    /// Of a model, in pieces.
    Stream(AnswerStream),
    /// Of an HTTP request, either way.
    Http(http::Response<crate::body::Body>),
}

/// An agent's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentReply {
    /// The answer.
    pub content: Vec<Part>,
    /// Tokens that the run used up to here, everything below the agent included.
    pub usage: Usage,
}

/// Who calls, on whose behalf, in which run, and until when.
#[derive(Clone)]
pub struct CallContext {
    /// The run.
    pub run: RunId,
    /// Number of this call within its run; 0 is the call that started it.
    pub call: u32,
    /// The call within whose sandbox this one was made.
    pub parent: Option<u32>,
    /// The conversation, where there is one.
    pub session: Option<Arc<str>>,
    /// The tenant. A call never leaves it.
    pub tenant: TenantName,
    /// Who calls.
    pub caller: Arc<Principal>,
    /// When the call is ended.
    pub deadline: Instant,
    /// Whether that is because of the callee's own `wall-ms`, and not of the caller's patience.
    pub(crate) bound_by_wall: bool,
    /// How many calls are around this one.
    pub depth: u32,
    /// Cancelled when the caller gives up.
    pub cancel: CancellationToken,
    /// Whether it waits, until its deadline, where as much runs already as may; others are refused.
    pub waits: bool,
    /// Where the call belongs in a trace that its caller began, or the host that sent it goes on with.
    pub(crate) trace: Option<Arc<RemoteTrace>>,
    /// Where partial output goes, if anybody reads it.
    pub events: Option<EventSink>,
    /// Counters that all calls of the run share.
    pub shared: Arc<RunCounters>,
    /// What the sandbox of this call takes, for its record.
    pub(crate) spent: Arc<Spent>,
    /// Where this very call came from, if another host sent it.
    pub(crate) routed: Option<Arc<Routed>>,
}

/// What became of one call beside its answer; the processor time and memory of its sandbox are zero where
/// none ran.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    pub(crate) cpu_us: AtomicU64,
    pub(crate) memory_bytes: AtomicU64,
    /// The host that did it, where that is another one.
    pub(crate) host: OnceLock<Name>,
}

/// The first number of calls that other hosts sent, and of those within them: no run that starts here comes
/// this far.
pub(crate) const ROUTED_CALLS: u32 = 1 << 31;

/// A call that another host sent.
#[derive(Debug)]
pub(crate) struct Routed {
    /// That host, by its certificate.
    pub(crate) from: Name,
    /// The number of the call there.
    pub(crate) call: u32,
    began: AtomicBool,
    news: Notify,
    missed: AtomicBool,
}

impl Routed {
    pub(crate) fn new(from: Name, call: u32) -> Self {
        Self {
            from,
            call,
            began: AtomicBool::new(false),
            news: Notify::new(),
            missed: AtomicBool::new(false),
        }
    }

    /// Whether the call may have had effects.
    pub(crate) fn has_begun(&self) -> bool {
        self.began.load(Ordering::Acquire)
    }

    /// Waits until the call may have had effects.
    pub(crate) async fn begins(&self) {
        let news = self.news.notified();
        if !self.has_begun() {
            news.await;
        }
    }

    /// Notes that the target does not run here.
    pub(crate) fn miss(&self) {
        self.missed.store(true, Ordering::Release);
    }

    /// Whether the target did not run here.
    pub(crate) fn has_missed(&self) -> bool {
        self.missed.load(Ordering::Acquire)
    }
}

/// Counters that all calls of a run share on one host.
#[derive(Debug, Default)]
pub struct RunCounters {
    calls: Arc<AtomicU32>,
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
}

impl RunCounters {
    /// Counters of a part of a run that another host sent. Calls are numbered by `calls`, which all such
    /// parts share: a run may come by more than once.
    pub(crate) fn numbered(calls: Arc<AtomicU32>) -> Self {
        Self {
            calls,
            ..Self::default()
        }
    }

    /// The number of the next call.
    pub fn next_call(&self) -> u32 {
        self.calls.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// Adds the tokens of one answer.
    pub fn add_usage(&self, usage: Usage) {
        self.input_tokens
            .fetch_add(usage.input_tokens, Ordering::Relaxed);
        self.output_tokens
            .fetch_add(usage.output_tokens, Ordering::Relaxed);
    }

    /// All tokens so far.
    pub fn usage(&self) -> Usage {
        Usage {
            input_tokens: self.input_tokens.load(Ordering::Relaxed),
            output_tokens: self.output_tokens.load(Ordering::Relaxed),
            ..Usage::default()
        }
    }
}

impl CallContext {
    /// The context of a call from outside: it starts a run.
    pub fn start(tenant: TenantName, caller: Arc<Principal>, timeout: Duration) -> Self {
        Self {
            run: RunId::new(),
            call: 0,
            parent: None,
            session: None,
            tenant,
            caller,
            deadline: Instant::now() + timeout,
            bound_by_wall: false,
            depth: 0,
            cancel: CancellationToken::new(),
            waits: false,
            trace: None,
            events: None,
            shared: Arc::default(),
            spent: Arc::default(),
            routed: None,
        }
    }

    /// The context of a call that `by` makes while this one runs. It is canceled with this one, ends
    /// no later, and belongs to the same run.
    pub fn nested(&self, by: Arc<Principal>) -> Self {
        Self {
            call: self.shared.next_call(),
            parent: Some(self.call),
            caller: by,
            depth: self.depth + 1,
            cancel: self.cancel.child_token(),
            // The span of this call is around it.
            trace: None,
            events: None,
            waits: false,
            bound_by_wall: false,
            spent: Arc::default(),
            routed: None,
            ..self.clone()
        }
    }

    /// Notes that the call may have effects from now on: until then another host could be asked instead.
    pub(crate) fn begin(&self) {
        if let Some(routed) = &self.routed {
            routed.began.store(true, Ordering::Release);
            routed.news.notify_waiters();
        }
    }

    /// Time until the deadline.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// One call on its way through the layers.
pub struct Call {
    /// Who and until when.
    pub context: CallContext,
    /// What.
    pub request: Request,
    /// The agent or tool on this host that it is for; routing sets it.
    pub(crate) callee: Option<Arc<Instance>>,
}

impl Call {
    /// A call that has not been routed yet.
    pub fn new(context: CallContext, request: Request) -> Self {
        Self {
            context,
            request,
            callee: None,
        }
    }
}

impl Request {
    /// The agent or tool that it is for; none where every host can do it.
    pub(crate) fn workload(&self) -> Option<(Kind, &Name)> {
        match self {
            Request::Function { tool, .. } | Request::Incoming { tool, .. } => {
                Some((Kind::Tool, tool))
            }
            Request::Agent { agent, .. } => Some((Kind::Agent, agent)),
            Request::Complete { .. } | Request::Stream { .. } | Request::Outgoing(_) => None,
        }
    }

    /// Name of the capability that has to be granted.
    pub fn capability(&self) -> &'static str {
        match self {
            Request::Function { .. } | Request::Incoming { .. } => "tools",
            Request::Agent { .. } => "agents",
            Request::Complete { .. } | Request::Stream { .. } => "models",
            Request::Outgoing(_) => "http",
        }
    }

    /// What kind of thing the call is aimed at, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Request::Function { .. } => "function",
            Request::Agent { .. } => "agent",
            Request::Complete { .. } | Request::Stream { .. } => "model",
            Request::Outgoing(_) => "outgoing",
            Request::Incoming { .. } => "incoming",
        }
    }

    /// The resource that the call is aimed at; none for the network.
    pub fn callee(&self) -> Option<Target> {
        let (kind, name) = match self {
            Request::Function { tool, .. } | Request::Incoming { tool, .. } => ("tool", tool),
            Request::Agent { agent, .. } => ("agent", agent),
            Request::Complete { model, .. } | Request::Stream { model, .. } => ("model", model),
            Request::Outgoing(_) => return None,
        };
        let name = name.clone();
        Some(Target { kind, name })
    }

    /// What the call is aimed at, for records and denials.
    pub fn target(&self) -> String {
        match self {
            Request::Function { tool, function, .. } => {
                [tool.as_str(), "_", function.as_str()].concat()
            }
            Request::Agent { agent, .. } => agent.to_string(),
            Request::Complete { model, .. } | Request::Stream { model, .. } => model.to_string(),
            // The query is left out: it may carry what nobody wants in a record.
            Request::Outgoing(request) => format!(
                "{} {}://{}{}",
                request.method(),
                request.uri().scheme_str().unwrap_or("https"),
                request
                    .uri()
                    .authority()
                    .map_or("", |authority| authority.as_str()),
                request.uri().path()
            ),
            Request::Incoming { tool, request } => {
                format!("{tool} {} {}", request.method(), request.uri().path())
            }
        }
    }
}

impl Reply {
    /// The reply to a function call.
    ///
    /// # Errors
    /// `failed` when the reply is of another kind, which no layer may do.
    pub fn into_function(self) -> Result<FunctionResult, CallError> {
        match self {
            Reply::Function(result) => Ok(result),
            _ => Err(mismatch()),
        }
    }

    /// The reply to an agent call.
    ///
    /// # Errors
    /// As [`Reply::into_function`].
    pub fn into_agent(self) -> Result<AgentReply, CallError> {
        match self {
            Reply::Agent(reply) => Ok(reply),
            _ => Err(mismatch()),
        }
    }

    /// The reply to a model call.
    ///
    /// # Errors
    /// As [`Reply::into_function`].
    pub fn into_completion(self) -> Result<Completion, CallError> {
        match self {
            Reply::Completion(completion) => Ok(completion),
            _ => Err(mismatch()),
        }
    }

    /// The reply to a streamed model call.
    ///
    /// # Errors
    /// As [`Reply::into_function`].
    pub fn into_stream(self) -> Result<AnswerStream, CallError> {
        match self {
            Reply::Stream(stream) => Ok(stream),
            _ => Err(mismatch()),
        }
    }

    /// The reply to an HTTP request.
    ///
    /// # Errors
    /// As [`Reply::into_function`].
    pub fn into_http(self) -> Result<http::Response<crate::body::Body>, CallError> {
        match self {
            Reply::Http(response) => Ok(response),
            _ => Err(mismatch()),
        }
    }
}

fn mismatch() -> CallError {
    CallError::Failed("the reply does not fit the request".to_owned())
}
