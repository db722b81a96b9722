//! Spans of calls, with the names of [`super::names`].
//!
//! Each function builds a span that the caller enters or instruments a future with. When nobody
//! listens, a span costs one atomic load.

use std::fmt::Display;

use opentelemetry::{Array, Value};
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::names::{self, operation};

/// What every span of a call carries.
pub struct CallSpan<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The run.
    pub run: &'a dyn Display,
    /// Number of the call within its run.
    pub call: u32,
    /// Who calls.
    pub principal: &'a dyn Display,
    /// The conversation, where there is one.
    pub session: Option<&'a str>,
}

/// An agent answers a conversation.
pub fn invoke_agent(call: &CallSpan<'_>, agent: &str) -> Span {
    tracing::info_span!(
        target: "ringfence::call",
        "invoke_agent",
        otel.name = %format_args!("invoke_agent {agent}"),
        otel.kind = "internal",
        otel.status_code = Empty,
        { names::OPERATION_NAME } = operation::INVOKE_AGENT,
        { names::AGENT_NAME } = agent,
        { names::CONVERSATION_ID } = call.session,
        { names::TENANT } = call.tenant,
        { names::RUN } = %call.run,
        { names::CALL } = i64::from(call.call),
        { names::PRINCIPAL } = %call.principal,
        { names::USAGE_INPUT_TOKENS } = Empty,
        { names::USAGE_OUTPUT_TOKENS } = Empty,
        { names::ERROR_TYPE } = Empty,
    )
}

/// A function of a tool is called. `function` is `TOOL_FUNCTION`.
pub fn execute_tool(call: &CallSpan<'_>, function: &dyn Display) -> Span {
    tracing::info_span!(
        target: "ringfence::call",
        "execute_tool",
        otel.name = %format_args!("execute_tool {function}"),
        otel.kind = "internal",
        otel.status_code = Empty,
        { names::OPERATION_NAME } = operation::EXECUTE_TOOL,
        { names::TOOL_NAME } = %function,
        { names::TOOL_TYPE } = "extension",
        { names::CONVERSATION_ID } = call.session,
        { names::TENANT } = call.tenant,
        { names::RUN } = %call.run,
        { names::CALL } = i64::from(call.call),
        { names::PRINCIPAL } = %call.principal,
        { names::ERROR_TYPE } = Empty,
    )
}

/// A model answers. [`record_model`] tells which, once it is found.
pub fn chat(call: &CallSpan<'_>, model: &str, stream: bool) -> Span {
    tracing::info_span!(
        target: "ringfence::call",
        "chat",
        otel.name = %format_args!("chat {model}"),
        otel.kind = "client",
        otel.status_code = Empty,
        { names::OPERATION_NAME } = operation::CHAT,
        { names::PROVIDER_NAME } = Empty,
        { names::REQUEST_MODEL } = Empty,
        { names::REQUEST_STREAM } = stream,
        { names::RESPONSE_MODEL } = Empty,
        { names::CONVERSATION_ID } = call.session,
        { names::TENANT } = call.tenant,
        { names::RUN } = %call.run,
        { names::CALL } = i64::from(call.call),
        { names::PRINCIPAL } = %call.principal,
        { names::USAGE_INPUT_TOKENS } = Empty,
        { names::USAGE_OUTPUT_TOKENS } = Empty,
        { names::ERROR_TYPE } = Empty,
    )
}

/// A guest's HTTP request leaves the host. `host` is the authority without credentials.
pub fn outgoing_http(call: &CallSpan<'_>, method: &str, host: &str) -> Span {
    tracing::info_span!(
        target: "ringfence::call",
        "http",
        otel.name = %format_args!("{method} {host}"),
        otel.kind = "client",
        otel.status_code = Empty,
        { names::HTTP_METHOD } = method,
        { names::SERVER_ADDRESS } = host,
        { names::HTTP_STATUS } = Empty,
        { names::TENANT } = call.tenant,
        { names::RUN } = %call.run,
        { names::CALL } = i64::from(call.call),
        { names::PRINCIPAL } = %call.principal,
        { names::ERROR_TYPE } = Empty,
    )
}

/// An MCP client asks for something.
pub fn mcp_request(method: &'static str, target: &str) -> Span {
    tracing::info_span!(
        target: "ringfence::gateway",
        "mcp",
        otel.name = %format_args!("{method} {target}"),
        otel.kind = "server",
        otel.status_code = Empty,
        { names::MCP_METHOD_NAME } = method,
        { names::ERROR_TYPE } = Empty,
    )
}

/// Notes which model the current span asks. `provider` is the convention's name of who answers, such as
/// `openai`.
pub fn record_model(provider: &str, model: &str) {
    let span = Span::current();
    span.record(names::PROVIDER_NAME, provider);
    span.record(names::REQUEST_MODEL, model);
}

/// Notes how many tokens were used.
pub fn record_usage(span: &Span, input_tokens: u64, output_tokens: u64) {
    span.record(names::USAGE_INPUT_TOKENS, number(input_tokens));
    span.record(names::USAGE_OUTPUT_TOKENS, number(output_tokens));
}

/// Notes what a server answered.
pub fn record_status(span: &Span, status: http::StatusCode) {
    span.record(names::HTTP_STATUS, i64::from(status.as_u16()));
}

/// OpenTelemetry has signed numbers only; others would be exported as text.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Notes which model answered, and why its answer ended.
pub fn record_answer(span: &Span, model: &str, finish_reason: &'static str) {
    if span.is_disabled() {
        return;
    }
    span.record(names::RESPONSE_MODEL, model);
    // A list by the conventions, of which `tracing` has none.
    let reasons = Value::Array(Array::String(vec![finish_reason.into()]));
    span.set_attribute(names::RESPONSE_FINISH_REASONS, reasons);
}

/// Notes that the call failed; `code` is [`crate::error::CallError::code`].
pub fn record_error(span: &Span, code: &'static str) {
    span.record(names::ERROR_TYPE, code);
    span.record("otel.status_code", "ERROR");
}
