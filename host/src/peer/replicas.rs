//! Who runs what of one tenant: what its `Instance` objects say, in little space. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use ringfence_api::{Instance, Kind, NAME_LABEL, Name, Workload, condition};

use crate::directory::Draw;
use crate::mediation::RunId;

/// An agent or a tool of a tenant.
pub(crate) type Target = (Kind, Name);

/// One instance of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replica {
    /// Name of its object: it says which revision it is, as an instance never changes.
    pub(crate) instance: Arc<str>,
    /// The host that it is bound to.
    pub(crate) host: Option<Name>,
    /// Generation of the resource that it was made from.
    pub(crate) generation: u64,
    /// Percent of the runs that its revision gets, while it is a canary.
    pub(crate) weight: Option<u32>,
    /// Whether that host says that it can be called.
    pub(crate) ready: bool,
    /// Where it was ready before it was bound to that host, until it is ready there: the former host goes on
    /// with it for that long.
    pub(crate) before: Option<Name>,
    /// What it is for.
    pub(crate) description: Arc<str>,
}

impl Replica {
    /// The host that can be called.
    pub(crate) fn callable(&self) -> Option<&Name> {
        if self.ready {
            self.host.as_ref()
        } else {
            self.before.as_ref()
        }
    }

    /// Takes over what is known of the same instance from before.
    fn after(mut self, known: &Self) -> Self {
        if !self.ready {
            let moved = known.ready && known.host != self.host;
            self.before = if moved { &known.host } else { &known.before }.clone();
        }
        self
    }
}

/// The revision that a run falls to, while a canary gets part of the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    canary: Option<u64>,
    drawn: bool,
}

impl Share {
    /// That of a run for a target, by what its instances say. It is the same on every host.
    pub(crate) fn of(replicas: &[Replica], target: &Target, run: RunId) -> Self {
        let weighed = replicas
            .iter()
            .filter(|replica| replica.callable().is_some());
        let canary = weighed
            .filter_map(|replica| Some((replica.generation, replica.weight?)))
            .max();
        let (kind, name) = target;
        Self {
            canary: canary.map(|(generation, _)| generation),
            drawn: canary.is_some_and(|(_, weight)| Draw::of(run, *kind, name).is_within(weight)),
        }
    }

    /// Whether the run falls to what was made from this generation.
    pub(crate) fn means(self, generation: u64) -> bool {
        self.canary
            .is_none_or(|canary| (canary == generation) == self.drawn)
    }
}

/// All instances of a tenant.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    by_target: HashMap<Target, Vec<Replica>>,
    by_instance: BTreeMap<Arc<str>, Target>,
}

impl Replicas {
    /// The instances of a target, ready or not.
    pub(crate) fn of(&self, target: &Target) -> &[Replica] {
        self.by_target.get(target).map_or(&[], Vec::as_slice)
    }

    /// One instance by the name of its object.
    pub(crate) fn instance(&self, name: &str) -> Option<&Replica> {
        let target = self.by_instance.get(name)?;
        let mut all = self.of(target).iter();
        all.find(|replica| &*replica.instance == name)
    }

    /// All targets with their instances; none of the lists is empty.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Target, &[Replica])> {
        self.by_target
            .iter()
            .map(|(target, replicas)| (target, replicas.as_slice()))
    }

    /// Takes note of an object. True when anything that matters has changed.
    pub(crate) fn put(&mut self, object: &Instance) -> bool {
        let Some((target, replica)) = read(object) else {
            return self.remove(&object.name_any());
        };
        let name = replica.instance.clone();
        if self.by_instance.get(&name) == Some(&target) {
            let replicas = self.by_target.entry(target).or_default();
            return match replicas.iter_mut().find(|known| known.instance == name) {
                Some(known) => {
                    let replica = replica.after(known);
                    let news = *known != replica;
                    *known = replica;
                    news
                }
                None => {
                    replicas.push(replica);
                    true
                }
            };
        }
        // A name that meant something else before.
        self.remove(&name);
        self.by_instance.insert(name, target.clone());
        self.by_target.entry(target).or_default().push(replica);
        true
    }

    /// Forgets an object. True when it was known.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let Some(target) = self.by_instance.remove(name) else {
            return false;
        };
        if let Some(replicas) = self.by_target.get_mut(&target) {
            replicas.retain(|replica| &*replica.instance != name);
            if replicas.is_empty() {
                self.by_target.remove(&target);
            }
        }
        true
    }

    /// Forgets all objects but these. True when there were others.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) -> bool {
        let gone: Vec<_> = self
            .by_instance
            .keys()
            .filter(|name| !keep(name))
            .cloned()
            .collect();
        for name in &gone {
            self.remove(name);
        }
        !gone.is_empty()
    }
}

