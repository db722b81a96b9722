//! How an agent or tool gets from one revision to the next.

use std::fmt;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Label with the revision of the spec that an instance, or an entry of the history, belongs to.
pub const REVISION_LABEL: &str = "ringfence.dev/revision";
/// Annotation of an agent or tool that ends a step of its canary: `REVISION/STEP` with the number of the
/// last step that is over, from 1, or `REVISION/all`. Of another revision it means nothing.
pub const PROMOTED_ANNOTATION: &str = "ringfence.dev/promoted";
/// Annotation of an entry of the history with why that revision was put there: what
/// `kubernetes.io/change-cause` said of the agent or tool, as with Deployments.
pub const CHANGE_CAUSE_ANNOTATION: &str = "kubernetes.io/change-cause";

/// Most steps of a canary.
pub const CANARY_STEPS: usize = 20;
/// Most seconds that a rollout may be told to wait for anything: a week.
pub const ROLLOUT_SECONDS: u32 = 604_800;
/// Most earlier revisions that may be kept.
pub const REVISION_HISTORY: u32 = 100;

/// How a new revision takes the place of the one before. A revision is everything in the spec but
/// `replicas` and `rollout`: those two change nothing that runs, and are no revision of their own.
///
/// `ringfence serve` is one host, which makes a change ready before it takes over, and refuses one that
/// does not become ready: the earlier one serves on. It refuses what one host cannot do, which is
/// `canary`, `minReadySeconds` and `paused`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!(has(self.maxSurge) && has(self.maxUnavailable) && string(self.maxSurge) in ['0', '0%'] && string(self.maxUnavailable) in ['0', '0%'])", "message": "maxSurge and maxUnavailable are both 0, so that nothing could ever be replaced: raise one of them"},
    {"rule": "!(has(self.canary) && has(self.maxSurge) && string(self.maxSurge) in ['0', '0%'])", "message": "a canary runs beside the earlier revision: raise maxSurge to 1 or more"},
    {"rule": "(has(self.minReadySeconds) ? self.minReadySeconds : 0) < (has(self.progressDeadlineSeconds) ? self.progressDeadlineSeconds : 600)", "message": "progressDeadlineSeconds (600 where absent) has to be more than minReadySeconds"},
]))]
pub struct RolloutSpec {
    /// Instances that there may be beyond `replicas` meanwhile, as a number or a percentage of `replicas`,
    /// rounded up; 25% where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<Bound>,
    /// Instances below `replicas` that may be missing meanwhile, as a number or a percentage of `replicas`,
    /// rounded down; 25% where absent. Where both come to 0, it is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<Bound>,
    /// Seconds that an instance has to be ready before it counts as available; 0 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 604_800))]
    pub min_ready_seconds: Option<u32>,
    /// Seconds without any progress after which the rollout has failed; 600 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub progress_deadline_seconds: Option<u32>,
    /// What happens then; `rollback` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Whether the rollout stands still. What runs, runs on, and is scaled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Earlier revisions that are kept, for `ringfence rollout undo`; 10 where absent. The one that
    /// serves is kept whatever this says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub revision_history_limit: Option<u32>,
    /// Lets a few calls try the new revision first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanarySpec>,
    /// Another value is another revision of the same spec: every instance is replaced. `ringfence
    /// rollout restart` writes the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub restarted_at: Option<String>,
}

/// What happens where a revision does not become ready in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// The last revision that was complete runs again. The spec stays as it is; another spec is another try.
    #[default]
    Rollback,
    /// Everything stays as it is, and goes on once there is progress.
    Halt,
}

/// Shares of the calls that a new revision gets before it takes over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanarySpec {
    /// One after the other; afterwards the rollout goes on with the rest.
    #[schemars(length(min = 1, max = 20))]
    pub steps: Vec<CanaryStep>,
}

/// One share, and how long it lasts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanaryStep {
    /// Percent of the runs that the new revision gets. It has that part of the instances, rounded up.
    #[schemars(range(min = 1, max = 99))]
    pub weight: u32,
    /// Seconds until the next step, from when the instances of this one are available. Where absent, the
    /// step lasts until `ringfence rollout promote`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub pause_seconds: Option<u32>,
}

impl RolloutSpec {
    /// True when nothing is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Instances beyond `replicas`, and below, that there may be: as Deployments round, and never both 0.
    pub fn bounds(&self, replicas: u32) -> (u32, u32) {
        let quarter = Bound::Percent(25);
        let surge = self.max_surge.unwrap_or(quarter).rounded_up(replicas);
        let unavailable = self.max_unavailable.unwrap_or(quarter);
        let unavailable = unavailable.rounded_down(replicas).min(replicas);
        match (surge, unavailable) {
            (0, 0) => (0, 1),
            bounds => bounds,
        }
    }

    /// Seconds that an instance has to be ready before it counts.
    pub fn min_ready(&self) -> u32 {
        self.min_ready_seconds.unwrap_or(0)
    }

