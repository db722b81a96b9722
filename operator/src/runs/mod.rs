//! Runs: executions that were asked for as objects. Pure.
//!
//! ```text
//! watch ─→ book ─→ decide ─→ bind | say why it waits | end | remove
//! ```
//!
//! Binding a run to a host is the claim to it: from then on no other host may execute it, and the
//! operator never binds it again. Only the host itself can give it back, before it has begun.

pub mod book;
mod known;
mod queue;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use ringfence_api::{Name, Run, TenantName};

pub use book::Book;

use crate::condition::Verdict;
use crate::key::WorkloadId;

/// Runs that are bound to one host and not over. What does not fit waits in the operator, where it can
/// still go to any host.
pub const RUNS_PER_HOST: usize = 128;
/// Of these, those of one tenant: what one tenant runs for long does not keep others from running.
pub const TENANT_RUNS_PER_HOST: usize = 48;
/// A run that finds no ready instance is told so after this long.
pub const TELL_AFTER: Duration = Duration::from_secs(1);
/// How long after its time a bound run may stay without an end before the operator gives it one.
pub const GRACE: Duration = Duration::from_secs(30);
/// A write that failed is tried again after this long; it doubles with each further failure.
pub const RETRY: Duration = Duration::from_millis(500);
/// The longest wait.
pub const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// Steps that are decided in one go; the others come in the next.
pub const STEPS: usize = 1_024;

/// A run, by tenant and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    /// Its tenant.
    pub tenant: TenantName,
    /// Its name.
    pub name: String,
}

impl RunKey {
    /// The key of an object. None for one without a name.
    pub fn of(run: &Run) -> Option<Self> {
        Some(Self {
            tenant: run.metadata.namespace.as_ref()?.parse().ok()?,
            name: run.metadata.name.clone()?,
        })
    }
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.name)
    }
}

/// Where a run can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidates {
    /// These hosts have a ready instance of its target: name, and journal in which they note what they begin.
    Hosts(Vec<(Name, String)>),
    /// Nowhere yet; why.
    None(String),
}

/// What the book has to know of the cluster.
pub trait Targets {
    /// Hosts that can execute runs of this agent or tool.
    fn candidates(&self, target: &WorkloadId) -> Candidates;
    /// Whether a host is there and its Lease runs.
    fn alive(&self, host: &Name) -> bool;
}

/// Something to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Bind it to this host, with this journal and this much time left.
    Bind(Name, String, Duration),
    /// Say why it waits.
    Say(Verdict),
    /// End it.
    End(Ending),
    /// Remove it: its time to live is over.
    Remove,
}

/// How the operator ends a run that no host can end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It was canceled before it was bound.
    Canceled,
    /// Its time was over before it was bound.
    TimedOut(String),
    /// It was bound, and nobody can say what became of it.
    Unknown(String),
}

impl Ending {
    /// The code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Canceled => "canceled",
            Self::TimedOut(_) => "timeout",
            Self::Unknown(_) => "unknown-outcome",
        }
    }

    /// A sentence for people.
    pub fn message(&self) -> String {
        match self {
            Self::Canceled => "it was canceled before it began".to_owned(),
            Self::TimedOut(why) | Self::Unknown(why) => why.clone(),
        }
    }
}
