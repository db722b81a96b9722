//! Failures of calls, in words that let the model decide what to do next.

use crate::bindings::ringfence::agent::types::{Denial, Error};

/// What the model reads when a call of `name` failed.
pub fn explain(name: &str, error: &Error) -> String {
    match error {
        Error::Denied(Denial {
            capability,
            target,
            reason,
            ..
        }) => format!(
            "{name} was denied ({capability} {target:?}): {reason}. Calling it again the same way will be denied again."
        ),
        Error::BudgetExceeded(what) => {
            format!("{name} was not done: the budget is used up ({what}). Go on without it.")
        }
        Error::LimitExceeded(limit) => format!(
            "{name} crossed the limit {} of {}. Ask for less at once.",
            limit.name, limit.maximum
        ),
        Error::Timeout => format!("{name} did not answer in time. Its effect may be incomplete."),
        Error::Canceled => format!("{name} was canceled."),
        Error::Unavailable(why) => {
            format!("{name} cannot be reached now: {why}. Trying again later may help.")
        }
        Error::NotFound(what) => format!("{name}: there is no {what}."),
        Error::Invalid(why) => {
            format!("{name} was called wrongly: {why}. Correct the arguments before calling again.")
        }
        Error::Failed(why) => format!("{name} failed: {why}"),
        Error::UnknownOutcome(why) => format!(
            "It is not known whether {name} took effect: {why}. Look before doing it again."
        ),
    }
}

/// An `invalid` error.
pub fn invalid(why: impl Into<String>) -> Error {
    Error::Invalid(why.into())
}

/// Whether a capability is simply not granted, which leaves the agent without it and nothing else.
pub fn is_denied(error: &Error) -> bool {
    matches!(error, Error::Denied(_))
}
