//! Frames: what travels in the bodies of a peer's request and of its answer. Each is one byte that says
//! what it is, the length of its content as four bytes, the highest first, and the content.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// Bytes of one frame that holds JSON: a call with its arguments, or its result.
pub(crate) const MESSAGE_BYTES: usize = 64 << 20;
/// Bytes of one frame that holds a piece of an HTTP body.
pub(crate) const DATA_BYTES: usize = 1 << 20;
/// Bytes before the content.
const HEADER: usize = 5;

/// What a frame is. The numbers are the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FrameKind {
    /// What is asked; the first frame of every request.
    Ask = 1,
    /// A piece of an HTTP body.
    Data = 2,
    /// The trailers of an HTTP body, which end it.
    Trailers = 3,
    /// The end of an HTTP body without trailers.
    End = 4,
    /// The call has begun: from here on it may have had effects.
    Began = 5,
    /// Partial output of the callee.
    Event = 6,
    /// The answer: the last frame but for an HTTP body.
    Answer = 7,
}

impl FrameKind {
    fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Ask,
            2 => Self::Data,
            3 => Self::Trailers,
            4 => Self::End,
            5 => Self::Began,
            6 => Self::Event,
            7 => Self::Answer,
            _ => return None,
        })
    }

    /// The most bytes that its content may have.
    pub(crate) fn most(self) -> usize {
        match self {
            Self::Ask | Self::Answer | Self::Event => MESSAGE_BYTES,
            Self::Data | Self::Trailers => DATA_BYTES,
            Self::End | Self::Began => 0,
        }
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    pub(crate) content: Bytes,
}

/// Why bytes are no frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The other side speaks of something that this version does not know.
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    /// It is larger than its kind may be.
    #[error("a frame of {length} bytes (at most {most})")]
    TooLarge {
        /// What its header says.
        length: usize,
        /// The most.
        most: usize,
    },
}

/// Writes a frame.
///
/// # Errors
/// The content is larger than its kind may be.
pub(crate) fn encode(kind: FrameKind, content: &[u8]) -> Result<Bytes, FrameError> {
    let header = header(kind, content.len())?;
    let mut frame = BytesMut::with_capacity(HEADER + content.len());
    frame.put_slice(&header);
    frame.put_slice(content);
    Ok(frame.freeze())
}

/// The bytes before a content of that length.
///
/// # Errors
/// As [`encode`].
pub(crate) fn header(kind: FrameKind, length: usize) -> Result<[u8; HEADER], FrameError> {
    let most = kind.most();
    let too_large = FrameError::TooLarge { length, most };
    if length > most {
        return Err(too_large);
    }
    let [a, b, c, d] = u32::try_from(length).map_err(|_| too_large)?.to_be_bytes();
    Ok([kind as u8, a, b, c, d])
}

/// Takes frames out of a stream of bytes. It holds at most one frame and one piece more.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Adds what came.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame. A length that is too large is refused before its content has come.
    ///
    /// # Errors
    /// See [`FrameError`]; nothing further can be read.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((header, _)) = self.buffer.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [kind, a, b, c, d] = *header;
        let kind = FrameKind::of(kind).ok_or(FrameError::Kind(kind))?;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let most = kind.most();
        if length > most {
            return Err(FrameError::TooLarge { length, most });
        }
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        let content = self.buffer.split_to(length).freeze();
        Ok(Some(Frame { kind, content }))
    }

    /// Whether what came ends between two frames.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_frame() -> impl Strategy<Value = Frame> {
        (1..=7_u8, proptest::collection::vec(any::<u8>(), 0..200)).prop_map(|(kind, content)| {
            let kind = FrameKind::of(kind).unwrap();
            let content: Bytes = content.into();
            Frame {
                kind,
                content: content.slice(..content.len().min(kind.most())),
            }
        })
    }

    proptest! {
        #[test]
        fn frames_come_back_however_they_are_cut(
            frames in proptest::collection::vec(any_frame(), 0..10),
            cut in 1..50_usize,
        ) {
            let mut bytes = Vec::new();
            for frame in &frames {
                bytes.extend_from_slice(&encode(frame.kind, &frame.content).unwrap());
            }
            let (mut decoder, mut read) = (Decoder::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                while let Some(frame) = decoder.next().unwrap() {
                    read.push(frame);
                }
            }
            prop_assert_eq!(read, frames);
            prop_assert!(decoder.is_empty());
        }

        #[test]
        fn any_bytes_are_frames_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            let mut read = 0;
            while let Ok(Some(frame)) = decoder.next() {
                read += HEADER + frame.content.len();
            }
            prop_assert!(read <= bytes.len());
        }
    }

    #[test]
    fn a_frame_that_is_too_large_is_refused_by_its_header() {
        for kind in [FrameKind::Ask, FrameKind::Data, FrameKind::Began] {
            let most = kind.most();
            let length = u32::try_from(most + 1).unwrap().to_be_bytes();
            let mut decoder = Decoder::default();
            decoder.push(&[kind as u8]);
            decoder.push(&length);
            let refused = FrameError::TooLarge {
                length: most + 1,
                most,
            };
            assert_eq!(decoder.next(), Err(refused.clone()));
            assert_eq!(header(kind, most + 1), Err(refused));
        }
    }
}
