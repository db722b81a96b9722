//! What the instances of a revision are frozen with, which is its spec and what the ceilings leave of it.

use std::collections::BTreeSet;

use ringfence_api::{
    ArtifactStatus, Capability, Digest, EffectiveGrants, EffectivePlacement, Grants, Instance,
    LimitRefusal, LimitsSpec, NamedCeiling, Pinned, PlacementConflict, Resources, Workload,
    effective_grants, effective_limits, effective_placement,
};
use serde::Serialize;

use super::{Code, Object, View, short};

/// Everything that an instance is frozen with, but for what only a host can find out.
#[derive(Debug, Serialize)]
pub(super) struct Revision {
    pub(super) workload: Workload,
    pub(super) placement: EffectivePlacement,
    pub(super) requests: Resources,
    pub(super) max_limits: LimitsSpec,
    /// What it may do if it asks for everything: other ceilings need other instances.
    most: Grants,
    /// The mark of the last restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    restarted_at: Option<String>,
}

/// A revision, and what is to be told about it.
pub(super) struct Resolved {
    pub(super) revision: Revision,
    pub(super) hash: String,
    pub(super) limits_refused: Vec<LimitRefusal>,
}

pub(super) fn named<'a>(view: &'a View<'_>) -> Vec<NamedCeiling<'a>> {
    let name = |(name, ceiling): &'a (_, std::sync::Arc<ringfence_api::Ceiling>)| NamedCeiling {
        name,
        spec: &ceiling.spec,
    };
    view.ceilings.iter().map(name).collect()
}

impl Resolved {
    pub(super) fn new(view: &View<'_>) -> Result<Self, PlacementConflict> {
        let object = view.object;
        let ceilings = named(view);
        let (max_limits, limits_refused) = effective_limits(object.limits(), &ceilings);
        let revision = Revision {
            workload: object.frozen(),
            placement: effective_placement(object.placement(), &ceilings)?,
            requests: object.placement().requests.resources(),
            max_limits,
            most: effective(&everything(), object, &ceilings).grants,
            restarted_at: object.rollout().restarted_at.clone(),
        };
        Ok(Self {
            hash: short(&revision),
            revision,
            limits_refused,
        })
    }
}

/// What its instances run and ask for, as far as it is known.
pub(super) fn known(view: &View<'_>, resolved: &Resolved) -> Option<Known> {
    let object = view.object;
    match object.code() {
        Code::Elsewhere => Some(Known {
            digest: None,
            // It asks for what it is: to call the agent or server that it names.
            asked: object.granted().capabilities(),
        }),
        Code::Chat => Some(Known {
            digest: None,
            asked: object.granted().asked_by_chat(),
        }),
        Code::Component => {
            let own = || {
                let all = view.instances.iter();
                all.filter(|i| resolved.ordinal(object, i).is_some())
            };
            let report = |i: &Instance| i.status.as_ref()?.artifact.clone();
            // A tag may have moved since: what the revision's instances run already counts.
            let pinned = own().find_map(|i| i.spec.pinned.as_ref()?.digest);
            let reported = own().filter_map(|i| report(i));
            let from_status = || {
                let status = object.status()?;
                let current = status.observed_generation == Some(object.generation());
                let same = pinned.is_some() && status.digest == pinned;
                Some(ArtifactStatus {
                    digest: status.digest.filter(|_| current || same)?,
                    asked: status.asked.clone()?,
                })
            };
            let fits = |found: &ArtifactStatus| pinned.is_none_or(|digest| digest == found.digest);
            let mut found: Vec<ArtifactStatus> = reported.chain(from_status()).collect();
            found.retain(fits);
            found.sort_by_key(|found| found.digest.to_string());
            let found = found.into_iter().next()?;
            Some(Known {
                digest: Some(found.digest),
                asked: found.asked,
            })
        }
    }
}

/// A component and what it asks for.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) digest: Option<Digest>,
    pub(super) asked: BTreeSet<Capability>,
}

impl Known {
    pub(super) fn effective(&self, view: &View<'_>) -> EffectiveGrants {
        effective(&self.asked, view.object, &named(view))
    }

    pub(super) fn pinned(&self, view: &View<'_>) -> Pinned {
        Pinned {
            digest: self.digest,
            grants: self.effective(view).grants,
        }
    }
}

fn effective(
    asked: &BTreeSet<Capability>,
    object: &Object,
    ceilings: &[NamedCeiling<'_>],
) -> EffectiveGrants {
    effective_grants(asked, &object.granted(), ceilings)
}

fn everything() -> BTreeSet<Capability> {
    Capability::ALL.into()
}

/// Whether what an instance of an earlier revision may do is still allowed.
pub(super) fn still_allowed(view: &View<'_>, resolved: &Resolved, instance: &Instance) -> bool {
    let Some(pinned) = &instance.spec.pinned else {
        return false;
    };
    let now = effective_grants(&everything(), &pinned.grants, &named(view)).grants;
    let limits = instance
        .spec
        .max_limits
        .at_most(&resolved.revision.max_limits);
    now == pinned.grants
        && limits == instance.spec.max_limits
        && instance.spec.placement.trust_class == resolved.revision.placement.trust_class
        && instance.spec.placement.isolation >= resolved.revision.placement.isolation
}
