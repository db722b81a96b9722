//! The outermost layer: a record, a span and a metric for every call, however it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures::FutureExt as _;
use tower::{Layer, Service};
use tracing::{Instrument as _, Span};

use super::answer::AnswerStream;
use super::call::{Call, Reply, Request, Spent};
use super::stack::Answer;
use crate::error::CallError;
use crate::message::{Message, Part};
use crate::model::{Completion, CompletionEvent, FinishReason};
use crate::record::{CallRecord, Decision, Outcome, Records, RoutedFrom};
use crate::telemetry::spans::{self, CallSpan};
use crate::telemetry::{Metrics, Target};

/// Bytes of an error message in a record.
const MESSAGE_BYTES: usize = 512;
/// Outcome of a function that ran and reported a failure.
const TOOL_ERROR: &str = "tool-error";

/// Records calls.
#[derive(Clone)]
pub(super) struct RecordingLayer {
    records: Arc<Records>,
    metrics: Arc<Metrics>,
}

impl RecordingLayer {
    pub(super) fn new(records: Arc<Records>, metrics: Arc<Metrics>) -> Self {
        Self { records, metrics }
    }
}

#[derive(Clone)]
pub(super) struct Recording<S> {
    layer: RecordingLayer,
    inner: S,
}

impl<S> Layer<S> for RecordingLayer {
    type Service = Recording<S>;

    fn layer(&self, inner: S) -> Recording<S> {
        Recording {
            layer: self.clone(),
            inner,
        }
    }
}

impl<S> Service<Call> for Recording<S>
where
    S: Service<Call, Response = Reply, Error = CallError, Future: Send + 'static>,
{
    type Response = Reply;
    type Error = CallError;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Answer {
        let span = span(&call);
        if let Some(trace) = &call.context.trace {
            trace.adopt(&span);
        }
        let mut open = Open::new(&self.layer, &call, span.clone());
        let answer = self.inner.call(call);
        async move {
            match answer.await {
                // The record of a stream is complete when the stream is.
                Ok(Reply::Stream(stream)) => Ok(Reply::Stream(open.follow(stream))),
                answer => {
                    open.close(&answer);
                    answer
                }
            }
        }
        .instrument(span)
        .boxed()
    }
}

/// A record whose call runs. When it is dropped unclosed, the call was aborted.
struct Open {
    layer: RecordingLayer,
    began: Instant,
    spent: Arc<Spent>,
    span: Span,
    capability: &'static str,
    kind: &'static str,
    callee: Option<Target>,
    record: Option<CallRecord>,
}

impl Open {
    fn new(layer: &RecordingLayer, call: &Call, span: Span) -> Self {
        layer.metrics.call_started();
        let context = &call.context;
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let record = CallRecord {
            run: context.run,
            call: context.call,
            parent: context.parent,
            routed_from: context.routed.as_ref().map(|routed| RoutedFrom {
                host: routed.from.clone(),
                call: routed.call,
            }),
            served_by: None,
            tenant: context.tenant.clone(),
            caller: context.caller.to_string(),
            on_behalf_of: context
                .caller
                .chain()
                .skip(1)
                .map(ToString::to_string)
                .collect(),
            capability: call.request.capability().into(),
            target: call.request.target(),
            decision: Decision::Allowed,
            outcome: Outcome {
                code: "".into(),
                message: None,
            },
            started_us: micros(started),
            duration_us: 0,
            request_bytes: request_size(&call.request) as u64,
            response_bytes: 0,
            usage: None,
            cpu_us: None,
            memory_bytes: None,
        };
        Self {
            layer: layer.clone(),
            began: Instant::now(),
            spent: context.spent.clone(),
            span,
            capability: call.request.capability(),
            kind: call.request.kind(),
            callee: call.request.callee(),
            record: Some(record),
        }
    }

    /// Closes the record with the end of `stream`.
    fn follow(mut self, stream: AnswerStream) -> AnswerStream {
        stream.inspect(move |event| match event {
            Ok(CompletionEvent::Finished(completion)) => self.answered(completion),
            Ok(_) => {}
            Err(error) => self.close(&Err(error.clone())),
        })
    }

