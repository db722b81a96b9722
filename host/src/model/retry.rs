//! When an attempt is worth another one, and how long to wait before it. Pure.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use ringfence_api::RetrySpec;

/// Attempts that a resource may ask for.
pub const MAX_ATTEMPTS: u32 = 10;
/// The longest wait that an endpoint can ask for; beyond that the call fails at once.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// The longest wait of the host's own choice.
const MAX_BACKOFF: Duration = Duration::from_secs(8);

/// Retries after defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retry {
    pub(super) attempts: u32,
    pub(super) initial: Duration,
}

impl Retry {
    pub(super) fn new(spec: Option<&RetrySpec>) -> Option<Self> {
        let (attempts, initial_ms) = spec.map_or((3, 500), |s| (s.attempts, s.initial_ms));
        (1..=MAX_ATTEMPTS).contains(&attempts).then_some(Self {
            attempts,
            initial: Duration::from_millis(initial_ms),
        })
    }

    /// Time before the attempt after `attempt` (from 1). `jitter` is from 0 to 1: waits spread over
    /// their upper half, so that many callers do not come back at once.
    pub(super) fn backoff(&self, attempt: u32, jitter: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(16);
        let full = self.initial.saturating_mul(1 << doublings).min(MAX_BACKOFF);
        full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
    }
}

/// Whether a response says that trying again may help.
pub(super) fn is_retryable(status: StatusCode, headers: &HeaderMap) -> bool {
    match headers
        .get("x-should-retry")
        .map(http::HeaderValue::as_bytes)
    {
        Some(b"true") => return !status.is_success(),
        Some(b"false") => return false,
        _ => {}
    }
    matches!(status.as_u16(), 408 | 409 | 429) || status.is_server_error()
}

/// What the response asks to wait: `retry-after-ms`, or `retry-after` in seconds or as a date.
pub(super) fn asked_wait(headers: &HeaderMap, now: time::OffsetDateTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let positive = |n: f64| Duration::try_from_secs_f64(n).ok();
    if let Some(ms) = text("retry-after-ms").and_then(|t| t.trim().parse::<f64>().ok()) {
        return positive(ms / 1000.0);
    }
    let after = text(header::RETRY_AFTER.as_str())?.trim();
    if let Ok(seconds) = after.parse::<f64>() {
        return positive(seconds);
    }
    // RFC 9110 dates are RFC 2822 dates with `GMT` for the zone.
    let date = after.replace("GMT", "+0000");
    let date = time::OffsetDateTime::parse(&date, &time::format_description::well_known::Rfc2822);
    (date.ok()? - now).try_into().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn which_responses_are_tried_again() {
        let none = HeaderMap::new();
        for (status, again) in [
            (200, false),
            (400, false),
            (401, false),
            (404, false),
            (408, true),
            (409, true),
            (422, false),
            (429, true),
            (500, true),
            (503, true),
            (529, true),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(is_retryable(status, &none), again, "{status}");
        }
        let no = headers("x-should-retry", "false");
        assert!(!is_retryable(StatusCode::TOO_MANY_REQUESTS, &no));
        let yes = headers("x-should-retry", "true");
        assert!(is_retryable(StatusCode::BAD_REQUEST, &yes));
    }

    #[test]
    fn waits_that_are_asked_for() {
        let now = time::OffsetDateTime::from_unix_timestamp(784_111_777).unwrap();
        for (name, value, seconds) in [
            ("retry-after", "2", Some(2.0)),
            ("retry-after", "0.5", Some(0.5)),
            ("retry-after-ms", "250", Some(0.25)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT", Some(10.0)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:27 GMT", None),
            ("retry-after", "-1", None),
            ("retry-after", "NaN", None),
            ("retry-after", "soon", None),
        ] {
            let wait = asked_wait(&headers(name, value), now).map(|wait| wait.as_secs_f64());
            assert_eq!(wait, seconds, "{name}: {value}");
        }
    }

    #[test]
    fn waits_double_within_bounds() {
        let retry = Retry::new(None).unwrap();
        assert_eq!(retry.backoff(1, 1.0), Duration::from_millis(500));
        assert_eq!(retry.backoff(1, 0.0), Duration::from_millis(250));
        assert_eq!(retry.backoff(3, 1.0), Duration::from_secs(2));
        assert_eq!(retry.backoff(60, 1.0), MAX_BACKOFF);
        for attempts in [0, MAX_ATTEMPTS + 1] {
            assert!(
                Retry::new(Some(&RetrySpec {
                    attempts,
                    initial_ms: 1
                }))
                .is_none()
            );
        }
    }
}
