//! Connections to the API server.

use std::time::Duration;

use kube::{Client, Config};

/// How long the API server may take to accept a connection for the Lease.
const CONNECT: Duration = Duration::from_secs(2);

/// What requests are made over. The Lease of the leader has connections of its own: however much there is to
/// read and to write, a renewal waits for nothing else.
#[derive(Clone)]
pub struct Connection {
    /// For everything but the Lease.
    pub work: Client,
    /// For the Lease.
    pub lease: Client,
}

impl Connection {
    /// Two clients with the same rights.
    ///
    /// # Errors
    /// What the configuration says cannot be used.
    pub fn new(config: Config) -> kube::Result<Self> {
        let mut lease = config.clone();
        // An answer that says "later" is no renewal: it is tried again here, sooner than that.
        lease.default_retry = false;
        lease.connect_timeout = Some(CONNECT);
        Ok(Self {
            work: Client::try_from(config)?,
            lease: Client::try_from(lease)?,
        })
    }
}

/// One client for both, for who has only that.
impl From<Client> for Connection {
    fn from(client: Client) -> Self {
        Self {
            work: client.clone(),
            lease: client,
        }
    }
}
