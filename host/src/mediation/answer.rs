//! A model's answer on its way back through the layers.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};

use super::call::CallContext;
use crate::error::CallError;
use crate::model::{CompletionEvent, CompletionStream};

/// One event of an answer, or its failure.
type Event = Result<CompletionEvent, CallError>;

/// A model's answer in pieces. It ends after `Finished` or the first error.
pub struct AnswerStream(BoxStream<'static, Event>);

impl From<CompletionStream> for AnswerStream {
    fn from(stream: CompletionStream) -> Self {
        Self(stream.into_stream().boxed())
    }
}

impl Stream for AnswerStream {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_next_unpin(cx)
    }
}

impl AnswerStream {
    /// Shows every event to `look` on its way.
    pub(crate) fn inspect(self, look: impl FnMut(&Event) + Send + 'static) -> Self {
        Self(self.0.inspect(look).boxed())
    }

    /// Keeps `guard` until the stream ends or is dropped.
    pub(crate) fn holding<G: Send + 'static>(self, guard: G) -> Self {
        let mut guard = Some(guard);
        let end = futures::stream::poll_fn(move |_| {
            drop(guard.take());
            Poll::Ready(None)
        });
        Self(self.0.chain(end).boxed())
    }

    /// Ends the stream with an error when the call's time is over or its caller gives up.
    pub(crate) fn until(self, context: &CallContext) -> Self {
        let start = (self.0, context.cancel.clone(), context.deadline, false);
        let events =
            futures::stream::unfold(start, |(mut inner, cancel, deadline, over)| async move {
                if over {
                    return None;
                }
                let event = tokio::select! {
                    biased;
                    event = inner.next() => event?,
                    () = cancel.cancelled() => Err(CallError::Canceled),
                    () = tokio::time::sleep_until(deadline.into()) => Err(CallError::Timeout),
                };
                let over = event.is_err();
                Some((event, (inner, cancel, deadline, over)))
            });
        Self(events.boxed())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::mediation::Principal;

    fn context(timeout: Duration) -> CallContext {
        let tenant = ringfence_api::TenantName::default();
        CallContext::start(tenant.clone(), Principal::user(tenant, "test"), timeout)
    }

    fn text(text: &str) -> Event {
        Ok(CompletionEvent::Text(text.to_owned()))
    }

    #[tokio::test]
    async fn an_answer_that_ends_in_time_is_untouched() {
        let stream = AnswerStream(futures::stream::iter([text("a"), text("b")]).boxed());
        let events: Vec<_> = stream
            .until(&context(Duration::from_secs(60)))
            .collect()
            .await;
        assert_eq!(events, [text("a"), text("b")]);
    }

    #[tokio::test]
    async fn a_silent_answer_ends_with_the_call() {
        let silent = AnswerStream(futures::stream::pending().boxed());
        let events: Vec<_> = silent.until(&context(Duration::ZERO)).collect().await;
        assert_eq!(events, [Err(CallError::Timeout)]);
    }

    #[tokio::test]
    async fn a_guard_is_released_at_the_end() {
        let guard = Arc::new(());
        let mut stream =
            AnswerStream(futures::stream::iter([text("a")]).boxed()).holding(guard.clone());
        assert!(stream.next().await.is_some());
        assert_eq!(Arc::strong_count(&guard), 2);
        assert!(stream.next().await.is_none());
        assert_eq!(Arc::strong_count(&guard), 1);
    }
}
