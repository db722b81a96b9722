//! Where the gateway listens, and who may talk to it there. A [`Binding`] cannot hold "open to the
//! network without authentication".

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::auth::{ClusterCallers, KeyRing};

/// Why an address cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindingError {
    /// Not loopback, and nobody is authenticated.
    #[error(
        "{0} can be reached from the network: listen on 127.0.0.1 or [::1], or authenticate callers with --api-keys FILE or, on a cluster, --authenticate kubernetes"
    )]
    Open(SocketAddr),
    /// The socket does not know its own address.
    #[error("the address of the listening socket cannot be read")]
    Address(#[source] std::io::Error),
}

/// A listening socket and the authentication that goes with it.
#[derive(Debug)]
pub struct Binding {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) doors: Doors,
}

/// Who may talk to a gateway.
#[derive(Debug, Clone)]
pub(super) enum Doors {
    /// Everybody on this machine, as `user/local`.
    Local,
    /// Whoever has a key.
    Keys(Arc<KeyRing>),
    /// Whoever the cluster knows, and whoever has a key.
    Cluster {
        callers: Arc<ClusterCallers>,
        keys: Option<Arc<KeyRing>>,
    },
}

impl Doors {
    /// The keys that are taken.
    pub(super) fn keys(&self) -> Option<&Arc<KeyRing>> {
        match self {
            Doors::Local => None,
            Doors::Keys(keys) => Some(keys),
            Doors::Cluster { keys, .. } => keys.as_ref(),
        }
    }
}

impl Binding {
    /// Serves everybody on this machine, and nobody else.
    ///
    /// # Errors
    /// When the socket does not listen on a loopback address.
    pub fn local(listener: TcpListener) -> Result<Self, BindingError> {
        let address = listener.local_addr().map_err(BindingError::Address)?;
        if !address.ip().to_canonical().is_loopback() {
            return Err(BindingError::Open(address));
        }
        Ok(Self {
            listener,
            address,
            doors: Doors::Local,
        })
    }

    /// Serves whoever has a key, on any address.
    ///
    /// # Errors
    /// When the socket does not know its address.
    pub fn with_keys(listener: TcpListener, keys: Arc<KeyRing>) -> Result<Self, BindingError> {
        Self::guarded(listener, Doors::Keys(keys))
    }

    /// Serves whoever the cluster knows, and whoever has a key where there are keys, on any address.
    ///
    /// # Errors
    /// When the socket does not know its address.
    pub fn with_cluster(
        listener: TcpListener,
        callers: Arc<ClusterCallers>,
        keys: Option<Arc<KeyRing>>,
    ) -> Result<Self, BindingError> {
        Self::guarded(listener, Doors::Cluster { callers, keys })
    }

    fn guarded(listener: TcpListener, doors: Doors) -> Result<Self, BindingError> {
        let address = listener.local_addr().map_err(BindingError::Address)?;
        Ok(Self {
            listener,
            address,
            doors,
        })
    }

    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_loopback_is_served_without_keys() {
        let open = TcpListener::bind("0.0.0.0:0").await.unwrap();
        assert!(matches!(Binding::local(open), Err(BindingError::Open(_))));
        let local = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert!(Binding::local(local).is_ok());
    }
}
