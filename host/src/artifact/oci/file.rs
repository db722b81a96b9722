//! Pushing a component that no host has: from a file, by whoever has it.

use std::path::Path;
use std::sync::Arc;

use ringfence_api::Digest;

use super::transport::Session;
use super::{Login, OciError, REGISTRY_WALL, RegistrySettings, format};
use crate::artifact::inspect::inspect;

/// Why a file was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushFileError {
    /// It cannot be read.
    #[error("{0} cannot be read")]
    Read(std::path::PathBuf, #[source] std::io::Error),
    /// It is no component that a host would take.
    #[error("{path} is refused: {reason}")]
    Refused {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The registry.
    #[error(transparent)]
    Registry(#[from] OciError),
    /// It takes too long.
    #[error("{0} does not take it within {seconds} s", seconds = REGISTRY_WALL.as_secs())]
    Late(String),
}

/// Pushes a file to `image`, after it was inspected as a host would. Answers the digest of the component
/// and that of the image's manifest.
///
/// # Errors
/// See [`PushFileError`].
pub async fn push_file(
    path: &Path,
    image: &str,
    login: Option<Login>,
    settings: RegistrySettings,
) -> Result<(Digest, Digest), PushFileError> {
    let read = |error| PushFileError::Read(path.to_owned(), error);
    let refused = |reason: String| PushFileError::Refused {
        path: path.to_owned(),
        reason,
    };
    let bytes = tokio::fs::read(path).await.map_err(read)?;
    let inspection = inspect(&bytes).map_err(|error| refused(error.to_string()))?;
    let created = tokio::fs::metadata(path)
        .await
        .and_then(|meta| meta.modified())
        .map_err(read)?
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let digest = Digest::of(&bytes);
    let documents = format::document(
        &digest,
        bytes.len() as u64,
        u64::try_from(created.as_millis()).unwrap_or_default(),
        inspection.export_names(),
        inspection.import_names(),
    )
    .map_err(|error| refused(error.to_string()))?;
    let mut session = Session::new(&Arc::new(settings), image, login)?;
    tokio::time::timeout(REGISTRY_WALL, session.upload(path, &digest, &documents))
        .await
        .map_err(|_| PushFileError::Late(image.to_owned()))??;
    Ok((digest, documents.manifest_digest))
}
