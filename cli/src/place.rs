//! Where resources are: on a host, or in a cluster. The same questions, answered in the same form.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use reqwest::Method;
use ringfence_api::{Kind, Manifest, TenantName};
use serde_json::{Value, json};

use crate::client::Client;
use crate::cluster::Cluster;
use crate::command::get::segment;
use crate::exit::{Code, code_of, fail};
use crate::target::{Chosen, Target};

/// A host or a cluster.
pub enum Place {
    /// A host, at its gateway.
    Host(Box<Client>),
    /// A cluster, at its API server.
    Cluster(Box<Cluster>),
}

/// How resources are applied.
#[derive(Debug, Clone, Copy, Default)]
pub struct ApplyOptions {
    /// Check everything and change nothing.
    pub dry_run: bool,
    /// Take fields over from other managers. On a cluster only.
    pub force: bool,
}

impl Place {
    /// What the command line names. `plugin` says whether kubectl runs this command.
    ///
    /// # Errors
    /// It names nothing that there is.
    pub async fn find(target: &Target, plugin: bool) -> Result<Self> {
        match target.choose(plugin)? {
            Chosen::Host { url, by } => {
                let tenant = target.tenant.clone().unwrap_or_default();
                let key = target.api_key.clone();
                let client = Client::new(&url, by, key, tenant)?;
                Ok(Self::Host(Box::new(client)))
            }
            chosen @ Chosen::Cluster { .. } => {
                let cluster = Cluster::connect(target, &chosen).await?;
                Ok(Self::Cluster(Box::new(cluster)))
            }
        }
    }

    /// The tenant that the command line names.
    pub fn tenant(&self) -> &TenantName {
        match self {
            Self::Host(client) => client.tenant(),
            Self::Cluster(cluster) => cluster.tenant(),
        }
    }

    /// The resources of a kind in the tenant, by name.
    ///
    /// # Errors
    /// They cannot be had.
    pub async fn list(&self, kind: Kind) -> Result<Vec<Value>> {
        match self {
            Self::Host(client) => {
                let path = address(kind, client.tenant(), None);
                let request = client.request(Method::GET, &path);
                Ok(items(&client.json(request).await?))
            }
            Self::Cluster(cluster) => cluster.list(kind).await,
        }
    }

    /// One resource.
    ///
    /// # Errors
    /// There is none, or it cannot be had.
    pub async fn one(&self, kind: Kind, name: &str) -> Result<Value> {
        match self {
            Self::Host(client) => {
                let path = address(kind, client.tenant(), Some(name));
                client.json(client.request(Method::GET, &path)).await
            }
            Self::Cluster(cluster) => cluster.one(kind, name).await,
        }
    }

    /// Creates or changes resources: of each tenant all, or none. A cluster is asked first whether it
    /// would take all of them, which is as near as it comes to that. Answers one item for each change.
    ///
    /// # Errors
    /// One of them is refused.
    pub async fn apply(&self, manifests: &[Manifest], options: ApplyOptions) -> Result<Vec<Value>> {
        match self {
            Self::Host(client) => on_host(client, manifests, options.dry_run).await,
            Self::Cluster(cluster) => in_cluster(cluster, manifests, options).await,
        }
    }

    /// The tenants that have anything, by name.
    ///
    /// # Errors
    /// They cannot be had.
    pub async fn tenants(&self) -> Result<Vec<String>> {
        match self {
            Self::Host(client) => {
                let answer = client.json(client.request(Method::GET, "tenants")).await?;
                let names = items(&answer);
                let names = names.iter().filter_map(Value::as_str);
                Ok(names.map(ToOwned::to_owned).collect())
            }
            Self::Cluster(cluster) => {
                let mut names = BTreeSet::new();
                for kind in Kind::OF_TENANTS {
                    for object in cluster.list_everywhere(kind).await? {
                        let namespace = object["metadata"]["namespace"].as_str();
                        names.extend(namespace.map(ToOwned::to_owned));
                    }
                }
                Ok(names.into_iter().collect())
            }
        }
    }

    /// The gateway that calls of an agent or tool go to.
    ///
    /// # Errors
    /// A cluster has no host that can be reached.
    pub async fn gateway(&self, of: Option<(Kind, &str)>) -> Result<Client> {
        match self {
            Self::Host(client) => Ok(Client::clone(client)),
            Self::Cluster(cluster) => cluster.gateway(of).await,
        }
    }

