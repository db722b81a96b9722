//! API keys at rest: a YAML file with the hash of each. A key itself is shown once, when it is made.
//!
//! ```yaml
//! keys:
//!   - name: ci
//!     hash: sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbd62a11ef721d1542d8
//!     tenants: [team-a]        # or "*"
//!     role: caller             # or admin
//!     expires: 2030-01-31T12:00:00Z    # where absent, never
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::expiry::Expiry;
use super::identity::{Role, TenantScope};

/// What every key begins with, so that scanners for leaked secrets find it.
pub(super) const KEY_PREFIX: &str = "rf_";
/// Bytes of a keys file.
const FILE_BYTES: u64 = 4 << 20;
/// Keys of a keys file.
const MOST_KEYS: usize = 10_000;
/// Bytes of randomness in a key: it cannot be guessed, which is why a plain hash is enough at rest.
const SECRET_BYTES: usize = 32;

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read.
    #[error("failed to read the keys file {0}")]
    Read(PathBuf, #[source] std::io::Error),
    /// The file cannot be written.
    #[error("failed to write the keys file {0}")]
    Write(PathBuf, #[source] std::io::Error),
    /// The file is larger than any keys file should be.
    #[error("the keys file {0} is larger than {FILE_BYTES} bytes")]
    TooLarge(PathBuf),
    /// The file is not what it should be.
    #[error("the keys file {path} is wrong: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A name is taken, or not a name.
    #[error("{0}")]
    Name(String),
}

/// SHA-256 of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub(super) [u8; 32]);

impl KeyHash {
    /// The hash of a key.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "a hash is \"sha256:\" and 64 hexadecimal digits";
        let mut hash = [0; 32];
        let digits = text.strip_prefix("sha256:").ok_or(EXPECTED)?;
        hex::decode_to_slice(digits, &mut hash).map_err(|_| EXPECTED)?;
        Ok(Self(hash))
    }
}

impl Serialize for KeyHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyEntry {
    /// Name of the principal: 1 to 63 letters, digits, `-`, `_`, `.` and `@`.
    pub name: String,
    /// Its hash.
    pub hash: KeyHash,
    /// The tenants it may enter.
    pub tenants: TenantScope,
    /// What it is for.
    pub role: Role,
    /// When it is refused from; never where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Expiry>,
}

/// A keys file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeysFile {
    /// The keys.
    #[serde(default)]
    pub keys: Vec<KeyEntry>,
}

/// A key that was made just now.
pub struct NewKey {
    /// The key. It is nowhere else and cannot be found again.
    pub secret: String,
    /// What is kept of it.
    pub entry: KeyEntry,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey")
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

/// Makes a key.
///
/// # Errors
/// When the name is none.
pub fn generate(name: &str, tenants: TenantScope, role: Role) -> Result<NewKey, KeyError> {
    if !is_name(name) {
        return Err(bad_name(name));
    }
    let random: [u8; SECRET_BYTES] = rand::random();
    let secret = format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let hash = KeyHash::of(secret.as_bytes());
    Ok(NewKey {
        secret,
        entry: KeyEntry {
            name: name.to_owned(),
            hash,
            tenants,
            role,
            expires: None,
        },
    })
}

impl KeysFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is too large, or holds something else.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let read = |error| KeyError::Read(path.to_owned(), error);
        let file = std::fs::File::open(path).map_err(read)?;
        let mut text = String::new();
        file.take(FILE_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(read)?;
        if text.len() as u64 > FILE_BYTES {
            return Err(KeyError::TooLarge(path.to_owned()));
        }
        Self::parse(&text).map_err(|reason| KeyError::Format {
            path: path.to_owned(),
            reason,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let file: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        file.validate()?;
        Ok(file)
    }

    fn validate(&self) -> Result<(), String> {
        if self.keys.len() > MOST_KEYS {
            return Err(format!("more than {MOST_KEYS} keys"));
        }
        let mut names = BTreeSet::new();
        let mut hashes = std::collections::HashSet::new();
        for key in &self.keys {
            if !is_name(&key.name) {
                return Err(bad_name(&key.name).to_string());
            }
            if !names.insert(&key.name) {
                return Err(format!("the name {:?} is used twice", key.name));
            }
            if !hashes.insert(key.hash) {
                return Err(format!("the key of {:?} is there twice", key.name));
            }
        }
        Ok(())
    }

    /// Adds a key.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn add(&mut self, entry: KeyEntry) -> Result<(), KeyError> {
        self.keys.push(entry);
        self.validate().map_err(|reason| {
            self.keys.pop();
            KeyError::Name(reason)
        })
    }

    /// Writes the file, readable by its owner only, all at once or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let write = |error| KeyError::Write(path.to_owned(), error);
        let text =
            serde_saphyr::to_string(self).map_err(|error| write(std::io::Error::other(error)))?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        // A temporary file has mode 0600.
        let mut file =
            tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(write)?;
        file.write_all(text.as_bytes()).map_err(write)?;
        file.as_file().sync_all().map_err(write)?;
        file.persist(path).map_err(|error| write(error.error))?;
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b))
}

fn bad_name(name: &str) -> KeyError {
    KeyError::Name(format!(
        "{name:?} is not a name for a key: use 1 to 63 letters, digits, '-', '_', '.' and '@'"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_as_a_hash_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.yaml");
        let scope = TenantScope::Only(["team-a".parse().unwrap()].into());
        let one = generate("ci", scope, Role::Caller).unwrap();
        let mut two = generate("ops@example.com", TenantScope::All, Role::Admin).unwrap();
        two.entry.expires = Some("2030-01-31T12:00:00Z".parse().unwrap());
        assert!(one.secret.starts_with(KEY_PREFIX) && one.secret.len() == 46);
        assert_ne!(one.secret, two.secret);
        let mut file = KeysFile::default();
        file.add(one.entry.clone()).unwrap();
        file.add(two.entry).unwrap();
        file.save(&path).unwrap();
        assert!(
            !std::fs::read_to_string(&path)
                .unwrap()
                .contains(&one.secret)
        );
        assert_eq!(KeysFile::load(&path).unwrap(), file);
        assert!(file.add(one.entry).is_err(), "the name is taken");
        assert_eq!(file.keys.len(), 2);
    }

    #[test]
    fn a_wrong_file_says_what_is_wrong() {
        for (text, word) in [
            (
                "keys: [{name: a, hash: x, tenants: '*', role: admin}]",
                "sha256",
            ),
            ("keys: [{name: a, tenants: '*', role: admin}]", "hash"),
            ("kees: []", "kees"),
            (
                "keys: [{name: a, expires: soon, hash: x, tenants: '*', role: admin}]",
                "2030",
            ),
        ] {
            let error = KeysFile::parse(text).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        let hash = KeyHash::of(b"x");
        let all = format!("keys: [{{name: a, hash: '{hash}', tenants: team-a, role: admin}}]");
        assert!(
            KeysFile::parse(&all)
                .unwrap_err()
                .contains("list of tenants")
        );
        assert_eq!(KeysFile::parse("").unwrap(), KeysFile::default());
    }
}
