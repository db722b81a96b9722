//! What the operator decides about runs.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use ringfence_api::{Name, Run, condition};
use serde_json::json;
use tokio::time::Instant;

use super::{
    Book, Candidates, Ending, GRACE, LONGEST_RETRY, RETRY, RUNS_PER_HOST, RunKey, Step, TELL_AFTER,
    TENANT_RUNS_PER_HOST, Targets,
};
use crate::key::WorkloadId;

/// Hosts, and where agents are ready.
#[derive(Default)]
struct Cluster {
    alive: BTreeSet<Name>,
    ready: BTreeMap<Name, Vec<Name>>,
}

impl Targets for Cluster {
    fn candidates(&self, target: &WorkloadId) -> Candidates {
        let hosts = self.ready.get(&target.name).into_iter().flatten();
        let hosts = hosts.filter(|host| self.alive.contains(*host));
        let hosts: Vec<_> = hosts
            .map(|host| (host.clone(), format!("j-{host}")))
            .collect();
        match hosts.is_empty() {
            true => Candidates::None("it is not ready".to_owned()),
            false => Candidates::Hosts(hosts),
        }
    }

    fn alive(&self, host: &Name) -> bool {
        self.alive.contains(host)
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The book and an API server that does what is asked for.
struct World {
    book: Book,
    cluster: Cluster,
    start: Instant,
    wall: Timestamp,
    runs: RefCell<BTreeMap<String, serde_json::Value>>,
    version: u64,
    tenant: String,
}

impl World {
    fn new(hosts: &[&str], agents: &[&str]) -> Self {
        let hosts: Vec<Name> = hosts.iter().map(|host| name(host)).collect();
        let mut book = Book::default();
        book.list_begins();
        book.list_ends();
        Self {
            book,
            cluster: Cluster {
                alive: hosts.iter().cloned().collect(),
                ready: agents.iter().map(|a| (name(a), hosts.clone())).collect(),
            },
            start: Instant::now(),
            wall: Timestamp::from_second(1_000_000).unwrap(),
            runs: RefCell::default(),
            version: 1,
            tenant: "default".to_owned(),
        }
    }

    fn at(&self, after: Duration) -> Instant {
        self.start + after
    }

    fn object(&self, run: &str) -> Run {
        serde_json::from_value(self.runs.borrow()[run].clone()).unwrap()
    }

    fn apply(&mut self, run: &str, agent: &str, seconds: u32) {
        let object = json!({
            "apiVersion": "ringfence.dev/v1alpha1", "kind": "Run",
            "metadata": {
                "name": run, "namespace": self.tenant, "uid": format!("uid-{run}"), "generation": 1,
                "resourceVersion": self.version.to_string(),
                "creationTimestamp": self.wall.to_string(),
            },
            "spec": {"agent": {"name": agent, "input": "x"}, "timeoutSeconds": seconds},
        });
        self.runs.borrow_mut().insert(run.to_owned(), object);
        let run = self.object(run);
        self.book.put(&run, self.start, self.wall);
    }

    fn change(&mut self, run: &str, status: &serde_json::Value) -> Run {
        self.version += 1;
        let mut runs = self.runs.borrow_mut();
        let object = runs.get_mut(run).unwrap();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        for (key, value) in status.as_object().unwrap() {
            object["status"][key] = value.clone();
        }
        drop(runs);
        self.object(run)
    }

    /// What the host or somebody else writes.
    fn told(&mut self, run: &str, status: &serde_json::Value, after: Duration) {
        let run = self.change(run, status);
        let at = self.at(after);
        self.book.put(&run, at, self.wall);
    }

    /// Decides, and does it.
    fn decide(&mut self, after: Duration) -> Vec<(String, Step)> {
        let at = self.at(after);
        let steps = self.book.decide(&self.cluster, at);
        for (key, step) in &steps {
            let status = match step {
                Step::Bind(host, journal, _) => json!({"hostName": host, "hostJournal": journal}),
                Step::Say(verdict) => {
                    let condition = verdict.clone().since(&[], Some(1), self.wall);
                    json!({"conditions": [condition]})
                }
                Step::End(Ending::Canceled) => json!({"phase": "Canceled"}),
                Step::End(_) => json!({"phase": "Failed"}),
                Step::Remove => {
                    self.book.remove(key);
                    continue;
                }
            };
            let run = self.change(&key.name, &status);
            self.book.put(&run, at, self.wall);
            self.book.done(key);
        }
        steps
            .into_iter()
            .map(|(key, step)| (key.name, step))
            .collect()
    }
}

const NOW: Duration = Duration::ZERO;

fn bind(run: &str, host: &str, seconds: u64) -> (String, Step) {
    let step = Step::Bind(
        name(host),
        format!("j-{host}"),
        Duration::from_secs(seconds),
    );
    (run.to_owned(), step)
}

#[tokio::test(start_paused = true)]
async fn a_run_is_bound_once_and_to_the_host_with_least_to_do() {
    let mut world = World::new(&["h1", "h2"], &["a"]);
    world.apply("r1", "a", 60);
    world.apply("r2", "a", 60);
    assert_eq!(
        world.decide(NOW),
        [bind("r1", "h1", 60), bind("r2", "h2", 60)]
    );
    assert_eq!(world.decide(NOW), []);
    world.book.hosts_changed();
    world.book.target_changed(&target("a"));
    assert_eq!(world.decide(NOW), [], "what is bound stays");
    world.told("r2", &json!({"phase": "Succeeded"}), NOW);
    world.apply("r3", "a", 60);
    assert_eq!(world.decide(NOW), [bind("r3", "h2", 60)]);
}

fn target(agent: &str) -> WorkloadId {
    WorkloadId {
        tenant: "default".parse().unwrap(),
        kind: crate::key::WorkloadKind::Agent,
        name: name(agent),
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_twice_while_a_write_is_on_its_way() {
    let mut world = World::new(&["h1"], &["a"]);
    world.apply("r1", "a", 60);
    let at = world.start;
    assert_eq!(world.book.decide(&world.cluster, at).len(), 1);
    world.book.hosts_changed();
    assert_eq!(world.book.decide(&world.cluster, at), []);
    // The write failed: it is decided anew, later, whatever happens meanwhile.
    let key = RunKey::of(&world.object("r1")).unwrap();
    let mut now = at;
    for wait in [RETRY, RETRY * 2, RETRY * 4] {
        world.book.failed(&key, now);
        assert_eq!(world.book.bound(), 0);
        world.book.target_changed(&target("a"));
        assert_eq!(world.book.decide(&world.cluster, now), []);
        assert_eq!(world.book.next(), Some(now + wait));
        now += wait;
        assert_eq!(world.book.decide(&world.cluster, now).len(), 1);
        assert_eq!(world.book.bound(), 1);
    }
    for _ in 0..20 {
        world.book.failed(&key, now);
        now = world.book.next().unwrap();
        assert_eq!(world.book.decide(&world.cluster, now).len(), 1);
    }
    world.book.failed(&key, now);
    assert_eq!(world.book.next(), Some(now + LONGEST_RETRY));
    // It was refused because it is another by now: with that it is tried at once.
    world.told("r1", &json!({"phase": "Pending"}), now - at);
    assert_eq!(world.book.decide(&world.cluster, now).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_once_and_bound_when_there_is_a_place() {
    let mut world = World::new(&["h1"], &[]);
    world.apply("r1", "a", 60);
    assert_eq!(world.decide(NOW), []);
    let steps = world.decide(TELL_AFTER);
    assert!(
        matches!(&steps[..], [(_, Step::Say(verdict))] if verdict.kind == condition::BOUND),
        "{steps:?}"
    );
    assert_eq!(world.decide(TELL_AFTER * 2), []);
    world.cluster.ready.insert(name("a"), vec![name("h1")]);
    world.book.target_changed(&target("a"));
    assert_eq!(
        world.decide(Duration::from_secs(10)),
        [bind("r1", "h1", 50)]
    );
}

#[tokio::test(start_paused = true)]
async fn time_runs_while_it_waits() {
    let mut world = World::new(&["h1"], &[]);
    world.apply("r1", "a", 5);
    world.decide(TELL_AFTER);
    let next = world.book.next().unwrap();
    assert_eq!(next, world.at(Duration::from_secs(5)));
    let steps = world.decide(Duration::from_secs(5));
    assert!(
        matches!(&steps[..], [(_, Step::End(Ending::TimedOut(_)))]),
        "{steps:?}"
    );
    assert_eq!(world.decide(Duration::from_secs(6)), []);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_ends_what_is_not_bound_and_leaves_the_rest_to_the_host() {
    let mut world = World::new(&["h1"], &["b"]);
    for (run, agent) in [("waits", "a"), ("bound", "b")] {
        world.apply(run, agent, 60);
    }
    assert_eq!(world.decide(NOW), [bind("bound", "h1", 60)]);
    for run in ["waits", "bound"] {
        world.runs.borrow_mut().get_mut(run).unwrap()["spec"]["cancel"] = true.into();
        world.told(run, &json!({}), NOW);
    }
    assert_eq!(
        world.decide(NOW),
        [("waits".to_owned(), Step::End(Ending::Canceled))]
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_host_ends_its_runs_and_nobody_gets_them() {
    let mut world = World::new(&["h1", "h2"], &["a"]);
    world.apply("r1", "a", 60);
    world.decide(NOW);
    world.cluster.alive.remove(&name("h1"));
    world.book.hosts_changed();
    let steps = world.decide(NOW);
    assert!(
        matches!(&steps[..], [(_, Step::End(Ending::Unknown(_)))]),
        "{steps:?}"
    );
    assert_eq!(world.decide(NOW), []);
}

#[tokio::test(start_paused = true)]
async fn what_a_host_gives_back_is_bound_again() {
    let mut world = World::new(&["h1", "h2"], &["a"]);
    world.apply("r1", "a", 60);
    world.decide(NOW);
    world.cluster.ready.insert(name("a"), vec![name("h2")]);
    world.told("r1", &json!({"hostName": null, "hostJournal": null}), NOW);
    assert_eq!(
        world.decide(Duration::from_secs(20)),
        [bind("r1", "h2", 40)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_that_never_says_how_it_ended_is_not_waited_for_for_ever() {
    let mut world = World::new(&["h1"], &["a"]);
    world.apply("r1", "a", 5);
    world.decide(NOW);
    let end = Duration::from_secs(5) + GRACE;
    assert_eq!(
        world.decide(end.saturating_sub(Duration::from_millis(1))),
        []
    );
    let steps = world.decide(end);
    assert!(
        matches!(&steps[..], [(_, Step::End(Ending::Unknown(_)))]),
        "{steps:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn hosts_are_filled_up_to_their_bounds_and_agents_take_turns() {
    let mut world = World::new(&["h1"], &["a", "b"]);
    for n in 0..TENANT_RUNS_PER_HOST {
        world.apply(&format!("a{n:04}"), "a", 60);
    }
    for n in 0..3 {
        world.apply(&format!("b{n}"), "b", 60);
    }
    let steps = world.decide(NOW);
    assert_eq!(steps.len(), TENANT_RUNS_PER_HOST);
    assert_eq!(
        steps[1].0, "b0",
        "the second agent does not wait for the first"
    );
    assert_eq!(
        steps.iter().filter(|(run, _)| run.starts_with('b')).count(),
        3
    );
    assert_eq!(world.book.waiting(), 3);
    assert_eq!(world.decide(NOW), []);

    // Other tenants have room, until the host is full.
    let tenants = ["t1", "t2", "t3"];
    for tenant in tenants {
        world.tenant = tenant.to_owned();
        for n in 0..TENANT_RUNS_PER_HOST {
            world.apply(&format!("{tenant}-{n:04}"), "a", 60);
        }
    }
    assert_eq!(
        world.decide(NOW).len(),
        RUNS_PER_HOST - TENANT_RUNS_PER_HOST
    );
    assert_eq!(world.book.bound(), RUNS_PER_HOST);
    // What ends of the tenant that has its part makes room for it, or for who comes next.
    for (n, bound) in ["b0", "b1", "b2"].into_iter().enumerate() {
        world.told(bound, &json!({"phase": "Failed"}), NOW);
        let steps = world.decide(NOW);
        assert_eq!(steps.len(), 1, "{n}: {steps:?}");
    }
    assert_eq!(world.book.bound(), RUNS_PER_HOST);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_over_is_removed_when_its_time_is_over() {
    let mut world = World::new(&["h1"], &["a"]);
    world.apply("r1", "a", 60);
    world.decide(NOW);
    let finished = json!({"phase": "Succeeded", "finishedAt": world.wall.to_string()});
    world.told("r1", &finished, NOW);
    let ttl = Duration::from_secs(u64::from(ringfence_api::RUN_TTL_SECONDS));
    assert_eq!(
        world.decide(ttl.saturating_sub(Duration::from_millis(1))),
        []
    );
    assert_eq!(world.decide(ttl), [("r1".to_owned(), Step::Remove)]);
    assert_eq!(world.book.next(), None);
}

#[tokio::test(start_paused = true)]
async fn a_list_takes_away_what_is_gone() {
    let mut world = World::new(&["h1"], &["a"]);
    world.apply("r1", "a", 60);
    world.apply("r2", "a", 60);
    world.decide(NOW);
    world.book.list_begins();
    let stays = world.object("r2");
    world.book.list_has(&stays, world.start, world.wall);
    world.book.list_ends();
    assert_eq!(world.book.bound(), 1);
    // Another one of that name is another run.
    world.apply("r2", "a", 60);
    let object = {
        let mut runs = world.runs.borrow_mut();
        let object = runs.get_mut("r2").unwrap();
        object["metadata"]["uid"] = "another".into();
        object.clone()
    };
    let other: Run = serde_json::from_value(object).unwrap();
    world.book.put(&other, world.start, world.wall);
    assert_eq!(world.decide(NOW), [bind("r2", "h1", 60)]);
}
