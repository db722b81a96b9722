//! An agent that answers as a model.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream};
use http::StatusCode;
use ringfence_api::Name;

use super::answer::{Delta, Head, as_text};
use super::error::Failure;
use super::wire::ChatRequest;
use super::{convert, sse};
use crate::error::CallError;
use crate::gateway::respond::json;
use crate::gateway::shared::{InFlight, Shared};
use crate::mediation::{AgentReply, CallContext, Reply, Request};
use crate::output::{self, Events, OutputEvent};

/// Lets an agent answer.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    agent: Name,
    request: ChatRequest,
    mut context: CallContext,
    in_flight: InFlight,
) -> Result<Response, Failure> {
    let head = Head::new(&context.run, &request.model);
    let (streams, wants_usage) = (request.streams(), request.wants_usage());
    let messages = convert::messages(request.messages)?;
    let call = Request::Agent { agent, messages };
    if !streams {
        let reply = shared
            .host
            .call(context, call)
            .await
            .and_then(Reply::into_agent)?;
        drop(in_flight);
        let content = Some(as_text(&reply.content));
        return Ok(json(
            StatusCode::OK,
            &head.whole(content, Vec::new(), "stop", reply.usage),
        ));
    }
    let (sink, events) = output::events();
    context.events = Some(sink);
    let host = shared.host.clone();
    let call = async move { host.call(context, call).await.and_then(Reply::into_agent) };
    let mut run = Run {
        head,
        wants_usage,
        events,
        call: Some(call.boxed()),
        sent: String::new(),
        _held: in_flight,
    };
    // What fails at once fails with a status, which clients handle better than an event.
    let first = run.next().await?;
    Ok(sse::response(run.stream(first)))
}

/// An agent's run while its answer is streamed.
struct Run {
    head: Head,
    wants_usage: bool,
    events: Events,
    call: Option<BoxFuture<'static, Result<AgentReply, CallError>>>,
    /// Text that was sent before the answer.
    sent: String,
    _held: InFlight,
}

enum Step {
    Piece(String),
    Answer(AgentReply),
}

impl Run {
    /// The next piece of text, or the answer.
    async fn next(&mut self) -> Result<Step, Failure> {
        loop {
            let Some(call) = &mut self.call else {
                return Err(CallError::Canceled.into());
            };
            tokio::select! {
                biased;
                Some(event) = self.events.next() => {
                    if let Some(text) = text_of(event) {
                        return Ok(Step::Piece(text));
                    }
                }
                answer = call => {
                    self.call = None;
                    return Ok(Step::Answer(answer?));
                }
            }
        }
    }

    fn piece(&mut self, text: String) -> Bytes {
        self.sent.push_str(&text);
        sse::event(&self.head.chunk(Delta::text(text), None))
    }

    /// Everything from the answer on.
    fn last(&mut self, reply: &AgentReply) -> VecDeque<Bytes> {
        let mut all = VecDeque::new();
        // The guest is gone, but what it emitted last may still wait to be read.
        while let Some(Some(event)) = self.events.next().now_or_never() {
            if let Some(text) = text_of(event) {
                all.push_back(self.piece(text));
            }
        }
        if let Some(rest) = rest_of(&self.sent, &as_text(&reply.content)) {
            all.push_back(sse::event(&self.head.chunk(Delta::text(rest), None)));
        }
        all.push_back(sse::event(&self.head.chunk(Delta::default(), Some("stop"))));
        if self.wants_usage {
            all.push_back(sse::event(&self.head.usage(reply.usage)));
        }
        all.push_back(sse::done());
        all
    }

    fn stream(mut self, first: Step) -> impl Stream<Item = Bytes> + Send + 'static {
        let mut ready = VecDeque::from([sse::event(&self.head.chunk(Delta::first(), None))]);
        self.take(first, &mut ready);
        futures::stream::unfold((self, ready), |(mut run, mut ready)| async move {
            if ready.is_empty() && run.call.is_some() {
                match run.next().await {
                    Ok(step) => run.take(step, &mut ready),
                    Err(failure) => {
                        run.call = None;
                        ready.push_back(sse::failure(&failure));
                    }
                }
            }
            ready.pop_front().map(|event| (event, (run, ready)))
        })
    }

    fn take(&mut self, step: Step, ready: &mut VecDeque<Bytes>) {
        match step {
            Step::Piece(text) => {
                let event = self.piece(text);
                ready.push_back(event);
            }
            Step::Answer(reply) => ready.extend(self.last(&reply)),
        }
    }
}

fn text_of(event: OutputEvent) -> Option<String> {
    match event {
        OutputEvent::Part(part) => Some(as_text(&[part])).filter(|text| !text.is_empty()),
        OutputEvent::Progress(_) => None,
    }
}

/// What of an answer has still to be sent after what was sent of it: nothing, its end, or all of it
/// on a line of its own.
fn rest_of(sent: &str, answer: &str) -> Option<String> {
    if answer.is_empty() || sent.ends_with(answer) {
        return None;
    }
    if let Some(rest) = answer.strip_prefix(sent) {
        return Some(rest.to_owned());
    }
    let line = if sent.ends_with('\n') { "" } else { "\n" };
    Some(format!("{line}{answer}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_sent_once() {
        assert_eq!(rest_of("", "all"), Some("all".to_owned()));
        assert_eq!(rest_of("all", "all"), None);
        assert_eq!(rest_of("thinking… all", "all"), None);
        assert_eq!(rest_of("al", "all"), Some("l".to_owned()));
        assert_eq!(rest_of("thinking", "all"), Some("\nall".to_owned()));
        assert_eq!(rest_of("thinking\n", "all"), Some("all".to_owned()));
        assert_eq!(rest_of("x", ""), None);
    }
}
