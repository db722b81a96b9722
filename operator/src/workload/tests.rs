//! Plans, and that following them comes to an end.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use ringfence_api::{
    Agent, ArtifactSource, ArtifactStatus, Capability, Ceiling, Digest, Instance, InstanceStatus,
    Name, Tool, condition,
};
use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_000).unwrap()
}

/// An API server, as small as it can be, whose hosts do what they are told at once.
struct World {
    object: Object,
    ceilings: Vec<(Name, Arc<Ceiling>)>,
    instances: Vec<Arc<Instance>>,
    history: Vec<Arc<ControllerRevision>>,
}

impl World {
    fn agent(spec: Value) -> Self {
        let agent: Agent = serde_json::from_value(json!({
            "apiVersion": ringfence_api::API_VERSION, "kind": "Agent",
            "metadata": {"name": "writer", "namespace": "desk", "uid": "u", "generation": 1},
            "spec": spec,
        }))
        .unwrap();
        Self {
            object: Object::Agent(Arc::new(agent)),
            ceilings: Vec::new(),
            instances: Vec::new(),
            history: Vec::new(),
        }
    }

    fn tool(spec: Value) -> Self {
        let tool: Tool = serde_json::from_value(json!({
            "apiVersion": ringfence_api::API_VERSION, "kind": "Tool",
            "metadata": {"name": "search", "namespace": "desk", "uid": "u", "generation": 1},
            "spec": spec,
        }))
        .unwrap();
        Self {
            object: Object::Tool(Arc::new(tool)),
            ceilings: Vec::new(),
            instances: Vec::new(),
            history: Vec::new(),
        }
    }

    fn ceiling(mut self, name: &str, spec: Value) -> Self {
        let spec = serde_json::from_value(spec).unwrap();
        let ceiling = Arc::new(Ceiling::new(name, spec));
        self.ceilings.push((name.parse().unwrap(), ceiling));
        self
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Tool)) {
        let Object::Tool(tool) = &mut self.object else {
            panic!("a tool is edited");
        };
        let tool = Arc::make_mut(tool);
        edit(tool);
        *tool.metadata.generation.as_mut().unwrap() += 1;
    }

    fn plan(&self) -> Plan {
        let view = View {
            object: &self.object,
            ceilings: &self.ceilings,
            instances: &self.instances,
            history: &self.history,
            missing: &Default::default(),
            refused: None,
        };
        plan(&view, now())
    }

    /// Follows a plan.
    fn follow(&mut self, plan: Plan) {
        self.instances
            .retain(|i| !plan.delete.contains(i.metadata.name.as_ref().unwrap()));
        self.instances.extend(plan.create.into_iter().map(Arc::new));
        for (name, pinned) in plan.pin {
            let find = |i: &&mut Arc<Instance>| i.metadata.name.as_ref() == Some(&name);
            let instance = self.instances.iter_mut().find(find).unwrap();
            Arc::make_mut(instance).spec.pinned = Some(pinned);
        }
        self.record(plan.records);
        match &mut self.object {
            Object::Agent(agent) => Arc::make_mut(agent).status = Some(plan.status),
            Object::Tool(tool) => Arc::make_mut(tool).status = Some(plan.status),
        }
    }

    fn record(&mut self, records: Records) {
        self.history.extend(records.make.map(Arc::new));
        if let Some((name, number)) = records.renumber {
            let find =
                |entry: &&mut Arc<ControllerRevision>| entry.metadata.name.as_ref() == Some(&name);
            let entry = self.history.iter_mut().find(find).unwrap();
            Arc::make_mut(entry).revision = number;
        }
        self.history.retain(|entry| {
            !records
                .forget
                .contains(entry.metadata.name.as_ref().unwrap())
        });
    }

    /// Schedules every instance, and lets its host find out what it is and, once pinned, run it.
    fn hosts(&mut self, digest: Digest, asked: &[Capability]) {
        for instance in &mut self.instances {
            let instance = Arc::make_mut(instance);
            instance.spec.host_name = Some("h".parse().unwrap());
            let mut status = InstanceStatus {
                host_name: instance.spec.host_name.clone(),
                ..InstanceStatus::default()
            };
            if instance.spec.pinned.is_none() {
                let asked = asked.iter().copied().collect();
                status.artifact = Some(ArtifactStatus { digest, asked });
            } else {
                status.conditions.push(Condition {
                    type_: condition::READY.into(),
                    status: "True".into(),
                    last_transition_time: Time(now()),
                    message: String::new(),
                    observed_generation: None,
                    reason: "Ready".into(),
                });
            }
            instance.status = Some(status);
        }
    }

    /// Follows plans until they say nothing new.
    fn settle(&mut self, digest: Digest, asked: &[Capability]) {
        for _ in 0..16 {
            self.hosts(digest, asked);
            let plan = self.plan();
            let done = plan.create.is_empty()
                && plan.pin.is_empty()
                && plan.delete.is_empty()
                && plan.records.is_empty()
                && Some(&plan.status) == self.object.status();
            self.follow(plan);
            if done {
                return;
            }
        }
        panic!("it does not settle: {:?}", self.plan());
    }

    fn ready(&self) -> &Condition {
        let status = self.object.status().unwrap();
        crate::condition::find(&status.conditions, condition::READY).unwrap()
    }
}

