//! The certificate by which other hosts know this one. The key is made here and stays here; the operator
//! signs what proves that it is this host's. It is renewed long before it runs out, and at once where the
//! authority that signed it counts no longer. Without one the host serves its own clients all the same.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestSpec, CertificateSigningRequestStatus,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use ringfence_api::{Name, chain, peer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::sync::watch;
use tokio::time::Instant;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::Shared;
use crate::peer::Credentials;

/// How long the certificate should be valid; the operator may say less.
const VALID: i32 = 24 * 3_600;
/// How long to wait for an answer of the operator.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often to look for it: first, and at most.
const LOOKS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];
/// How long to wait after a failure: first, and at most.
const RETRIES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// How long authorities may take to become known that sign already.
const UNKNOWN: Duration = Duration::from_secs(5);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
enum CertificateError {
    #[error(
        "the API server does not take or tell the request: may the host make certificate requests?"
    )]
    Api(#[from] kube::Error),
    #[error("a key or a request cannot be made")]
    Make(#[from] rcgen::Error),
    #[error("the operator denies it ({reason}): {message}")]
    Denied { reason: String, message: String },
    #[error("nobody has answered {0} in time: does the operator run?")]
    Unanswered(String),
    #[error("what was signed is no certificate")]
    Malformed,
}

/// Authorities that count; none before any are known.
type Authorities = Option<Vec<CertificateDer<'static>>>;

/// Keeps the certificate valid, for ever.
pub(super) async fn keep(shared: Arc<Shared>) {
    let (sender, authorities) = watch::channel(None);
    tokio::join!(follow(&shared, sender), renew(&shared, authorities));
}

/// Follows which authorities count.
async fn follow(shared: &Shared, authorities: watch::Sender<Authorities>) {
    let one = Config::default().fields(&format!("metadata.name={}", peer::AUTHORITY));
    let maps: Api<ConfigMap> = Api::namespaced(shared.client.clone(), &shared.membership.namespace);
    let mut events = watcher(maps, one).default_backoff().boxed();
    loop {
        match events.try_next().await {
            Ok(Some(Event::Apply(map) | Event::InitApply(map))) => {
                let text = map
                    .data
                    .as_ref()
                    .and_then(|data| data.get(peer::BUNDLE_KEY));
                let known: Result<Vec<_>, _> =
                    CertificateDer::pem_slice_iter(text.map_or(&[], String::as_bytes)).collect();
                match known {
                    Ok(known) if !known.is_empty() => {
                        authorities.send_if_modified(|before| {
                            let other = before.as_ref() != Some(&known);
                            *before = Some(known);
                            other
                        });
                    }
                    _ => tracing::warn!(
                        "the ConfigMap {} holds no certificates; those known before count on",
                        peer::AUTHORITY
                    ),
                }
            }
            // Whom nobody names any more is believed until others are named.
            Ok(Some(Event::Delete(_) | Event::Init | Event::InitDone)) => {}
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "the watch of authorities broke; it starts again"
                );
            }
        }
    }
}

async fn renew(shared: &Shared, mut authorities: watch::Receiver<Authorities>) {
    let [first, most] = RETRIES;
    let mut wait = first;
    // Nobody signs before it is known who does.
    while authorities.wait_for(Option::is_some).await.is_ok() {
        let used = match obtain(shared).await {
            Ok(held) => hold(shared, &held, &mut authorities).await,
            Err(error) => {
                let left = shared.peers.expires();
                let left = left.and_then(|at| at.duration_since(SystemTime::now()).ok());
                tracing::warn!(
                    error = %chain(&error), left_s = left.map(|left| left.as_secs()),
                    "no new certificate to show to other hosts"
                );
                false
            }
        };
        if used {
            wait = first;
        } else {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(most);
        }
    }
}

/// A certificate and its key.
struct Held {
    key: PrivatePkcs8KeyDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    until: SystemTime,
}

