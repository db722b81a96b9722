//! Errors of the API server in words for people.

use std::error::Error;

use kube_core::Status;

/// What is added where an admission webhook did not answer: nothing of Ringfence brings it back.
const NOT_OURS: &str =
    " (this webhook is not Ringfence's: bring it back, or exempt what Ringfence writes from it)";

/// An error and what caused it, each cause once: some say their cause themselves. What the API server said is told
/// as it said it, without the rest of its answer.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        next = error.source();
        // Its own text is all fields of the answer.
        if next.and_then(said).is_some() {
            continue;
        }
        let cause = said(error).unwrap_or_else(|| error.to_string());
        if !text.contains(&cause) {
            text += if text.is_empty() { "" } else { ": " };
            text += &cause;
        }
    }
    if text.contains("failed calling webhook") {
        text += NOT_OURS;
    }
    text
}

/// What the API server said, where an error is its answer.
fn said(error: &(dyn Error + 'static)) -> Option<String> {
    let boxed = || error.downcast_ref::<Box<Status>>().map(AsRef::as_ref);
    let status = error.downcast_ref::<Status>().or_else(boxed)?;
    match status.message.is_empty() {
        true => None,
        false => Some(status.message.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the client of Kubernetes wraps what the API server answers.
    #[derive(Debug, thiserror::Error)]
    #[error("ApiError: {0} ({0:?})")]
    struct Answer(#[source] Box<Status>);

    #[derive(Debug, thiserror::Error)]
    #[error("failed to create a: {0}")]
    struct Says(#[source] std::fmt::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("failed to create a")]
    struct Failed(#[source] Answer);

    fn answer(message: &str) -> Answer {
        Answer(Box::new(
            Status::failure(message, "InternalError").with_code(500),
        ))
    }

    #[test]
    fn each_cause_is_told_once() {
        let cause = std::fmt::Error;
        let text = format!("failed to create a: {cause}");
        assert_eq!(chain(&Says(cause)), text);
    }

    #[test]
    fn answers_are_told_as_the_server_said_them() {
        let text = chain(&Failed(answer("it is full")));
        assert_eq!(text, "failed to create a: it is full");
        assert_eq!(chain(&answer("it is full")), "it is full");
        let silent = chain(&answer(""));
        assert!(silent.contains("500"), "{silent}");
    }

    #[test]
    fn who_is_away_is_told_too() {
        let text = chain(&answer("failed calling webhook \"a.example.com\""));
        assert!(text.ends_with(NOT_OURS), "{text}");
    }
}
