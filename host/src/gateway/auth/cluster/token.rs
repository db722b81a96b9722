//! Whose a token is: TokenReview.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::reviews::{Bounds, Fresh, Reviews, Unreviewed};
use super::{Access, Subject};
use crate::gateway::auth::Identity;
use crate::telemetry::Metrics;

/// Bytes of a token.
const LONGEST: usize = 16 << 10;
/// How long a token is known to be somebody's: one that is revoked is refused that soon.
const KEEP_YES: Duration = Duration::from_secs(30);
/// How long it is known to be nobody's.
const KEEP_NO: Duration = Duration::from_secs(5);
/// Tokens that are asked about at the same time.
const AT_ONCE: usize = 32;
/// Of those, tokens from addresses that have sent many wrong ones: they wait for each other, and not the
/// others for them.
const SUSPECTS_AT_ONCE: usize = 2;
const BOUNDS: Bounds = Bounds {
    kind: "token",
    yes: 4096,
    no: 1024,
    open: 512,
};

/// The tokens that are known.
pub(in crate::gateway::auth) struct Tokens {
    client: Client,
    audiences: Arc<[String]>,
    /// By SHA-256 of the token: tokens themselves are not kept.
    reviews: Reviews<[u8; 32], Option<Arc<Identity>>>,
    turns: Arc<Semaphore>,
    turns_of_suspects: Arc<Semaphore>,
}

impl Tokens {
    pub(super) fn new(client: Client, audiences: Vec<String>, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            audiences: audiences.into(),
            reviews: Reviews::new(BOUNDS, metrics),
            turns: Arc::new(Semaphore::new(AT_ONCE - SUSPECTS_AT_ONCE)),
            turns_of_suspects: Arc::new(Semaphore::new(SUSPECTS_AT_ONCE)),
        }
    }

    /// See [`super::ClusterCallers::identify`].
    pub(super) async fn identify(
        &self,
        token: &str,
        suspect: bool,
        access: &Arc<Access>,
    ) -> Result<Option<Arc<Identity>>, Unreviewed> {
        if token.is_empty() || token.len() > LONGEST {
            return Ok(None);
        }
        let turns = if suspect {
            &self.turns_of_suspects
        } else {
            &self.turns
        };
        let ask = |_: &[u8; 32]| {
            ask(
                self.client.clone(),
                self.audiences.clone(),
                token.to_owned(),
                turns.clone(),
                access.clone(),
            )
        };
        self.reviews.get(Sha256::digest(token).into(), ask).await
    }
}

async fn ask(
    client: Client,
    audiences: Arc<[String]>,
    token: String,
    turns: Arc<Semaphore>,
    access: Arc<Access>,
) -> Result<Fresh<Option<Arc<Identity>>>, Unreviewed> {
    let _turn = turns.acquire().await.map_err(|_| Unreviewed::Away)?;
    let expires = expiry(&token);
    let review = TokenReview {
        spec: TokenReviewSpec {
            audiences: Some(audiences.to_vec()),
            token: Some(token),
        },
        ..TokenReview::default()
    };
    let reviewed = Api::<TokenReview>::all(client)
        .create(&PostParams::default(), &review)
        .await
        .map_err(|error| {
            tracing::warn!(
                %error,
                "a caller's token could not be reviewed: may the host create tokenreviews (system:auth-delegator)?"
            );
            Unreviewed::Away
        })?;
    let subject = reviewed
        .status
        .and_then(|status| subject(status, &audiences));
    Ok(match subject {
        None => Fresh {
            value: None,
            yes: false,
            keep: KEEP_NO,
        },
        Some(subject) => Fresh {
            value: Some(Arc::new(Identity::of_cluster(subject, access))),
            yes: true,
            keep: expires.map_or(KEEP_YES, |left| left.min(KEEP_YES)),
        },
    })
}

/// Who it is. An API server that does not say for which of the audiences a token is good has not looked at
/// them: then the token may be meant for the API server only.
fn subject(status: TokenReviewStatus, audiences: &[String]) -> Option<Subject> {
    let good_for = status.audiences.unwrap_or_default();
    let meant = good_for.iter().any(|audience| audiences.contains(audience));
    if status.authenticated != Some(true) || !meant {
        return None;
    }
    Subject::new(status.user?)
}

/// Time that is left of a JSON Web Token, zero where it is over; none for other tokens. It is not
/// verified: it can only shorten what the API server has said.
fn expiry(token: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }

    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(Duration::try_from_secs_f64(exp - now.as_secs_f64()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    fn status(authenticated: Option<bool>, audiences: Option<&[&str]>) -> TokenReviewStatus {
        let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        TokenReviewStatus {
            authenticated,
            audiences: audiences.map(owned),
            user: Some(UserInfo {
                username: Some("ada".to_owned()),
                ..UserInfo::default()
            }),
            ..TokenReviewStatus::default()
        }
    }

    #[test]
    fn only_tokens_for_one_of_the_audiences_count() {
        let wanted = ["ringfence".to_owned(), "other".to_owned()];
        let who = |status| subject(status, &wanted).map(|subject| subject.user().to_owned());
        let ada = Some("ada".to_owned());
        assert_eq!(who(status(Some(true), Some(&["x", "other"]))), ada);
        assert_eq!(who(status(Some(true), Some(&["x"]))), None);
        assert_eq!(who(status(Some(true), None)), None);
        assert_eq!(who(status(Some(false), Some(&["ringfence"]))), None);
        assert_eq!(who(status(None, Some(&["ringfence"]))), None);
    }

    #[test]
    fn the_end_of_a_web_token_is_known() {
        let token = |claims: &str| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let left = expiry(&token(&format!(r#"{{"exp": {}}}"#, now.as_secs() + 100))).unwrap();
        assert!(left > Duration::from_secs(90) && left <= Duration::from_secs(100));
        assert_eq!(expiry(&token(r#"{"exp": 1}"#)), Some(Duration::ZERO));
        assert_eq!(expiry(&token(r#"{"exp": 1e300}"#)), Some(Duration::ZERO));
        for other in [
            "opaque",
            "a.b.c",
            &token("{}"),
            &token(r#"{"exp": "soon"}"#),
        ] {
            assert_eq!(expiry(other), None, "{other}");
        }
    }
}
