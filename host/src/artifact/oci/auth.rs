//! Credentials for registries, and what a registry asks for.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::{OciError, RegistryAuth};

/// The credentials for `registry` in a Docker `config.json`, or anonymous if it has none. Credential
/// helpers are programs and are not run: a file that needs one is refused.
///
/// # Errors
/// The text is not such a file, or the entry cannot be used.
pub fn docker_config(json: &str, registry: &str) -> Result<RegistryAuth, OciError> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        auths: std::collections::HashMap<String, Entry>,
        #[serde(default, rename = "credHelpers")]
        helpers: std::collections::HashMap<String, String>,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Entry {
        auth: Option<String>,
        username: Option<String>,
        password: Option<String>,
        identitytoken: Option<String>,
    }
    let bad = |what: &str| OciError::Credentials(what.to_owned());
    // The parser's message would quote the file.
    let mut file: File =
        serde_json::from_str(json).map_err(|_| bad("the file is not a Docker config.json"))?;
    if file.helpers.contains_key(registry) {
        return Err(bad(
            "credential helpers are not supported; write the credentials into the file",
        ));
    }
    let docker_hub = ["index.docker.io", "docker.io"].contains(&registry);
    let mut names = vec![registry.to_owned(), format!("https://{registry}")];
    if docker_hub {
        names.extend(["docker.io", "https://index.docker.io/v1/"].map(String::from));
    }
    let Some(entry) = names.iter().find_map(|name| file.auths.remove(name)) else {
        return Ok(RegistryAuth::Anonymous);
    };
    if entry.identitytoken.is_some_and(|token| !token.is_empty()) {
        return Err(bad(
            "identity tokens are not supported; use a user name and a password",
        ));
    }
    if let (Some(user), Some(password)) = (entry.username, entry.password) {
        return Ok(RegistryAuth::Basic(user, password));
    }
    let pair = entry
        .auth
        .and_then(|auth| BASE64_STANDARD.decode(auth.trim()).ok());
    let pair = pair.and_then(|bytes| String::from_utf8(bytes).ok());
    match pair.as_deref().and_then(|pair| pair.split_once(':')) {
        Some((user, password)) => Ok(RegistryAuth::Basic(user.into(), password.into())),
        None => Err(bad("the entry has no user name and password")),
    }
}

/// A `WWW-Authenticate` header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads the header; `None` for a scheme that we do not speak.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        let mut rest = rest.trim_start();
        while let Some((name, after)) = rest.split_once('=') {
            // A value in quotes may contain commas: scopes do.
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_at(after.find(',').unwrap_or(after.len())),
            };
            match name.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value.to_owned()),
                "scope" => scope = Some(value.to_owned()),
                _ => {}
            }
            rest = after.trim_start_matches([',', ' ']);
        }
        Some(Self::Bearer {
            realm: realm?,
            service,
            scope,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_with_commas_in_quotes() {
        let header = r#"Bearer realm="https://auth.example/token",service="r",scope="repository:a/b:pull,push""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("r".into()),
            scope: Some("repository:a/b:pull,push".into()),
        };
        assert_eq!(Challenge::parse(header), Some(expected));
        assert_eq!(
            Challenge::parse("Basic realm=\"x\""),
            Some(Challenge::Basic)
        );
        assert_eq!(Challenge::parse("basic"), Some(Challenge::Basic));
        for bad in [
            "",
            "Negotiate",
            "Bearer",
            "Bearer service=\"x\"",
            "Bearer realm=\"x",
        ] {
            assert_eq!(Challenge::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn docker_config_gives_the_credentials_of_that_registry_only() {
        let json = r#"{"auths": {
            "r.example:5000": {"auth": "dXNlcjpwYTpzcw=="},
            "https://index.docker.io/v1/": {"username": "u", "password": "p"},
            "token.example": {"identitytoken": "t"},
            "broken.example": {"auth": "!"}
        }, "credHelpers": {"helped.example": "x"}}"#;
        let basic = |u: &str, p: &str| RegistryAuth::Basic(u.into(), p.into());
        assert_eq!(
            docker_config(json, "r.example:5000").unwrap(),
            basic("user", "pa:ss")
        );
        assert_eq!(
            docker_config(json, "index.docker.io").unwrap(),
            basic("u", "p")
        );
        assert_eq!(
            docker_config(json, "r.example").unwrap(),
            RegistryAuth::Anonymous
        );
        for refused in ["token.example", "broken.example", "helped.example"] {
            assert!(docker_config(json, refused).is_err(), "{refused}");
        }
        let error = docker_config("{\"auths\": \"secret\"}", "r").unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
}
