//! How far the Pods of a pool are.

use ringfence_api::{HostPool, condition};
use serde_json::Value;

use super::{Live, Part, object_name};
use crate::condition::Verdict;

/// What is to be said of a pool's Pods; nothing where somebody else runs its hosts.
pub fn deployed(pool: &HostPool, live: &Live) -> Option<Verdict> {
    const KIND: &str = condition::DEPLOYED;
    pool.spec.hosts.as_ref()?;
    let name = object_name(pool.metadata.name.as_deref().unwrap_or_default());
    let Some(deployment) = live.get(&(Part::Deployment, name.clone())) else {
        return Some(Verdict::no(
            KIND,
            "Progressing",
            "there is no Deployment yet",
        ));
    };
    let status = &deployment.data["status"];
    let conditions = status["conditions"].as_array();
    let said = |kind: &str, holds: &str| {
        conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == kind && condition["status"] == holds)
    };
    let text = |condition: &Value| {
        let message = condition["message"].as_str().unwrap_or_default();
        format!("deployment/{name}: {message}")
    };
    if let Some(failure) = said("ReplicaFailure", "True") {
        return Some(Verdict::no(KIND, "PodsRefused", text(failure)));
    }
    if let Some(stuck) = said("Progressing", "False") {
        return Some(Verdict::no(KIND, "NotProgressing", text(stuck)));
    }
    let count = |field: &str| status[field].as_u64().unwrap_or_default();
    let wanted = deployment.data["spec"]["replicas"]
        .as_u64()
        .unwrap_or_default();
    let seen = status["observedGeneration"].as_i64() == deployment.metadata.generation;
    let (updated, available, all) = (
        count("updatedReplicas"),
        count("availableReplicas"),
        count("replicas"),
    );
    Some(
        if seen && updated == wanted && available == wanted && all == wanted {
            Verdict::yes(
                KIND,
                "Deployed",
                format!("{wanted} hosts run as they should"),
            )
        } else {
            let message = format!(
                "{updated} of {wanted} hosts are as they should be, {available} available, {all} in all"
            );
            Verdict::no(KIND, "Progressing", message)
        },
    )
}
