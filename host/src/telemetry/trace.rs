//! Traces that somebody else began or goes on with (W3C Trace Context): read from callers, handed to other hosts.
//!
//! Nothing here refuses a call: what is no trace is left out.

use std::str::FromStr as _;

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Name of the header, and of the field of MCP's `_meta`.
const PARENT: &str = "traceparent";
/// As [`PARENT`].
const STATE: &str = "tracestate";
/// Bytes of a `tracestate` that are handed on; a longer one is left out.
pub const STATE_BYTES: usize = 512;
/// Members of it, at most (W3C Trace Context, 3.3.1.1).
const MEMBERS: usize = 32;

/// A place in a trace: the span that a call belongs under.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteTrace(SpanContext);

impl RemoteTrace {
    /// Reads both values; `state` only counts beside a valid `parent`.
    pub fn read(parent: &str, state: Option<&str>) -> Option<Self> {
        let read = parse(parent)?;
        let state =
            state.filter(|state| state.len() <= STATE_BYTES && state.split(',').count() <= MEMBERS);
        let state = state.and_then(|state| TraceState::from_str(state).ok());
        Some(Self(SpanContext::new(
            read.trace_id(),
            read.span_id(),
            read.trace_flags(),
            true,
            state.unwrap_or_default(),
        )))
    }

    /// What a request over HTTP says. A `traceparent` that is there twice means nothing.
    pub fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(PARENT).iter();
        let parent = parents.next()?.to_str().ok()?;
        if parents.next().is_some() {
            return None;
        }
        let states = headers.get_all(STATE).iter();
        let states: Result<Vec<&str>, _> = states.map(|state| state.to_str()).collect();
        let state = states.ok().map(|states| states.join(","));
        Self::read(parent, state.as_deref())
    }

    /// The place of a span that is traced here.
    pub fn of_span(span: &Span) -> Option<Self> {
        if span.is_disabled() {
            return None;
        }
        let context = span.context().span().span_context().clone();
        context.is_valid().then_some(Self(context))
    }

    /// The value of `traceparent`.
    pub fn parent(&self) -> String {
        format!(
            "00-{}-{}-{:02x}",
            self.0.trace_id(),
            self.0.span_id(),
            self.0.trace_flags() & TraceFlags::SAMPLED
        )
    }

    /// The value of `tracestate`; none where there is nothing in it.
    pub fn state(&self) -> Option<String> {
        let state = self.0.trace_state().header();
        (!state.is_empty()).then_some(state)
    }

    /// Makes `span` part of the trace. It has to be new.
    pub fn adopt(&self, span: &Span) {
        if span.is_disabled() {
            return;
        }
        let parent = Context::new().with_remote_span_context(self.0.clone());
        // It fails when spans are not exported, and then there is no trace to be part of.
        let _ = span.set_parent(parent);
    }
}

/// Reads a `traceparent` of version 00, or of a later one as far as it is like it.
fn parse(text: &str) -> Option<SpanContext> {
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
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_read_is_what_is_handed_on() {
        for parent in [GOOD, &GOOD.replace("-01", "-00")] {
            let trace = RemoteTrace::read(parent, Some("a=1, b@c=2")).unwrap();
            assert_eq!(trace.parent(), parent);
            assert_eq!(trace.state().unwrap(), "a=1,b@c=2");
            assert!(trace.0.is_remote());
            let again = RemoteTrace::read(&trace.parent(), trace.state().as_deref());
            assert_eq!(again.unwrap(), trace);
        }
        // A later version is read as far as it is known.
        let later = RemoteTrace::read(&GOOD.replace("00-0af", "01-0af"), None).unwrap();
        assert_eq!(later.parent(), GOOD);
        assert_eq!(later.state(), None);
    }

    #[test]
    fn what_is_no_traceparent_is_left_out() {
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
            assert_eq!(RemoteTrace::read(bad, None), None, "{bad}");
        }
    }

    #[test]
    fn a_tracestate_that_is_too_large_or_none_costs_the_trace_nothing() {
        let long = format!("a={}", "x".repeat(STATE_BYTES));
        let many = vec!["a=1"; MEMBERS + 1].join(",");
        for bad in [&*long, &many, "no member", "a b=1"] {
            let trace = RemoteTrace::read(GOOD, Some(bad)).unwrap();
            assert_eq!(
                (trace.parent(), trace.state()),
                (GOOD.to_owned(), None),
                "{bad}"
            );
        }
        let fits = format!("a={}", "x".repeat(200));
        let trace = RemoteTrace::read(GOOD, Some(&fits)).unwrap();
        assert_eq!(trace.state(), Some(fits));
    }

    #[test]
    fn headers_are_read_once() {
        let mut headers = HeaderMap::new();
        assert_eq!(RemoteTrace::of_headers(&headers), None);
        headers.insert(PARENT, GOOD.parse().unwrap());
        headers.append(STATE, "a=1".parse().unwrap());
        headers.append(STATE, "b=2".parse().unwrap());
        let trace = RemoteTrace::of_headers(&headers).unwrap();
        assert_eq!(trace.state().unwrap(), "a=1,b=2");
        headers.append(PARENT, GOOD.parse().unwrap());
        assert_eq!(RemoteTrace::of_headers(&headers), None);
    }
}
