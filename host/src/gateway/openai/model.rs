//! A model as it is, with the caller's own tools.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::StatusCode;
use ringfence_api::Name;

use super::answer::{Delta, Head, as_text, finish_word};
use super::error::Failure;
use super::wire::ChatRequest;
use super::{convert, sse};
use crate::gateway::respond::json;
use crate::gateway::shared::{InFlight, Shared};
use crate::mediation::AnswerStream;
use crate::mediation::{CallContext, Reply, Request};
use crate::model::{Completion, CompletionEvent};

/// Lets a model answer.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    model: Name,
    request: ChatRequest,
    context: CallContext,
    in_flight: InFlight,
) -> Result<Response, Failure> {
    let head = Head::new(&context.run, &request.model);
    let (streams, wants_usage) = (request.streams(), request.wants_usage());
    let request = convert::completion(request)?;
    if !streams {
        let call = Request::Complete { model, request };
        let completion = shared
            .host
            .call(context, call)
            .await
            .and_then(Reply::into_completion)?;
        drop(in_flight);
        let finish = finish_word(completion.finish_reason);
        let Completion { message, usage, .. } = completion;
        let content = Some(as_text(&message.content)).filter(|text| !text.is_empty());
        return Ok(json(
            StatusCode::OK,
            &head.whole(content, message.tool_calls, finish, usage),
        ));
    }
    let call = Request::Stream { model, request };
    let stream = shared
        .host
        .call(context, call)
        .await
        .and_then(Reply::into_stream)?;
    let relay = Relay {
        head,
        wants_usage,
        stream,
        calls: 0,
        ended: false,
        _held: in_flight,
    };
    Ok(sse::response(relay.events()))
}

/// A model's answer on its way to the caller.
struct Relay {
    head: Head,
    wants_usage: bool,
    stream: AnswerStream,
    /// Calls that were sent.
    calls: usize,
    ended: bool,
    _held: InFlight,
}

impl Relay {
    fn events(self) -> impl Stream<Item = Bytes> + Send + 'static {
        let ready = VecDeque::from([sse::event(&self.head.chunk(Delta::first(), None))]);
        futures::stream::unfold((self, ready), |(mut relay, mut ready)| async move {
            if ready.is_empty() && !relay.ended {
                relay.read(&mut ready).await;
            }
            ready.pop_front().map(|event| (event, (relay, ready)))
        })
    }

    async fn read(&mut self, ready: &mut VecDeque<Bytes>) {
        match self.stream.next().await {
            Some(Ok(CompletionEvent::Text(text))) => {
                ready.push_back(sse::event(&self.head.chunk(Delta::text(text), None)));
            }
            Some(Ok(CompletionEvent::ToolCall(call))) => {
                ready.push_back(sse::event(
                    &self.head.chunk(Delta::call(self.calls, call), None),
                ));
                self.calls += 1;
            }
            Some(Ok(CompletionEvent::Finished(completion))) => {
                self.ended = true;
                let finish = finish_word(completion.finish_reason);
                ready.push_back(sse::event(&self.head.chunk(Delta::default(), Some(finish))));
                if self.wants_usage {
                    ready.push_back(sse::event(&self.head.usage(completion.usage)));
                }
                ready.push_back(sse::done());
            }
            Some(Err(error)) => {
                self.ended = true;
                ready.push_back(sse::failure(&error.into()));
            }
            None => {
                self.ended = true;
                let error = crate::error::CallError::Unavailable("the answer broke off".to_owned());
                ready.push_back(sse::failure(&error.into()));
            }
        }
    }
}
