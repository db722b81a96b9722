//! Effective grants: what a component asks for ∩ what its resource grants ∩ what the ceilings of its
//! tenant allow.
//!
//! One pure function, used by the operator for a cluster and by the host for one machine. Properties
//! that hold, and are tested: the result is never wider than any of the three; the order of ceilings
//! does not matter; narrowing one of the three never widens the result.

mod http;
mod limits;
mod placement;
mod targets;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use limits::{LimitRefusal, effective_limits};
pub use targets::{AGENT_MISSING, Targets, agent_missing, targets_found};
pub use verdict::{Asks, asks_granted, not_allowed};

pub use placement::{
    DEFAULT_POOL, DEFAULT_TRUST_CLASS, EffectivePlacement, PlacementConflict, effective_placement,
};

use crate::{
    Allowance, Capability, CeilingSpec, FolderGrant, Grants, HttpGrant, Name, NamePattern,
};

/// A ceiling, by name.
#[derive(Debug, Clone, Copy)]
pub struct NamedCeiling<'a> {
    /// Its name.
    pub name: &'a Name,
    /// What it allows.
    pub spec: &'a CeilingSpec,
}

/// What a component may do in the end, and what it may not and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EffectiveGrants {
    /// What it may do.
    pub grants: Grants,
    /// What was granted or asked for and is not given.
    pub refused: Vec<Refusal>,
}

/// Something that was granted or asked for and is not given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The capability.
    pub capability: Capability,
    /// What of it, for example the host of an HTTP grant; absent where it is all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The ceiling that does not allow it, or only a part of it. Absent where the component asks for it
    /// and its resource does not grant it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Name>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.capability)?;
        if let Some(target) = &self.target {
            write!(f, " {target}")?;
        }
        match &self.ceiling {
            None => f.write_str(" (asked for, not granted)"),
            Some(name) => write!(f, " (ceiling {name})"),
        }
    }
}

