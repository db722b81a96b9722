//! Limits under ceilings.

use crate::{LimitsSpec, Name};

use super::NamedCeiling;

/// A limit that a resource sets higher than a ceiling allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRefusal {
    /// The field of `limits`.
    pub field: &'static str,
    /// What the resource asks for.
    pub asked: u64,
    /// What it gets.
    pub given: u64,
    /// The ceiling.
    pub ceiling: Name,
}

/// The maximum of each limit over all ceilings, and the limits of the resource that exceed it. The
/// host applies the maximum to its own defaults too.
pub fn effective_limits(
    asked: &LimitsSpec,
    ceilings: &[NamedCeiling<'_>],
) -> (LimitsSpec, Vec<LimitRefusal>) {
    let mut maximum = LimitsSpec::default();
    let mut refused = Vec::new();
    for ceiling in ceilings {
        let bound = &ceiling.spec.limits;
        for (field, limit) in bound.set() {
            if let Some(asked) = asked.get(field).filter(|asked| *asked > limit) {
                refused.push(LimitRefusal {
                    field,
                    asked,
                    given: limit,
                    ceiling: ceiling.name.clone(),
                });
            }
        }
        maximum = maximum.at_most(bound);
    }
    refused.sort_by(|a, b| (a.field, &a.ceiling).cmp(&(b.field, &b.ceiling)));
    (maximum, refused)
}
