//! Who one is at the gateway of a cluster's host: an API key, or else the token of the kubeconfig.

use http::{HeaderValue, Request, Response, header};
use kube::Config;
use kube::client::ConfigExt as _;
use kube::config::AuthInfo;
use tower::{BoxError, Layer as _, ServiceExt as _};

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

/// The credential for gateways: `api_key`, else the token that the kubeconfig leads to, be it written
/// there, in a file, or given by a program. A token that was asked for stays with the configuration, so
/// that the program runs once. None where the kubeconfig has a client certificate, which the API server
/// does not pass on.
///
/// # Errors
/// The program fails, or a file cannot be read.
pub(super) async fn of(
    config: &mut Config,
    api_key: Option<&str>,
) -> Result<Option<Credential>, BoxError> {
    if let Some(key) = api_key {
        return Credential::new(key).map(Some);
    }
    let Some(token) = bearer(config).await? else {
        return Ok(None);
    };
    let credential = Credential::new(&token)?;
    config.auth_info = AuthInfo {
        token: Some(token.into()),
        exec: None,
        token_file: None,
        ..config.auth_info.clone()
    };
    Ok(Some(credential))
}

/// The bearer token with which requests to the API server are signed.
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

    async fn credential(user: &str, api_key: Option<&str>) -> Option<HeaderValue> {
        let found = of(&mut config(user), api_key).await.unwrap();
        found.map(|credential| credential.header())
    }

    #[tokio::test]
    async fn a_key_wins_over_a_token_and_a_token_comes_from_wherever_it_is() {
        let token = "{token: abc}";
        assert_eq!(credential(token, Some("rf_key")).await.unwrap(), "rf_key");
        assert_eq!(credential(token, None).await.unwrap(), "abc");
        assert_eq!(credential("{}", None).await, None);
        let answer = r#"{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "from-program"}}"#;
        let program = format!(
            "{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: echo, args: ['{answer}']}}}}"
        );
        assert_eq!(credential(&program, None).await.unwrap(), "from-program");
        let failing = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: 'false'}}";
        assert!(of(&mut config(failing), None).await.is_err());
    }

    #[test]
    fn a_credential_is_not_shown() {
        let credential = Credential::new("secret").unwrap();
        assert!(!format!("{credential:?} {:?}", credential.header()).contains("secret"));
    }
}