fn component() -> Value {
    json!({
        "component": {"image": "registry.example.com/search:1"},
        "grants": {"clocks": true, "http": [{"host": "example.com"}, {"host": "example.org"}]},
        "replicas": 2
    })
}

const ASKED: [Capability; 3] = [Capability::Http, Capability::Clocks, Capability::Env];

#[test]
fn a_component_is_found_out_about_before_it_is_pinned() {
    let mut world = World::tool(component());
    let digest = Digest::of(b"1");
    let first = world.plan();
    assert_eq!(first.create.len(), 2);
    assert!(first.create.iter().all(|i| i.spec.pinned.is_none()));
    world.follow(first);
    assert_eq!(world.ready().reason, "Preparing");
    world.hosts(digest, &ASKED);
    let second = world.plan();
    assert_eq!(second.pin.len(), 2);
    assert_eq!(second.status.digest, Some(digest));
    assert_eq!(second.pin[0].1.grants.http.len(), 2);
    let refused = second.status.refused.clone();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].to_string(), "env (asked for, not granted)");
    world.follow(second);
    world.settle(digest, &ASKED);
    assert_eq!(world.ready().status, "True");
    assert_eq!(world.object.status().unwrap().ready_replicas, 2);
}

#[test]
fn an_agent_without_a_component_needs_nothing_found_out() {
    let mut world = World::agent(json!({"instructions": "write", "model": {"name": "small"}}));
    let plan = world.plan();
    let pinned = plan.create[0].spec.pinned.as_ref().unwrap();
    assert_eq!(pinned.grants.models[0].name.as_str(), "small");
    assert!(pinned.grants.output, "a chat agent streams");
    world.settle(Digest::of(b"1"), &[]);
    assert_eq!(world.instances.len(), 1);
}

#[test]
fn scaling_keeps_what_runs() {
    let mut world = World::tool(component());
    world.settle(Digest::of(b"1"), &ASKED);
    let before: Vec<_> = world
        .instances
        .iter()
        .map(|i| i.metadata.name.clone())
        .collect();
    world.edit(|tool| tool.spec.replicas = Some(4));
    let plan = world.plan();
    assert_eq!(plan.create.len(), 2);
    assert!(plan.delete.is_empty());
    let generations = plan.create.iter().map(|i| i.spec.generation);
    assert!(
        generations.eq([1, 1]),
        "they are of the same revision as the others"
    );
    world.settle(Digest::of(b"1"), &ASKED);
    world.edit(|tool| tool.spec.replicas = Some(2));
    world.settle(Digest::of(b"1"), &ASKED);
    let after: Vec<_> = world
        .instances
        .iter()
        .map(|i| i.metadata.name.clone())
        .collect();
    assert_eq!(after, before);
}

#[test]
fn what_moves_is_told_from_what_is_in_trouble() {
    let mut world = World::tool(component());
    let digest = Digest::of(b"1");
    let nothing = ringfence_api::WorkloadStatus::default();
    assert!(!world.plan().only_moves(&nothing), "it was never ready");
    world.settle(digest, &ASKED);
    let before = world.object.status().unwrap().clone();
    assert!(!world.plan().only_moves(&before), "it is ready");

    let elsewhere = |instance: &mut Arc<Instance>| {
        Arc::make_mut(instance).spec.host_name = Some("other".parse().unwrap());
    };
    elsewhere(&mut world.instances[0]);
    assert!(world.plan().only_moves(&before));
    let status = Arc::make_mut(&mut world.instances[0]).status.as_mut();
    let status = status.unwrap();
    status.host_name = Some("other".parse().unwrap());
    status.conditions[0].status = "False".into();
    assert!(!world.plan().only_moves(&before), "its host has trouble");

    world.settle(digest, &ASKED);
    elsewhere(&mut world.instances[0]);
    world.edit(|tool| tool.spec.replicas = Some(3));
    assert!(!world.plan().only_moves(&before), "another is to be made");
}

#[test]
fn what_is_the_matter_has_the_name_that_its_host_gives_it() {
    let mut world = World::tool(component());
    world.settle(Digest::of(b"1"), &ASKED);
    let status = Arc::make_mut(&mut world.instances[0]).status.as_mut();
    let ready = &mut status.unwrap().conditions[0];
    ready.status = "False".into();
    ready.reason = "SecretMissing".into();
    ready.message = "there is none".into();
    let told = &world.plan().status.conditions[0];
    assert_eq!((&*told.status, &*told.reason), ("False", "SecretMissing"));
    assert!(told.message.ends_with("there is none"), "{}", told.message);
}

