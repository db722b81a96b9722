//! Bodies: streamed, bounded in time, and counted in `/metrics`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use super::error::{EgressError, TimedOut, root_cause};
use crate::telemetry::Metrics;

/// A body on its way out or in. The sandbox's `wasi:http` bodies have the same shape with another
/// error, so that `map_err(..).boxed_unsync()` is all there is between the two.
pub type Body = UnsyncBoxBody<Bytes, EgressError>;

/// A body without content.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is in memory already.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Reads a body to its end.
///
/// # Errors
/// It is longer than `maximum` (reported as the limit `name`), or breaks off.
pub async fn read(
    mut body: Body,
    name: &'static str,
    maximum: usize,
) -> Result<Bytes, EgressError> {
    let over = || EgressError::Limit {
        name,
        maximum: maximum as u64,
    };
    if body.size_hint().lower() > maximum as u64 {
        return Err(over());
    }
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if data.len() > maximum - all.len() {
                return Err(over());
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(all.freeze())
}

/// A request body, counted as it is handed to the connection.
pub(super) struct Sent {
    inner: Body,
    metrics: Arc<Metrics>,
}

impl Sent {
    pub(super) fn new(inner: Body, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.metrics.egress_sent(data_bytes(frame));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn data_bytes(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, Bytes::len) as u64
}

/// A response body with its deadlines. Dropping it closes the exchange.
pub(super) struct Timed {
    inner: Incoming,
    host: String,
    between: Duration,
    waiting: Pin<Box<Sleep>>,
    end: Pin<Box<Sleep>>,
    failed: bool,
    metrics: Arc<Metrics>,
    _in_flight: OwnedSemaphorePermit,
}

impl Timed {
    pub(super) fn new(
        inner: Incoming,
        host: String,
        between: Duration,
        end: Instant,
        metrics: Arc<Metrics>,
        in_flight: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            inner,
            host,
            between,
            waiting: Box::pin(tokio::time::sleep(between)),
            end: Box::pin(tokio::time::sleep_until(end)),
            failed: false,
            metrics,
            _in_flight: in_flight,
        }
    }
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        let this = &mut *self;
        if this.failed {
            return Poll::Ready(None);
        }
        // Checked first: a sender that always has one more byte would never be stopped otherwise.
        if this.end.as_mut().poll(cx).is_ready() {
            this.failed = true;
            return Poll::Ready(Some(Err(EgressError::Timeout(TimedOut::Total))));
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.metrics.egress_received(data_bytes(&frame));
                this.waiting.as_mut().reset(Instant::now() + this.between);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.failed = true;
                Poll::Ready(Some(Err(EgressError::find(&error).unwrap_or_else(|| {
                    EgressError::Protocol {
                        host: this.host.clone(),
                        cause: root_cause(&error),
                    }
                }))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                if this.waiting.as_mut().poll(cx).is_ready() {
                    this.failed = true;
                    return Poll::Ready(Some(Err(EgressError::Timeout(TimedOut::BetweenBytes))));
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
