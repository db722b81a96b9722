//! Secrets: read where the operator allowed it, carried in a type that never shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use ringfence_api::{DOCKER_CONFIG_TYPE, SecretKey, SecretRef, TenantName};
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

/// Bytes of a secret.
pub const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Keys of Secrets of a cluster that one host follows: each is a watch.
pub const MAX_FOLLOWED: usize = 1_024;

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
    /// A Secret of a cluster, where there is none.
    #[error(
        "the host is not on a cluster and does not offer {reference}; start it with `--allow-secret {reference}=env:VARIABLE` (or `=file:/PATH`) to say where it is"
    )]
    NoCluster {
        /// `secret:TENANT/NAME/KEY`.
        reference: String,
    },
    /// A Secret of the cluster that cannot be had now.
    #[error("{reference} {why}")]
    Absent {
        /// `secret:TENANT/NAME/KEY`.
        reference: String,
        /// Why not.
        why: Absence,
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

/// Why a Secret of the cluster cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    /// It was not asked for yet.
    #[error("is not known yet: try again in a moment")]
    Unknown,
    /// The API server has none of this name.
    #[error("is not there: create the Secret in the namespace of the resource")]
    Missing,
    /// The Secret has no such key.
    #[error("is not there: the Secret has no such key")]
    NoKey,
    /// The API server does not let the host read it.
    #[error(
        "may not be read by the host: the operator allows that where an accepted resource refers to it"
    )]
    Forbidden,
    /// It cannot be sent.
    #[error("is not text")]
    NotText,
    /// It is too large.
    #[error("is longer than {MAX_SECRET_BYTES} bytes")]
    TooLong,
    /// It has no logins at registries.
    #[error(
        "cannot be used to pull images: the Secret has to be of type {DOCKER_CONFIG_TYPE} (kubectl create secret docker-registry)"
    )]
    NotLogins,
    /// The host follows as many as it can.
    #[error("is one Secret too many for the host: it follows {MAX_FOLLOWED} keys of Secrets")]
    TooMany,
}

impl Absence {
    /// As the reason of a condition.
    pub fn reason(self) -> &'static str {
        match self {
            Absence::Unknown => "SecretUnknown",
            Absence::Missing => "SecretMissing",
            Absence::NoKey => "SecretKeyMissing",
            Absence::Forbidden => "SecretForbidden",
            Absence::NotText | Absence::TooLong | Absence::NotLogins => "SecretNotUsable",
            Absence::TooMany => "SecretLimit",
        }
    }
}

/// One secret that the operator offers, as written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedSecret {
    /// A variable or a file that resources may refer to as such.
    Host(SecretRef),
    /// One key of a Secret of a tenant, read from a variable or a file of the host.
    Tenant {
        /// Whose it is.
        tenant: TenantName,
        /// What resources refer to.
        secret: SecretKey,
        /// Where it is read.
        from: SecretRef,
    },
}

/// An argument of `--allow-secret` that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no secret; write `env:NAME`, `file:/ABSOLUTE/PATH`, or `secret:NAME/KEY=` (`secret:TENANT/NAME/KEY=`) and one of both"
)]
pub struct AllowedSecretError(String);

impl FromStr for AllowedSecret {
    type Err = AllowedSecretError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || AllowedSecretError(text.to_owned());
        match text.strip_prefix("secret:") {
            None => of_host(text).map(Self::Host).ok_or_else(error),
            Some(rest) => of_tenant(rest).ok_or_else(error),
        }
    }
}

fn of_host(text: &str) -> Option<SecretRef> {
    match text.split_once(':')? {
        ("env", name) if !name.is_empty() && !name.contains(['=', '\0']) => {
            Some(SecretRef::Env(name.to_owned()))
        }
        ("file", path) if Path::new(path).is_absolute() => {
            Some(SecretRef::File(PathBuf::from(path)))
        }
        _ => None,
    }
}

