//! Where an instance may run: what its resource asks for, within its tenant's ceilings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NamedCeiling;
use crate::{Isolation, Name, PlacementSpec};

/// Trust class of tenants whose ceilings name none.
pub const DEFAULT_TRUST_CLASS: &str = "default";
/// Pool of resources that name none.
pub const DEFAULT_POOL: &str = "default";

/// Where an instance may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EffectivePlacement {
    /// The pool.
    pub pool: Name,
    /// How far its tenant is trusted.
    pub trust_class: Name,
    /// Whether it shares hosts with other tenants.
    #[serde(default)]
    pub isolation: Isolation,
    /// Instances of higher priority may take the place of those of lower.
    #[serde(default)]
    pub priority: i32,
}

/// Why an instance may run nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementConflict {
    /// A ceiling does not allow the pool.
    #[error(
        "the ceiling {ceiling} does not allow the pool {pool}: choose another in placement.pool"
    )]
    Pool {
        /// The pool.
        pool: Name,
        /// The ceiling.
        ceiling: Name,
    },
    /// Two ceilings name different trust classes.
    #[error(
        "the ceilings {first} and {second} give the tenant different trust classes: they have to \
         agree, ask who owns them"
    )]
    TrustClass {
        /// One ceiling.
        first: Name,
        /// Another one.
        second: Name,
    },
}

/// Computes where an instance may run. The strictest isolation of all ceilings counts.
///
/// # Errors
/// What the ceilings do not allow, or disagree on.
pub fn effective_placement(
    asked: &PlacementSpec,
    ceilings: &[NamedCeiling<'_>],
) -> Result<EffectivePlacement, PlacementConflict> {
    let pool = asked
        .pool
        .clone()
        .unwrap_or_else(|| Name::well_known(DEFAULT_POOL));
    let mut isolation = Isolation::default();
    let mut trust_class: Option<(&Name, &Name)> = None;
    for ceiling in ceilings {
        let bound = &ceiling.spec.placement;
        let allowed = |pools: &Vec<_>| {
            pools
                .iter()
                .any(|pattern: &crate::NamePattern| pattern.matches(&pool))
        };
        if !bound.pools.as_ref().is_none_or(allowed) {
            return Err(PlacementConflict::Pool {
                pool,
                ceiling: ceiling.name.clone(),
            });
        }
        isolation = isolation.max(bound.isolation.unwrap_or_default());
        if let Some(class) = &bound.trust_class {
            match trust_class {
                Some((other, first)) if other != class => {
                    return Err(PlacementConflict::TrustClass {
                        first: first.min(ceiling.name).clone(),
                        second: first.max(ceiling.name).clone(),
                    });
                }
                _ => trust_class = Some((class, ceiling.name)),
            }
        }
    }
    Ok(EffectivePlacement {
        pool,
        trust_class: trust_class.map_or_else(
            || Name::well_known(DEFAULT_TRUST_CLASS),
            |(class, _)| class.clone(),
        ),
        isolation,
        priority: asked.priority.unwrap_or_default(),
    })
}
