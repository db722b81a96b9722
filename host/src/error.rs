//! The one typed error of calls: the host's own form of `ringfence:agent/types.error`.

use serde::{Deserialize, Serialize};

/// Why a call was not allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Denial {
    /// The capability that was missing: `tools`, `models`, `agents`, `http`, `folders`, …
    pub capability: String,
    /// What the call was aimed at.
    pub target: String,
    /// One sentence.
    pub reason: String,
    /// The policy that decided, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// Every way in which a call can fail. What a guest did wrong, what the host refused and what the
/// other side did are kept apart, so that a denial is never taken for "not found".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", content = "detail", rename_all = "kebab-case")]
pub enum CallError {
    /// Not granted, or forbidden by a policy.
    #[error("denied: {} {:?}: {}", .0.capability, .0.target, .0.reason)]
    Denied(Denial),
    /// A budget is used up.
    #[error("budget exceeded: {0}")]
    BudgetExceeded(String),
    /// A limit of the host was crossed.
    #[error("limit exceeded: {name} (at most {maximum})")]
    LimitExceeded {
        /// The limit's name as documented; it ends with the unit.
        name: String,
        /// Its value.
        maximum: u64,
    },
    /// The deadline passed.
    #[error("timed out")]
    Timeout,
    /// The caller gave up.
    #[error("canceled")]
    Canceled,
    /// The other side cannot be reached or is overloaded.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The thing that was asked for does not exist.
    #[error("not found: {0}")]
    NotFound(String),
    /// The request is wrong.
    #[error("invalid: {0}")]
    Invalid(String),
    /// The other side ran and failed.
    #[error("failed: {0}")]
    Failed(String),
    /// The effect may or may not have happened.
    #[error("outcome unknown: {0}")]
    UnknownOutcome(String),
}

impl CallError {
    /// A denial without a policy.
    pub fn denied(capability: &str, target: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Denied(Denial {
            capability: capability.to_owned(),
            target: target.into(),
            reason: reason.into(),
            policy: None,
        })
    }

    /// A crossed limit.
    pub fn limit(name: &str, maximum: u64) -> Self {
        Self::LimitExceeded {
            name: name.to_owned(),
            maximum,
        }
    }

    /// Stable name of the variant, for metrics, records and exit codes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::BudgetExceeded(_) => "budget-exceeded",
            Self::LimitExceeded { .. } => "limit-exceeded",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Unavailable(_) => "unavailable",
            Self::NotFound(_) => "not-found",
            Self::Invalid(_) => "invalid",
            Self::Failed(_) => "failed",
            Self::UnknownOutcome(_) => "unknown-outcome",
        }
    }
}
