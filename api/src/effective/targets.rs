//! What somebody is told about things that are granted and are not there: the same on one machine and on a cluster.

use crate::Name;

/// Reason of `Ready` of a tool that is an agent which does not run.
pub const AGENT_MISSING: &str = "AgentMissing";

/// What a tool is told whose agent does not run.
pub fn agent_missing(agent: &Name) -> String {
    format!("there is no agent {agent} that runs: apply it")
}

/// Whether everything that is granted is there: the condition `TargetsFound`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Whether it is.
    pub found: bool,
    /// One word for programs.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// Says whether everything that is granted is there, and what not. Granting what is not there yet is allowed:
/// resources may be applied in any order.
pub fn targets_found(missing: &[String]) -> Targets {
    if missing.is_empty() {
        return Targets {
            found: true,
            reason: "Found",
            message: "everything that is granted exists".to_owned(),
        };
    }
    Targets {
        found: false,
        reason: "Missing",
        message: format!(
            "granted, but not there (or not ready): {}",
            missing.join(", ")
        ),
    }
}
