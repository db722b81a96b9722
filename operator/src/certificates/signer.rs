//! Answers the requests of hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use ringfence_api::{Host, chain, peer};
use serde_json::json;
use tokio::time::Instant;

use super::authority::Authorities;
use super::request::{Ask, Denial, Evidence, examine};
use super::store::{StoreError, tend};
use super::{AuthorityError, Settings};
use crate::error::Error;
use crate::host_account;
use crate::metrics::Verb;
use crate::write::{FIELD_MANAGER, Writer};

/// What did not work is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);
/// Hosts that run outside of Pods have no owner of this kind.
const POD: &str = "Pod";

/// Signs for ever. To be run by the leader only.
pub(crate) async fn run(writer: Writer, namespace: String, settings: Settings) {
    let host_user = settings
        .host_user
        .clone()
        .unwrap_or_else(|| host_account::host_user(&namespace));
    let requests = Config::default().fields(&format!("spec.signerName={}", peer::SIGNER));
    let all: Api<CertificateSigningRequest> = writer.all();
    let mut events = watcher(all, requests).default_backoff().boxed();
    let mut signer = Signer {
        writer,
        namespace,
        settings,
        host_user,
        authorities: Authorities::default(),
    };
    let mut waiting: BTreeMap<String, CertificateSigningRequest> = BTreeMap::new();
    let mut look = Instant::now();
    loop {
        if look <= Instant::now() {
            look = Instant::now() + signer.look().await;
        }
        let mut again = None;
        for request in std::mem::take(&mut waiting).into_values() {
            if let Err(error) = signer.answer(&request).await {
                let name = request.name_any();
                tracing::warn!(request = name, error = %chain(&error), "it is tried again");
                again = Some(Instant::now() + RETRY);
                waiting.insert(name, request);
            }
        }
        let next = again.unwrap_or(look).min(look);
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Apply(request) | Event::InitApply(request))) => {
                    let name = request.name_any();
                    match open(&request) {
                        true => drop(waiting.insert(name, request)),
                        false => drop(waiting.remove(&name)),
                    }
                }
                Some(Ok(Event::Delete(request))) => drop(waiting.remove(&request.name_any())),
                Some(Ok(Event::Init)) => waiting.clear(),
                Some(Ok(Event::InitDone)) => {}
                Some(Err(error)) => {
                    tracing::warn!(error = %chain(&error), "the watch of certificate requests broke; it starts again");
                }
                None => return,
            },
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

/// Whether a request waits for an answer of ours.
fn open(request: &CertificateSigningRequest) -> bool {
    let signed = request
        .status
        .as_ref()
        .is_some_and(|s| s.certificate.is_some());
    !signed && !is(request, "Denied") && !is(request, "Failed")
}

fn is(request: &CertificateSigningRequest, condition: &str) -> bool {
    let conditions = request.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.is_some_and(|all| {
        all.iter()
            .any(|c| c.type_ == condition && c.status == "True")
    })
}

struct Signer {
    writer: Writer,
    namespace: String,
    settings: Settings,
    host_user: String,
    authorities: Authorities,
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error(transparent)]
    Api(#[from] Error),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("there is no authority to sign with yet")]
    NoAuthority,
}

impl Signer {
    /// Keeps the authorities as they should be; how long until the next look.
    async fn look(&mut self) -> Duration {
        let now = self.settings.clock.now();
        match tend(&self.writer, &self.namespace, now).await {
            Ok(authorities) => {
                self.authorities = authorities;
                self.settings.look
            }
            Err(error) => {
                // Somebody else wrote at the same time: what counts is read at once.
                let conflict = matches!(&error, StoreError::Api(e) if e.code() == Some(409));
                if !conflict {
                    tracing::error!(error = %chain(&error), "hosts get no certificates; it is tried again");
                }
                RETRY.min(self.settings.look)
            }
        }
    }

