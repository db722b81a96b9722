//! Secrets: read where the operator allowed it, carried in a type that never shows them.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use ringfence_api::SecretRef;
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

/// Bytes of a secret.
pub const MAX_SECRET_BYTES: u64 = 64 << 10;

/// What is shown in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// A secret's value. It is shown nowhere and wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a value.
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value: for the request that carries it, and nothing else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without this secret in it.
    pub fn redact(&self, text: &str) -> String {
        if self.0.is_empty() {
            return text.to_owned();
        }
        text.replace(self.0.as_str(), REDACTED)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// Why a secret cannot be had. Never holds its value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The operator did not allow it.
    #[error(
        "the host does not offer the secret {reference}; start it with `--allow-secret {reference}` to allow it"
    )]
    NotAllowed {
        /// `env:NAME` or `file:PATH`.
        reference: String,
    },
    /// An environment variable that is not there.
    #[error(
        "the secret {reference} is allowed, but the host's environment has no such variable (or it is not UTF-8)"
    )]
    Unset {
        /// `env:NAME`.
        reference: String,
    },
    /// A file that cannot be read.
    #[error(
        "the secret {reference} cannot be read; check that the file exists and that the host may read it"
    )]
    Unreadable {
        /// `file:PATH`.
        reference: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Nothing in it.
    #[error("the secret {reference} is empty")]
    Empty {
        /// `env:NAME` or `file:PATH`.
        reference: String,
    },
    /// Too much in it.
    #[error("the secret {reference} is longer than {MAX_SECRET_BYTES} bytes")]
    TooLong {
        /// `file:PATH`.
        reference: String,
    },
    /// It cannot be sent as a header.
    #[error("the secret {reference} holds characters that no HTTP header may have")]
    NotAHeader {
        /// `env:NAME` or `file:PATH`.
        reference: String,
    },
}

/// One reference that the operator allows, as written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedSecret(pub SecretRef);

/// An argument of `--allow-secret` that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no secret; write `env:NAME` or `file:/ABSOLUTE/PATH`")]
pub struct AllowedSecretError(String);

impl FromStr for AllowedSecret {
    type Err = AllowedSecretError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || AllowedSecretError(text.to_owned());
        match text.split_once(':').ok_or_else(error)? {
            ("env", name) if !name.is_empty() && !name.contains(['=', '\0']) => {
                Ok(Self(SecretRef::Env(name.to_owned())))
            }
            ("file", path) if Path::new(path).is_absolute() => {
                Ok(Self(SecretRef::File(PathBuf::from(path))))
            }
            _ => Err(error()),
        }
    }
}

/// The secrets that the host's operator allows, none by default. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    allowed: Arc<BTreeSet<SecretRef>>,
}

impl Secrets {
    /// Allows these references and no others.
    pub fn new(allowed: impl IntoIterator<Item = AllowedSecret>) -> Self {
        Self {
            allowed: Arc::new(allowed.into_iter().map(|allowed| allowed.0).collect()),
        }
    }

    /// Whether the operator allows this reference.
    ///
    /// # Errors
    /// Says which option allows it.
    pub fn check(&self, reference: &SecretRef) -> Result<(), SecretError> {
        if self.allowed.contains(reference) {
            return Ok(());
        }
        Err(SecretError::NotAllowed {
            reference: describe(reference),
        })
    }

    /// Reads a secret. Files are read at each use, so that a rotated one counts at once.
    ///
    /// # Errors
    /// It is not allowed, or cannot be read.
    pub fn resolve(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        self.check(reference)?;
        let named = || describe(reference);
        let secret = match reference {
            SecretRef::Env(name) => {
                let value =
                    std::env::var(name).map_err(|_| SecretError::Unset { reference: named() })?;
                Secret::new(value)
            }
            SecretRef::File(path) => read_file(path, named)?,
        };
        if secret.expose().is_empty() {
            return Err(SecretError::Empty { reference: named() });
        }
        Ok(secret)
    }
}

fn read_file(path: &Path, named: impl Fn() -> String) -> Result<Secret, SecretError> {
    let unreadable = |source| SecretError::Unreadable {
        reference: named(),
        source,
    };
    // A pipe would hold the request up for ever.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(std::io::Error::other("not a regular file")));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    // Room for everything from the start: growing would leave copies behind.
    let room = usize::try_from(metadata.len().min(MAX_SECRET_BYTES) + 1).unwrap_or_default();
    let mut value = Zeroizing::new(String::with_capacity(room));
    file.take(MAX_SECRET_BYTES + 1)
        .read_to_string(&mut value)
        .map_err(unreadable)?;
    if value.len() as u64 > MAX_SECRET_BYTES {
        return Err(SecretError::TooLong { reference: named() });
    }
    let end = value.trim_end_matches(['\r', '\n']).len();
    value.truncate(end);
    Ok(Secret(value))
}

/// `env:NAME` or `file:PATH`, as `--allow-secret` takes it.
pub fn describe(reference: &SecretRef) -> String {
    match reference {
        SecretRef::Env(name) => format!("env:{name}"),
        SecretRef::File(path) => format!("file:{}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path) -> SecretRef {
        SecretRef::File(path.to_owned())
    }

    #[test]
    fn nothing_is_allowed_by_default_and_the_error_says_what_to_pass() {
        let error = Secrets::default()
            .resolve(&SecretRef::Env("CARGO_PKG_NAME".to_owned()))
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`--allow-secret env:CARGO_PKG_NAME`")
        );
    }

    #[test]
    fn an_allowed_variable_is_read_and_others_are_not() {
        let secrets = Secrets::new(["env:CARGO_PKG_NAME".parse().unwrap()]);
        let name = SecretRef::Env("CARGO_PKG_NAME".to_owned());
        assert_eq!(secrets.resolve(&name).unwrap().expose(), "ringfence-host");
        let other = SecretRef::Env("CARGO_PKG_VERSION".to_owned());
        assert!(matches!(
            secrets.resolve(&other),
            Err(SecretError::NotAllowed { .. })
        ));
    }

    #[test]
    fn files_are_read_at_each_use_without_their_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let secrets = Secrets::new([AllowedSecret(file(&path))]);
        let get = || secrets.resolve(&file(&path));
        assert!(matches!(get(), Err(SecretError::Unreadable { .. })));
        std::fs::write(&path, "one\r\n").unwrap();
        assert_eq!(get().unwrap().expose(), "one");
        std::fs::write(&path, "two").unwrap();
        assert_eq!(get().unwrap().expose(), "two");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(get(), Err(SecretError::Empty { .. })));
        let long = usize::try_from(MAX_SECRET_BYTES).unwrap() + 1;
        std::fs::write(&path, "x".repeat(long)).unwrap();
        assert!(matches!(get(), Err(SecretError::TooLong { .. })));
    }

    #[test]
    fn a_secret_is_shown_nowhere() {
        let secret = Secret::new("hunter2".to_owned());
        let shown = format!(
            "{secret} {secret:?} {}",
            serde_json::to_string(&secret).unwrap()
        );
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(secret.redact("key hunter2!"), "key [redacted]!");
    }

    #[test]
    fn the_option_takes_variables_and_absolute_files() {
        assert!("env:A".parse::<AllowedSecret>().is_ok());
        assert!("file:/run/key".parse::<AllowedSecret>().is_ok());
        for text in ["A", "env:", "file:key", "vault:x", ""] {
            assert!(text.parse::<AllowedSecret>().is_err(), "{text}");
        }
    }
}
