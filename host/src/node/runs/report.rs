//! What the host says about a run. Every write is on top of a version that the host has seen, so that
//! nothing is said of a run that somebody else has ended meanwhile.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use ringfence_api::{Name, Run, RunPhase, chain, condition};
use serde_json::{Value, json};

use super::{Ticket, Why};
use crate::node::{FIELD_MANAGER, Shared};

/// How long the API server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// First and longest wait before another attempt.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// The newest version of a run that the host has seen.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) version: String,
    pub(super) generation: Option<i64>,
    pub(super) conditions: Vec<Condition>,
}

impl Seen {
    pub(super) fn of(run: &Run) -> Self {
        let status = run.status.as_ref();
        Self {
            version: run.metadata.resource_version.clone().unwrap_or_default(),
            generation: run.metadata.generation,
            conditions: status.map(|s| s.conditions.clone()).unwrap_or_default(),
        }
    }
}

/// How a write went.
enum Written {
    Yes,
    /// The run is gone, over, or another host's.
    Moot,
    /// It has changed: a newer version has been read.
    Changed,
    Failed,
}

/// Says how far a run is. Where that fails, the next news says it.
pub(super) async fn progress(shared: &Shared, ticket: &Ticket, status: &Value) {
    write(shared, ticket, status).await;
}

/// Says how a run ended, however often it has to be tried. False where nobody wants to know any more.
pub(super) async fn finish(
    shared: &Shared,
    ticket: &Ticket,
    phase: RunPhase,
    mut status: Value,
) -> bool {
    let now = Timestamp::now();
    status["phase"] = json!(phase);
    status["finishedAt"] = now.to_string().into();
    let (reason, message) = match phase {
        RunPhase::Succeeded => ("Succeeded", "it ended well".to_owned()),
        RunPhase::Canceled => ("Canceled", "it was canceled".to_owned()),
        _ => {
            let message = status["error"]["message"].as_str().unwrap_or_default();
            (reason(&status), message.to_owned())
        }
    };
    let mut wait = RETRY.0;
    loop {
        let seen = ticket.seen.lock().clone();
        let mut conditions = seen.conditions;
        conditions.retain(|condition| condition.type_ != condition::FINISHED);
        let mut conditions = json!(conditions);
        if let Some(conditions) = conditions.as_array_mut() {
            conditions.push(json!({
                "type": condition::FINISHED, "status": "True", "reason": reason, "message": message,
                "observedGeneration": seen.generation, "lastTransitionTime": now.to_string(),
            }));
        }
        status["conditions"] = conditions;
        status["observedGeneration"] = json!(seen.generation);
        match write(shared, ticket, &status).await {
            Written::Yes => return true,
            Written::Moot => return false,
            Written::Changed => {}
            Written::Failed => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY.1);
            }
        }
    }
}

fn reason(status: &Value) -> &'static str {
    match status["error"]["code"].as_str() {
        Some("timeout") => "TimedOut",
        Some("unknown-outcome") => "UnknownOutcome",
        _ => "Failed",
    }
}

/// Gives a run back that has not begun here, and never will on this ticket.
pub(super) async fn give_back(shared: &Shared, ticket: &Ticket) {
    let status = json!({"hostName": null, "hostJournal": null, "timeLeftMs": null});
    let mut wait = RETRY.0;
    loop {
        match write(shared, ticket, &status).await {
            Written::Yes => return ticket.end(Why::Released),
            Written::Moot => return,
            Written::Changed => {}
            Written::Failed => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY.1);
            }
        }
    }
}

async fn write(shared: &Shared, ticket: &Ticket, status: &Value) -> Written {
    let version = ticket.seen.lock().version.clone();
    let patch = json!({"metadata": {"resourceVersion": version}, "status": status});
    let api: Api<Run> = Api::namespaced(shared.client.clone(), ticket.tenant.as_str());
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(&patch);
    let request = api.patch_status(&ticket.name, &params, &patch);
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(Ok(run)) => {
            *ticket.seen.lock() = Seen::of(&run);
            Written::Yes
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Written::Moot,
        // Somebody has changed it meanwhile, or (422) ended it.
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 409 | 422) => {
            read(&api, ticket, &shared.membership.name).await
        }
        Ok(Err(error)) => {
            tracing::warn!(
                run = ticket.name,
                error = chain(&error),
                "its status could not be written"
            );
            Written::Failed
        }
        Err(_) => {
            tracing::warn!(
                run = ticket.name,
                "its status could not be written: no answer"
            );
            Written::Failed
        }
    }
}

/// Reads a run anew, and finds out whether it still is this host's to write.
async fn read(api: &Api<Run>, ticket: &Ticket, host: &Name) -> Written {
    match tokio::time::timeout(TIMEOUT, api.get_opt(&ticket.name)).await {
        Ok(Ok(Some(run))) => {
            let status = run.status.clone().unwrap_or_default();
            let same = run.metadata.uid.as_deref() == Some(&ticket.uid);
            if !same || status.phase.is_final() || status.host_name.as_ref() != Some(host) {
                return Written::Moot;
            }
            let now = Seen::of(&run);
            let mut seen = ticket.seen.lock();
            // What was refused on top of the newest version is no matter of versions.
            let changed = seen.version != now.version;
            *seen = now;
            match changed {
                true => Written::Changed,
                false => Written::Failed,
            }
        }
        Ok(Ok(None)) => Written::Moot,
        Ok(Err(_)) | Err(_) => Written::Failed,
    }
}
