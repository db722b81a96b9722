//! Callers whom a Kubernetes cluster knows: its API server says whose a token is (TokenReview), and what
//! they may do (SubjectAccessReview).
//!
//! Both answers are kept for some seconds, so that a call does not wait for the API server, and so that
//! calls go on for that time while it is away. What is not known meanwhile is refused with 503: neither
//! let in, nor taken for a wrong token.

mod access;
mod reviews;
mod subject;
mod token;

pub(super) use access::{Access, AccessQuestion};
pub(in crate::gateway) use reviews::Unreviewed;
pub(super) use subject::Subject;
pub(super) use token::Tokens;

use std::sync::Arc;

use kube::Client;

use super::Identity;
use crate::telemetry::Metrics;

/// The audience that tokens have to be made for, where nothing else is said. A token for the API server
/// itself is not taken: whoever runs a host could use it there.
pub const DEFAULT_AUDIENCE: &str = "ringfence";

/// How callers are known to a cluster.
#[derive(Clone)]
pub struct ClusterSettings {
    /// A client that may create TokenReviews and SubjectAccessReviews.
    pub client: Client,
    /// Audiences of which a token has to have one; not empty.
    pub audiences: Vec<String>,
}

impl std::fmt::Debug for ClusterSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterSettings")
            .field("audiences", &self.audiences)
            .finish_non_exhaustive()
    }
}

/// Authenticates callers by their tokens.
pub struct ClusterCallers {
    tokens: Tokens,
    access: Arc<Access>,
}

impl std::fmt::Debug for ClusterCallers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterCallers").finish_non_exhaustive()
    }
}

impl ClusterCallers {
    /// Asks the API server of these settings.
    pub fn new(settings: ClusterSettings, metrics: Arc<Metrics>) -> Self {
        Self {
            tokens: Tokens::new(settings.client.clone(), settings.audiences, metrics.clone()),
            access: Arc::new(Access::new(settings.client, metrics)),
        }
    }

    /// Whose token this is; none where it is nobody's. `suspect` says that its sender has sent many wrong
    /// ones.
    pub(super) async fn identify(
        &self,
        token: &str,
        suspect: bool,
    ) -> Result<Option<Arc<Identity>>, Unreviewed> {
        self.tokens.identify(token, suspect, &self.access).await
    }
}
