//! Receiving the bytes of an artifact, without trusting how many there are.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use ringfence_api::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::error::ArtifactError;
use super::files;

/// Uploads and pulls at the same time.
pub const UPLOADS: usize = 8;
/// Time between two pieces of an upload.
pub const UPLOAD_IDLE: Duration = Duration::from_secs(30);
/// Bytes read at a time.
const CHUNK: usize = 64 << 10;

/// The bytes of an artifact on their way in.
pub struct Upload {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    length: Option<u64>,
    digest: Option<Digest>,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload")
            .field("length", &self.length)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl Upload {
    /// From a stream.
    pub fn new(reader: impl AsyncRead + Send + 'static) -> Self {
        Self {
            reader: Box::pin(reader),
            length: None,
            digest: None,
        }
    }

    /// From memory.
    pub fn bytes(bytes: impl Into<bytes::Bytes>) -> Self {
        let bytes = bytes.into();
        let length = bytes.len() as u64;
        Self::new(io::Cursor::new(bytes)).with_length(length)
    }

    /// The number of bytes that the sender announces: too many are refused before any is read, and
    /// any other number is an error.
    #[must_use]
    pub fn with_length(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }

    /// The digest that the bytes must have.
    #[must_use]
    pub fn with_digest(mut self, digest: Digest) -> Self {
        self.digest = Some(digest);
        self
    }
}

/// A complete upload in a temporary file.
pub(super) struct Received {
    pub file: NamedTempFile,
    pub digest: Digest,
}

pub(super) async fn receive(
    upload: Upload,
    temp: &Path,
    maximum: u64,
) -> Result<Received, ArtifactError> {
    let Upload {
        mut reader,
        length,
        digest: expected,
    } = upload;
    if length.is_some_and(|length| length > maximum) {
        return Err(ArtifactError::TooLarge { maximum });
    }
    let fail = || ArtifactError::io("store an artifact");
    let file = files::temporary(temp).map_err(fail())?;
    let mut out = tokio::fs::File::from_std(file.as_file().try_clone().map_err(fail())?);
    let (mut sha, mut size) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = tokio::time::timeout(UPLOAD_IDLE, reader.read(&mut buffer)).await;
        let idle =
            |_| ArtifactError::Incomplete(format!("nothing came for {} s", UPLOAD_IDLE.as_secs()));
        let read = read
            .map_err(idle)?
            .map_err(|e| ArtifactError::Incomplete(e.to_string()))?;
        if read == 0 {
            break;
        }
        size += read as u64;
        if size > maximum {
            return Err(ArtifactError::TooLarge { maximum });
        }
        sha.update(&buffer[..read]);
        out.write_all(&buffer[..read]).await.map_err(fail())?;
    }
    out.flush().await.map_err(fail())?;
    if let Some(length) = length.filter(|length| *length != size) {
        return Err(ArtifactError::Incomplete(format!(
            "{size} of {length} bytes came"
        )));
    }
    let actual = Digest::from_bytes(sha.finalize().into());
    match expected {
        Some(expected) if expected != actual => {
            Err(ArtifactError::DigestMismatch { expected, actual })
        }
        _ => Ok(Received {
            file,
            digest: actual,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(upload: Upload) -> ArtifactError {
        let dir = tempfile::tempdir().unwrap();
        let error = receive(upload, dir.path(), 4).await.err().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{error}");
        error
    }

    #[tokio::test]
    async fn whole_uploads_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let upload = Upload::bytes("1234").with_digest(Digest::of(b"1234"));
        let received = receive(upload, dir.path(), 4).await.unwrap();
        assert_eq!(std::fs::read(received.file.path()).unwrap(), b"1234");
        assert_eq!(received.digest, Digest::of(b"1234"));
    }

    #[tokio::test]
    async fn what_is_announced_too_large_is_not_read() {
        // Reading it would never end.
        let upload = Upload::new(tokio::io::repeat(0)).with_length(5);
        assert!(matches!(
            refused(upload).await,
            ArtifactError::TooLarge { maximum: 4 }
        ));
    }

    #[tokio::test]
    async fn what_is_too_large_unannounced_is_read_up_to_the_limit() {
        let upload = Upload::new(tokio::io::repeat(0));
        assert!(matches!(
            refused(upload).await,
            ArtifactError::TooLarge { maximum: 4 }
        ));
    }

    #[tokio::test]
    async fn other_lengths_and_digests_are_refused() {
        let short = Upload::bytes("12").with_length(3);
        assert!(matches!(refused(short).await, ArtifactError::Incomplete(_)));
        let other = Upload::bytes("12").with_digest(Digest::of(b"13"));
        assert!(matches!(
            refused(other).await,
            ArtifactError::DigestMismatch { .. }
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_stops_is_given_up() {
        let (_sender, receiver) = tokio::io::duplex(8);
        assert!(matches!(
            refused(Upload::new(receiver)).await,
            ArtifactError::Incomplete(_)
        ));
    }
}
