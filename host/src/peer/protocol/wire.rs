//! The JSON of the protocol between hosts.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use ringfence_api::{FunctionName, Name, TenantName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::directory::FunctionSummary;
use crate::error::CallError;
use crate::function::FunctionResult;
use crate::mediation::{PrincipalKind, RunId};
use crate::message::{Message, Part};
use crate::model::Usage;
use crate::output::{OutputEvent, Progress};
use crate::telemetry::RemoteTrace;

/// The first frame of a request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Ask<'a> {
    /// A call.
    Call(Box<CallAsk<'a>>),
    /// What a tool that runs there offers.
    Describe {
        /// Its tenant.
        tenant: TenantName,
        /// Its name.
        tool: Name,
    },
    /// Messages of a conversation that is kept there.
    History {
        /// The conversation.
        session: SessionAsk,
        /// The most messages.
        most: u32,
        /// Whether to ask former keepers where there is nothing.
        fetch: bool,
    },
    /// Adds messages to a conversation that is kept there.
    Append {
        /// The conversation.
        session: SessionAsk,
        /// The messages.
        messages: Vec<Message>,
    },
    /// Hands over a conversation that was kept elsewhere; what is there already stays.
    Adopt {
        /// The conversation.
        session: SessionAsk,
        /// All its messages.
        messages: Vec<Message>,
    },
}

/// Names one conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionAsk {
    pub(crate) tenant: TenantName,
    pub(crate) agent: Name,
    pub(crate) session: Arc<str>,
}

/// A call: what the caller's host has checked already, and what is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallAsk<'a> {
    pub(crate) run: RunId,
    /// Its number on the host that asks.
    pub(crate) call: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<Arc<str>>,
    pub(crate) tenant: TenantName,
    /// Who calls and on whose behalf, the nearest first.
    pub(crate) chain: Vec<Link>,
    /// Milliseconds until the caller gives up.
    pub(crate) remaining_ms: u64,
    /// How many calls are around this one.
    pub(crate) depth: u32,
    /// The span that it is made in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<WireTrace>,
    /// Whether anybody reads partial output.
    pub(crate) events: bool,
    pub(crate) request: WireRequest<'a>,
}

/// A place in a trace, as W3C Trace Context writes it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WireTrace {
    parent: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

impl From<&RemoteTrace> for WireTrace {
    fn from(trace: &RemoteTrace) -> Self {
        Self {
            parent: trace.parent(),
            state: trace.state(),
        }
    }
}

impl WireTrace {
    /// None where it is no trace.
    pub(crate) fn read(&self) -> Option<RemoteTrace> {
        RemoteTrace::read(&self.parent, self.state.as_deref())
    }
}

/// One principal of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Link {
    pub(crate) kind: PrincipalKind,
    pub(crate) name: String,
}

/// What can be asked of another host. Models and the network are not among it: each host has them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum WireRequest<'a> {
    Function {
        tool: Name,
        function: FunctionName,
        arguments: Cow<'a, Map<String, Value>>,
    },
    Agent {
        agent: Name,
        messages: Cow<'a, [Message]>,
    },
    Incoming {
        tool: Name,
        method: String,
        uri: String,
        headers: WireHeaders,
        /// Whether a body follows.
        body: bool,
    },
}

/// Headers, in their order. Values need not be text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct WireHeaders(Vec<(String, Vec<u8>)>);

impl From<&HeaderMap> for WireHeaders {
    fn from(headers: &HeaderMap) -> Self {
        Self(
            headers
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                .collect(),
        )
    }
}

impl WireHeaders {
    /// None where they are no headers.
    pub(crate) fn read(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::try_with_capacity(self.0.len()).ok()?;
        for (name, value) in &self.0 {
            let name: HeaderName = name.parse().ok()?;
            let value = HeaderValue::from_bytes(value).ok()?;
            headers.try_append(name, value).ok()?;
        }
        Some(headers)
    }
}

/// Partial output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum WireEvent {
    Part(Part),
    Progress {
        done: f64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
}

impl From<OutputEvent> for WireEvent {
    fn from(event: OutputEvent) -> Self {
        match event {
            OutputEvent::Part(part) => Self::Part(part),
            OutputEvent::Progress(progress) => Self::Progress {
                done: progress.done,
                total: progress.total,
                message: progress.message,
            },
        }
    }
}

impl From<WireEvent> for OutputEvent {
    fn from(event: WireEvent) -> Self {
        match event {
            WireEvent::Part(part) => Self::Part(part),
            WireEvent::Progress {
                done,
                total,
                message,
            } => Self::Progress(Progress {
                done,
                total,
                message,
            }),
        }
    }
}

/// How a request ends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Answer {
    /// Nothing has begun: another host may be asked.
    Refused(Refusal),
    /// The call is over.
    Call {
        result: Result<WireReply, CallError>,
        /// Tokens that everything below the call used.
        #[serde(default)]
        usage: Usage,
    },
    /// What a tool offers; none where it does not run there.
    Described(Option<WireTool>),
    /// Of a conversation.
    History(Result<Vec<Message>, CallError>),
    /// Of an addition to a conversation.
    Kept(Result<(), CallError>),
}

/// Why nothing has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Refusal {
    /// It takes no further calls.
    #[error("it stops")]
    Draining,
    /// The target does not run there (any more). A call is never routed on.
    #[error("the target does not run there")]
    NotHere,
    /// It has no room now.
    #[error(transparent)]
    Busy(CallError),
    /// What was asked could not be understood.
    #[error("it did not understand: {0}")]
    Unreadable(String),
}

/// What came of a call.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum WireReply {
    Function(FunctionResult),
    Agent(Vec<Part>),
    /// A response whose body follows.
    Http {
        status: u16,
        headers: WireHeaders,
    },
}

/// What a tool offers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WireTool {
    pub(crate) functions: Vec<WireFunction>,
    /// Whether the functions may change while the instance stays: those of an MCP server.
    pub(crate) changes: bool,
}

/// One function.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WireFunction {
    name: FunctionName,
    description: Arc<str>,
    input_schema: Arc<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output_schema: Option<Arc<Map<String, Value>>>,
}

impl From<FunctionSummary> for WireFunction {
    fn from(function: FunctionSummary) -> Self {
        Self {
            name: function.name,
            description: function.description,
            input_schema: function.input_schema,
            output_schema: function.output_schema,
        }
    }
}

impl From<WireFunction> for FunctionSummary {
    fn from(function: WireFunction) -> Self {
        Self {
            name: function.name,
            description: function.description,
            input_schema: function.input_schema,
            output_schema: function.output_schema,
        }
    }
}