    /// All gateways that there are: what one has seen, another has not.
    ///
    /// # Errors
    /// A cluster has no host that can be reached.
    pub async fn gateways(&self) -> Result<Vec<Client>> {
        match self {
            Self::Host(client) => Ok(vec![Client::clone(client)]),
            Self::Cluster(cluster) => cluster.gateways().await,
        }
    }

    /// What every gateway answers to a question. One that does not answer is told on standard error,
    /// and left out, as long as another does.
    ///
    /// # Errors
    /// None answers.
    pub async fn ask_all(&self, path: &str) -> Result<Vec<Value>> {
        let gateways = self.gateways().await?;
        let asked = gateways.iter().map(async |gateway| {
            let request = gateway.in_tenant(Method::GET, path);
            gateway.json(request).await
        });
        let mut answers = Vec::new();
        let mut failures = Vec::new();
        for answer in futures::future::join_all(asked).await {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(error) => failures.push(error),
            }
        }
        if answers.is_empty()
            && let Some(error) = failures.pop()
        {
            return Err(error);
        }
        for error in failures {
            eprintln!("warning: left out: {error}");
        }
        Ok(answers)
    }

    /// The first answer to a question that only one gateway knows.
    ///
    /// # Errors
    /// None knows it; or one could not be asked, and the others do not know.
    pub async fn ask_any(&self, path: &str) -> Result<Value> {
        let mut unknown = None;
        let mut failure = None;
        for gateway in self.gateways().await? {
            match gateway.json(gateway.in_tenant(Method::GET, path)).await {
                Ok(answer) => return Ok(answer),
                Err(error) if code_of(&error) == Code::NotFound => unknown = Some(error),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure
            .or(unknown)
            .unwrap_or_else(|| fail(Code::NotFound, "there is no host to ask")))
    }

    /// Removes a resource. Answers one item for each change.
    ///
    /// # Errors
    /// There is none, or it is refused.
    pub async fn delete(&self, kind: Kind, tenant: &TenantName, name: &str) -> Result<Vec<Value>> {
        match self {
            Self::Host(client) => {
                let path = address(kind, tenant, Some(name));
                let answer = client.json(client.request(Method::DELETE, &path)).await?;
                Ok(items(&answer))
            }
            Self::Cluster(cluster) => {
                cluster.delete(kind, tenant, name).await?;
                Ok(vec![item(kind, tenant, name, "deleted")])
            }
        }
    }
}

async fn on_host(client: &Client, manifests: &[Manifest], dry_run: bool) -> Result<Vec<Value>> {
    // Ceilings, which belong to none, come first: what follows is bounded by them.
    let mut by_tenant: BTreeMap<Option<TenantName>, Vec<Value>> = BTreeMap::new();
    for manifest in manifests {
        let tenant = manifest.metadata.namespace.clone();
        let of_tenant = manifest.kind().is_of_tenants();
        by_tenant
            .entry(of_tenant.then_some(tenant))
            .or_default()
            .push(manifest.to_json());
    }
    let mut changed = Vec::new();
    for (tenant, documents) in by_tenant {
        let path = match tenant {
            Some(tenant) => format!("tenants/{tenant}/apply?dryRun={dry_run}"),
            None => format!("ceilings?dryRun={dry_run}"),
        };
        let request = client.request(Method::POST, &path).json(&documents);
        changed.extend(items(&client.json(request).await?));
    }
    Ok(changed)
}

async fn in_cluster(
    cluster: &Cluster,
    manifests: &[Manifest],
    options: ApplyOptions,
) -> Result<Vec<Value>> {
    let mut changed = Vec::new();
    for dry_run in [true, false] {
        changed.clear();
        for manifest in manifests {
            let applied = cluster.apply(manifest, dry_run, options.force).await?;
            let (kind, tenant, name) = manifest.key();
            changed.push(item(kind, &tenant, name.as_str(), applied.change));
        }
        if options.dry_run {
            break;
        }
    }
    Ok(changed)
}

/// Where a host has resources of a kind, or one of them.
fn address(kind: Kind, tenant: &TenantName, name: Option<&str>) -> String {
    let all = match kind.is_of_tenants() {
        true => format!("tenants/{tenant}/{}", kind.plural()),
        false => kind.plural().to_owned(),
    };
    match name {
        Some(name) => format!("{all}/{}", segment(name)),
        None => all,
    }
}

fn items(answer: &Value) -> Vec<Value> {
    answer["items"].as_array().cloned().unwrap_or_default()
}

fn item(kind: Kind, tenant: &TenantName, name: &str, change: &str) -> Value {
    let mut item = json!({"kind": kind, "name": name, "change": change});
    if kind.is_of_tenants() {
        item["namespace"] = json!(tenant);
    }
    item
}
