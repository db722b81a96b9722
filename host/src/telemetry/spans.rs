//! Spans of calls, with the names of [`super::names`].
//!
//! Each function builds a span that the caller enters or instruments a future with. When nobody
//! listens, a span costs one atomic load.

use std::fmt::Display;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId};
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

/// Makes `span` part of the trace that a caller outside started. What is not a W3C `traceparent` is
/// ignored: a trace is never a reason to refuse a call.
pub fn set_remote_parent(span: &Span, traceparent: &str) {
    if span.is_disabled() {
        return;
    }
    if let Some(context) = parse_traceparent(traceparent) {
        let parent = opentelemetry::Context::new().with_remote_span_context(context);
        // It fails when spans are not exported, and then there is no trace to be part of.
        let _ = span.set_parent(parent);
    }
}

/// Reads a `traceparent` of version 00 (W3C Trace Context).
fn parse_traceparent(text: &str) -> Option<SpanContext> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower_hex = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let lengths_fit = (version.len(), trace.len(), span.len(), flags.len()) == (2, 32, 16, 2);
    if !lengths_fit || ![version, trace, span, flags].into_iter().all(lower_hex) {
        return None;
    }
    // Later versions may append fields; version ff is forbidden, and version 00 has exactly four.
    if version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED,
        true,
        Default::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read() {
        let context = parse_traceparent(GOOD).unwrap();
        assert_eq!(
            context.trace_id().to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert_eq!(context.span_id().to_string(), "b7ad6b7169203331");
        assert!(context.is_sampled() && context.is_remote());
    }

    #[test]
    fn what_is_not_a_traceparent_is_ignored() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033-01",
        ] {
            assert!(parse_traceparent(bad).is_none(), "{bad}");
        }
    }
}
