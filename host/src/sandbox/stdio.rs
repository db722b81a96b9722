//! Standard output and error of a guest: bounded, captured, never the host's own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::error::CallError;

/// Bytes that a guest may be allowed to write at a time.
const CHUNK: usize = 64 << 10;
/// Bytes of standard error that a failed command shows to its caller.
const TAIL: usize = 2 << 10;

/// A bounded buffer that a guest writes to. Writing more than the limit ends the call.
#[derive(Debug, Clone)]
pub(crate) struct Capture {
    limit_name: &'static str,
    limit: u64,
    buffer: Arc<Mutex<BytesMut>>,
}

impl Capture {
    pub(crate) fn new(limit_name: &'static str, limit: u64) -> Self {
        Self {
            limit_name,
            limit,
            buffer: Arc::default(),
        }
    }

    /// What was written so far; the buffer is empty afterwards.
    pub(crate) fn take(&self) -> Bytes {
        self.buffer.lock().split().freeze()
    }

    /// The end of what was written, for people; the buffer keeps it.
    pub(crate) fn tail(&self) -> Bytes {
        let buffer = self.buffer.lock();
        let start = buffer.len().saturating_sub(TAIL);
        Bytes::copy_from_slice(&buffer[start..])
    }

    fn append(&self, bytes: &[u8]) -> Result<(), CallError> {
        let mut buffer = self.buffer.lock();
        if (buffer.len() + bytes.len()) as u64 > self.limit {
            return Err(CallError::limit(self.limit_name, self.limit));
        }
        buffer.extend_from_slice(bytes);
        Ok(())
    }
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // A trap rather than a stream error: a guest that ignores failed writes must not go on.
        self.append(&bytes)
            .map_err(|error| StreamError::Trap(error.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Capture {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(
            self.append(bytes)
                .map(|()| bytes.len())
                .map_err(std::io::Error::other),
        )
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