#[test]
fn a_new_revision_serves_before_the_old_one_goes() {
    let mut world = World::tool(component());
    let (old, new) = (Digest::of(b"1"), Digest::of(b"2"));
    world.settle(old, &ASKED);
    world.edit(|tool| {
        tool.spec.component = Some(ArtifactSource::image("registry.example.com/search:2"));
    });
    let plan = world.plan();
    assert_eq!(
        (plan.create.len(), plan.delete.len()),
        (1, 0),
        "a quarter of two beyond, rounded up, and none missing"
    );
    assert!(
        plan.create[0].spec.pinned.is_none(),
        "another tag is another component"
    );
    world.follow(plan);
    assert_eq!(world.plan().delete.len(), 0);
    assert!(
        world
            .ready()
            .message
            .ends_with("an earlier revision can be called meanwhile")
    );
    world.settle(new, &ASKED);
    assert_eq!(world.instances.len(), 2);
    assert_eq!(world.object.status().unwrap().digest, Some(new));
}

#[test]
fn what_a_ceiling_takes_away_is_gone_at_once() {
    let mut world = World::tool(component());
    world.settle(Digest::of(b"1"), &ASKED);
    let ceiling = json!({"allow": {"http": [{"host": "example.org"}]}});
    let mut world = world.ceiling("narrow", ceiling);
    let plan = world.plan();
    assert_eq!(
        plan.delete.len(),
        2,
        "they may do what is no longer allowed"
    );
    world.follow(plan);
    world.settle(Digest::of(b"1"), &ASKED);
    let grants = &world.instances[0].spec.pinned.as_ref().unwrap().grants;
    assert_eq!(grants.http.len(), 1);
    assert!(!grants.clocks);
    let status = world.object.status().unwrap();
    let told = crate::condition::find(&status.conditions, condition::ASKS_GRANTED).unwrap();
    assert_eq!(told.reason, "RefusedByCeiling");
    assert_eq!(
        told.message,
        "not given: http https://example.com/ (ceiling narrow), env (asked for, not granted), \
         clocks (ceiling narrow)"
    );
}

#[test]
fn a_ceiling_that_takes_nothing_away_replaces_nothing_in_a_hurry() {
    let mut world = World::tool(component());
    world.settle(Digest::of(b"1"), &ASKED);
    let everything = json!({"allow": {"http": [{"host": "*"}], "clocks": true, "env": true}});
    let world = world.ceiling("wide", everything);
    let plan = world.plan();
    assert_eq!(
        (plan.create.len(), plan.delete.len(), plan.pin.len()),
        (0, 0, 0)
    );
}

#[test]
fn a_pool_that_is_not_allowed_runs_nothing() {
    let mut world = World::tool(component());
    world.settle(Digest::of(b"1"), &ASKED);
    let bound = json!({"allow": {"http": [{"host": "*"}]}, "placement": {"pools": ["small-*"]}});
    let world = world.ceiling("pools", bound);
    let plan = world.plan();
    assert_eq!(plan.delete.len(), 2);
    assert_eq!(plan.create.len(), 0);
    assert_eq!(plan.status.conditions[0].reason, "PlacementRefused");
}

#[test]
fn what_the_definitions_cannot_say_is_told_and_what_ran_runs_on() {
    let mut world = World::tool(component());
    world.edit(|tool| tool.spec.grants.http[0].host = "*.com".into());
    let plan = world.plan();
    assert_eq!(plan.create.len(), 0);
    let told = &plan.status.conditions[0];
    assert_eq!(told.reason, "Invalid");
    assert!(
        told.message.contains("spec.grants.http[0].host"),
        "{}",
        told.message
    );
    world.edit(|tool| tool.spec.grants.http[0].host = "example.com".into());
    world.settle(Digest::of(b"1"), &ASKED);
    world.edit(|tool| tool.spec.grants.http[0].host = "*.com".into());
    let plan = world.plan();
    assert_eq!((plan.create.len(), plan.delete.len()), (0, 0));
    let told = world.object.revision();
    world.follow(plan);
    assert_eq!(world.ready().reason, "Invalid");
    assert!(
        world.ready().message.contains("runs on"),
        "{}",
        world.ready().message
    );
    assert_ne!(world.object.status().unwrap().current_revision, Some(told));
    world.instances.pop();
    assert_eq!(world.plan().create.len(), 1, "and it is kept running");
}

#[test]
fn a_ceiling_bounds_the_servers_that_tools_name() {
    let mcp = serde_json::json!({"mcp": {"url": "https://tools.example.com/mcp"}});
    let mut world = World::tool(mcp);
    world.settle(Digest::of(b"1"), &[]);
    let grants = &world.instances[0].spec.pinned.as_ref().unwrap().grants;
    assert_eq!(grants.http[0].host, "tools.example.com");
    let inside = json!({"allow": {"http": [{"host": "*.example.com"}]}});
    let mut world = world.ceiling("inside", inside);
    world.settle(Digest::of(b"1"), &[]);
    assert_eq!(world.instances.len(), 1);
    let elsewhere = json!({"allow": {"http": [{"host": "example.org"}]}});
    let world = world.ceiling("elsewhere", elsewhere);
    let plan = world.plan();
    assert_eq!((plan.create.len(), plan.delete.len()), (0, 1));
    let told = &plan.status.conditions[0];
    assert_eq!(told.reason, "RefusedByCeiling");
    assert!(
        told.message.contains("(ceiling elsewhere)"),
        "{}",
        told.message
    );
}
