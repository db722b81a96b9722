//! Answers in pieces: a stream of server-sent events that ends with `[DONE]`.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;

use super::error::Failure;

/// Time between two comments while there is nothing to say, so that proxies keep the stream open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One event.
pub(super) fn event(data: &impl Serialize) -> Bytes {
    match serde_json::to_string(data) {
        Ok(json) => frame(&json),
        // Only a map with keys that are no strings can fail, and there is none.
        Err(_) => frame(r#"{"error":{"message":"failed"}}"#),
    }
}

/// The event of a failure; nothing follows it.
pub(super) fn failure(failure: &Failure) -> Bytes {
    frame(&failure.event())
}

/// The end.
pub(super) fn done() -> Bytes {
    Bytes::from_static(b"data: [DONE]\n\n")
}

fn frame(json: &str) -> Bytes {
    // JSON text has no line breaks of its own.
    Bytes::from(format!("data: {json}\n\n"))
}

/// A response of events.
pub(super) fn response(events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let events = keep_alive(events, KEEP_ALIVE).map(Ok::<_, std::convert::Infallible>);
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Adds a comment whenever nothing came for a while.
fn keep_alive(
    events: impl Stream<Item = Bytes> + Send + 'static,
    every: Duration,
) -> impl Stream<Item = Bytes> + Send + 'static {
    futures::stream::unfold(Box::pin(events), move |mut events| async move {
        match tokio::time::timeout(every, events.next()).await {
            Ok(event) => event.map(|event| (event, events)),
            Err(_) => Some((Bytes::from_static(b": still working\n\n"), events)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_filled_with_comments() {
        let slow = futures::stream::once(async {
            tokio::time::sleep(Duration::from_secs(25)).await;
            done()
        });
        let all: Vec<Bytes> = keep_alive(slow, Duration::from_secs(10)).collect().await;
        assert_eq!(all.len(), 3);
        assert!(all[0].starts_with(b": ") && all[1].starts_with(b": ") && all[2] == done());
    }
}
