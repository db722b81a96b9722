//! The body of an HTTP message on its way through the host, in either direction.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty, Full};
use wasmtime_wasi_http::Error;

use crate::egress::EgressError;
use crate::error::CallError;

/// A stream of bytes. The same type that wasmtime's `wasi:http` uses, so that bodies pass between
/// sandboxes and the network without being wrapped again.
pub type Body = wasmtime_wasi_http::WasiBody;

/// No bytes.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// These bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// What `wasi:http` has for a response that breaks off.
pub(crate) fn broken(error: &EgressError) -> Error {
    match error {
        EgressError::Timeout(_) => Error::ConnectionReadTimeout,
        EgressError::Limit { maximum, .. } => Error::HttpResponseBodySize(Some(*maximum)),
        _ => Error::HttpResponseIncomplete,
    }
}

/// A body that fails when it grows beyond a limit, and that keeps `guard` until it ends.
pub(crate) struct Bounded<B, G> {
    inner: B,
    left: u64,
    limit: u64,
    guard: Option<G>,
}

/// Bounds `inner` to `limit` bytes. `guard` is dropped when the body ends or is dropped.
pub(crate) fn bounded<B, G>(inner: B, limit: u64, guard: Option<G>) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Error>,
    G: Send + Unpin + 'static,
{
    Bounded {
        inner,
        left: limit,
        limit,
        guard,
    }
    .boxed_unsync()
}

impl<B, G> http_body::Body for Bounded<B, G>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
    G: Unpin,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let size = frame.data_ref().map_or(0, Bytes::len) as u64;
                match self.left.checked_sub(size) {
                    Some(left) => {
                        self.left = left;
                        Some(Ok(frame))
                    }
                    None => {
                        self.guard = None;
                        Some(Err(Error::HttpResponseBodySize(Some(self.limit))))
                    }
                }
            }
            Some(Err(error)) => {
                self.guard = None;
                Some(Err(error.into()))
            }
            None => {
                self.guard = None;
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        // The guard must see the end, so the end is only told by polling it.
        self.guard.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// `limit-exceeded` under `name`, or `failed` when the stream breaks.
pub async fn collect(body: Body, name: &str, limit: u64) -> Result<Bytes, CallError> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    match http_body_util::Limited::new(body, most).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(CallError::limit(name, limit))
        }
        Err(error) => Err(CallError::Failed(format!("the body broke off: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_beyond_its_limit_fails() {
        let body = bounded(full("123456"), 5, None::<()>);
        assert!(body.collect().await.is_err());
        let body = bounded(full("12345"), 5, None::<()>);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "12345");
    }

    #[tokio::test]
    async fn collecting_names_the_limit() {
        let error = collect(full("123456"), "input-bytes", 5).await.unwrap_err();
        assert_eq!(error, CallError::limit("input-bytes", 5));
    }
}
