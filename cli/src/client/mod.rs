//! Talking to a host: its REST API, with failures that say what to do next.

mod events;
mod proxy;

use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;
use http::HeaderValue;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use ringfence_api::{Problem, TenantName};
use ringfence_host::egress::explain;
use serde::Deserialize;
use serde_json::Value;

pub use events::{ServerEvent, ServerEvents};
pub use proxy::Proxy;

use crate::cluster::Credential;
use crate::exit::{Code, fail};

/// Header in which a gateway takes a credential beside `Authorization`.
const API_KEY_HEADER: &str = "x-api-key";

/// The gateway of a host. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    way: Way,
    http: reqwest::Client,
    base: String,
    name: String,
    key: Option<Key>,
    tenant: TenantName,
    /// Whether the host is one of a cluster.
    cluster: bool,
}

/// How requests get there.
#[derive(Clone)]
enum Way {
    /// They are sent to the gateway itself.
    Direct,
    /// An API server passes them on.
    Proxied(Proxy),
}

/// What a request is signed with.
#[derive(Clone)]
enum Key {
    Bearer(String),
    /// Of a proxy, which keeps `Authorization` for itself.
    Header(HeaderValue),
}

impl Client {
    /// A client of the host with this URL. `by` says how it was chosen.
    ///
    /// # Errors
    /// It is not a URL.
    pub fn new(url: &str, by: &str, key: Option<String>, tenant: TenantName) -> Result<Self> {
        let base = url.trim_end_matches('/').to_owned();
        let url = url::Url::parse(&base)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url else {
            let message = format!("{base:?} ({by}) is not a URL: write http://ADDRESS:PORT");
            return Err(fail(Code::Usage, message));
        };
        if key.is_some() && !is_private(&url) {
            // To standard error, so that it never mixes with an answer.
            let _ = writeln!(
                std::io::stderr(),
                "warning: the API key goes to {base} unencrypted: use https"
            );
        }
        Ok(Self {
            way: Way::Direct,
            http: http()?,
            name: base.clone(),
            base,
            key: key.map(Key::Bearer),
            tenant,
            cluster: false,
        })
    }

    /// As [`Self::new`], of a host of a cluster, `name` in messages.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_cluster(
        url: &str,
        name: String,
        key: Option<String>,
        tenant: TenantName,
    ) -> Result<Self> {
        let client = Self::new(url, "the address of the host", key, tenant)?;
        Ok(Self {
            cluster: true,
            name,
            ..client
        })
    }

    /// A client of a host of a cluster that an API server leads to.
    ///
    /// # Errors
    /// There is no HTTP client.
    pub fn proxied(
        proxy: Proxy,
        name: String,
        credential: Option<&Credential>,
        tenant: TenantName,
    ) -> Result<Self> {
        Ok(Self {
            way: Way::Proxied(proxy),
            http: http()?,
            // Only the path of it is used.
            base: "http://host.invalid".to_owned(),
            name,
            key: credential.map(|credential| Key::Header(credential.header())),
            tenant,
            cluster: true,
        })
    }

    /// The tenant that the command line names.
    pub fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    /// What the host is called in messages: its URL, or its name and cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A request to an address below `/api/v1`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}/api/v1/{path}", self.base));
        match &self.key {
            Some(Key::Bearer(key)) => request.bearer_auth(key),
            Some(Key::Header(key)) => request.header(API_KEY_HEADER, key),
            None => request,
        }
    }

    /// A request to an address below the tenant's.
    pub fn in_tenant(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, &format!("tenants/{}/{path}", self.tenant))
    }

    /// Sends a request; a failure of the host becomes one of ours.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = match &self.way {
            Way::Direct => request
                .send()
                .await
                .map_err(|error| self.unreachable(&error))?,
            Way::Proxied(proxy) => proxy.send(request).await.map_err(|error| {
                let message = format!("cannot reach {}: {error}", self.name);
                fail(Code::Unavailable, message)
            })?,
        };
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
            let message = format!("{} answered something else than JSON: {error}", self.name);
            fail(Code::Unavailable, message)
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let cause = explain(error, "SSL_CERT_FILE");
        let hint = if error.is_connect() {
            "is `ringfence serve` running? (--host or RINGFENCE_HOST names another host, --context or \
             RINGFENCE_CONTEXT a cluster)"
        } else if error.is_timeout() {
            "it takes too long: is it overloaded?"
        } else {
            "the connection broke off: see the host's log"
        };
        fail(
            Code::Unavailable,
            format!("cannot reach {}: {cause}\n  {hint}", self.name),
        )
    }

    fn refused(&self, status: StatusCode, text: &str) -> anyhow::Error {
        if let (Way::Proxied(_), Some(said)) = (&self.way, proxy::refusal(text)) {
            return said.failure(&self.name);
        }
        let Some(problem) = Refused::read(text) else {
            let code = match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Code::Denied,
                StatusCode::NOT_FOUND => Code::NotFound,
                _ => Code::Unavailable,
            };
            let message = format!("{} answered {status}: is it a ringfence host?", self.name);
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
            message = match self.cluster {
                false => {
                    "the host needs a valid API key, which has not expired: give --api-key or set \
                     RINGFENCE_API_KEY"
                }
                true => {
                    "the host does not know who calls: give --service-account NAME (of the tenant), \
                     for which a token is made, or --api-key; a token of the kubeconfig is sent only \
                     where it was made for hosts (--audience)"
                }
            }
            .to_owned();
        }
        if let Some(run) = problem.run {
            message += &format!("\n  what happened: ringfence get run {run}");
        }
        fail(Code::of(&problem.code), message)
    }
}

/// Whether what is sent to a URL stays on this machine or is encrypted.
pub(crate) fn is_private(url: &url::Url) -> bool {
    let local = url.host_str().is_some_and(|host| {
        host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse()
                .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    });
    local || url.scheme() == "https"
}

fn http() -> Result<reqwest::Client> {
    crate::tls::install();
    reqwest::Client::builder()
        .user_agent(concat!("ringfence/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| fail(Code::Failed, format!("no HTTP client: {error}")))
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
