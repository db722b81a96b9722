//! The history of an agent or tool: the `ControllerRevision` objects that the operator keeps.

use anyhow::Result;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use ringfence_api::{CHANGE_CAUSE_ANNOTATION, KIND_LABEL, Kind, NAME_LABEL, REVISION_LABEL};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::show::{Style, Table};

/// One earlier revision.
pub(super) struct Entry {
    /// Its number: the higher, the newer.
    pub(super) number: i64,
    /// What the status calls it.
    pub(super) revision: String,
    /// Why it was made, where somebody said so.
    pub(super) cause: Option<String>,
    /// What it was.
    pub(super) data: Value,
}

impl Entry {
    fn read(entry: ControllerRevision) -> Option<Self> {
        Some(Self {
            number: entry.revision,
            revision: entry.labels().get(REVISION_LABEL)?.clone(),
            cause: entry.annotations().get(CHANGE_CAUSE_ANNOTATION).cloned(),
            data: entry.data?.0,
        })
    }

    /// Whether it is what the spec of the object says.
    pub(super) fn runs(&self, object: &Value) -> bool {
        let status = &object["status"];
        status["updateRevision"] == self.revision.as_str()
            && status["observedGeneration"] == object["metadata"]["generation"]
    }

    /// For programs, and to be looked at.
    pub(super) fn document(&self) -> Value {
        json!({
            "revision": self.number, "name": self.revision, "changeCause": self.cause,
            "spec": self.data["spec"], "restartedAt": self.data["restartedAt"],
            "digest": self.data["digest"],
        })
    }
}

/// The history of an agent or tool, the oldest first.
pub(super) async fn of(cluster: &Cluster, (kind, name): &(Kind, String)) -> Result<Vec<Entry>> {
    let all: Api<ControllerRevision> =
        Api::namespaced(cluster.client().clone(), cluster.tenant().as_str());
    let kind = kind.as_str().to_ascii_lowercase();
    let own = ListParams::default().labels(&format!("{KIND_LABEL}={kind},{NAME_LABEL}={name}"));
    let what = format!("the history of {kind}/{name}");
    let listed = all.list(&own).await;
    let listed = listed.map_err(|error| cluster.failed(&what, &error))?;
    let mut entries: Vec<Entry> = listed.items.into_iter().filter_map(Entry::read).collect();
    entries.sort_by_key(|entry| entry.number);
    Ok(entries)
}

/// The newest entry that is not what the spec says.
pub(super) fn before<'e>(entries: &'e [Entry], object: &Value) -> Option<&'e Entry> {
    entries.iter().rev().find(|entry| !entry.runs(object))
}

/// For people.
pub(super) fn table(entries: &[Entry], object: &Value) -> Table {
    let mut table = Table::new(["REVISION", "NAME", "STATE", "CHANGE-CAUSE"]);
    let status = &object["status"];
    for entry in entries {
        let name = entry.revision.as_str();
        let (state, style) = match (
            status["currentRevision"] == name,
            status["updateRevision"] == name,
        ) {
            (true, _) => ("serves", Style::Good),
            (false, true) => ("wanted", Style::Warn),
            (false, false) => ("", Style::Plain),
        };
        table.row([
            (entry.number.to_string(), Style::Plain),
            (name.to_owned(), Style::Plain),
            (state.to_owned(), style),
            (
                entry.cause.clone().unwrap_or_else(|| "<none>".to_owned()),
                Style::Plain,
            ),
        ]);
    }
    table
}