    async fn answer(&self, request: &CertificateSigningRequest) -> Result<(), AnswerError> {
        let name = request.name_any();
        let verdict = match examine(&request.spec, &self.host_user) {
            Ok(ask) => self.believe(&ask).await?.map_or(Ok(ask), Err),
            Err(denial) => Err(denial),
        };
        let approved = is(request, "Approved");
        match verdict {
            Ok(ask) => {
                let certificate = self.sign(&ask)?;
                if !approved {
                    let message = format!("it is of the host {}", ask.host);
                    self.say(request, "Approved", "HostRequest", &message)
                        .await?;
                }
                let encoded = ByteString(certificate.into_bytes());
                let status = json!({"status": {"certificate": encoded}});
                self.write_status(&name, &status).await?;
                tracing::info!(host = %ask.host, request = name, "certificate signed");
            }
            Err(denial) => {
                tracing::warn!(request = name, reason = denial.reason, "denied: {denial}");
                // What somebody else approved cannot be denied any more, but it is not signed.
                let kind = if approved { "Failed" } else { "Denied" };
                self.say(request, kind, denial.reason, &denial.message)
                    .await?;
            }
        }
        Ok(())
    }

    /// Whether the requester is the host: none where it is.
    async fn believe(&self, ask: &Ask) -> Result<Option<Denial>, Error> {
        if ask.evidence == Evidence::Pod {
            return Ok(None);
        }
        let hosts: Api<Host> = self.writer.namespaced(&self.namespace);
        let action = format!("read the Host {}", ask.host);
        let reading = hosts.get_metadata_opt(ask.host.as_str());
        let denial = match self.writer.read(action, reading).await? {
            None => Denial::new(
                "NoSuchHost",
                format!("there is no Host {} in {}", ask.host, self.namespace),
            ),
            Some(host) if host.owner_references().iter().any(|o| o.kind == POD) => Denial::new(
                "NotItsPod",
                format!(
                    "the Host {} is a Pod, and the request has not come with its token",
                    ask.host
                ),
            ),
            Some(_) => return Ok(None),
        };
        Ok(Some(denial))
    }

    fn sign(&self, ask: &Ask) -> Result<String, AnswerError> {
        let now = self.settings.clock.now();
        let authority = self
            .authorities
            .signer(now)
            .ok_or(AnswerError::NoAuthority)?;
        let valid = self.settings.valid;
        let valid = ask.at_most.map_or(valid, |at_most| at_most.min(valid));
        Ok(authority.sign(&ask.host, &ask.key, now, valid)?)
    }

    /// Adds a condition: of approval, or of what comes after.
    async fn say(
        &self,
        request: &CertificateSigningRequest,
        kind: &str,
        reason: &str,
        message: &str,
    ) -> Result<(), Error> {
        let name = request.name_any();
        let before = request.status.as_ref().and_then(|s| s.conditions.clone());
        let mut conditions = json!(before.unwrap_or_default());
        let now = Timestamp::now().to_string();
        if let Some(conditions) = conditions.as_array_mut() {
            conditions.push(json!({
                "type": kind, "status": "True", "reason": reason, "message": message,
                "lastUpdateTime": now, "lastTransitionTime": now,
            }));
        }
        let patch = json!({
            "metadata": {"resourceVersion": request.metadata.resource_version},
            "status": {"conditions": conditions},
        });
        if kind == "Failed" {
            return self.write_status(&name, &patch).await;
        }
        let api: Api<CertificateSigningRequest> = self.writer.all();
        let (params, patch) = (params(), Patch::Merge(&patch));
        let patching = api.patch_approval(&name, &params, &patch);
        let action = format!("answer the certificate request {name}");
        gone_is_fine(self.writer.send(Verb::Status, action, patching).await)
    }

    async fn write_status(&self, name: &str, patch: &serde_json::Value) -> Result<(), Error> {
        let api: Api<CertificateSigningRequest> = self.writer.all();
        let (params, patch) = (params(), Patch::Merge(patch));
        let patching = api.patch_status(name, &params, &patch);
        let action = format!("answer the certificate request {name}");
        gone_is_fine(self.writer.send(Verb::Status, action, patching).await)
    }
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Nobody waits for the answer any more.
fn gone_is_fine<T>(answer: Result<T, Error>) -> Result<(), Error> {
    match answer {
        Err(error) if matches!(error.code(), Some(404)) => Ok(()),
        answer => answer.map(drop),
    }
}
