//! Rollouts in a small world with a clock, hosts that can be told what works, and crashes.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use ringfence_api::{
    ArtifactSource, ArtifactStatus, CanarySpec, CanaryStep, Digest, Instance, InstanceStatus,
    OnFailure, PROMOTED_ANNOTATION, Pinned, RolloutSpec, Tool, WorkloadStatus, condition,
};
use serde_json::json;

use super::*;
use crate::condition::find;

/// Something that a plan writes.
#[derive(Debug, Clone)]
enum Write {
    Delete(String),
    Create(Box<Instance>),
    Pin(String, Pinned),
    Weigh(String, Option<u32>),
    Status(Box<WorkloadStatus>),
    Make(Box<ControllerRevision>),
    Renumber(String, i64),
    Forget(String),
}

struct World {
    tool: Tool,
    instances: Vec<Arc<Instance>>,
    history: Vec<Arc<ControllerRevision>>,
    now: Timestamp,
    /// Images that work.
    good: BTreeSet<String>,
}

fn image(version: &str) -> String {
    format!("registry.example.com/search:{version}")
}

impl World {
    fn new(replicas: u32, rollout: RolloutSpec) -> Self {
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

    fn plan(&self) -> Plan {
        let view = View {
            object: &Object::Tool(Arc::new(self.tool.clone())),
            ceilings: &[],
            instances: &self.instances,
            history: &self.history,
        };
        plan(&view, self.now)
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Tool)) {
        edit(&mut self.tool);
        *self.tool.metadata.generation.as_mut().unwrap() += 1;
    }

    fn version(&mut self, version: &str) {
        let source = ArtifactSource::Image(image(version));
        self.edit(|tool| tool.spec.component = Some(source));
    }

