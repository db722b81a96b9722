//! A small world with a clock, hosts that can be told what works, and an operator that may stop at any
//! write.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use ringfence_api::{
    ArtifactSource, ArtifactStatus, CanarySpec, CanaryStep, Digest, ImageSource, Instance,
    InstanceStatus, PROMOTED_ANNOTATION, Pinned, RolloutSpec, Tool, WorkloadStatus, condition,
};
use serde_json::json;

use super::super::*;
use crate::condition::find;

/// Something that a plan writes.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Delete(String),
    Create(Box<Instance>),
    Pin(String, Pinned),
    Weigh(String, Option<u32>),
    Status(Box<WorkloadStatus>),
    Make(Box<ControllerRevision>),
    Renumber(String, i64),
    Forget(String),
}

pub(super) struct World {
    pub(super) tool: Tool,
    pub(super) instances: Vec<Arc<Instance>>,
    pub(super) history: Vec<Arc<ControllerRevision>>,
    pub(super) now: Timestamp,
    /// Images that work.
    pub(super) good: BTreeSet<String>,
}

pub(super) fn image(version: &str) -> String {
    format!("registry.example.com/search:{version}")
}

impl World {
    pub(super) fn new(replicas: u32, rollout: RolloutSpec) -> Self {
        let mut tool: Tool = serde_json::from_value(json!({
            "apiVersion": ringfence_api::API_VERSION, "kind": "Tool",
            "metadata": {"name": "search", "namespace": "desk", "uid": "u", "generation": 1},
            "spec": {"component": {"image": image("1")}, "replicas": replicas},
        }))
        .unwrap();
        tool.spec.rollout = rollout;
        Self {
            tool,
            instances: Vec::new(),
            history: Vec::new(),
            now: Timestamp::from_second(1_000).unwrap(),
            good: [image("1"), image("2")].into(),
        }
    }

