//! What it takes to have the component of a resource, and what its author is told where that is not enough.

use ringfence_api::{ArtifactSource, ImageSource, SecretRef};

use super::resolve::chain;
use super::status::Unresolved;
use crate::artifact::ArtifactError;
use crate::artifact::oci::{Keyring, OciError, PullLogin};
use crate::error::CallError;
use crate::secret::{SecretError, Secrets};

/// The reason where a registry refuses access.
pub(crate) const UNAUTHORIZED: &str = "ArtifactUnauthorized";

const FIELD: &str = "spec.component.imagePullSecrets";

/// The logins that an image is pulled with, of the tenant's Secrets that its resource names.
///
/// # Errors
/// One of the Secrets cannot be had or used, or the image is none.
pub(super) fn logins(
    secrets: &Secrets,
    source: &ArtifactSource,
) -> Result<Vec<PullLogin>, Unresolved> {
    let ArtifactSource::Image(ImageSource { image, .. }) = source else {
        return Ok(Vec::new());
    };
    let unusable = |field: &str, error: &OciError| match error {
        OciError::Credentials(_) => Unresolved::new("SecretNotUsable", field, error.to_string()),
        _ => Unresolved::new("ArtifactUnavailable", "spec.component", error.to_string()),
    };
    let mut keyring = Keyring::of(image).map_err(|error| unusable(FIELD, &error))?;
    for (reference, field) in source.secrets() {
        let read = secrets.check(&reference);
        let read = read.and_then(|()| secrets.resolve(&reference));
        let secret = read.map_err(|error| {
            let reason = match &error {
                SecretError::NotAllowed { .. } | SecretError::NoCluster { .. } => {
                    "SecretNotAllowed"
                }
                SecretError::Absent { why, .. } => why.reason(),
                _ => "SecretNotUsable",
            };
            Unresolved::new(reason, field.as_str(), chain(&error))
        })?;
        let name = name_of(&reference);
        keyring.add(name, secret.expose()).map_err(|error| {
            let Unresolved {
                reason,
                field,
                message,
            } = unusable(&field, &error);
            Unresolved::new(reason, field, format!("Secret {name}: {message}"))
        })?;
    }
    keyring.logins().map_err(|error| unusable(FIELD, &error))
}

fn name_of(reference: &SecretRef) -> &str {
    reference.secret().map_or("", |secret| &secret.name)
}

/// Why a component cannot be had.
pub(super) fn missing(error: ArtifactError) -> Unresolved {
    let reason = match &error {
        ArtifactError::NotFound(_) => "ArtifactMissing",
        ArtifactError::Refused(_) => "ArtifactRefused",
        _ => "ArtifactUnavailable",
    };
    tracing::warn!(error = chain(&error), "a component cannot be had");
    let message = match CallError::from(&error) {
        // `invalid: …` and the like are for programs.
        CallError::NotFound(text) | CallError::Invalid(text) | CallError::Unavailable(text) => text,
        other => other.to_string(),
    };
    Unresolved::new(reason, "spec.component", message)
}

/// Why what a resource names cannot be had with these logins.
pub(super) fn not_pulled(
    error: ArtifactError,
    source: &ArtifactSource,
    logins: &[PullLogin],
) -> Unresolved {
    let (
        ArtifactError::Oci(OciError::Unauthorized { registry }),
        ArtifactSource::Image(ImageSource {
            image,
            pull_secrets,
        }),
    ) = (&error, source)
    else {
        return missing(error);
    };
    if pull_secrets.is_empty() {
        let message = format!(
            "{registry} refuses access to {image} without a login: name a Secret that has one in \
             imagePullSecrets (kubectl create secret docker-registry), or check the name of the image"
        );
        return Unresolved::new(UNAUTHORIZED, "spec.component", message);
    }
    let mut tried: Vec<&str> = logins.iter().map(|login| &*login.secret).collect();
    tried.dedup();
    let message = match &tried[..] {
        [] => format!(
            "{registry} refuses access to {image} without a login, and none of the Secrets has one for it: \
             add an entry of {registry} to auths of one of them"
        ),
        tried => format!(
            "{registry} refuses access to {image} with what is in {}: correct user and password, or let \
             the user pull it",
            tried.join(", ")
        ),
    };
    Unresolved::new(UNAUTHORIZED, FIELD, message)
}

#[cfg(test)]
#[path = "pull_tests.rs"]
mod tests;
