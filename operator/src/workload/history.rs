//! The history of an agent or tool: what its spec said before, in a `ControllerRevision` for each revision
//! whose rollout was complete or has failed.
//!
//! A revision is everything in the spec but `replicas` and `rollout`, and the mark of a restart. What the
//! spec only refers to, a Secret above all, is not in it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt as _;
use kube::api::ObjectMeta;
use ringfence_api::{
    Agent, CHANGE_CAUSE_ANNOTATION, Capability, Digest, KIND_LABEL, NAME_LABEL, REVISION_LABEL,
    RolloutSpec, Tool, WorkloadStatus,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::revision::Known;
use super::{Object, owner};

/// What an entry holds. `ringfence rollout undo` writes `spec` and `restartedAt` back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    spec: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restarted_at: Option<String>,
    /// The component that it ran, where that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<BTreeSet<Capability>>,
}

/// What has to be done about the history.
#[derive(Debug, Default, PartialEq)]
pub struct Records {
    /// An entry to make.
    pub make: Option<ControllerRevision>,
    /// An entry that is the newest again, and its new number.
    pub renumber: Option<(String, i64)>,
    /// Entries to delete, by name.
    pub forget: Vec<String>,
}

impl Records {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The entries of one agent or tool.
#[derive(Clone, Copy)]
pub(super) struct History<'a> {
    object: &'a Object,
    entries: &'a [Arc<ControllerRevision>],
}

impl<'a> History<'a> {
    pub(super) fn new(object: &'a Object, entries: &'a [Arc<ControllerRevision>]) -> Self {
        Self { object, entries }
    }

    fn find(&self, revision: &str) -> Option<&'a ControllerRevision> {
        let name = self.name(revision);
        self.entries
            .iter()
            .find(|entry| entry.metadata.name.as_ref() == Some(&name))
            .map(|entry| &**entry)
    }

    fn name(&self, revision: &str) -> String {
        let name = self.object.metadata().name.as_deref().unwrap_or_default();
        format!("{}-{name}-{revision}", self.object.kind().as_str())
    }

    /// The agent or tool as it was at an earlier revision, wanted as often as it is now. None where the
    /// history does not know it.
    pub(super) fn at(&self, revision: &str) -> Option<Object> {
        let data = self.find(revision)?.data.as_ref()?;
        let recorded: Recorded = serde_json::from_value(data.0.clone()).ok()?;
        let metadata = self.object.metadata();
        // As if it had just been found out about: what it ran then is what it runs again.
        let status = Some(WorkloadStatus {
            observed_generation: metadata.generation,
            digest: recorded.digest,
            asked: recorded.asked,
            ..WorkloadStatus::default()
        });
        let (metadata, mark) = (metadata.clone(), recorded.restarted_at);
        let rollout = |now: &RolloutSpec| RolloutSpec {
            restarted_at: mark,
            ..now.clone()
        };
        match self.object {
            Object::Agent(agent) => {
                let mut spec: ringfence_api::AgentSpec =
                    serde_json::from_value(recorded.spec).ok()?;
                spec.replicas = agent.spec.replicas;
                spec.rollout = rollout(&agent.spec.rollout);
                Some(Object::Agent(Arc::new(Agent {
                    metadata,
                    spec,
                    status,
                })))
            }
            Object::Tool(tool) => {
                let mut spec: ringfence_api::ToolSpec =
                    serde_json::from_value(recorded.spec).ok()?;
                spec.replicas = tool.spec.replicas;
                spec.rollout = rollout(&tool.spec.rollout);
                Some(Object::Tool(Arc::new(Tool {
                    metadata,
                    spec,
                    status,
                })))
            }
        }
    }

    /// What has to be done so that `revision`, which the spec says, is the newest entry, and that there are
    /// no more than there may be. `kept` stay whatever their number.
    pub(super) fn records(&self, known: Option<&Known>, revision: &str, kept: &[&str]) -> Records {
        let newest = self.entries.iter().map(|e| e.revision).max().unwrap_or(0);
        let mut records = Records::default();
        match self.find(revision) {
            None => records.make = Some(self.entry(known, revision, newest + 1)),
            Some(entry) if entry.revision < newest => {
                records.renumber = Some((self.name(revision), newest + 1));
            }
            Some(_) => {}
        }
        let kept: HashSet<String> = kept.iter().map(|revision| self.name(revision)).collect();
        let mut earlier: Vec<&ControllerRevision> = self
            .entries
            .iter()
            .map(|entry| &**entry)
            .filter(|entry| {
                let name = entry.metadata.name.as_ref();
                name.is_some_and(|name| !kept.contains(name))
            })
            .collect();
        earlier.sort_by_key(|entry| std::cmp::Reverse(entry.revision));
        let limit = self.object.rollout().revision_history() as usize;
        let forget = earlier.iter().skip(limit).map(|entry| entry.name_any());
        records.forget = forget.collect();
        records
    }

    fn entry(&self, known: Option<&Known>, revision: &str, number: i64) -> ControllerRevision {
        let object = self.object;
        let of = object.metadata().name.clone().unwrap_or_default();
        let labels = [
            (KIND_LABEL, object.kind().as_str().to_owned()),
            (NAME_LABEL, of),
            (REVISION_LABEL, revision.to_owned()),
        ];
        let annotations = object.metadata().annotations.as_ref();
        let cause = annotations.and_then(|all| all.get(CHANGE_CAUSE_ANNOTATION));
        let recorded = Recorded {
            spec: object.template(),
            restarted_at: object.rollout().restarted_at.clone(),
            digest: known.and_then(|known| known.digest),
            asked: known.map(|known| known.asked.clone()),
        };
        ControllerRevision {
            metadata: ObjectMeta {
                name: Some(self.name(revision)),
                namespace: object.metadata().namespace.clone(),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
                annotations: cause
                    .map(|cause| [(CHANGE_CAUSE_ANNOTATION.to_owned(), cause.clone())].into()),
                owner_references: Some(vec![owner(object)]),
                ..ObjectMeta::default()
            },
            // It holds nothing that JSON cannot.
            data: Some(RawExtension(
                serde_json::to_value(recorded).unwrap_or_default(),
            )),
            revision: number,
        }
    }
}
