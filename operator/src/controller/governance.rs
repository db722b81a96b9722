//! Ceilings, pools and hosts: what the operator says about them.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::Resource as _;
use kube::runtime::events::EventType;
use ringfence_api::{
    Ceiling, CeilingStatus, Host, HostPool, HostPoolStatus, HostStatus, Model, ModelStatus, Name,
    NamedCeiling, Resource, TenantName, chain, condition,
};
use serde_json::json;

use super::{Governed, Operator, secrets};
use crate::condition::{Verdict, find, holds};
use crate::error::Error;
use crate::index::Change;
use crate::invalid::invalid;
use crate::liveness::Life;

/// The reasons of a host that is lost.
const SILENT: &str = "LeaseExpired";
const DOWN: &str = "NotListening";

pub(super) async fn run(operator: Operator) {
    loop {
        let governed = operator.governed.next().await;
        let done = match &governed {
            Governed::Ceiling(name) => ceiling(&operator, name).await,
            Governed::Pool(name) => pool(&operator, name).await,
            Governed::Host(name) => host(&operator, name).await,
            Governed::Model(tenant, name) => model(&operator, tenant, name).await,
        };
        match done {
            Ok(()) => operator.governed.done(&governed),
            Err(error) => {
                tracing::warn!(?governed, error = %chain(&error), "it is tried again");
                operator.governed.failed(&governed);
            }
        }
    }
}

async fn ceiling(operator: &Operator, name: &Name) -> Result<(), Error> {
    let Some((ceiling, tenants)) = operator.index.lock().ceiling(name) else {
        return Ok(());
    };
    let before = ceiling.status.clone().unwrap_or_default();
    let verdict = Verdict::yes(
        condition::READY,
        "InForce",
        "it bounds the tenants it selects",
    );
    let generation = ceiling.metadata.generation;
    let status = CeilingStatus {
        observed_generation: generation,
        tenants: Some(tenants),
        conditions: vec![verdict.since(&before.conditions, generation, Timestamp::now())],
    };
    if status == before {
        return Ok(());
    }
    let api = operator.writer.all::<Ceiling>();
    let written = operator
        .writer
        .status(&api, "Ceiling", &ceiling.metadata, &status)
        .await?;
    if let Some(written) = written {
        operator.index.lock().apply(Change::Ceiling(written.into()));
    }
    Ok(())
}

async fn pool(operator: &Operator, name: &Name) -> Result<(), Error> {
    let Some((pool, hosts, ready_hosts)) = operator.index.lock().pool(name) else {
        return Ok(());
    };
    if operator.pools.as_ref().is_some_and(|pools| !pools.known()) {
        // The pool comes again when its Pods are known.
        return Ok(());
    }
    let before = pool.status.clone().unwrap_or_default();
    let generation = pool.metadata.generation;
    let verdict = match ready_hosts {
        0 => Verdict::no(
            condition::READY,
            "NoHosts",
            "no host of the pool takes instances",
        ),
        _ => Verdict::yes(condition::READY, "Ready", "it takes instances"),
    };
    let deployed = operator
        .pools
        .as_ref()
        .and_then(|pools| pools.deployed(&pool));
    let status = HostPoolStatus {
        observed_generation: generation,
        conditions: [Some(verdict), deployed]
            .into_iter()
            .flatten()
            .map(|verdict| verdict.since(&before.conditions, generation, Timestamp::now()))
            .collect(),
        hosts,
        ready_hosts,
    };
    if status == before {
        return Ok(());
    }
    let api = operator.writer.all::<HostPool>();
    let written = operator
        .writer
        .status(&api, "HostPool", &pool.metadata, &status)
        .await?;
    if let Some(written) = written {
        operator.index.lock().apply(Change::Pool(written.into()));
    }
    Ok(())
}

