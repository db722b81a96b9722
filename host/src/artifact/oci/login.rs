//! Logins at registries, as Docker and Kubernetes write them down, and which of them an image is pulled with.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer};

use super::{OciError, reference};
use crate::secret::Secret;

/// Logins that are tried for one image.
pub const LOGINS: usize = 16;

/// Docker reads `auth` with padding and without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A user and a password at a registry. Shown nowhere, and wiped when dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    user: Secret,
    password: Secret,
}

impl Login {
    /// From both of its parts.
    pub fn new(user: String, password: String) -> Self {
        Self {
            user: Secret::new(user),
            password: Secret::new(password),
        }
    }

    /// User and password, for whoever hands them on to a host.
    pub fn parts(&self) -> (&str, &str) {
        (self.user.expose(), self.password.expose())
    }
}

/// A login, and the Secret that it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullLogin {
    /// Name of the Secret, in the namespace of the tenant.
    pub secret: String,
    /// What it has for the image.
    pub login: Login,
}

/// The login that a Docker `config.json` has for an image. Credential helpers are programs and are not run: a file
/// that needs one is refused.
///
/// # Errors
/// The text is not such a file, the entry cannot be used, or the image is none.
pub fn docker_config(json: &str, image: &str) -> Result<Option<Login>, OciError> {
    let mut keyring = Keyring::of(image)?;
    keyring.add("", json)?;
    let first = keyring.logins()?.into_iter().next();
    Ok(first.map(|found| found.login))
}

/// Collects the logins that count for one image: those for its registry and, where an entry has a path, for
/// repositories below it. The longest path comes first, and of equal ones what was added first.
#[derive(Debug)]
pub struct Keyring {
    registry: String,
    repository: String,
    found: Vec<(Rank, PullLogin)>,
}

/// What decides between entries that count for an image: the smallest is tried first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// The longest path first.
    path: std::cmp::Reverse<usize>,
    /// What names the registry itself before patterns.
    is_pattern: bool,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<Wiped>,
    username: Option<Wiped>,
    password: Option<Wiped>,
    identitytoken: Option<Wiped>,
}

/// A text that is wiped, also where its entry is not needed.
struct Wiped(Secret);

impl<'de> Deserialize<'de> for Wiped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

impl Keyring {
    /// Of an image.
    ///
    /// # Errors
    /// It is not an image reference.
    pub fn of(image: &str) -> Result<Self, OciError> {
        let reference = reference(image)?;
        Ok(Self {
            registry: reference.registry().to_owned(),
            repository: reference.repository().to_owned(),
            found: Vec::new(),
        })
    }

    /// The registry that logins are looked for.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Adds what a Docker `config.json` has for the image. `secret` is where it is from.
    ///
    /// # Errors
    /// The text is not such a file, or an entry for the image cannot be used.
    pub fn add(&mut self, secret: &str, json: &str) -> Result<(), OciError> {
        let bad = |what: &str| OciError::Credentials(what.to_owned());
        // The parser's message would quote the file.
        let file: File =
            serde_json::from_str(json).map_err(|_| bad("the file is not a Docker config.json"))?;
        if file.helpers.contains_key(&self.registry) {
            return Err(bad(
                "credential helpers are not supported; write the credentials into the file",
            ));
        }
        for (place, entry) in file.auths {
            let Some(rank) = self.rank(&place) else {
                continue;
            };
            let login = entry.login().map_err(bad)?;
            let secret = secret.to_owned();
            self.found.push((rank, PullLogin { secret, login }));
        }
        Ok(())
    }

    /// The logins, in the order in which they are tried.
    ///
    /// # Errors
    /// There are more than [`LOGINS`].
    pub fn logins(mut self) -> Result<Vec<PullLogin>, OciError> {
        if self.found.len() > LOGINS {
            let found = self.found.len();
            return Err(OciError::Credentials(format!(
                "{found} entries count for {}/{}, and at most {LOGINS} are tried: remove some",
                self.registry, self.repository
            )));
        }
        self.found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(self.found.into_iter().map(|(_, login)| login).collect())
    }

    /// How well an entry fits the image, if it is for it at all: `[SCHEME://]HOST[:PORT][/PATH]`, where each part of
    /// the host may hold `*`.
    fn rank(&self, place: &str) -> Option<Rank> {
        let place = ["https://", "http://"]
            .iter()
            .find_map(|scheme| place.strip_prefix(scheme))
            .unwrap_or(place);
        let (host, path) = place.split_once('/').unwrap_or((place, ""));
        // Docker's own entries end with the version of the API.
        let path = match path.split_once('/') {
            Some(("v1" | "v2", rest)) => rest,
            _ if matches!(path, "v1" | "v2") => "",
            _ => path,
        };
        same_host(host, &self.registry).then_some(())?;
        let mut wanted = self.repository.split('/');
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let below = parts.iter().all(|part| wanted.next() == Some(part));
        below.then_some(Rank {
            path: std::cmp::Reverse(parts.len()),
            is_pattern: host.contains('*'),
        })
    }
}

impl Entry {
    /// `auth` counts before `username` and `password`, as for Docker.
    fn login(self) -> Result<Login, &'static str> {
        let is_given = |text: &Option<Wiped>| {
            let text = text.as_ref();
            text.is_some_and(|Wiped(text)| !text.expose().is_empty())
        };
        if is_given(&self.identitytoken) {
            return Err("identity tokens are not supported; use a user name and a password");
        }
        if !is_given(&self.auth) {
            return match (self.username, self.password) {
                (Some(Wiped(user)), Some(Wiped(password))) => Ok(Login { user, password }),
                _ => Err("the entry has no user name and password"),
            };
        }
        let pair = self
            .auth
            .and_then(|Wiped(auth)| BASE64.decode(auth.expose().trim()).ok());
        let pair = pair.and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = Secret::new(pair.unwrap_or_default());
        match pair.expose().split_once(':') {
            Some((user, password)) => Ok(Login::new(user.to_owned(), password.to_owned())),
            None => Err("auth in the entry is not the base64 of USER:PASSWORD"),
        }
    }
}

/// Whether an entry's host is that registry: port for port, and part for part.
fn same_host(entry: &str, registry: &str) -> bool {
    let split = |text: &str| {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port),
            _ => (text, ""),
        };
        // Docker's own registry has two names.
        let host = match host {
            "index.docker.io" => "docker.io",
            other => other,
        };
        (host.to_ascii_lowercase(), port.to_owned())
    };
    let ((entry, port), (registry, its_port)) = (split(entry), split(registry));
    let (mut parts, mut its_parts) = (entry.split('.'), registry.split('.'));
    port == its_port
        && loop {
            match (parts.next(), its_parts.next()) {
                (None, None) => break true,
                (Some(pattern), Some(part)) if matches(pattern, part) => {}
                _ => break false,
            }
        }
}

/// Whether a text is what a pattern says, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(first) else {
        return false;
    };
    let (between, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut text) = text.strip_suffix(last) else {
        return false;
    };
    for piece in between.split('*') {
        match text.find(piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