    /// Seconds without progress after which the rollout has failed.
    pub fn progress_deadline(&self) -> u32 {
        self.progress_deadline_seconds.unwrap_or(600)
    }

    /// Earlier revisions that are kept.
    pub fn revision_history(&self) -> u32 {
        self.revision_history_limit.unwrap_or(10)
    }

    /// The steps of the canary; none where there is no canary.
    pub fn steps(&self) -> &[CanaryStep] {
        self.canary.as_ref().map_or(&[], |canary| &canary.steps)
    }

    /// What of it a host without a cluster cannot do.
    pub fn beyond_one_host(&self) -> Option<&'static str> {
        [
            ("canary", self.canary.is_some()),
            ("minReadySeconds", self.min_ready() > 0),
            ("paused", self.paused),
        ]
        .into_iter()
        .find_map(|(field, given)| given.then_some(field))
    }
}

/// A number of instances, or a percentage of those that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// That many.
    Count(u32),
    /// That many of a hundred.
    Percent(u32),
}

/// What is no bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no bound: write a number up to 1000, or a percentage such as \"25%\"")]
pub struct BoundError(String);

impl Bound {
    /// The highest number.
    pub const MOST: u32 = crate::REPLICAS;

    fn rounded_up(self, replicas: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => share(replicas, percent),
        }
    }

    fn rounded_down(self, replicas: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => replicas.saturating_mul(percent) / 100,
        }
    }
}

/// A percentage of a number of instances, rounded up.
pub fn share(replicas: u32, percent: u32) -> u32 {
    replicas.saturating_mul(percent).div_ceil(100)
}

impl FromStr for Bound {
    type Err = BoundError;

    fn from_str(text: &str) -> Result<Self, BoundError> {
        let wrong = || BoundError(text.to_owned());
        let digits = text.strip_suffix('%').ok_or_else(wrong)?;
        // No sign, and no zero in front: what the API server takes.
        let plain = digits.bytes().all(|b| b.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'));
        let percent = digits
            .parse()
            .ok()
            .filter(|percent| plain && *percent <= 100);
        percent.map(Self::Percent).ok_or_else(wrong)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Bound;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(
                    f,
                    "a number up to {}, or a percentage such as \"25%\"",
                    Bound::MOST
                )
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Bound, E> {
                u32::try_from(number)
                    .ok()
                    .filter(|count| *count <= Bound::MOST)
                    .map(Bound::Count)
                    .ok_or_else(|| E::custom(BoundError(number.to_string())))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Bound, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::custom(BoundError(number.to_string()))),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bound, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Bound {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bound".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 0,
            "maximum": Self::MOST,
            "pattern": "^(100|[1-9]?[0-9])%$",
            "maxLength": 4,
        })
    }
}

/// What the operator has to remember of a rollout that is under way, or has failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// When it got on last: `progressDeadlineSeconds` count from here.
    pub progressed_at: Time,
    /// Available instances of the new revision at that time.
    #[serde(default)]
    pub available: u32,
    /// The step of the canary, from 0; as many as there are once all are over.
    #[serde(default)]
    pub step: u32,
    /// Since when the new revision has the share of that step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_since: Option<Time>,
    /// Why it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_round_as_those_of_deployments() {
        let bounds = |surge, unavailable, replicas| {
            let spec = RolloutSpec {
                max_surge: surge,
                max_unavailable: unavailable,
                ..RolloutSpec::default()
            };
            spec.bounds(replicas)
        };
        let percent = |percent| Some(Bound::Percent(percent));
        assert_eq!(bounds(None, None, 1), (1, 0));
        assert_eq!(bounds(None, None, 4), (1, 1));
        assert_eq!(bounds(None, None, 10), (3, 2));
        assert_eq!(bounds(percent(1), percent(1), 10), (1, 0));
        assert_eq!(bounds(Some(Bound::Count(0)), percent(10), 5), (0, 1));
        assert_eq!(
            bounds(Some(Bound::Count(2)), Some(Bound::Count(9)), 3),
            (2, 3)
        );
    }

    #[test]
    fn bounds_are_numbers_or_percentages() {
        for (json, bound) in [
            ("0", Bound::Count(0)),
            ("1000", Bound::Count(1000)),
            ("\"0%\"", Bound::Percent(0)),
            ("\"100%\"", Bound::Percent(100)),
        ] {
            assert_eq!(serde_json::from_str::<Bound>(json).unwrap(), bound);
            assert_eq!(serde_json::to_string(&bound).unwrap(), json);
        }
        for wrong in [
            "1001", "-1", "1.5", "\"25\"", "\"101%\"", "\"+5%\"", "\"05%\"", "\"%\"", "null",
        ] {
            assert!(serde_json::from_str::<Bound>(wrong).is_err(), "{wrong}");
        }
    }
}
