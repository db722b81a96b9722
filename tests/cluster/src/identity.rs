//! Who a client is: kubeconfig files.

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::pki::Credentials;
use crate::{ControlPlane, Error};

/// How a client proves who it is.
pub(crate) enum Proof {
    Certificate(Credentials),
    Token(String),
}

/// A kubeconfig with everything inside it. `authority` is the certificate that the server's is signed by.
pub(crate) fn kubeconfig(server: &str, authority: &str, user: &str, proof: &Proof) -> String {
    let base64 = |text: &str| BASE64_STANDARD.encode(text);
    let proof = match proof {
        Proof::Certificate(Credentials { certificate, key }) => format!(
            "client-certificate-data: {}, client-key-data: {}",
            base64(certificate),
            base64(key)
        ),
        Proof::Token(token) => format!("token: {token}"),
    };
    let user = serde_json::Value::from(user); // quoted: names have colons
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters: [{{name: test, cluster: {{server: \"{server}\", certificate-authority-data: {}}}}}]\n\
         users: [{{name: {user}, user: {{{proof}}}}}]\n\
         contexts: [{{name: test, context: {{cluster: test, user: {user}}}}}]\n\
         current-context: test\n",
        base64(authority)
    )
}

/// A client with the identity of a kubeconfig.
pub(crate) async fn client(kubeconfig: &std::path::Path) -> Result<kube::Client, Error> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

impl ControlPlane {
    /// A client that may do everything. Make one for each test: a client belongs to the runtime that it was
    /// made on.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub async fn client(&self) -> Result<kube::Client, Error> {
        client(self.kubeconfig()).await
    }

    /// A client of another user; see [`Self::kubeconfig_for`].
    ///
    /// # Errors
    /// As [`Self::kubeconfig_for`].
    pub async fn client_for(&self, user: &str, group: Option<&str>) -> Result<kube::Client, Error> {
        client(&self.kubeconfig_for(user, group)?).await
    }

    /// Writes a kubeconfig with a client certificate for a user, who may do nothing until a role is bound to
    /// them or to their group. One group, since `rcgen` writes one organisation into a certificate.
    ///
    /// # Errors
    /// When the certificate cannot be made, or the file not be written.
    pub fn kubeconfig_for(&self, user: &str, group: Option<&str>) -> Result<PathBuf, Error> {
        let credentials = self.authority().client(user, group)?;
        self.write_kubeconfig(user, &Proof::Certificate(credentials))
    }

    /// Writes a kubeconfig with a token for a service account, which has to exist: what a Pod under that
    /// account can do.
    ///
    /// # Errors
    /// When the API server gives no token, or the file cannot be written.
    pub async fn kubeconfig_for_service_account(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<PathBuf, Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec::default(),
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await?;
        let token = answer.status.map(|status| status.token).unwrap_or_default();
        let user = format!("system:serviceaccount:{namespace}:{name}");
        self.write_kubeconfig(&user, &Proof::Token(token))
    }

    fn write_kubeconfig(&self, user: &str, proof: &Proof) -> Result<PathBuf, Error> {
        let authority = self.authority().credentials().certificate;
        let file = format!("kubeconfigs/{}", self.next_number());
        self.folder()
            .write(&file, &kubeconfig(&self.url(), &authority, user, proof))
    }
}
