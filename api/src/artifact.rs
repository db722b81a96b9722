//! Where the bytes of a component come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, SecretKey, SecretRef};

/// Secrets with logins that one image may name.
pub const PULL_SECRETS: usize = 16;
/// The key of a Secret of type [`DOCKER_CONFIG_TYPE`].
pub const DOCKER_CONFIG_KEY: &str = ".dockerconfigjson";
/// The type of a Secret with logins at registries.
pub const DOCKER_CONFIG_TYPE: &str = "kubernetes.io/dockerconfigjson";

/// The component that a resource runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
#[schemars(with = "Written")]
pub enum ArtifactSource {
    /// An artifact that was pushed to the host, by digest.
    Digest(Digest),
    /// An image in a registry.
    Image(ImageSource),
}

/// An image, and who may pull it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSource {
    /// An OCI reference, `registry/repository:tag` or `…@sha256:…`.
    pub image: String,
    /// Secrets with logins at its registry.
    pub pull_secrets: Vec<PullSecret>,
}

/// A Secret of type `kubernetes.io/dockerconfigjson`, in the namespace of the resource that refers to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PullSecret {
    /// Name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// The component that a resource runs. None of its fields takes `null`: what the API server lets through has to be
/// one of the two.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.digest) != has(self.image)", "message": "give one of digest and image"},
    {"rule": "has(self.image) || !has(self.imagePullSecrets)", "message": "imagePullSecrets has no effect without image: remove it, or name an image instead of the digest"},
]))]
struct Written {
    /// An artifact that was pushed to the host, by digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Digest")]
    digest: Option<Digest>,
    /// An OCI reference, `registry/repository:tag` or `…@sha256:…`; a tag is pinned to a digest when
    /// the resource is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    image: Option<String>,
    /// Secrets of type `kubernetes.io/dockerconfigjson` with logins at the image's registry, as a Pod names them. An
    /// entry of theirs counts for its registry, and where it has a path, for the repositories below it; the one with
    /// the longest path is tried first. With an image only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    image_pull_secrets: Vec<PullSecret>,
}

/// A component that is named in no way, or in two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum SourceError {
    #[error("give one of digest and image")]
    NotOne,
    #[error(
        "imagePullSecrets has no effect without image: remove it, or name an image instead of the digest"
    )]
    NoImage,
}

impl TryFrom<Written> for ArtifactSource {
    type Error = SourceError;

    fn try_from(written: Written) -> Result<Self, SourceError> {
        let Written {
            digest,
            image,
            image_pull_secrets: pull_secrets,
        } = written;
        match (digest, image) {
            (None, Some(image)) => Ok(Self::Image(ImageSource {
                image,
                pull_secrets,
            })),
            (Some(digest), None) if pull_secrets.is_empty() => Ok(Self::Digest(digest)),
            (Some(_), None) => Err(SourceError::NoImage),
            _ => Err(SourceError::NotOne),
        }
    }
}

impl From<ArtifactSource> for Written {
    fn from(source: ArtifactSource) -> Self {
        let (digest, image, image_pull_secrets) = match source {
            ArtifactSource::Digest(digest) => (Some(digest), None, Vec::new()),
            ArtifactSource::Image(source) => (None, Some(source.image), source.pull_secrets),
        };
        Self {
            digest,
            image,
            image_pull_secrets,
        }
    }
}

impl ArtifactSource {
    /// An image that needs no login.
    pub fn image(image: impl Into<String>) -> Self {
        Self::Image(ImageSource {
            image: image.into(),
            pull_secrets: Vec::new(),
        })
    }

    /// What its pull secrets refer to, each with its field in a resource.
    pub fn secrets(&self) -> impl Iterator<Item = (SecretRef, String)> + '_ {
        let all = match self {
            Self::Digest(_) => &[][..],
            Self::Image(source) => &source.pull_secrets,
        };
        all.iter().enumerate().map(|(index, secret)| {
            let key = SecretKey {
                name: secret.name.clone(),
                key: DOCKER_CONFIG_KEY.to_owned(),
            };
            let field = format!("spec.component.imagePullSecrets[{index}]");
            (SecretRef::Secret(key), field)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Result<ArtifactSource, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_component_is_a_digest_or_an_image_and_is_written_as_it_was() {
        let digest = Digest::of(b"x");
        for value in [
            json!({"digest": digest}),
            json!({"image": "r.example/a:1"}),
            json!({"image": "r.example/a:1", "imagePullSecrets": [{"name": "login"}]}),
        ] {
            let source = read(value.clone()).unwrap();
            assert_eq!(serde_json::to_value(source).unwrap(), value);
        }
        for (value, why) in [
            (json!({}), "give one of digest and image"),
            (
                json!({"digest": digest, "image": "r.example/a:1"}),
                "give one of digest and image",
            ),
            (
                json!({"digest": digest, "imagePullSecrets": [{"name": "login"}]}),
                "imagePullSecrets has no effect without image",
            ),
        ] {
            let error = read(value).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn pull_secrets_are_one_key_of_secrets() {
        let source =
            read(json!({"image": "r/a:1", "imagePullSecrets": [{"name": "a"}, {"name": "b"}]}));
        let all: Vec<_> = source.as_ref().unwrap().secrets().collect();
        let key = SecretKey {
            name: "b".into(),
            key: ".dockerconfigjson".into(),
        };
        let field = "spec.component.imagePullSecrets[1]";
        assert_eq!(all[1], (SecretRef::Secret(key), field.to_owned()));
    }
}