/// `[TENANT/]NAME/KEY=SOURCE`. None of the three has a `/` or a `=`.
fn of_tenant(text: &str) -> Option<AllowedSecret> {
    let (secret, from) = text.split_once('=')?;
    let (rest, key) = secret.rsplit_once('/')?;
    let (tenant, name) = match rest.split_once('/') {
        Some((tenant, name)) => (tenant.parse().ok()?, name),
        None => (TenantName::default(), rest),
    };
    let plain = |part: &str| !part.is_empty() && !part.contains('/');
    (plain(name) && plain(key)).then_some(())?;
    Some(AllowedSecret::Tenant {
        tenant,
        secret: SecretKey {
            name: name.to_owned(),
            key: key.to_owned(),
        },
        from: of_host(from)?,
    })
}

/// Where the Secrets of tenants come from on a cluster.
pub trait TenantSecrets: fmt::Debug + Send + Sync {
    /// A secret as it is now.
    ///
    /// # Errors
    /// [`SecretError::Absent`]: it cannot be had, and why.
    fn get(&self, tenant: &TenantName, secret: &SecretKey) -> Result<Secret, SecretError>;
}

#[derive(Debug, Default)]
struct Offered {
    /// Variables and files.
    host: BTreeSet<SecretRef>,
    /// Secrets of tenants, and where they are read.
    tenants: BTreeMap<(TenantName, SecretKey), SecretRef>,
    /// All others of tenants.
    cluster: Option<Arc<dyn TenantSecrets>>,
}

/// The secrets that the host's operator offers, none by default, as one tenant may refer to them. Cheap to
/// clone.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    offered: Arc<Offered>,
    tenant: Option<TenantName>,
}

impl Secrets {
    /// Offers these and no others, to no tenant yet.
    pub fn new(allowed: impl IntoIterator<Item = AllowedSecret>) -> Self {
        Self::with_cluster(allowed, None)
    }

    /// Offers these, and the Secrets of a cluster.
    pub fn with_cluster(
        allowed: impl IntoIterator<Item = AllowedSecret>,
        cluster: Option<Arc<dyn TenantSecrets>>,
    ) -> Self {
        let mut offered = Offered {
            cluster,
            ..Offered::default()
        };
        for allowed in allowed {
            match allowed {
                AllowedSecret::Host(reference) => drop(offered.host.insert(reference)),
                AllowedSecret::Tenant {
                    tenant,
                    secret,
                    from,
                } => drop(offered.tenants.insert((tenant, secret), from)),
            }
        }
        Self {
            offered: Arc::new(offered),
            tenant: None,
        }
    }

    /// As resources of a tenant may refer to them.
    #[must_use]
    pub fn of(&self, tenant: &TenantName) -> Self {
        Self {
            offered: self.offered.clone(),
            tenant: Some(tenant.clone()),
        }
    }

    /// Whether the operator offers what is referred to. On a cluster every Secret of the tenant is: whether
    /// it is there is known when it is read.
    ///
    /// # Errors
    /// Says which option offers it.
    pub fn check(&self, reference: &SecretRef) -> Result<(), SecretError> {
        self.find(reference).map(drop)
    }

    /// Reads a secret. Files are read at each use, so that a rotated one counts at once.
    ///
    /// # Errors
    /// It is not allowed, or cannot be read.
    pub fn resolve(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        let named = || self.describe(reference);
        let secret = match self.find(reference)? {
            Found::Host(SecretRef::Env(name)) => {
                let value =
                    std::env::var(name).map_err(|_| SecretError::Unset { reference: named() })?;
                Secret::new(value)
            }
            Found::Host(SecretRef::File(path)) => read_file(path, named)?,
            // No variable or file: it is never made.
            Found::Host(SecretRef::Secret(_)) => {
                return Err(SecretError::NotAllowed { reference: named() });
            }
            Found::Cluster(cluster, tenant, secret) => cluster.get(tenant, secret)?,
        };
        if secret.expose().is_empty() {
            return Err(SecretError::Empty { reference: named() });
        }
        Ok(secret)
    }

