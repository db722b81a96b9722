//! HTTP to a registry: only to vetted addresses, with bounds on everything that it answers.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE,
};
use http::{HeaderValue, StatusCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Method, RequestBuilder, Response, Url};
use ringfence_api::Digest;
use serde::Deserialize;
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};
use zeroize::Zeroizing;

use super::auth::Challenge;
use super::config::{RegistrySettings, host_of};
use super::format::{MANIFEST_TYPE, Wanted, check_config, wanted};
use super::{
    ANSWER_BYTES, Login, MANIFEST_BYTES, OciError, Pushed, REDIRECTS, REGISTRY_IDLE, Reference,
    reference,
};
use crate::egress::explain;

/// One conversation with a registry about one image.
pub(in crate::artifact) struct Session {
    http: reqwest::Client,
    settings: Arc<RegistrySettings>,
    image: Reference,
    registry: String,
    login: Option<Login>,
    authorization: Option<HeaderValue>,
}

/// Bytes on their way from a registry.
pub(in crate::artifact) type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// What an image means.
pub(in crate::artifact) struct Manifest {
    bytes: Vec<u8>,
    pub digest: Digest,
}

/// A component that is about to be downloaded.
pub(in crate::artifact) struct Download {
    pub manifest: Digest,
    pub digest: Digest,
    pub size: u64,
    pub reader: Reader,
}