/// What an object says; none where it is an instance of nothing.
fn read(object: &Instance) -> Option<(Target, Replica)> {
    let (kind, description) = match &object.spec.workload {
        Workload::Agent(spec) => (Kind::Agent, &spec.description),
        Workload::Tool(spec) => (Kind::Tool, &spec.description),
    };
    let name = object.labels().get(NAME_LABEL)?.parse().ok()?;
    let said = object.status.as_ref();
    let host = object.spec.host_name.clone();
    // What an earlier host said counts no longer.
    let ready = host.is_some()
        && said.is_some_and(|status| {
            let ready = |c: &Condition| c.type_ == condition::READY && c.status == "True";
            status.host_name == host && status.conditions.iter().any(ready)
        });
    let replica = Replica {
        instance: object.name_any().into(),
        host,
        generation: u64::try_from(object.spec.generation).unwrap_or_default(),
        weight: object.spec.weight,
        ready,
        before: None,
        description: description.as_str().into(),
    };
    Some(((kind, name), replica))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, tool: &str, host: Option<&str>, says: Option<&str>) -> Instance {
        let status = says.map(|says| {
            json!({"hostName": says, "conditions": [{
                "type": "Ready", "status": "True", "reason": "Ready", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]})
        });
        serde_json::from_value(json!({
            "apiVersion": "ringfence.dev/v1alpha1", "kind": "Instance",
            "metadata": {"name": name, "namespace": "default", "labels": {NAME_LABEL: tool}},
            "spec": {
                "hostName": host, "generation": 3,
                "workload": {"tool": {"description": "Counts.", "agent": "a"}},
                "placement": {"pool": "default", "trustClass": "default"}, "requests": {},
            },
            "status": status,
        }))
        .unwrap()
    }

    fn tool(name: &str) -> Target {
        (Kind::Tool, name.parse().unwrap())
    }

    #[test]
    fn an_instance_is_ready_where_its_own_host_says_so() {
        let mut replicas = Replicas::default();
        let ready = |replicas: &Replicas| replicas.of(&tool("t"))[0].ready;
        assert!(replicas.put(&object("t-1", "t", None, None)));
        assert!(!ready(&replicas));
        assert!(replicas.put(&object("t-1", "t", Some("a"), Some("b"))));
        assert!(!ready(&replicas), "an earlier host said so");
        assert!(replicas.put(&object("t-1", "t", Some("a"), Some("a"))));
        assert!(ready(&replicas));
        assert!(!replicas.put(&object("t-1", "t", Some("a"), Some("a"))));
        assert_eq!(replicas.of(&tool("t")).len(), 1);
        assert_eq!(replicas.of(&tool("t"))[0].generation, 3);
    }

    #[test]
    fn an_instance_that_moves_is_called_where_it_was_until_it_is_ready_elsewhere() {
        let mut replicas = Replicas::default();
        let callable = |replicas: &Replicas| {
            let replica = &replicas.of(&tool("t"))[0];
            replica.callable().map(ToString::to_string)
        };
        replicas.put(&object("t-1", "t", Some("a"), Some("a")));
        assert_eq!(callable(&replicas).as_deref(), Some("a"));
        for says in [Some("a"), None] {
            replicas.put(&object("t-1", "t", Some("b"), says));
            assert_eq!(callable(&replicas).as_deref(), Some("a"));
        }
        replicas.put(&object("t-1", "t", Some("b"), Some("b")));
        assert_eq!(callable(&replicas).as_deref(), Some("b"));
        assert_eq!(replicas.of(&tool("t"))[0].before, None);
    }

    #[test]
    fn what_is_gone_leaves_nothing_behind() {
        let mut replicas = Replicas::default();
        for name in ["t-1", "t-2"] {
            replicas.put(&object(name, "t", Some("a"), Some("a")));
        }
        replicas.put(&object("u-1", "u", Some("a"), Some("a")));
        assert!(replicas.retain(|name| name != "t-2"));
        assert!(!replicas.retain(|name| name != "t-2"));
        assert_eq!(replicas.of(&tool("t")).len(), 1);
        assert!(replicas.remove("t-1"));
        assert!(!replicas.remove("t-1"));
        assert!(replicas.of(&tool("t")).is_empty());
        assert_eq!(replicas.all().count(), 1);
        replicas.put(&object("u-1", "v", Some("a"), Some("a")));
        assert!(replicas.of(&tool("u")).is_empty());
        assert_eq!(replicas.of(&tool("v")).len(), 1);
    }

    #[test]
    fn runs_are_shared_by_the_weight_of_a_canary_that_can_be_called() {
        let weighed = |weight, generation, ready| Replica {
            instance: "i".into(),
            host: Some("h".parse().unwrap()),
            generation,
            weight,
            ready,
            before: None,
            description: "".into(),
        };
        let target = tool("t");
        let drawn = |replicas: &[Replica]| {
            (0..1_000)
                .filter(|_| Share::of(replicas, &target, RunId::new()).means(2))
                .count()
        };
        let stable = weighed(None, 1, true);
        // Nothing shares: every generation is as good, and the newest wins.
        assert_eq!(drawn(&[stable.clone(), weighed(None, 2, true)]), 1_000);
        let some = drawn(&[stable.clone(), weighed(Some(30), 2, true)]);
        assert!((200..400).contains(&some), "{some} of 1000");
        let run = RunId::new();
        let share = Share::of(&[stable.clone(), weighed(Some(30), 2, true)], &target, run);
        assert_ne!(share.means(1), share.means(2));
        // What cannot be called gets no share.
        let waits = Share::of(&[stable, weighed(Some(100), 2, false)], &target, run);
        assert!(waits.means(1));
    }
}
