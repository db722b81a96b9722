//! The host among the other hosts of the cluster: calls go to them and come from them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{NodeError, Shared};
use crate::peer::{PeerServer, Router};

/// How long handing over conversations may take.
const HAND_OVER: Duration = Duration::from_secs(5);

/// What serves other hosts.
pub(super) struct Peers {
    pub(super) router: Arc<Router>,
    server: Arc<PeerServer>,
    /// Where they reach it.
    pub(super) address: SocketAddr,
}

impl Peers {
    /// Listens for other hosts, and lets calls go to them. Until the host has a certificate, neither side
    /// trusts the other.
    pub(super) async fn start(
        shared: &Arc<Shared>,
        listen: SocketAddr,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, NodeError> {
        let failed = |source| NodeError::Peers {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let address = advertised(bound, shared.membership.advertise);
        let host = &shared.host;
        let router = Router::start(
            shared.membership.name.clone(),
            shared.client.clone(),
            Api::namespaced(shared.client.clone(), &shared.membership.namespace),
            shared.peers.clone(),
            host.directory().clone(),
            host.metrics().clone(),
        );
        host.route_by(router.clone());
        let server = PeerServer::new(
            host.core().clone(),
            router.clone(),
            shared.peers.clone(),
            host.draining().clone(),
        );
        tasks.spawn(server.clone().serve(listener));
        Ok(Self {
            router,
            server,
            address,
        })
    }

    /// Waits until no call of another host is in flight, and hands over the conversations that are kept here.
    pub(super) async fn leave(&self, shared: &Shared) {
        let most = crate::gateway::Settings::default().drain;
        self.server.finished(most).await;
        let handing = self.router.hand_over(&shared.host.core().sessions);
        if tokio::time::timeout(HAND_OVER, handing).await.is_err() {
            tracing::warn!("not all conversations were handed over in time");
        }
    }
}

/// Where others reach what listens on `bound`.
pub(super) fn advertised(bound: SocketAddr, ip: Option<IpAddr>) -> SocketAddr {
    match ip {
        Some(ip) if bound.ip().is_unspecified() => SocketAddr::new(ip, bound.port()),
        _ => bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_means_every_address_is_told_as_that_of_the_pod() {
        let ip = Some("10.1.2.3".parse().unwrap());
        let told = |bound: &str, ip| advertised(bound.parse().unwrap(), ip).to_string();
        assert_eq!(told("0.0.0.0:7071", ip), "10.1.2.3:7071");
        assert_eq!(told("[::]:7071", ip), "10.1.2.3:7071");
        assert_eq!(told("127.0.0.1:7071", ip), "127.0.0.1:7071");
        assert_eq!(told("0.0.0.0:7071", None), "0.0.0.0:7071");
    }
}
