//! What the host says about an instance.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use ringfence_api::{API_VERSION, ArtifactStatus, Instance, chain, condition};
use serde_json::{Value, json};

use super::{FIELD_MANAGER, Shared};
use crate::directory::status::Unresolved;

/// The component was found out about. False where that could not be told.
pub(super) async fn found(shared: &Shared, instance: &Instance, artifact: ArtifactStatus) -> bool {
    write(shared, instance, json!(artifact), &[]).await
}

/// It can be called. False where that could not be told.
pub(super) async fn ready(shared: &Shared, instance: &Instance) -> bool {
    let member = &shared.membership;
    let said = instance.status.as_ref().is_some_and(|status| {
        let ready = |c: &Condition| c.type_ == condition::READY && c.status == "True";
        status.host_name.as_ref() == Some(&member.name) && status.conditions.iter().any(ready)
    });
    if said {
        return true;
    }
    recovered(shared, instance).await
}

/// It can be called again, whatever was said last. False where that could not be told.
pub(super) async fn recovered(shared: &Shared, instance: &Instance) -> bool {
    let ready = verdict(instance, "True", "Ready", "it can be called");
    write(shared, instance, artifact(instance), &[ready]).await
}

/// Whether the operator has said that this host is lost: it could not renew its Lease for a while.
pub(super) fn said_lost(instance: &Instance) -> bool {
    let status = instance.status.as_ref();
    let lost = |c: &Condition| c.type_ == condition::READY && c.reason == condition::HOST_LOST;
    status.is_some_and(|status| status.conditions.iter().any(lost))
}

/// It cannot be called (yet), and why. False where that could not be told.
pub(super) async fn trouble(shared: &Shared, instance: &Instance, why: &Unresolved) -> bool {
    tracing::warn!(
        instance = instance.name_any(),
        reason = why.reason,
        "not ready: {why}"
    );
    let message = match why.field.as_str() {
        "" => why.message.clone(),
        field => format!("{field}: {}", why.message),
    };
    let trouble = verdict(instance, "False", why.reason, &message);
    write(shared, instance, artifact(instance), &[trouble]).await
}

/// What was found out earlier stays said.
fn artifact(instance: &Instance) -> Value {
    let status = instance.status.as_ref();
    json!(status.and_then(|status| status.artifact.as_ref()))
}

fn verdict(instance: &Instance, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": condition::READY, "status": status, "reason": reason, "message": message,
        "observedGeneration": instance.metadata.generation,
        "lastTransitionTime": Timestamp::now().to_string(),
    })
}

async fn write(shared: &Shared, instance: &Instance, artifact: Value, said: &[Value]) -> bool {
    let name = instance.name_any();
    let mut status = json!({"hostName": shared.membership.name, "conditions": said});
    if !artifact.is_null() {
        status["artifact"] = artifact;
    }
    let applied = json!({
        "apiVersion": API_VERSION, "kind": "Instance", "metadata": {"name": name}, "status": status,
    });
    let namespace = instance.namespace().unwrap_or_default();
    let api: Api<Instance> = Api::namespaced(shared.client.clone(), &namespace);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match api
        .patch_status(&name, &params, &Patch::Apply(&applied))
        .await
    {
        Ok(_) => true,
        // It is gone: nobody needs to be told.
        Err(kube::Error::Api(status)) if status.code == 404 => true,
        Err(error) => {
            tracing::warn!(
                instance = name,
                error = chain(&error),
                "its status could not be written"
            );
            false
        }
    }
}
