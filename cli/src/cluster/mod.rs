//! A cluster, as its kubeconfig leads to it: its objects through the API server, its hosts' gateways
//! through the API server's proxy.

mod credential;
mod error;
mod hosts;
mod objects;

use std::path::Path;

use anyhow::Result;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use ringfence_api::TenantName;

use crate::exit::{Code, fail};
use crate::target::{Chosen, Target};

pub use credential::Credential;
pub use objects::{Applied, FIELD_MANAGER};

/// A cluster, a tenant in it, and who asks.
pub struct Cluster {
    /// Requests to the API server.
    client: Client,
    /// Requests that the API server passes on. They are never repeated: a call may have happened.
    proxy: Client,
    /// What it is called in messages.
    name: String,
    tenant: TenantName,
    system: String,
    caller: Caller,
}

/// Who calls hosts.
enum Caller {
    /// With this credential, or with none.
    Known(Option<Credential>),
    /// A service account of the tenant, for which a token is made when it is needed.
    Account { name: String, audience: String },
}

impl Cluster {
    /// The cluster that the command line names. The API server is not asked for anything yet.
    ///
    /// # Errors
    /// There is no such kubeconfig or context, or its credential cannot be had.
    pub async fn connect(target: &Target, chosen: &Chosen) -> Result<Self> {
        let Chosen::Cluster {
            context,
            kubeconfig,
            by,
        } = chosen
        else {
            return Err(fail(Code::Usage, "this needs a cluster: give --context"));
        };
        crate::tls::install();
        let (mut config, context) = read(kubeconfig.as_deref(), context.clone())
            .await
            .map_err(|error| fail(Code::Unavailable, format!("{error} (chosen by {by})")))?;
        let name = format!(
            "{context} ({}, chosen by {by})",
            config.cluster_url.to_string().trim_end_matches('/')
        );
        let tenant = match &target.tenant {
            Some(tenant) => tenant.clone(),
            None => config.default_namespace.parse().map_err(|error| {
                let message = format!("the namespace of the context {context}: {error}");
                fail(Code::Invalid, message)
            })?,
        };
        let no_credential = |error: tower::BoxError| {
            let message = format!("no credential for {name}: {error}");
            fail(Code::Denied, message)
        };
        let found = credential::of(&mut config, &target.audience).await;
        let found = found.map_err(no_credential)?;
        let credential = match (&target.api_key, &target.service_account) {
            (Some(key), _) => Caller::Known(Some(Credential::new(key).map_err(no_credential)?)),
            (None, Some(account)) => Caller::Account {
                name: account.clone(),
                audience: target.audience.clone(),
            },
            (None, None) => Caller::Known(found),
        };
        let client = |config: Config| {
            Client::try_from(config).map_err(|error| {
                let message = format!("{name} cannot be spoken to: {}", error::chain(&error));
                fail(Code::Unavailable, message)
            })
        };
        let mut once = config.clone();
        once.default_retry = false;
        Ok(Self {
            client: client(config)?,
            proxy: client(once)?,
            name,
            tenant,
            system: target.system_namespace.clone(),
            caller: credential,
        })
    }

    /// Requests to the API server.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The tenant that the command line names: a namespace.
    pub fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    /// What it is called in messages: context, URL, and why it was chosen.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What hosts are called with.
    async fn credential(&self) -> Result<Option<Credential>> {
        match &self.caller {
            Caller::Known(credential) => Ok(credential.clone()),
            Caller::Account { name, audience } => {
                credential::of_account(&self.client, self.tenant.as_str(), name, audience)
                    .await
                    .map_err(|error| {
                        let what =
                            format!("service account {}/{name} to make a token of", self.tenant);
                        self.failed(&what, &error)
                    })
            }
        }
    }

    /// The version of the API server.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn version(&self) -> Result<String> {
        let version = self.client.apiserver_version().await;
        let version = version.map_err(|error| self.failed("its version", &error))?;
        Ok(version.git_version)
    }

    /// A failure of the API server as one of ours. `what` says what it was about.
    pub fn failed(&self, what: &str, error: &kube::Error) -> anyhow::Error {
        error::failed(&self.name, what, error)
    }
}

/// A configuration, and what its context is called.
async fn read(
    path: Option<&Path>,
    context: Option<String>,
) -> std::result::Result<(Config, String), String> {
    let options = KubeConfigOptions {
        context: context.clone(),
        ..KubeConfigOptions::default()
    };
    let said = |error: kube::config::KubeconfigError| {
        let hint = "set KUBECONFIG, or give --kubeconfig and --context";
        format!("no cluster is configured: {}: {hint}", error::chain(&error))
    };
    let file = match path {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    match file {
        Ok(file) => {
            let current = context.or_else(|| file.current_context.clone());
            let config = Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(said)?;
            let name = current.map_or_else(|| "the cluster".to_owned(), |c| format!("context {c}"));
            Ok((config, name))
        }
        // In a Pod there is none, and none is asked for.
        Err(error) if path.is_none() && context.is_none() => match Config::incluster() {
            Ok(config) => Ok((config, "the cluster of this Pod".to_owned())),
            Err(_) => Err(said(error)),
        },
        Err(error) => Err(said(error)),
    }
}
