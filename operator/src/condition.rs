//! Conditions, as every controller writes them.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// What a condition says, before it is known since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Its type.
    pub kind: &'static str,
    /// Whether it holds; none where that cannot be said.
    pub holds: Option<bool>,
    /// One word for programs.
    pub reason: Cow<'static, str>,
    /// A sentence for people: what is the matter, and what to do.
    pub message: String,
}

impl Verdict {
    /// It holds.
    pub fn yes(
        kind: &'static str,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(kind, Some(true), reason, message)
    }

    /// It does not hold.
    pub fn no(
        kind: &'static str,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(kind, Some(false), reason, message)
    }

    /// Nobody knows.
    pub fn unknown(
        kind: &'static str,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(kind, None, reason, message)
    }

    fn new(
        kind: &'static str,
        holds: Option<bool>,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            holds,
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// The condition, which keeps its time of transition where it said the same before.
    pub fn since(self, before: &[Condition], generation: Option<i64>, now: Timestamp) -> Condition {
        let status = match self.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let last_transition_time = before
            .iter()
            .find(|old| old.type_ == self.kind && old.status == status)
            .map_or_else(|| Time(now), |old| old.last_transition_time.clone());
        Condition {
            type_: self.kind.to_owned(),
            status: status.to_owned(),
            reason: self.reason.into_owned(),
            message: self.message,
            observed_generation: generation,
            last_transition_time,
        }
    }
}

/// Whether a condition of this type holds.
pub fn holds(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}

/// A condition by its type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_changes_with_the_status_only() {
        let [early, late] = [1, 2].map(|second| Timestamp::from_second(second).unwrap());
        let first = Verdict::no("Ready", "A", "a").since(&[], Some(1), early);
        let same =
            Verdict::no("Ready", "B", "b").since(std::slice::from_ref(&first), Some(2), late);
        assert_eq!(same.last_transition_time, Time(early));
        assert_eq!(same.reason, "B");
        let other = Verdict::yes("Ready", "B", "b").since(&[same], Some(2), late);
        assert_eq!(other.last_transition_time, Time(late));
    }
}