    pub(super) fn plan(&self) -> Plan {
        let view = View {
            object: &Object::Tool(Arc::new(self.tool.clone())),
            ceilings: &[],
            instances: &self.instances,
            history: &self.history,
            missing: &Default::default(),
            refused: None,
        };
        plan(&view, self.now)
    }

    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut Tool)) {
        edit(&mut self.tool);
        *self.tool.metadata.generation.as_mut().unwrap() += 1;
    }

    pub(super) fn version(&mut self, version: &str) {
        let source = ArtifactSource::image(image(version));
        self.edit(|tool| tool.spec.component = Some(source));
    }

    /// What a plan writes, in the order in which the controller does.
    pub(super) fn writes(&self, plan: Plan) -> Vec<Write> {
        let mut writes: Vec<Write> = plan.delete.into_iter().map(Write::Delete).collect();
        writes.extend(plan.create.into_iter().map(|i| Write::Create(Box::new(i))));
        writes.extend(
            plan.pin
                .into_iter()
                .map(|(name, pin)| Write::Pin(name, pin)),
        );
        let weigh = plan.weigh.into_iter();
        writes.extend(weigh.map(|(name, weight)| Write::Weigh(name, weight)));
        let records = plan.records;
        writes.extend(records.make.map(|entry| Write::Make(Box::new(entry))));
        writes.extend(records.renumber.map(|(name, n)| Write::Renumber(name, n)));
        writes.extend(records.forget.into_iter().map(Write::Forget));
        if self.tool.status.as_ref() != Some(&plan.status) {
            writes.push(Write::Status(Box::new(plan.status)));
        }
        writes
    }

    pub(super) fn write(&mut self, write: Write) {
        let instance = |all: &mut Vec<Arc<Instance>>, name: &str, edit: &dyn Fn(&mut Instance)| {
            let found = all
                .iter_mut()
                .find(|i| i.metadata.name.as_deref() == Some(name));
            edit(Arc::make_mut(found.unwrap()));
        };
        match write {
            Write::Delete(name) => {
                let before = self.instances.len();
                self.instances
                    .retain(|i| i.metadata.name.as_ref() != Some(&name));
                assert_eq!(self.instances.len(), before - 1, "{name} was there");
            }
            Write::Create(made) => {
                let same = |i: &Arc<Instance>| i.metadata.name == made.metadata.name;
                assert!(
                    !self.instances.iter().any(same),
                    "{:?} is new",
                    made.metadata.name
                );
                self.instances.push(Arc::new(*made));
            }
            Write::Pin(name, pinned) => {
                instance(&mut self.instances, &name, &|i| {
                    assert!(i.spec.pinned.is_none());
                    i.spec.pinned = Some(pinned.clone());
                });
            }
            Write::Weigh(name, weight) => {
                instance(&mut self.instances, &name, &|i| i.spec.weight = weight);
            }
            Write::Status(status) => self.tool.status = Some(*status),
            Write::Make(entry) => self.history.push(Arc::new(*entry)),
            Write::Renumber(name, number) => {
                let mut all = self.history.iter_mut();
                let entry = all.find(|e| e.metadata.name.as_ref() == Some(&name));
                Arc::make_mut(entry.unwrap()).revision = number;
            }
            Write::Forget(name) => {
                self.history
                    .retain(|e| e.metadata.name.as_ref() != Some(&name));
            }
        }
    }

    /// Plans and follows, until there is nothing to write.
    pub(super) fn follow(&mut self) {
        for _ in 0..100 {
            let writes = self.writes(self.plan());
            if writes.is_empty() {
                return;
            }
            for write in writes {
                self.write(write);
            }
        }
        panic!("it writes for ever: {:?}", self.writes(self.plan()));
    }

    /// A host looks at one instance.
    pub(super) fn host(&mut self, index: usize) {
        let now = self.now;
        let instance = Arc::make_mut(&mut self.instances[index]);
        instance.spec.host_name = Some("h".parse().unwrap());
        let Workload::Tool(spec) = &instance.spec.workload else {
            panic!("a tool");
        };
        let Some(ArtifactSource::Image(ImageSource { image, .. })) = &spec.component else {
            panic!("an image");
        };
        let good = self.good.contains(image);
        let digest = Digest::of(image.as_bytes());
        let ready = instance.spec.pinned.is_some() && good;
        let was = instance.status.as_ref();
        let since = was
            .and_then(|was| find(&was.conditions, condition::READY))
            .filter(|was| (was.status == "True") == ready)
            .map_or(Time(now), |was| was.last_transition_time.clone());
        instance.status = Some(InstanceStatus {
            host_name: instance.spec.host_name.clone(),
            artifact: good.then(|| ArtifactStatus {
                digest,
                asked: BTreeSet::new(),
            }),
            conditions: vec![Condition {
                type_: condition::READY.into(),
                status: if ready { "True" } else { "False" }.into(),
                last_transition_time: since,
                message: if good {
                    String::new()
                } else {
                    format!("{image} is broken")
                },
                observed_generation: None,
                reason: "Said".into(),
            }],
        });
    }

    pub(super) fn hosts(&mut self) {
        (0..self.instances.len()).for_each(|index| self.host(index));
    }

    pub(super) fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// Lets hosts and operator work until nothing changes, without time passing.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            self.hosts();
            let before: Vec<_> = self.instances.clone();
            self.follow();
            if before == self.instances {
                return;
            }
        }
        panic!("it does not settle");
    }

    pub(super) fn status(&self) -> &WorkloadStatus {
        self.tool.status.as_ref().unwrap()
    }

    pub(super) fn said(&self, kind: &str) -> (&str, &str, &str) {
        let said = find(&self.status().conditions, kind).unwrap();
        (&said.status, &said.reason, &said.message)
    }

    /// Instances of each version, and what they weigh.
    pub(super) fn versions(&self) -> Vec<(String, Option<u32>)> {
        let mut all: Vec<_> = self
            .instances
            .iter()
            .map(|instance| {
                let Workload::Tool(spec) = &instance.spec.workload else {
                    panic!("a tool");
                };
                let Some(ArtifactSource::Image(ImageSource { image, .. })) = &spec.component else {
                    panic!("an image");
                };
                (
                    image.rsplit(':').next().unwrap().to_owned(),
                    instance.spec.weight,
                )
            })
            .collect();
        all.sort();
        all
    }

    pub(super) fn count(&self, version: &str) -> usize {
        self.versions().iter().filter(|(v, _)| v == version).count()
    }
}

pub(super) fn quick() -> RolloutSpec {
    RolloutSpec {
        progress_deadline_seconds: Some(30),
        ..RolloutSpec::default()
    }
}

pub(super) fn canary(steps: &[(u32, Option<u32>)]) -> RolloutSpec {
    let steps = steps.iter().map(|(weight, pause_seconds)| CanaryStep {
        weight: *weight,
        pause_seconds: *pause_seconds,
    });
    RolloutSpec {
        canary: Some(CanarySpec {
            steps: steps.collect(),
        }),
        ..quick()
    }
}

pub(super) fn promote(world: &mut World, step: &str) {
    let revision = world.status().update_revision.clone().unwrap();
    let promoted = format!("{revision}/{step}");
    let annotations = world.tool.metadata.annotations.get_or_insert_default();
    annotations.insert(PROMOTED_ANNOTATION.to_owned(), promoted);
}