/// Computes effective grants. `asked` is what the component imports ([`Capability::of_import`]);
/// `granted` what its resource says; `ceilings` all that select its tenant.
pub fn effective_grants(
    asked: &BTreeSet<Capability>,
    granted: &Grants,
    ceilings: &[NamedCeiling<'_>],
) -> EffectiveGrants {
    let mut grants = granted.clone();
    let mut refused = BTreeSet::new();
    for capability in Capability::ALL {
        if !asked.contains(&capability) {
            withdraw(&mut grants, capability);
        }
    }
    for capability in asked.difference(&granted.capabilities()) {
        refused.insert(Refusal {
            capability: *capability,
            target: None,
            ceiling: None,
        });
    }
    // Each ceiling is compared with what the resource grants, so that a refusal names every ceiling
    // that would have refused, whatever the others did.
    for ceiling in ceilings {
        let mut alone = grants.clone();
        narrow(
            &mut alone,
            &[&ceiling.spec.allow],
            &mut |capability, target| {
                refused.insert(Refusal {
                    capability,
                    target,
                    ceiling: Some(ceiling.name.clone()),
                });
            },
        );
    }
    let all: Vec<&Allowance> = ceilings.iter().map(|c| &c.spec.allow).collect();
    narrow(&mut grants, &all, &mut |_, _| {});
    EffectiveGrants {
        grants,
        refused: refused.into_iter().collect(),
    }
}

/// Takes all grants of a capability away.
fn withdraw(grants: &mut Grants, capability: Capability) {
    match capability {
        Capability::Models => grants.models.clear(),
        Capability::Tools => grants.tools.clear(),
        Capability::Agents => grants.agents.clear(),
        Capability::Http => grants.http.clear(),
        Capability::Folders => grants.folders.clear(),
        Capability::Env => grants.env.clear(),
        Capability::Clocks => grants.clocks = false,
        Capability::Session => grants.session = false,
        Capability::Output => grants.output = false,
    }
}

/// Narrows grants to what every one of the ceilings allows, and says what that takes away.
fn narrow(
    grants: &mut Grants,
    ceilings: &[&Allowance],
    refuse: &mut dyn FnMut(Capability, Option<String>),
) {
    let mut named = |capability, patterns: fn(&Allowance) -> &[NamePattern], name: &Name| {
        let allowed = ceilings
            .iter()
            .all(|allow| patterns(allow).iter().any(|pattern| pattern.matches(name)));
        if !allowed {
            refuse(capability, Some(name.to_string()));
        }
        allowed
    };
    grants
        .tools
        .retain(|grant| named(Capability::Tools, |allow| &allow.tools, &grant.name));
    grants
        .agents
        .retain(|grant| named(Capability::Agents, |allow| &allow.agents, &grant.name));
    grants
        .models
        .retain(|grant| named(Capability::Models, |allow| &allow.models, &grant.name));
    grants.http = std::mem::take(&mut grants.http)
        .into_iter()
        .flat_map(|grant| {
            let pieces = pieces(&grant, ceilings);
            if pieces != std::slice::from_ref(&grant) {
                refuse(Capability::Http, Some(destination(&grant)));
            }
            pieces
        })
        .collect();
    grants.folders = std::mem::take(&mut grants.folders)
        .into_iter()
        .filter_map(|grant| {
            let narrowed = folder(&grant, ceilings);
            if narrowed.as_ref() != Some(&grant) {
                refuse(Capability::Folders, Some(grant.name.to_string()));
            }
            narrowed
        })
        .collect();
    if !ceilings.iter().all(|allow| allow.env) {
        for variable in grants.env.drain(..) {
            refuse(Capability::Env, Some(variable.name));
        }
    }
    for (capability, given, allowed) in [
        (
            Capability::Clocks,
            &mut grants.clocks,
            ceilings.iter().all(|allow| allow.clocks),
        ),
        (
            Capability::Session,
            &mut grants.session,
            ceilings.iter().all(|allow| allow.session),
        ),
        (
            Capability::Output,
            &mut grants.output,
            ceilings.iter().all(|allow| allow.output),
        ),
    ] {
        if *given && !allowed {
            *given = false;
            refuse(capability, None);
        }
    }
}

/// What is left of an HTTP grant under the ceilings, in an order of its own: no piece is part of
/// another.
fn pieces(grant: &HttpGrant, ceilings: &[&Allowance]) -> Vec<HttpGrant> {
    let mut pieces = vec![grant.clone()];
    for allow in ceilings {
        let mut narrowed: Vec<HttpGrant> = Vec::new();
        for piece in pieces.iter().flat_map(|piece| {
            allow
                .http
                .iter()
                .filter_map(|bound| http::intersect(piece, bound))
        }) {
            if narrowed.iter().any(|other| http::covers(other, &piece)) {
                continue;
            }
            narrowed.retain(|other| !http::covers(&piece, other));
            narrowed.push(piece);
        }
        pieces = narrowed;
    }
    pieces.sort_by(|a, b| (&a.host, &a.path, &a.methods).cmp(&(&b.host, &b.path, &b.methods)));
    pieces
}

/// What is left of a folder grant under the ceilings.
fn folder(grant: &FolderGrant, ceilings: &[&Allowance]) -> Option<FolderGrant> {
    let mut access = grant.access;
    for allow in ceilings {
        let most = allow
            .folders
            .iter()
            .filter(|bound| bound.name.matches(&grant.name))
            .map(|bound| bound.access)
            .max()?;
        access = access.min(most);
    }
    Some(FolderGrant {
        access,
        ..grant.clone()
    })
}

fn destination(grant: &HttpGrant) -> String {
    let scheme = match grant.scheme {
        crate::HttpScheme::Http => "http",
        crate::HttpScheme::Https => "https",
    };
    let port = grant
        .port
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let path = grant.path.as_deref().unwrap_or("/");
    format!("{scheme}://{}{port}{path}", grant.host)
}