    fn find<'a>(&'a self, reference: &'a SecretRef) -> Result<Found<'a>, SecretError> {
        let not_allowed = || SecretError::NotAllowed {
            reference: self.describe(reference),
        };
        let secret = match reference {
            SecretRef::Secret(secret) => secret,
            SecretRef::Env(_) | SecretRef::File(_) => {
                let offered = self.offered.host.contains(reference);
                return offered
                    .then_some(Found::Host(reference))
                    .ok_or_else(not_allowed);
            }
        };
        let tenant = self.tenant.as_ref().ok_or_else(not_allowed)?;
        let key = (tenant.clone(), secret.clone());
        if let Some(from) = self.offered.tenants.get(&key) {
            return Ok(Found::Host(from));
        }
        match self.offered.cluster.as_deref() {
            Some(cluster) => Ok(Found::Cluster(cluster, tenant, secret)),
            None => Err(SecretError::NoCluster {
                reference: self.describe(reference),
            }),
        }
    }

    /// As `--allow-secret` takes it, for people.
    pub fn describe(&self, reference: &SecretRef) -> String {
        match reference {
            SecretRef::Env(name) => format!("env:{name}"),
            SecretRef::File(path) => format!("file:{}", path.display()),
            SecretRef::Secret(SecretKey { name, key }) => match &self.tenant {
                Some(tenant) => format!("secret:{tenant}/{name}/{key}"),
                None => format!("secret:{name}/{key}"),
            },
        }
    }
}

/// Where something that is offered is read.
enum Found<'a> {
    Host(&'a SecretRef),
    Cluster(&'a dyn TenantSecrets, &'a TenantName, &'a SecretKey),
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
        let secrets = Secrets::new([AllowedSecret::Host(file(&path))]);
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
        for text in [
            "A",
            "env:",
            "file:key",
            "vault:x",
            "",
            "secret:a/b",
            "secret:a=env:B",
            "secret:a/b=B",
            "secret:a/b/c/d=env:B",
            "secret:/b=env:B",
            "secret:a/=env:B",
            "secret:a/b=secret:c/d",
        ] {
            assert!(text.parse::<AllowedSecret>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_of_a_tenant_is_read_where_the_operator_says_and_by_that_tenant_only() {
        let secrets = Secrets::new([
            "secret:open-ai.keys/main=env:CARGO_PKG_NAME"
                .parse()
                .unwrap(),
            "secret:team-a/key/x=env:CARGO_PKG_VERSION".parse().unwrap(),
        ]);
        let reference = |name: &str, key: &str| {
            SecretRef::Secret(SecretKey {
                name: name.to_owned(),
                key: key.to_owned(),
            })
        };
        let default = secrets.of(&TenantName::default());
        let main = reference("open-ai.keys", "main");
        assert_eq!(default.resolve(&main).unwrap().expose(), "ringfence-host");
        let team_a = secrets.of(&"team-a".parse().unwrap());
        assert!(team_a.resolve(&reference("key", "x")).is_ok());
        for (secrets, reference) in [
            (&default, &reference("key", "x")),
            (&team_a, &main),
            (&default, &reference("open-ai.keys", "other")),
        ] {
            let error = secrets.resolve(reference).unwrap_err();
            assert!(matches!(error, SecretError::NoCluster { .. }), "{error}");
        }
        let error = team_a.check(&main).unwrap_err().to_string();
        let option = "`--allow-secret secret:team-a/open-ai.keys/main=env:VARIABLE`";
        assert!(error.contains(option), "{error}");
        // Whoever forgets whose it is gets nothing.
        assert!(secrets.resolve(&main).is_err());
        // A variable is not offered by being the source of a tenant's secret.
        assert!(
            default
                .resolve(&SecretRef::Env("CARGO_PKG_NAME".into()))
                .is_err()
        );
    }
}