    /// What a plan writes, in the order in which the controller does.
    fn writes(&self, plan: Plan) -> Vec<Write> {
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

    fn write(&mut self, write: Write) {
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
    fn follow(&mut self) {
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
    fn host(&mut self, index: usize) {
        let now = self.now;
        let instance = Arc::make_mut(&mut self.instances[index]);
        instance.spec.host_name = Some("h".parse().unwrap());
        let Workload::Tool(spec) = &instance.spec.workload else {
            panic!("a tool");
        };
        let Some(ArtifactSource::Image(image)) = &spec.component else {
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

    fn hosts(&mut self) {
        (0..self.instances.len()).for_each(|index| self.host(index));
    }

    fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// Lets hosts and operator work until nothing changes, without time passing.
    fn settle(&mut self) {
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

    fn status(&self) -> &WorkloadStatus {
        self.tool.status.as_ref().unwrap()
    }

    fn said(&self, kind: &str) -> (&str, &str, &str) {
        let said = find(&self.status().conditions, kind).unwrap();
        (&said.status, &said.reason, &said.message)
    }

    /// Instances of each version, and what they weigh.
    fn versions(&self) -> Vec<(String, Option<u32>)> {
        let mut all: Vec<_> = self
            .instances
            .iter()
            .map(|instance| {
                let Workload::Tool(spec) = &instance.spec.workload else {
                    panic!("a tool");
                };
                let Some(ArtifactSource::Image(image)) = &spec.component else {
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

    fn count(&self, version: &str) -> usize {
        self.versions().iter().filter(|(v, _)| v == version).count()
    }
}

fn quick() -> RolloutSpec {
    RolloutSpec {
        progress_deadline_seconds: Some(30),
        ..RolloutSpec::default()
    }
}

#[test]
fn a_rollout_keeps_to_its_bounds_and_is_recorded() {
    let mut world = World::new(4, quick());
    world.settle();
    assert_eq!(world.said(condition::PROGRESSING).1, "NewRevisionAvailable");
    assert_eq!(world.said(condition::AVAILABLE).0, "True");
    let first = world.status().current_revision.clone().unwrap();
    assert_eq!(world.history.len(), 1);

    world.version("2");
    world.follow();
    assert_eq!(
        (world.count("1"), world.count("2")),
        (3, 2),
        "one more, one less"
    );
    assert_eq!(world.said(condition::PROGRESSING).1, "RevisionUpdated");
    assert_eq!(world.status().current_revision.as_ref(), Some(&first));
    assert_eq!(world.status().updated_replicas, 2);
    world.settle();
    assert_eq!((world.count("1"), world.count("2")), (0, 4));
    assert_ne!(world.status().current_revision.as_ref(), Some(&first));
    assert_eq!(
        world.status().current_revision,
        world.status().update_revision
    );
    assert_eq!(world.status().rollout, None);
    assert_eq!(world.history.len(), 2);
    let data = &world.history[1].data.as_ref().unwrap().0;
    assert_eq!(data["spec"]["component"]["image"], image("2"));
    assert_eq!(data["digest"], json!(Digest::of(image("2").as_bytes())));
    assert_eq!(data["spec"]["replicas"], serde_json::Value::Null);

    // Scaling is no rollout.
    world.edit(|tool| tool.spec.replicas = Some(9));
    world.follow();
    assert_eq!(world.count("2"), 9, "all at once");
    assert_eq!(world.said(condition::PROGRESSING).1, "NewRevisionAvailable");
    assert_eq!(world.history.len(), 2);

    // Back to what was: it is the newest entry of the history again.
    world.version("1");
    world.settle();
    assert_eq!(world.count("1"), 9);
    let mut numbers: Vec<i64> = world.history.iter().map(|e| e.revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3]);
}

#[test]
fn what_does_not_become_ready_is_rolled_back() {
    let mut world = World::new(4, quick());
    world.settle();
    let first = world.status().current_revision.clone();
    world.version("broken");
    world.settle();
    assert_eq!((world.count("1"), world.count("broken")), (3, 2));
    world.pass(29);
    world.settle();
    assert_eq!(world.said(condition::PROGRESSING).0, "True");
    let again = world.plan().again.unwrap();
    assert_eq!(again, world.now + SignedDuration::from_secs(1));
    world.pass(1);
    world.settle();
    assert_eq!((world.count("1"), world.count("broken")), (4, 0));
    let (status, reason, message) = world.said(condition::PROGRESSING);
    assert_eq!((status, reason), ("False", "RolledBack"));
    assert!(
        message.contains("registry.example.com/search:broken is broken"),
        "{message}"
    );
    assert!(message.contains(first.as_deref().unwrap()), "{message}");
    assert_eq!(world.said(condition::READY).1, "RolledBack");
    assert_eq!(world.said(condition::AVAILABLE).0, "True");
    assert_eq!(world.status().current_revision, first);
    assert_eq!(world.plan().again, None, "it stays so");
    // It is kept running as any other, with the component that it had.
    world.instances.clear();
    world.good.clear();
    world.follow();
    assert_eq!(world.count("1"), 4);
    let pinned = world.instances[0].spec.pinned.as_ref().unwrap();
    assert_eq!(pinned.digest, Some(Digest::of(image("1").as_bytes())));

    // Another spec is another try.
    world.good = [image("1"), image("2")].into();
    world.version("2");
    world.settle();
    assert_eq!(world.count("2"), 4);
    assert_eq!(world.history.len(), 3);
}

#[test]
fn a_restart_tries_the_same_spec_again() {
    let mut world = World::new(2, quick());
    world.settle();
    world.version("3");
    world.settle();
    world.pass(31);
    world.settle();
    assert_eq!(world.said(condition::PROGRESSING).1, "RolledBack");
    world.good.insert(image("3"));
    world.settle();
    assert_eq!(world.count("3"), 0);
    world.edit(|tool| tool.spec.rollout.restarted_at = Some("now".into()));
    world.settle();
    assert_eq!(world.count("3"), 2);
    let before: Vec<_> = world
        .instances
        .iter()
        .map(|i| i.metadata.name.clone())
        .collect();
    world.edit(|tool| tool.spec.rollout.restarted_at = Some("later".into()));
    world.settle();
    assert_eq!(world.count("3"), 2);
    assert!(
        world
            .instances
            .iter()
            .all(|i| !before.contains(&i.metadata.name))
    );
}

#[test]
fn a_rollout_that_halts_goes_on_once_there_is_progress() {
    let rollout = RolloutSpec {
        on_failure: Some(OnFailure::Halt),
        ..quick()
    };
    let mut world = World::new(4, rollout);
    world.settle();
    world.version("3");
    world.settle();
    world.pass(30);
    world.settle();
    assert_eq!((world.count("1"), world.count("3")), (3, 2));
    assert_eq!(
        world.said(condition::PROGRESSING).1,
        "ProgressDeadlineExceeded"
    );
    world.instances.retain(|i| {
        world.good.contains(&match &i.spec.workload {
            Workload::Tool(spec) => match &spec.component {
                Some(ArtifactSource::Image(image)) => image.clone(),
                _ => String::new(),
            },
            Workload::Agent(_) => String::new(),
        })
    });
    world.follow();
    assert_eq!(
        (world.count("1"), world.count("3")),
        (4, 0),
        "nothing new is tried"
    );
    world.version("2");
    world.settle();
    assert_eq!(world.count("2"), 4);

    world.version("3");
    world.settle();
    world.pass(30);
    world.settle();
    world.good.insert(image("3"));
    world.settle();
    assert_eq!(world.count("3"), 4);
}

#[test]
fn the_first_revision_has_nothing_to_go_back_to() {
    let mut world = World::new(2, quick());
    world.good.clear();
    world.settle();
    world.pass(30);
    world.settle();
    assert_eq!(
        world.said(condition::PROGRESSING).1,
        "ProgressDeadlineExceeded"
    );
    assert_eq!(world.count("1"), 2);
    world.good.insert(image("1"));
    world.settle();
    assert_eq!(world.said(condition::PROGRESSING).1, "NewRevisionAvailable");
}

fn canary(steps: &[(u32, Option<u32>)]) -> RolloutSpec {
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

fn promote(world: &mut World, step: &str) {
    let revision = world.status().update_revision.clone().unwrap();
    let promoted = format!("{revision}/{step}");
    let annotations = world.tool.metadata.annotations.get_or_insert_default();
    annotations.insert(PROMOTED_ANNOTATION.to_owned(), promoted);
}

#[test]
fn a_canary_gets_its_share_once_it_is_ready() {
    let mut world = World::new(10, canary(&[(10, Some(60)), (30, None)]));
    world.settle();
    assert_eq!(
        world.count("1"),
        10,
        "the first revision has nobody to share with"
    );
    world.version("2");
    world.follow();
    assert_eq!(world.count("2"), 1);
    assert!(
        world.versions().contains(&("2".into(), Some(0))),
        "no call before it is ready"
    );
    world.settle();
    assert_eq!((world.count("1"), world.count("2")), (9, 1));
    assert!(world.versions().contains(&("2".into(), Some(10))));
    assert!(world.versions().contains(&("1".into(), None)));
    let (_, reason, message) = world.said(condition::PROGRESSING);
    assert_eq!(reason, "CanaryStep");
    assert!(
        message.starts_with("step 1 of 2: ")
            && message.ends_with("10 percent of the runs for 60 s")
    );
    // A pause is no lack of progress.
    world.pass(59);
    world.settle();
    assert_eq!(world.count("2"), 1);
    world.pass(1);
    world.follow();
    assert_eq!(world.count("2"), 3);
    assert!(world.versions().contains(&("2".into(), Some(10))));
    assert!(!world.versions().contains(&("2".into(), Some(30))));
    world.settle();
    assert_eq!(
        world.versions().iter().filter(|v| v.1 == Some(30)).count(),
        3
    );
    world.pass(10_000);
    world.settle();
    assert_eq!((world.count("1"), world.count("2")), (7, 3));
    promote(&mut world, "1");
    world.settle();
    assert_eq!(world.count("2"), 3, "the first step was over long ago");
    promote(&mut world, "2");
    world.settle();
    assert_eq!(world.count("2"), 10);
    assert!(world.versions().iter().all(|(_, weight)| weight.is_none()));
}

#[test]
fn a_canary_of_one_instance_and_a_promotion_of_everything() {
    let mut world = World::new(1, canary(&[(10, None), (50, None)]));
    world.settle();
    world.version("2");
    world.settle();
    assert_eq!(
        world.versions(),
        [("1".into(), None), ("2".into(), Some(10))]
    );
    // A promotion that was meant for another revision means nothing.
    let annotations = world.tool.metadata.annotations.get_or_insert_default();
    annotations.insert(PROMOTED_ANNOTATION.to_owned(), "0123456789/all".to_owned());
    world.settle();
    assert_eq!(world.instances.len(), 2);
    promote(&mut world, "all");
    world.settle();
    assert_eq!(world.versions(), [("2".into(), None)]);
}

#[test]
fn a_canary_that_does_not_become_ready_never_gets_a_call() {
    let mut world = World::new(4, canary(&[(25, None)]));
    world.settle();
    world.version("broken");
    world.settle();
    assert!(world.versions().contains(&("broken".into(), Some(0))));
    world.pass(30);
    world.settle();
    assert_eq!(world.said(condition::PROGRESSING).1, "RolledBack");
    assert_eq!(world.versions(), vec![("1".to_owned(), None); 4]);
}

#[test]
fn what_is_paused_stands_still_and_is_scaled() {
    let mut world = World::new(4, quick());
    world.settle();
    world.edit(|tool| tool.spec.rollout.paused = true);
    world.version("2");
    world.settle();
    assert_eq!((world.count("1"), world.count("2")), (4, 0));
    assert_eq!(world.said(condition::PROGRESSING).1, "RolloutPaused");
    world.pass(1_000);
    world.edit(|tool| tool.spec.replicas = Some(6));
    world.settle();
    assert_eq!((world.count("1"), world.count("2")), (6, 0));
    world.edit(|tool| tool.spec.rollout.paused = false);
    world.follow();
    assert_eq!(
        world.said(condition::PROGRESSING).1,
        "RevisionUpdated",
        "the pause does not count"
    );
    world.edit(|tool| tool.spec.rollout.paused = true);
    world.settle();
    let stands = (world.count("1"), world.count("2"));
    assert!(stands.0 > 0 && stands.1 > 0, "{stands:?}");
    world.edit(|tool| tool.spec.replicas = Some(2));
    world.settle();
    assert_eq!((world.count("1"), world.count("2")), (1, 1));
    world.edit(|tool| tool.spec.rollout.paused = false);
    world.settle();
    assert_eq!((world.count("1"), world.count("2")), (0, 2));
}

#[test]
fn what_has_to_be_ready_for_a_while_counts_after_it() {
    let rollout = RolloutSpec {
        min_ready_seconds: Some(10),
        ..quick()
    };
    let mut world = World::new(1, rollout);
    world.settle();
    assert_eq!(world.status().ready_replicas, 1);
    assert_eq!(world.status().available_replicas, 0);
    assert_eq!(
        world.plan().again,
        Some(world.now + SignedDuration::from_secs(10))
    );
    world.pass(10);
    world.settle();
    world.version("2");
    world.settle();
    assert_eq!((world.count("1"), world.count("2")), (1, 1));
    world.pass(10);
    world.settle();
    assert_eq!((world.count("1"), world.count("2")), (0, 1));
}

#[test]
fn the_history_is_bounded_and_keeps_what_serves() {
    let rollout = RolloutSpec {
        revision_history_limit: Some(2),
        ..quick()
    };
    let mut world = World::new(1, rollout);
    for version in 1..7 {
        world.good.insert(image(&version.to_string()));
        world.version(&version.to_string());
        world.settle();
    }
    let mut numbers: Vec<i64> = world.history.iter().map(|e| e.revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [4, 5, 6]);
    world.edit(|tool| tool.spec.rollout.revision_history_limit = Some(0));
    for version in ["b1", "b2"] {
        world.version(version);
        world.settle();
        world.pass(30);
        world.settle();
    }
    assert_eq!(world.count("6"), 1);
    let kept: Vec<i64> = world.history.iter().map(|e| e.revision).collect();
    assert_eq!(kept, [6, 8], "what runs, and what the spec says");
}

/// What may happen to a rollout.
#[derive(Debug, Clone)]
enum Event {
    /// The operator follows a plan, up to so many writes.
    Work(usize),
    /// A host looks at an instance.
    Host(usize),
    /// An instance vanishes.
    Vanish(usize),
    Version(u8),
    Replicas(u32),
    Pause(bool),
    Promote,
    Pass(i64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let one = prop_oneof![
        6 => (0_usize..12).prop_map(Event::Work),
        8 => (0_usize..20).prop_map(Event::Host),
        1 => (0_usize..20).prop_map(Event::Vanish),
        1 => (1_u8..5).prop_map(Event::Version),
        1 => (1_u32..8).prop_map(Event::Replicas),
        1 => any::<bool>().prop_map(Event::Pause),
        1 => Just(Event::Promote),
        1 => (0_i64..40).prop_map(Event::Pass),
    ];
    proptest::collection::vec(one, 0..80)
}

fn specs() -> impl Strategy<Value = RolloutSpec> {
    let bound = || {
        prop_oneof![
            (0_u32..4).prop_map(ringfence_api::Bound::Count),
            (0_u32..101).prop_map(ringfence_api::Bound::Percent)
        ]
    };
    let step = (1_u32..100, proptest::option::of(1_u32..20));
    let steps = proptest::collection::vec(step, 0..3);
    (bound(), bound(), any::<bool>(), 0_u32..3, 0_u32..3, steps).prop_map(
        |(surge, unavailable, halt, wait, limit, steps)| {
            let zero = ringfence_api::Bound::Count(0);
            let nothing = [zero, ringfence_api::Bound::Percent(0)];
            let surge = match nothing.contains(&surge) && !steps.is_empty() {
                true => ringfence_api::Bound::Count(1),
                false => surge,
            };
            RolloutSpec {
                max_surge: Some(surge),
                max_unavailable: (!nothing.contains(&surge)).then_some(unavailable),
                min_ready_seconds: Some(wait),
                on_failure: Some(if halt {
                    OnFailure::Halt
                } else {
                    OnFailure::Rollback
                }),
                revision_history_limit: Some(limit),
                canary: (!steps.is_empty()).then(|| canary(&steps).canary.unwrap()),
                ..quick()
            }
        },
    )
}

fn available(world: &World) -> u32 {
    let wait = world.tool.spec.rollout.min_ready();
    let all = world.instances.iter();
    let counts =
        |i: &&Arc<Instance>| super::target::available_at(i, wait).is_some_and(|at| at <= world.now);
    u32::try_from(all.filter(counts).count()).unwrap()
}

/// Follows a plan up to so many writes, and holds every write against the bounds. False where there is
/// nothing to write.
fn work(world: &mut World, most: usize) -> bool {
    let replicas = world.tool.spec.replicas.unwrap();
    let (surge, unavailable) = world.tool.spec.rollout.bounds(replicas);
    let least = replicas - unavailable;
    let writes = world.writes(world.plan());
    let any = !writes.is_empty();
    for write in writes.into_iter().take(most) {
        let before = available(world);
        let made = matches!(write, Write::Create(_));
        world.write(write);
        assert!(
            available(world) >= least.min(before),
            "{} of at least {least} are left",
            available(world)
        );
        if made {
            let there = world.instances.len();
            assert!(there <= (replicas + surge) as usize, "{there} are too many");
        }
    }
    any
}

fn happen(world: &mut World, event: Event) {
    match event {
        Event::Work(most) => {
            work(world, most);
        }
        Event::Host(index) if !world.instances.is_empty() => {
            let index = index % world.instances.len();
            world.host(index);
        }
        Event::Vanish(index) if !world.instances.is_empty() => {
            let index = index % world.instances.len();
            world.instances.remove(index);
        }
        Event::Host(_) | Event::Vanish(_) => {}
        Event::Version(version) => world.version(&version.to_string()),
        Event::Replicas(replicas) => world.edit(|tool| tool.spec.replicas = Some(replicas)),
        Event::Pause(paused) => world.edit(|tool| tool.spec.rollout.paused = paused),
        Event::Promote => {
            if world.tool.status.is_some() {
                promote(world, "1");
            }
        }
        Event::Pass(seconds) => world.pass(seconds),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens, and wherever the operator stops between two writes: the bounds are kept, and
    /// in the end there is what there should be, and nothing left to write.
    #[test]
    fn whatever_happens_it_comes_to_the_same(
        spec in specs(), replicas in 1_u32..8, events in events(), last in 1_u8..5,
    ) {
        let mut world = World::new(replicas, spec);
        for event in events {
            happen(&mut world, event);
        }
        // 1 and 2 work, 3 and 4 do not.
        world.edit(|tool| tool.spec.rollout.paused = false);
        world.version(&last.to_string());
        for _ in 0..30 {
            world.hosts();
            for _ in 0..20 {
                if !work(&mut world, usize::MAX) {
                    break;
                }
            }
            if world.tool.status.is_some() {
                promote(&mut world, "all");
            }
            world.pass(5);
        }
        prop_assert!(world.writes(world.plan()).is_empty());
        prop_assert_eq!(world.plan().again, None);
        let wanted = world.tool.spec.replicas.unwrap() as usize;
        let status = world.status();
        let limit = world.tool.spec.rollout.revision_history() as usize;
        prop_assert!(world.history.len() <= limit + 2);
        if last <= 2 {
            let all = vec![(last.to_string(), None); wanted];
            prop_assert_eq!(world.versions(), all);
            prop_assert_eq!(&status.current_revision, &status.update_revision);
            prop_assert_eq!(status.available_replicas as usize, wanted);
        } else if status.current_revision.is_some()
            && world.tool.spec.rollout.on_failure == Some(OnFailure::Rollback)
        {
            prop_assert_eq!(world.said(condition::PROGRESSING).1, "RolledBack");
            prop_assert_eq!(world.instances.len(), wanted);
            prop_assert!(world.versions().iter().all(|(version, _)| version == "1" || version == "2"));
            prop_assert_eq!(status.available_replicas as usize, wanted);
        } else {
            prop_assert_eq!(world.said(condition::PROGRESSING).1, "ProgressDeadlineExceeded");
        }
    }
}
