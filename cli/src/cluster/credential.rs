//! Who one is at the gateway of a cluster's host: an API key, a token that is made for the purpose, or the
//! token of the kubeconfig where it was made for hosts. A token that is good for the API server is never sent.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderValue, Request, Response, header};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::client::ConfigExt as _;
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use serde_json::Value;
use tower::{BoxError, Layer as _, ServiceExt as _};

/// How long a token lasts that is made for a command: the shortest time that Kubernetes gives.
const TOKEN_SECONDS: i64 = 600;

/// A secret that a gateway takes. It is never shown.
#[derive(Clone)]
pub struct Credential(HeaderValue);

impl Credential {
    /// An API key or a token.
    ///
    /// # Errors
    /// It holds what no header can.
    pub fn new(secret: &str) -> Result<Self, BoxError> {
        let mut value = HeaderValue::from_str(secret)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// Its text, as a header takes it. Marked as sensitive.
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// The token of the kubeconfig, where it was made for `audience`. A token that was asked for stays with the
/// configuration, so that a program that gives tokens runs once.
///
/// # Errors
/// The program fails, or a file cannot be read.
pub(super) async fn of(
    config: &mut Config,
    audience: &str,
) -> Result<Option<Credential>, BoxError> {
    let Some(token) = bearer(config).await? else {
        return Ok(None);
    };
    let credential = match audiences(&token).iter().any(|found| found == audience) {
        true => Some(Credential::new(&token)?),
        false => None,
    };
    config.auth_info = AuthInfo {
        token: Some(token.into()),
        exec: None,
        token_file: None,
        ..config.auth_info.clone()
    };
    Ok(credential)
}

/// Has the API server make a token of a service account for `audience`, good for some minutes and for
/// nothing else.
///
/// # Errors
/// There is no such account, or one may not.
pub(super) async fn of_account(
    client: &Client,
    namespace: &str,
    account: &str,
    audience: &str,
) -> kube::Result<Option<Credential>> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![audience.to_owned()],
            expiration_seconds: Some(TOKEN_SECONDS),
            bound_object_ref: None,
        },
        ..TokenRequest::default()
    };
    let made = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await?;
    let token = made.status.map(|status| status.token).unwrap_or_default();
    Ok(Credential::new(&token).ok())
}

/// The bearer token with which requests to the API server are signed, wherever it comes from.
async fn bearer(config: &Config) -> Result<Option<String>, BoxError> {
    let Some(sign) = config.auth_layer()? else {
        return Ok(None);
    };
    // The layer of kube's own client, around a service that answers with the header that was added.
    let look = tower::service_fn(|request: Request<kube::client::Body>| async move {
        let mut response = Response::new(kube::client::Body::empty());
        if let Some(added) = request.headers().get(header::AUTHORIZATION) {
            let headers = response.headers_mut();
            headers.insert(header::AUTHORIZATION, added.clone());
        }
        Ok::<_, BoxError>(response)
    });
    let request = Request::new(kube::client::Body::empty());
    let signed = sign.layer(look).oneshot(request).await?;
    let token = signed.headers().get(header::AUTHORIZATION);
    let token = token.and_then(|value| value.to_str().ok());
    Ok(token
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(ToOwned::to_owned))
}

/// For whom a token says that it was made (RFC 7519, 4.1.3). None where it is no JWT. It is not verified:
/// this only decides whether it may leave.
fn audiences(token: &str) -> Vec<String> {
    let claims = token.split('.').nth(1).unwrap_or_default();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    match &claims["aud"] {
        Value::Array(all) => all.iter().filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(user: &str) -> Config {
        let yaml = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{server: 'http://127.0.0.1:1'}}}}]\n\
             users: [{{name: u, user: {user}}}]\n"
        );
        let file = kube::config::Kubeconfig::from_yaml(&yaml).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        futures::executor::block_on(Config::from_custom_kubeconfig(file, &options)).unwrap()
    }

    /// A token as it looks, made for somebody.
    fn token(audience: &str) -> String {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"aud": {audience}}}"#));
        format!("e30.{claims}.c2ln")
    }

    async fn credential(user: &str) -> Option<HeaderValue> {
        let found = of(&mut config(user), "ringfence").await.unwrap();
        found.map(|credential| credential.header())
    }

    #[tokio::test]
    async fn only_a_token_that_is_made_for_hosts_leaves_wherever_it_comes_from() {
        let good = token(r#"["other", "ringfence"]"#);
        let given = credential(&format!("{{token: {good}}}")).await;
        assert_eq!(given.unwrap(), good.as_str());
        for other in [
            token(r#""https://kubernetes.default.svc""#),
            "opaque".into(),
        ] {
            assert_eq!(credential(&format!("{{token: {other}}}")).await, None);
        }
        assert_eq!(credential("{}").await, None);
        let good = token(r#""ringfence""#);
        let answer = format!(
            r#"{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {{"token": "{good}"}}}}"#
        );
        let program = format!(
            "{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: echo, args: ['{answer}']}}}}"
        );
        assert_eq!(credential(&program).await.unwrap(), good.as_str());
        let failing = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: 'false'}}";
        assert!(of(&mut config(failing), "ringfence").await.is_err());
    }

    #[test]
    fn a_credential_is_not_shown() {
        let credential = Credential::new("secret").unwrap();
        assert!(!format!("{credential:?} {:?}", credential.header()).contains("secret"));
    }
}