    fn answered(&mut self, completion: &Completion) {
        if let Some(record) = &mut self.record {
            record.response_bytes = completion.message.size() as u64;
            record.usage = Some(completion.usage);
        }
        let usage = completion.usage;
        spans::record_usage(&self.span, usage.input_tokens, usage.output_tokens);
        spans::record_answer(
            &self.span,
            &completion.model,
            finish_reason(completion.finish_reason),
        );
        self.layer
            .metrics
            .tokens(usage.input_tokens, usage.output_tokens);
        self.write("ok", None);
    }

    fn close(&mut self, answer: &Result<Reply, CallError>) {
        match answer {
            Ok(Reply::Completion(completion)) => self.answered(completion),
            Ok(reply) => {
                if let Some(record) = &mut self.record {
                    record.response_bytes = reply_size(reply) as u64;
                }
                if let Reply::Http(response) = reply {
                    spans::record_status(&self.span, response.status());
                }
                let failed = matches!(reply, Reply::Function(result) if result.is_error);
                self.write(if failed { TOOL_ERROR } else { "ok" }, None);
            }
            Err(error) => {
                if let (Some(record), CallError::Denied(_)) = (&mut self.record, error) {
                    record.decision = Decision::Denied;
                }
                let mut message = error.to_string();
                message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
                self.write(error.code(), Some(message));
            }
        }
    }

    fn write(&mut self, code: &'static str, message: Option<String>) {
        let Some(mut record) = self.record.take() else {
            return;
        };
        let took = self.began.elapsed();
        record.outcome = Outcome {
            code: code.into(),
            message,
        };
        record.duration_us = micros(took);
        record.served_by = self.spent.host.get().cloned();
        let (cpu, memory) = (&self.spent.cpu_us, &self.spent.memory_bytes);
        record.cpu_us = Some(cpu.load(Ordering::Relaxed)).filter(|cpu| *cpu > 0);
        record.memory_bytes = Some(memory.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0);
        if code != "ok" {
            spans::record_error(&self.span, code);
        }
        self.layer
            .metrics
            .call_finished(self.capability, self.kind, code, took);
        // Names that a guest makes up must not use up the series that real ones need.
        if let Some(target) = &self.callee
            && !matches!(code, "denied" | "not-found")
        {
            self.layer
                .metrics
                .target_finished(&record.tenant, target, code);
        }
        self.layer.records.call(record);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.write(CallError::Canceled.code(), None);
    }
}

/// The span of a call, under its OpenTelemetry name.
fn span(call: &Call) -> Span {
    let context = &call.context;
    let common = CallSpan {
        tenant: context.tenant.as_str(),
        run: &context.run,
        call: context.call,
        principal: &context.caller,
        session: context.session.as_deref(),
    };
    match &call.request {
        Request::Function { tool, function, .. } => {
            spans::execute_tool(&common, &format_args!("{tool}_{function}"))
        }
        Request::Incoming { tool, .. } => spans::execute_tool(&common, tool),
        Request::Agent { agent, .. } => spans::invoke_agent(&common, agent.as_str()),
        Request::Complete { model, .. } => spans::chat(&common, model.as_str(), false),
        Request::Stream { model, .. } => spans::chat(&common, model.as_str(), true),
        Request::Outgoing(request) => spans::outgoing_http(
            &common,
            request.method().as_str(),
            request.uri().host().unwrap_or_default(),
        ),
    }
}

/// Name of a finish reason, as OpenTelemetry's examples have it.
fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
        FinishReason::Other => "other",
    }
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn request_size(request: &Request) -> usize {
    match request {
        Request::Function { arguments, .. } => super::size::object(arguments),
        Request::Agent { messages, .. } => messages.iter().map(Message::size).sum(),
        Request::Complete { request, .. } | Request::Stream { request, .. } => {
            request.messages.iter().map(Message::size).sum()
        }
        Request::Outgoing(request) | Request::Incoming { request, .. } => {
            declared(request.headers())
        }
    }
}

fn reply_size(reply: &Reply) -> usize {
    match reply {
        Reply::Function(result) => result.size(),
        Reply::Agent(reply) => reply.content.iter().map(Part::size).sum(),
        Reply::Completion(completion) => completion.message.size(),
        Reply::Stream(_) => 0,
        Reply::Http(response) => declared(response.headers()),
    }
}

/// The size that an HTTP message declares; 0 where it streams.
fn declared(headers: &http::HeaderMap) -> usize {
    headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(0)
}