impl Session {
    pub(in crate::artifact) fn new(
        settings: &Arc<RegistrySettings>,
        image: &str,
        login: Option<Login>,
    ) -> Result<Self, OciError> {
        let image = reference(image)?;
        settings.allows(image.registry())?;
        let registry = image.resolve_registry().to_owned();
        // Some provider has to be there before the first client; another one is as good as ours.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let unreachable = |error: &reqwest::Error| OciError::Unreachable {
            registry: registry.clone(),
            reason: reason(error),
        };
        let http = reqwest::Client::builder()
            .user_agent(concat!("ringfence/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Vetted {
                settings: Arc::clone(settings),
                registry: registry.clone(),
            })
            // Redirects are followed here, one by one. A proxy would dial addresses that nobody vets.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(REGISTRY_IDLE)
            .read_timeout(REGISTRY_IDLE);
        let http = settings
            .authorities
            .trusted_by(http)
            .and_then(reqwest::ClientBuilder::build)
            .map_err(|error| unreachable(&error))?;
        Ok(Self {
            http,
            settings: Arc::clone(settings),
            image,
            registry,
            login,
            authorization: None,
        })
    }

    /// Whether the registry let us in for the sake of the login: without, everybody may do what was done.
    pub(in crate::artifact) fn took_login(&self) -> bool {
        self.login.is_some() && self.authorization.is_some()
    }

    /// Reads the config that the manifest names, checks both, and starts the download of the component.
    pub(in crate::artifact) async fn download(
        &mut self,
        Manifest { bytes, digest }: Manifest,
        most: u64,
    ) -> Result<Download, OciError> {
        let Wanted { config, layer } = wanted(&bytes).map_err(|reason| self.format(reason))?;
        if layer.1 > most {
            return Err(self.format(format!("it has {} bytes, and {most} are allowed", layer.1)));
        }
        let response = self.blob(&config.0).await?;
        let bytes = self.read(response, MANIFEST_BYTES.min(config.1)).await?;
        if Digest::of(&bytes) != config.0 {
            return Err(
                self.protocol("the config does not have the digest that the manifest names")
            );
        }
        check_config(&bytes).map_err(|reason| self.format(reason))?;
        let response = self.blob(&layer.0).await?;
        let stream = response.bytes_stream().map_err(io::Error::other);
        Ok(Download {
            manifest: digest,
            digest: layer.0,
            size: layer.1,
            reader: Box::pin(StreamReader::new(Box::pin(stream))),
        })
    }

    /// The component that a manifest names.
    pub(in crate::artifact) fn component_of(
        &self,
        manifest: &Manifest,
    ) -> Result<Digest, OciError> {
        let wanted = wanted(&manifest.bytes).map_err(|reason| self.format(reason))?;
        Ok(wanted.layer.0)
    }

    /// Makes sure that whoever this is may read a component of the image's repository.
    pub(in crate::artifact) async fn may_read(&mut self, digest: &Digest) -> Result<(), OciError> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let response = self.send(&url, |http| http.head(url.clone())).await?;
        let response = match response.status().is_redirection() {
            // What it leads to may be for a download only, or say that one has to log in: its body is not read.
            true => self.blob(digest).await,
            false => self.expect(response, StatusCode::OK).await,
        };
        response
            .map(drop)
            .map_err(|error| of_component(error, digest))
    }

    /// Starts the download of a component of the image's repository. Who reads it checks the digest.
    pub(in crate::artifact) async fn component(
        &mut self,
        digest: &Digest,
    ) -> Result<Reader, OciError> {
        let response = self.blob(digest).await;
        let response = response.map_err(|error| of_component(error, digest))?;
        let stream = response.bytes_stream().map_err(io::Error::other);
        Ok(Box::pin(StreamReader::new(Box::pin(stream))))
    }

    /// The manifest that the image means now.
    pub(in crate::artifact) async fn manifest(&mut self) -> Result<Manifest, OciError> {
        let name = self
            .image
            .digest()
            .or(self.image.tag())
            .unwrap_or("latest")
            .to_owned();
        let url = self.url(&format!("manifests/{name}"))?;
        let response = self
            .send(&url, |http| {
                http.request(Method::GET, url.clone())
                    .header(ACCEPT, MANIFEST_TYPE)
            })
            .await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(OciError::NotFound(self.image.to_string()));
        }
        let response = self.expect(response, StatusCode::OK).await?;
        let bytes = self.read(response, MANIFEST_BYTES).await?;
        let digest = Digest::of(&bytes);
        if self
            .image
            .digest()
            .is_some_and(|pinned| pinned != digest.to_string())
        {
            return Err(self.protocol("the manifest does not have the digest that was asked for"));
        }
        Ok(Manifest { bytes, digest })
    }

    /// A blob, from wherever the registry sends us, if that may be dialled.
    async fn blob(&mut self, digest: &Digest) -> Result<Response, OciError> {
        let first = self.url(&format!("blobs/{digest}"))?;
        let mut response = self.send(&first, |http| http.get(first.clone())).await?;
        let mut url = first.clone();
        for _ in 0..REDIRECTS {
            if !response.status().is_redirection() {
                return self.expect(response, StatusCode::OK).await;
            }
            url = self.location(&response, &url)?;
            let mut request = self.http.get(url.clone());
            if url.origin() == first.origin() {
                request = self.authorized(request);
            }
            response = self.dial(request).await?;
        }
        Err(self.protocol("too many redirects"))
    }

    /// Pushes the component and its documents; the manifest comes last and makes the image visible.
    pub(in crate::artifact) async fn upload(
        &mut self,
        component: &Path,
        digest: &Digest,
        documents: &Pushed,
    ) -> Result<(), OciError> {
        if self.image.digest().is_some() {
            return Err(OciError::Reference {
                image: self.image.to_string(),
                reason: "a push needs a tag and takes no digest".into(),
            });
        }
        self.upload_blob(digest, Source::File(component)).await?;
        let config = Source::Bytes(documents.config.clone().into());
        self.upload_blob(&documents.config_digest, config).await?;
        let tag = self.image.tag().unwrap_or("latest").to_owned();
        let url = self.url(&format!("manifests/{tag}"))?;
        let body = Bytes::from(documents.manifest.clone());
        let response = self
            .send(&url, |http| {
                http.put(url.clone())
                    .header(CONTENT_TYPE, MANIFEST_TYPE)
                    .body(body.clone())
            })
            .await?;
        self.expect(response, StatusCode::CREATED).await.map(|_| ())
    }

    async fn upload_blob(&mut self, digest: &Digest, source: Source<'_>) -> Result<(), OciError> {
        let there = self.url(&format!("blobs/{digest}"))?;
        // Authenticated for pushing by the next request; a registry that wants more for this one than
        // for reading just says that the blob is not there.
        let response = self.send(&there, |http| http.head(there.clone())).await?;
        if response.status() == StatusCode::OK {
            return Ok(());
        }
        let start = self.url("blobs/uploads/")?;
        let response = self
            .send(&start, |http| {
                http.post(start.clone()).header(CONTENT_LENGTH, 0)
            })
            .await?;
        let response = self.expect(response, StatusCode::ACCEPTED).await?;
        let mut url = self.location(&response, &start)?;
        url.query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        let mut request = self
            .http
            .put(url.clone())
            .header(CONTENT_TYPE, "application/octet-stream");
        if url.origin() == start.origin() {
            request = self.authorized(request);
        }
        let request = match source {
            Source::Bytes(bytes) => request.body(bytes),
            Source::File(path) => {
                let unreadable = |e: io::Error| OciError::Unreachable {
                    registry: self.registry.clone(),
                    reason: format!("the stored component cannot be read: {e}"),
                };
                let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
                let size = file.metadata().await.map_err(unreadable)?.len();
                request
                    .header(CONTENT_LENGTH, size)
                    .body(reqwest::Body::wrap_stream(ReaderStream::with_capacity(
                        file,
                        64 << 10,
                    )))
            }
        };
        let response = self.dial(request).await?;
        self.expect(response, StatusCode::CREATED).await.map(|_| ())
    }

    fn url(&self, path: &str) -> Result<Url, OciError> {
        let scheme = self.settings.scheme(&self.registry);
        let text = format!(
            "{scheme}://{}/v2/{}/{path}",
            self.registry,
            self.image.repository()
        );
        let url = Url::parse(&text).map_err(|e| OciError::Reference {
            image: self.image.to_string(),
            reason: e.to_string(),
        })?;
        self.vet(&url)?;
        Ok(url)
    }

    /// Sends a request to the registry; once more with credentials if it asks for them.
    async fn send(
        &mut self,
        url: &Url,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, OciError> {
        let response = self.dial(self.authorized(request(&self.http))).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let mut challenges = challenges.filter_map(|h| Challenge::parse(h.to_str().ok()?));
        let authorization = match challenges.next() {
            // Not in the clear, except to this machine or where the operator said so, which is what
            // `scheme` decided.
            Some(Challenge::Basic) => self.login.as_ref().map(basic).transpose()?,
            Some(Challenge::Bearer {
                realm,
                service,
                scope,
            }) => Some(self.token(url, &realm, service, scope).await?),
            None => None,
        };
        let refused = || OciError::Unauthorized {
            registry: self.registry.clone(),
        };
        self.authorization = Some(authorization.ok_or_else(refused)?);
        let response = self.dial(self.authorized(request(&self.http))).await?;
        match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(OciError::Unauthorized {
                registry: self.registry.clone(),
            }),
            _ => Ok(response),
        }
    }

    /// Fetches a token from where the registry says.
    async fn token(
        &self,
        asked: &Url,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
    ) -> Result<HeaderValue, OciError> {
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let mut url = asked
            .join(realm)
            .map_err(|_| self.protocol("its token URL is none"))?;
        self.vet(&url)?;
        let given = [("service", service), ("scope", scope)];
        for (name, value) in given.into_iter().filter_map(|(n, v)| Some((n, v?))) {
            url.query_pairs_mut().append_pair(name, &value);
        }
        let mut request = self.http.get(url);
        if let Some(login) = &self.login {
            request = request.header(AUTHORIZATION, basic(login)?);
        }
        let response = self.dial(request).await?;
        if !response.status().is_success() {
            return Err(OciError::Unauthorized {
                registry: self.registry.clone(),
            });
        }
        let bytes = self.read(response, ANSWER_BYTES).await?;
        let token: Option<Token> = serde_json::from_slice(&bytes).ok();
        match token.and_then(|t| t.token.or(t.access_token)) {
            Some(token) => bearer(&token),
            None => Err(self.protocol("its token answer holds no token")),
        }
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        }
    }

    async fn dial(&self, request: RequestBuilder) -> Result<Response, OciError> {
        request.send().await.map_err(|e| OciError::Unreachable {
            registry: self.registry.clone(),
            reason: reason(&e),
        })
    }

    /// Where the registry sends us next.
    fn location(&self, response: &Response, from: &Url) -> Result<Url, OciError> {
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|v| v.to_str().ok());
        let url = location.and_then(|to| from.join(to).ok());
        let url = url.ok_or_else(|| self.protocol("it redirects to nowhere"))?;
        self.vet(&url)?;
        Ok(url)
    }

    /// Refuses schemes, and addresses in the URL itself; names are vetted when they are resolved.
    fn vet(&self, url: &Url) -> Result<(), OciError> {
        let host = url.host_str().unwrap_or_default();
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let scheme = match url.scheme() {
            "https" => true,
            // No step down from TLS.
            "http" => [&authority, &self.registry]
                .iter()
                .all(|r| self.settings.scheme(r) == "http"),
            _ => false,
        };
        let host = host_of(host);
        let address = match host.parse::<IpAddr>() {
            Ok(ip) => self.settings.may_dial(&self.registry, host, ip),
            Err(_) => true,
        };
        if scheme && address {
            return Ok(());
        }
        Err(OciError::Forbidden(format!(
            "{}://{authority} may not be used for images of {}: allow it with --private-registry (TLS) or --insecure-registry (plain HTTP)",
            url.scheme(),
            self.registry
        )))
    }

    async fn expect(&self, response: Response, status: StatusCode) -> Result<Response, OciError> {
        let found = response.status();
        if found == status {
            return Ok(response);
        }
        match found {
            StatusCode::NOT_FOUND => return Err(OciError::NotFound(self.image.to_string())),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(OciError::Unauthorized {
                    registry: self.registry.clone(),
                });
            }
            _ => {}
        }
        let body = self.read(response, ANSWER_BYTES).await.unwrap_or_default();
        Err(OciError::Status {
            registry: self.registry.clone(),
            status: found.as_u16(),
            message: codes(&body),
        })
    }

    async fn read(&self, mut response: Response, most: u64) -> Result<Vec<u8>, OciError> {
        let mut bytes = Vec::new();
        loop {
            let chunk = response.chunk().await.map_err(|e| OciError::Unreachable {
                registry: self.registry.clone(),
                reason: reason(&e),
            })?;
            let Some(chunk) = chunk else {
                return Ok(bytes);
            };
            if (bytes.len() + chunk.len()) as u64 > most {
                return Err(self.protocol(&format!("an answer has more than {most} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
    }

    fn protocol(&self, reason: &str) -> OciError {
        OciError::Protocol {
            registry: self.registry.clone(),
            reason: reason.to_owned(),
        }
    }

    fn format(&self, reason: String) -> OciError {
        OciError::Format {
            image: self.image.to_string(),
            reason,
        }
    }
}

fn of_component(error: OciError, digest: &Digest) -> OciError {
    match error {
        OciError::NotFound(image) => OciError::NotFound(format!("{digest} of {image}")),
        other => other,
    }
}

enum Source<'a> {
    File(&'a Path),
    Bytes(Bytes),
}

/// Resolves names to the addresses that may be dialled, so that what was vetted is what is used.
struct Vetted {
    settings: Arc<RegistrySettings>,
    registry: String,
}

impl Resolve for Vetted {
    fn resolve(&self, name: Name) -> Resolving {
        let (settings, registry) = (Arc::clone(&self.settings), self.registry.clone());
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let vetted: Vec<_> = found
                .filter(|a| settings.may_dial(&registry, &host, a.ip()))
                .collect();
            if vetted.is_empty() {
                let refused = "its addresses are private; allow it with --private-registry (or --insecure-registry)";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, refused).into());
            }
            Ok(Box::new(vetted.into_iter()) as Addrs)
        })
    }
}

