//! The configuration file of `ringfence serve`: the same settings as its options, in YAML. An option
//! on the command line wins over the file. Unknown fields are refused.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Bytes of a configuration file.
const CONFIG_BYTES: u64 = 1 << 20;

/// Settings of a host. Everything is optional; what is absent takes the default of the option.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Folder for everything that the host keeps.
    #[serde(default)]
    pub data_dir: Option<PathBuf>,
    /// Address to listen on.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// Folder of manifests.
    #[serde(default)]
    pub manifests: Option<PathBuf>,
    /// Folders that can be granted, each `NAME=PATH` or `NAME=PATH:ro`.
    #[serde(default)]
    pub allow_folders: Vec<String>,
    /// Secrets that resources may refer to, each as `--allow-secret` takes it.
    #[serde(default)]
    pub allow_secrets: Vec<String>,
    /// File of hashed API keys. With one, every request needs a key.
    #[serde(default)]
    pub api_keys: Option<PathBuf>,
    /// Registries that may be reached over plain HTTP, each `HOST:PORT`.
    #[serde(default)]
    pub insecure_registries: Vec<String>,
    /// Registries that may be at private addresses and are reached over TLS, each `HOST:PORT`.
    #[serde(default)]
    pub private_registries: Vec<String>,
    /// PEM file of certificate authorities that are trusted beside the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Sandboxes that may exist at the same time.
    #[serde(default)]
    pub sandboxes: Option<u32>,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("the configuration {} cannot be read", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is wrong.
    #[error("the configuration {} is wrong: {message}", .path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        message: String,
    },
}

impl Config {
    /// Reads a file. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// It cannot be read, or something in it is unknown or wrong.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let io = |source| ConfigError::Io {
            path: path.to_owned(),
            source,
        };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(io)?;
        file.take(CONFIG_BYTES)
            .read_to_string(&mut text)
            .map_err(io)?;
        let mut config = Self::parse(&text).map_err(|message| ConfigError::Wrong {
            path: path.to_owned(),
            message,
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let paths = [
            &mut config.data_dir,
            &mut config.manifests,
            &mut config.api_keys,
            &mut config.ca_file,
        ];
        for path in paths.into_iter().flatten() {
            *path = folder.join(&*path);
        }
        for offer in &mut config.allow_folders {
            if let Some((name, path)) = offer.split_once('=') {
                *offer = format!("{name}={}", folder.join(path).display());
            }
        }
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("host.yaml");
        let text = "listen: 127.0.0.1:0\nmanifests: agents\nallowFolders: ['docs=docs:ro']\n";
        std::fs::write(&file, text).unwrap();
        let config = Config::read(&file).unwrap();
        assert_eq!(config.manifests, Some(folder.path().join("agents")));
        assert_eq!(
            config.allow_folders,
            [format!("docs={}/docs:ro", folder.path().display())]
        );
    }

    #[test]
    fn unknown_fields_are_refused_with_their_line() {
        let error = Config::parse("listen: 127.0.0.1:0\nlistenn: x\n").unwrap_err();
        assert!(
            error.contains("listenn") && error.contains("line 2"),
            "{error}"
        );
        assert_eq!(Config::parse("# nothing\n"), Ok(Config::default()));
    }
}
