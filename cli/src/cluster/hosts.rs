//! The gateways of a cluster's hosts: which there are, which one a call goes to, and the way there.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use ringfence_api::{Host, Instance, KIND_LABEL, Kind, NAME_LABEL, condition};

use super::{Cluster, Credential};
use crate::client::{Client, Proxy, is_private};
use crate::exit::{Code, fail};

/// Kind of the object that owns the `Host` of a Pod.
const POD: &str = "Pod";
/// How long a host may take to take a connection before another one is asked.
const CONNECT: Duration = Duration::from_secs(1);

impl Cluster {
    /// The gateway that a call of an agent or tool goes to: of a host that runs it, where that can be
    /// seen, else of any that is ready, which knows the way.
    ///
    /// # Errors
    /// No host is ready, or it cannot be reached from here.
    pub async fn gateway(&self, of: Option<(Kind, &str)>) -> Result<Client> {
        let hosts = self.ready_hosts().await?;
        let running = match of {
            Some((kind, name)) => self.running(kind, name).await,
            None => BTreeSet::new(),
        };
        let (first, others): (Vec<_>, Vec<_>) = hosts
            .iter()
            .partition(|host| running.contains(&host.name_any()));
        let mut best = None;
        for host in first.into_iter().chain(others) {
            best.get_or_insert(host);
            if listens(host).await {
                best = Some(host);
                break;
            }
        }
        match best {
            Some(host) => self.way_to(host, self.credential().await?.as_ref()),
            None => Err(self.no_host()),
        }
    }

    /// The gateways of all hosts that are ready.
    ///
    /// # Errors
    /// No host is ready, or one cannot be reached from here.
    pub async fn gateways(&self) -> Result<Vec<Client>> {
        let hosts = self.ready_hosts().await?;
        if hosts.is_empty() {
            return Err(self.no_host());
        }
        let credential = self.credential().await?;
        let way = |host| self.way_to(host, credential.as_ref());
        hosts.iter().map(way).collect()
    }

    fn no_host(&self) -> anyhow::Error {
        let message = format!(
            "no host of {} is ready (kubectl get hosts -n {}): --system-namespace says where hosts are",
            self.name, self.system
        );
        fail(Code::Unavailable, message)
    }

    /// Hosts that serve, by name; those that leave come last.
    async fn ready_hosts(&self) -> Result<Vec<Host>> {
        let api: Api<Host> = Api::namespaced(self.client.clone(), &self.system);
        let all = api.list(&ListParams::default()).await;
        let mut hosts = all.map_err(|error| self.failed("hosts", &error))?.items;
        hosts.retain(|host| {
            let status = host.status.as_ref();
            status.is_some_and(|status| ready(&status.conditions) && status.address.is_some())
        });
        hosts.sort_by_key(|host| (host.spec.draining, host.name_any()));
        Ok(hosts)
    }

    /// Hosts on which an agent or tool can be called. Empty where one may not look.
    async fn running(&self, kind: Kind, name: &str) -> BTreeSet<String> {
        let api: Api<Instance> = Api::namespaced(self.client.clone(), self.tenant.as_str());
        let kind = kind.as_str().to_ascii_lowercase();
        let labels = format!("{KIND_LABEL}={kind},{NAME_LABEL}={name}");
        let Ok(all) = api.list(&ListParams::default().labels(&labels)).await else {
            return BTreeSet::new();
        };
        let callable = |instance: &Instance| {
            let status = instance.status.as_ref()?;
            let here = status.host_name == instance.spec.host_name;
            let host = instance.spec.host_name.as_ref()?;
            (here && ready(&status.conditions)).then(|| host.to_string())
        };
        all.items.iter().filter_map(callable).collect()
    }

    /// Through the API server to a host that is a Pod; to its address otherwise.
    fn way_to(&self, host: &Host, credential: Option<&Credential>) -> Result<Client> {
        let name = host.name_any();
        let address = host.status.as_ref().and_then(|s| s.address.as_deref());
        let address = address.unwrap_or_default();
        let shown = format!("host {name} of {}", self.name);
        if is_pod(host) {
            let port = address
                .rsplit(':')
                .next()
                .and_then(|port| port.parse().ok());
            let Some(port) = port else {
                return Err(fail(
                    Code::Unavailable,
                    format!("{shown} does not say on which port it listens: {address:?}"),
                ));
            };
            let proxy = Proxy::new(self.proxy.clone(), &self.system, &name, port);
            let tenant = self.tenant.clone();
            return Client::proxied(proxy, shown, credential, tenant);
        }
        let url = format!("http://{address}");
        let private = url::Url::parse(&url).is_ok_and(|url| is_private(&url));
        let secret = match credential {
            // What one is known by stays off open networks.
            Some(_) if !private => {
                return Err(fail(
                    Code::Denied,
                    format!(
                        "{shown} is no Pod and listens on {url}, where a credential would go unencrypted: \
                         use the command on its machine, or --host with an https address of it"
                    ),
                ));
            }
            Some(credential) => credential.header().to_str().ok().map(ToOwned::to_owned),
            None => None,
        };
        Client::of_cluster(&url, shown, secret, self.tenant.clone())
    }
}

fn is_pod(host: &Host) -> bool {
    host.owner_references()
        .iter()
        .any(|owner| owner.kind == POD)
}

/// Whether somebody listens where the host says that it is: one that was killed counts as ready until its
/// Lease has run out. Pods are reached through the API server.
async fn listens(host: &Host) -> bool {
    let address = host.status.as_ref().and_then(|s| s.address.as_deref());
    let Some(address) = address.filter(|_| !is_pod(host)) else {
        return true;
    };
    let connected = tokio::net::TcpStream::connect(address);
    matches!(tokio::time::timeout(CONNECT, connected).await, Ok(Ok(_)))
}

fn ready(conditions: &[Condition]) -> bool {
    conditions
        .iter()
        .any(|c| c.type_ == condition::READY && c.status == "True")
}