fn bearer(token: &str) -> Result<HeaderValue, OciError> {
    secret(&format!("Bearer {token}"))
}

fn basic(login: &Login) -> Result<HeaderValue, OciError> {
    use base64::Engine as _;
    let (user, password) = login.parts();
    let pair = Zeroizing::new(format!("{user}:{password}"));
    let pair = Zeroizing::new(base64::prelude::BASE64_STANDARD.encode(pair.as_bytes()));
    secret(&Zeroizing::new(format!("Basic {}", *pair)))
}

fn secret(text: &str) -> Result<HeaderValue, OciError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| OciError::Credentials("they hold characters that HTTP forbids".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The error codes of a registry's answer. Its messages are left out: they may quote anything.
fn codes(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        code: String,
    }
    let envelope: Option<Envelope> = serde_json::from_slice(body).ok();
    let codes: Vec<String> = envelope
        .map(|e| e.errors.into_iter().map(|entry| entry.code).collect())
        .unwrap_or_default();
    if codes.is_empty() {
        "no reason given".into()
    } else {
        codes.join(", ")
    }
}

/// The innermost cause, without the URL, which may carry a token.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it does not answer in time".into();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match cause.downcast_ref::<reqwest::Error>() {
        Some(_) => "the request failed".into(),
        None => explain(error, "--ca-file"),
    }
}

#[cfg(test)]
#[path = "transport_tests.rs"]
mod tests;
