//! What somebody is told about effective grants: the same on one machine and on a cluster.

use std::collections::BTreeSet;

use super::{LimitRefusal, NamedCeiling, Refusal, effective_grants};
use crate::{Capability, Grants, ModelSpec};

/// Refusals that are written into a message; the field `refused` has all of them.
const TOLD: usize = 5;

/// Whether everything that is asked for is granted: the condition `AsksGranted`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asks {
    /// Whether it is.
    pub granted: bool,
    /// One word for programs.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// Says whether everything that is asked for is granted, and what not.
pub fn asks_granted(refused: &[Refusal], limits: &[LimitRefusal]) -> Asks {
    if refused.is_empty() && limits.is_empty() {
        return Asks {
            granted: true,
            reason: "Granted",
            message: "everything that it asks for is granted".to_owned(),
        };
    }
    let limits = limits.iter().map(|limit| {
        format!(
            "limits.{} {} instead of {} (ceiling {})",
            limit.field, limit.given, limit.asked, limit.ceiling
        )
    });
    let all: Vec<String> = refused
        .iter()
        .map(ToString::to_string)
        .chain(limits)
        .collect();
    let more = match all.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!(" and {more} more, see status.refused"),
    };
    let ceiling = refused.iter().any(|refusal| refusal.ceiling.is_some());
    Asks {
        granted: false,
        reason: match ceiling || refused.is_empty() {
            true => "RefusedByCeiling",
            false => "AskedNotGranted",
        },
        message: format!("not given: {}{more}", all[..all.len().min(TOLD)].join(", ")),
    }
}

/// Why something may not be at all, of which calling others is all it is. None where it may.
pub fn not_allowed(refused: &[Refusal]) -> Option<String> {
    let told: Vec<String> = refused.iter().map(ToString::to_string).collect();
    (!told.is_empty()).then(|| format!("not allowed: {}", told.join(", ")))
}

impl Grants {
    /// What the built-in chat agent asks for that is granted this. It could use everything that a chat
    /// agent can be granted, and does without what it is not: that is no news, as it would be of a
    /// component.
    pub fn asked_by_chat(&self) -> BTreeSet<Capability> {
        let granted = self.capabilities();
        Capability::OF_CHAT
            .into_iter()
            .filter(|capability| granted.contains(capability))
            .collect()
    }
}

impl ModelSpec {
    /// Why the ceilings do not allow its endpoint. None where they do.
    pub fn not_allowed(&self, ceilings: &[NamedCeiling<'_>]) -> Option<String> {
        let granted = Grants {
            http: vec![self.endpoint()?],
            ..Grants::default()
        };
        not_allowed(&effective_grants(&granted.capabilities(), &granted, ceilings).refused)
    }
}