/// Uses a certificate until another one is due: in time before it runs out, or once its authority counts no
/// longer. False where it was never of use.
async fn hold(
    shared: &Shared,
    held: &Held,
    authorities: &mut watch::Receiver<Authorities>,
) -> bool {
    let due = renew_after(held.until, SystemTime::now(), rand::random());
    let due = Instant::now() + due;
    let mut used = false;
    loop {
        let known = authorities.borrow_and_update().clone();
        let credentials = Credentials {
            chain: held.chain.clone(),
            key: held.key.clone_key(),
            authorities: known.unwrap_or_default(),
        };
        let until = match shared.peers.set(credentials) {
            Ok(()) => {
                used = true;
                shared.host.metrics().peer_certificate(held.until);
                due
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "another certificate is asked for");
                if used {
                    return true;
                }
                Instant::now() + UNKNOWN
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(until) => return used,
            changed = authorities.changed() => if changed.is_err() { return used },
        }
    }
}

/// When to renew: at two thirds of what is left, a little earlier by chance (`jitter`, 0 to 1), so that hosts
/// that started together do not all ask at once.
fn renew_after(until: SystemTime, now: SystemTime, jitter: f64) -> Duration {
    let left = until.duration_since(now).unwrap_or_default();
    (left * 2 / 3).mul_f64(1.0 - 0.1 * jitter.clamp(0.0, 1.0))
}

/// Makes a key and has it signed.
async fn obtain(shared: &Shared) -> Result<Held, CertificateError> {
    let name = &shared.membership.name;
    let key = KeyPair::generate()?; // on P-256
    let request = request(name, &key)?;
    let api: Api<CertificateSigningRequest> = Api::all(shared.client.clone());
    let made = api.create(&PostParams::default(), &request).await?;
    let certificate = answer(&api, &made.name_any()).await?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate.0).collect();
    let chain = chain.map_err(|_| CertificateError::Malformed)?;
    let own = chain.first().ok_or(CertificateError::Malformed)?;
    let parsed = Certificate::from_der(own).map_err(|_| CertificateError::Malformed)?;
    Ok(Held {
        key: key.serialize_der().into(),
        until: parsed.tbs_certificate.validity.not_after.to_system_time(),
        chain,
    })
}

fn request(name: &Name, key: &KeyPair) -> Result<CertificateSigningRequest, CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(peer::host_id(name).try_into()?)];
    let pem = params.serialize_request(key)?.pem()?;
    Ok(CertificateSigningRequest {
        metadata: ObjectMeta {
            generate_name: Some(format!("ringfence-host-{name}-")),
            ..ObjectMeta::default()
        },
        spec: CertificateSigningRequestSpec {
            request: ByteString(pem.into_bytes()),
            signer_name: peer::SIGNER.to_owned(),
            usages: Some(peer::USAGES.map(str::to_owned).to_vec()),
            expiration_seconds: Some(VALID),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    })
}

/// Waits for the answer to a request.
async fn answer(
    api: &Api<CertificateSigningRequest>,
    name: &str,
) -> Result<ByteString, CertificateError> {
    let end = Instant::now() + PATIENCE;
    let [mut look, most] = LOOKS;
    while Instant::now() < end {
        tokio::time::sleep(look).await;
        look = (look * 2).min(most);
        let request = match tokio::time::timeout_at(end, api.get(name)).await {
            Ok(request) => request?,
            Err(_) => break,
        };
        let status = request.status.unwrap_or_default();
        if let Some(denied) = denied(&status) {
            return Err(denied);
        }
        if let Some(certificate) = status.certificate {
            return Ok(certificate);
        }
    }
    Err(CertificateError::Unanswered(name.to_owned()))
}

fn denied(status: &CertificateSigningRequestStatus) -> Option<CertificateError> {
    let conditions = status.conditions.iter().flatten();
    let mut denials = conditions.filter(|c| c.type_ == "Denied" || c.type_ == "Failed");
    denials.next().map(|condition| CertificateError::Denied {
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_renewed_at_two_thirds_or_a_little_earlier() {
        let now = SystemTime::now();
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let until = now + hours(24);
        assert_eq!(renew_after(until, now, 0.0), hours(16));
        assert_eq!(renew_after(until, now, 1.0), hours(16).mul_f64(0.9));
        assert_eq!(renew_after(now, now + hours(1), 0.5), Duration::ZERO);
    }
}
