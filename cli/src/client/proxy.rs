//! Requests to a gateway that an API server passes on, by the `proxy` subresource of its Pod. It needs no
//! way into the cluster's network, and no port that is forwarded; answers stream.

use futures::TryStreamExt as _;
use http_body_util::BodyExt as _;
use kube::core::Status;
use reqwest::{RequestBuilder, Response};

use crate::exit::{Code, fail};

/// The way to one Pod.
#[derive(Clone)]
pub struct Proxy {
    client: kube::Client,
    prefix: String,
}

impl Proxy {
    /// The way to a port of a Pod. `client` must not repeat requests by itself.
    pub fn new(client: kube::Client, namespace: &str, pod: &str, port: u16) -> Self {
        Self {
            client,
            prefix: format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy"),
        }
    }

    /// Sends a request; its URL's host does not matter.
    ///
    /// # Errors
    /// The API server cannot be reached. What it answers is an answer.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, String> {
        let request = request.build().map_err(|error| error.to_string())?;
        let url = request.url();
        let query = url.query().map_or_else(String::new, |q| format!("?{q}"));
        let body = match request.body() {
            None => Vec::new(),
            Some(body) => match body.as_bytes() {
                Some(bytes) => bytes.to_vec(),
                None => return Err("an upload cannot pass the API server".to_owned()),
            },
        };
        let mut passed = http::Request::builder()
            .method(request.method())
            .uri(format!("{}{}{query}", self.prefix, url.path()))
            .body(kube::client::Body::from(body))
            .map_err(|error| error.to_string())?;
        passed.headers_mut().extend(request.headers().clone());
        let answer = self
            .client
            .send(passed)
            .await
            .map_err(|error| error.to_string())?;
        Ok(answer
            .map(|body| {
                reqwest::Body::wrap_stream(body.into_data_stream().map_err(|e| e.to_string()))
            })
            .into())
    }
}

/// What the API server itself says where it does not pass a request on.
pub(super) struct Refusal(Status);

/// Reads it; none where the gateway spoke.
pub(super) fn refusal(text: &str) -> Option<Refusal> {
    let document: serde_json::Value = serde_json::from_str(text).ok()?;
    if document["kind"] != "Status" {
        return None;
    }
    serde_json::from_value(document).ok().map(Refusal)
}

impl Refusal {
    /// As a failure.
    pub(super) fn failure(self, host: &str) -> anyhow::Error {
        let Status { code, message, .. } = self.0;
        match code {
            401 => fail(
                Code::Denied,
                format!("{host}: the API server does not take the credential of the kubeconfig"),
            ),
            403 => fail(
                Code::Denied,
                format!(
                    "{host}: {message}: calls go through the API server, which needs leave for pods/proxy \
                     in the hosts' namespace"
                ),
            ),
            404 => fail(
                Code::Unavailable,
                format!("{host}: its Pod is gone: {message}"),
            ),
            _ => fail(Code::Unavailable, format!("{host}: {message}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::code_of;

    #[test]
    fn the_api_server_and_the_gateway_are_told_apart() {
        let gateway = r#"{"type": "about:blank", "status": 403, "code": "denied", "detail": "no"}"#;
        assert!(refusal(gateway).is_none());
        assert!(refusal("not found").is_none());
        let server = r#"{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
            "message": "pods \"h\" is forbidden", "reason": "Forbidden"}"#;
        let said = refusal(server).unwrap().failure("host h");
        assert_eq!(code_of(&said), Code::Denied);
        assert!(said.to_string().contains("pods/proxy"), "{said}");
    }
}
