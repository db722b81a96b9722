//! Frames out of an HTTP/2 body, and HTTP bodies out of and into frames.

use std::convert::Infallible;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame as HttpFrame, Incoming};
use wasmtime_wasi_http::Error;

use super::frame::{DATA_BYTES, Decoder, Frame, FrameError, FrameKind, encode};
use super::wire::WireHeaders;
use crate::body::Body;

/// Why no frame comes any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// What came are no frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The connection broke, or the other side gave up.
    #[error("the other host went away")]
    Gone(#[source] hyper::Error),
    /// The body ended within a frame.
    #[error("the other host stopped within a frame")]
    Short,
}

/// Reads frames.
pub(crate) struct Reader {
    body: Incoming,
    decoder: Decoder,
}

impl Reader {
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            body,
            decoder: Decoder::default(),
        }
    }

    /// The next frame; none at the end.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, ReadError> {
        loop {
            if let Some(frame) = self.decoder.next()? {
                return Ok(Some(frame));
            }
            match self.body.frame().await {
                Some(Ok(piece)) => {
                    if let Ok(bytes) = piece.into_data() {
                        self.decoder.push(&bytes);
                    }
                }
                Some(Err(error)) => return Err(ReadError::Gone(error)),
                None if self.decoder.is_empty() => return Ok(None),
                None => return Err(ReadError::Short),
            }
        }
    }

    /// The HTTP body that follows. It fails when it ends without having said so. `guard` is kept until then.
    pub(crate) fn into_body<G: Send + 'static>(self, guard: G) -> Body {
        let pieces = stream::unfold(Some((self, guard)), |state| async move {
            let (mut reader, guard) = state?;
            let frame = match reader.next().await {
                Ok(Some(frame)) => frame,
                Ok(None) | Err(_) => return Some((Err(Error::HttpResponseIncomplete), None)),
            };
            match frame.kind {
                FrameKind::Data => {
                    let piece = Ok(HttpFrame::data(frame.content));
                    Some((piece, Some((reader, guard))))
                }
                FrameKind::Trailers => {
                    let read = serde_json::from_slice::<WireHeaders>(&frame.content).ok();
                    let trailers = read.and_then(|headers| headers.read());
                    let last = trailers.map(HttpFrame::trailers);
                    Some((last.ok_or(Error::HttpResponseIncomplete), None))
                }
                FrameKind::End => None,
                _ => Some((Err(Error::HttpProtocolError), None)),
            }
        });
        StreamBody::new(pieces).boxed_unsync()
    }
}

/// What one frame of an HTTP body is as frames of the protocol.
pub(crate) fn pieces(frame: HttpFrame<Bytes>) -> Result<Vec<Bytes>, FrameError> {
    match frame.into_data() {
        Ok(data) => data
            .chunks(DATA_BYTES)
            .map(|chunk| encode(FrameKind::Data, chunk))
            .collect(),
        Err(frame) => match frame.into_trailers() {
            Ok(trailers) => {
                let json = serde_json::to_vec(&WireHeaders::from(&trailers)).unwrap_or_default();
                Ok(vec![encode(FrameKind::Trailers, &json)?])
            }
            Err(_) => Ok(Vec::new()),
        },
    }
}

/// A body of frames that are there already.
pub(crate) fn whole(frames: Bytes) -> Body {
    http_body_util::Full::new(frames)
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}
