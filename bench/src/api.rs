//! A client of a host's REST API, over one connection that stays open.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::server::Server;

const JSON: &str = "application/json";

/// The text at an address.
pub(crate) async fn get(url: &str) -> Result<String> {
    let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let request = Request::get(url).body(Full::<Bytes>::new(Bytes::new()))?;
    let response = client.request(request).await?;
    ensure!(
        response.status().is_success(),
        "{url} answers {}",
        response.status()
    );
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// A connection to a host, for the tenant `default`.
pub(crate) struct Api {
    runtime: Runtime,
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
}

impl Api {
    /// Connects, so that no later request has to.
    pub(crate) fn connect(server: &Server) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let api = Self {
            runtime,
            client: Client::builder(TokioExecutor::new()).build(connector),
            base: server.base.clone(),
        };
        api.send(Method::GET, "/healthz", JSON, Bytes::new())?;
        Ok(api)
    }

    fn send(&self, method: Method, path: &str, media: &str, body: Bytes) -> Result<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::CONTENT_TYPE, media)
            .body(Full::new(body))?;
        self.runtime.block_on(async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            ensure!(
                status.is_success(),
                "{path} answers {status}: {}",
                String::from_utf8_lossy(&body)
            );
            Ok(body)
        })
    }

    fn post(&self, path: &str, media: &str, body: Bytes) -> Result<Value> {
        let path = format!("/api/v1/tenants/default/{path}");
        let answer = self.send(Method::POST, &path, media, body)?;
        serde_json::from_slice(&answer).with_context(|| format!("{path} answers no JSON"))
    }

    /// Uploads a component; its digest.
    pub(crate) fn upload(&self, component: impl Into<Bytes>) -> Result<String> {
        let stored = self.post("artifacts", "application/wasm", component.into())?;
        let digest = stored["digest"]
            .as_str()
            .context("an artifact has a digest")?;
        Ok(digest.to_owned())
    }

    /// Applies manifests of this kind, given as name and spec.
    pub(crate) fn apply<'a>(
        &self,
        kind: &str,
        resources: impl IntoIterator<Item = (&'a str, Value)>,
    ) -> Result<()> {
        let manifests: Vec<Value> = resources
            .into_iter()
            .map(|(name, spec)| {
                json!({"apiVersion": "ringfence.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
            })
            .collect();
        let body = serde_json::to_vec(&manifests)?;
        self.post("apply", JSON, body.into()).map(drop)
    }

    /// Calls a function of a tool, which has to succeed.
    pub(crate) fn call(&self, tool: &str, function: &str, arguments: &Value) -> Result<()> {
        let body = serde_json::to_vec(&json!({ "arguments": arguments }))?;
        let path = format!("tools/{tool}/functions/{function}");
        let answer = self.post(&path, JSON, body.into())?;
        ensure!(
            answer["isError"] != true,
            "{tool} {function} fails: {answer}"
        );
        Ok(())
    }

    /// Asks an agent; its answer.
    pub(crate) fn ask(&self, agent: &str, input: &str) -> Result<String> {
        let body = serde_json::to_vec(&json!({ "input": input }))?;
        let answer = self.post(&format!("agents/{agent}/run"), JSON, body.into())?;
        Ok(answer["text"].as_str().unwrap_or_default().to_owned())
    }
}
