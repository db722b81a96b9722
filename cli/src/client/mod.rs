//! Talking to a host: its REST API, with failures that say what to do next.

mod events;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use ringfence_api::{Problem, TenantName};
use serde::Deserialize;
use serde_json::Value;

pub use events::{ServerEvent, ServerEvents};

use crate::exit::{Code, fail};

/// Where a host listens when it is told nothing else.
pub const DEFAULT_PORT: u16 = 7070;
/// File in the data directory that says where its host listens.
pub const ADDRESS_FILE: &str = "address";

/// Which host, as whom, in which tenant.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// URL of the host [default: the one that runs on this machine, else http://127.0.0.1:7070]
    #[arg(
        long,
        global = true,
        env = "RINGFENCE_HOST",
        value_name = "URL",
        help_heading = "Host"
    )]
    pub host: Option<String>,
    /// API key
    #[arg(
        long,
        global = true,
        env = "RINGFENCE_API_KEY",
        hide_env_values = true,
        value_name = "KEY",
        help_heading = "Host"
    )]
    pub api_key: Option<String>,
    /// Tenant
    #[arg(
        long,
        short = 't',
        global = true,
        env = "RINGFENCE_TENANT",
        value_name = "NAME",
        default_value = "default",
        help_heading = "Host"
    )]
    pub tenant: TenantName,
}

/// The data directory of a host that is told nothing else.
pub fn default_data_dir() -> PathBuf {
    let folder = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    folder("RINGFENCE_DATA_DIR")
        .or_else(|| folder("XDG_DATA_HOME").map(|home| home.join("ringfence")))
        .or_else(|| folder("HOME").map(|home| home.join(".local/share/ringfence")))
        .unwrap_or_else(|| PathBuf::from(".ringfence"))
}

/// A host.
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
    tenant: TenantName,
}

impl Client {
    /// A client of the host that the command line names.
    pub fn new(target: &Target) -> Result<Self> {
        let base = match &target.host {
            Some(host) => host.trim_end_matches('/').to_owned(),
            None => local_address(&default_data_dir())
                .unwrap_or_else(|| format!("http://127.0.0.1:{DEFAULT_PORT}")),
        };
        let url = url::Url::parse(&base)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url else {
            let message = format!("--host {base:?} is not a URL: write http://ADDRESS:PORT");
            return Err(fail(Code::Usage, message));
        };
        let local = url.host_str().is_some_and(|host| {
            host == "localhost"
                || host
                    .trim_matches(['[', ']'])
                    .parse()
                    .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        });
        if target.api_key.is_some() && url.scheme() == "http" && !local {
            // To standard error, so that it never mixes with an answer.
            let _ = writeln!(
                std::io::stderr(),
                "warning: the API key goes to {base} unencrypted: use https"
            );
        }
        crate::tls::install();
        let http = reqwest::Client::builder()
            .user_agent(concat!("ringfence/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| fail(Code::Failed, format!("no HTTP client: {error}")))?;
        Ok(Self {
            http,
            base,
            key: target.api_key.clone(),
            tenant: target.tenant.clone(),
        })
    }

    /// The tenant that the command line names.
    pub fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    /// The host's URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request to an address below `/api/v1`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}/api/v1/{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// A request to an address below the tenant's.
    pub fn in_tenant(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, &format!("tenants/{}/{path}", self.tenant))
    }

    /// Sends a request; a failure of the host becomes one of ours.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        Err(self.refused(status, &text))
    }

    /// Sends a request and reads the JSON that comes back.
    pub async fn json(&self, request: RequestBuilder) -> Result<Value> {
        let response = self.send(request).await?;
        response.json().await.map_err(|error| {
            let message = format!("{} answered something else than JSON: {error}", self.base);
            fail(Code::Unavailable, message)
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let causes = std::iter::successors(std::error::Error::source(error), |e| e.source());
        let cause = causes
            .last()
            .map_or_else(|| error.to_string(), ToString::to_string);
        let hint = if error.is_connect() {
            "is `ringfence serve` running? (--host or RINGFENCE_HOST names another host)"
        } else if error.is_timeout() {
            "it takes too long: is it overloaded?"
        } else {
            "the connection broke off: see the host's log"
        };
        fail(
            Code::Unavailable,
            format!("cannot reach {}: {cause}\n  {hint}", self.base),
        )
    }

    fn refused(&self, status: StatusCode, text: &str) -> anyhow::Error {
        let Some(problem) = Refused::read(text) else {
            let code = match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Code::Denied,
                StatusCode::NOT_FOUND => Code::NotFound,
                _ => Code::Unavailable,
            };
            let message = format!("{} answered {status}: is it a ringfence host?", self.base);
            return fail(code, message);
        };
        let mut message = match problem.problems.as_slice() {
            [] => problem.detail,
            problems => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                lines.join("\n")
            }
        };
        if status == StatusCode::UNAUTHORIZED {
            message = "the host needs a valid API key: give --api-key or set RINGFENCE_API_KEY"
                .to_owned();
        }
        if let Some(run) = problem.run {
            message += &format!("\n  what happened: ringfence get run {run}");
        }
        fail(Code::of(&problem.code), message)
    }
}

/// A failure as the host tells it.
#[derive(Deserialize)]
struct Refused {
    code: String,
    #[serde(alias = "message")]
    detail: String,
    #[serde(default)]
    problems: Vec<Problem>,
    #[serde(default)]
    run: Option<String>,
}

impl Refused {
    /// Reads `application/problem+json`, or the `{"error": …}` of the other surfaces.
    fn read(text: &str) -> Option<Self> {
        let document: Value = serde_json::from_str(text).ok()?;
        let inner = document.get("error").cloned().unwrap_or(document);
        serde_json::from_value(inner).ok()
    }
}

/// The failure in a problem document that came as an event.
pub fn failure(document: &Value) -> anyhow::Error {
    match Refused::read(&document.to_string()) {
        Some(refused) => {
            let run = refused.run.map_or_else(String::new, |run| {
                format!("\n  what happened: ringfence get run {run}")
            });
            fail(Code::of(&refused.code), refused.detail + &run)
        }
        None => fail(Code::Failed, "the run failed, and the host did not say why"),
    }
}

/// Where the host that uses a data directory listens, if one does.
fn local_address(data_dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data_dir.join(ADDRESS_FILE)).ok()?;
    let text = text.trim();
    url::Url::parse(text).ok().map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_failure_are_read() {
        let problem = r#"{"type":"about:blank","status":404,"code":"not-found","detail":"no x"}"#;
        let other = r#"{"error":{"code":"denied","message":"no"}}"#;
        let read = |text| Refused::read(text).map(|refused| (refused.code, refused.detail));
        assert_eq!(
            read(problem),
            Some(("not-found".to_owned(), "no x".to_owned()))
        );
        assert_eq!(read(other), Some(("denied".to_owned(), "no".to_owned())));
        assert_eq!(read("<html>"), None);
    }
}