async fn model(operator: &Operator, tenant: &TenantName, name: &Name) -> Result<(), Error> {
    let Some(model) = operator.index.lock().model(tenant, name).cloned() else {
        return Ok(());
    };
    let before = model.status.clone().unwrap_or_default();
    let generation = model.metadata.generation;
    let resource = Resource::Model(Box::new(model.spec.clone()));
    let ceilings = operator.index.lock().ceilings_of(tenant);
    let verdict = match (
        invalid(&model.metadata, resource),
        refused(&model, &ceilings),
    ) {
        (Some(message), _) => Verdict::no(condition::READY, "Invalid", message),
        (None, Some(message)) => Verdict::no(condition::READY, "RefusedByCeiling", message),
        (None, None) => Verdict::yes(condition::READY, "Accepted", "it can be asked"),
    };
    let admitted = verdict.holds == Some(true);
    let others = operator.index.lock().admit_model(tenant, name, admitted);
    // Before anybody is told that it can be asked.
    if others && let Err(error) = secrets::reconcile(operator, tenant).await {
        operator.secrets.add(tenant.clone());
        return Err(error);
    }
    let status = ModelStatus {
        observed_generation: generation,
        conditions: vec![verdict.since(&before.conditions, generation, Timestamp::now())],
    };
    if status == before {
        return Ok(());
    }
    let api = operator.writer.namespaced::<Model>(tenant.as_str());
    let written = operator
        .writer
        .status(&api, "Model", &model.metadata, &status)
        .await?;
    if let Some(written) = written {
        // It needs no second look itself.
        let mut dirty = operator.index.lock().apply(Change::Model(written.into()));
        dirty.models.remove(&(tenant.clone(), name.clone()));
        operator.look_at(dirty);
    }
    Ok(())
}

/// Why the ceilings do not allow a model's endpoint.
fn refused(model: &Model, ceilings: &[(Name, Arc<Ceiling>)]) -> Option<String> {
    let named: Vec<NamedCeiling<'_>> = ceilings
        .iter()
        .map(|(name, ceiling)| NamedCeiling {
            name,
            spec: &ceiling.spec,
        })
        .collect();
    model.spec.not_allowed(&named)
}

/// A host that is lost cannot say so itself; and one that is back does not know that it was said.
async fn host(operator: &Operator, name: &Name) -> Result<(), Error> {
    let Some(view) = operator.index.lock().host(name) else {
        return Ok(());
    };
    let HostStatus { conditions, .. } = view.host.status.clone().unwrap_or_default();
    let lost = find(&conditions, condition::READY)
        .is_some_and(|said| [SILENT, DOWN].contains(&said.reason.as_str()));
    let was_ready = holds(&conditions, condition::READY);
    let verdict = match view.life {
        Life::Silent if was_ready => Verdict::unknown(
            condition::READY,
            SILENT,
            "the host has not renewed its lease: it is down, or cannot reach the API server",
        ),
        Life::Down if was_ready => Verdict::no(
            condition::READY,
            DOWN,
            "the host has ended: it does not renew its lease, and its address refuses connections",
        ),
        Life::Alive if lost => Verdict::yes(
            condition::READY,
            "LeaseRenewed",
            "it takes instances: it renews its lease again",
        ),
        _ => return Ok(()),
    };
    let type_ = match view.life {
        Life::Alive => EventType::Normal,
        Life::Silent | Life::Down => EventType::Warning,
    };
    let (reason, note) = (verdict.reason.clone(), verdict.message.clone());
    let condition = verdict.since(&conditions, view.host.metadata.generation, Timestamp::now());
    let namespace = view.host.metadata.namespace.as_deref().unwrap_or_default();
    let api = operator.writer.namespaced::<Host>(namespace);
    let status = json!({"conditions": [condition]});
    let written = operator
        .writer
        .status(&api, "Host", &view.host.metadata, &status)
        .await?;
    if let Some(written) = written {
        let dirty = operator.index.lock().apply(Change::Host(written.into()));
        operator.look_at(dirty);
        let about = view.host.object_ref(&());
        operator.tell(about, type_, &reason, note).await;
    }
    Ok(())
}
