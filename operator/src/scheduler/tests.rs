//! Properties of placing, and a simulation of a large cluster.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;
use ringfence_api::{Digest, EffectivePlacement, Isolation, Name, Resources, TenantName};

use super::*;
use crate::key::{InstanceKey, WorkloadId};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn offer() -> Availability {
    Availability {
        pool: name("default"),
        zone: None,
        ready: true,
        unschedulable: false,
        memory_pressure: false,
        allocatable: Resources {
            memory_bytes: 1_000,
            cpu_millis: 1_000,
            instances: 100,
        },
        trust_classes: Arc::new([name("default")]),
        isolation: Isolation::Shared,
        artifacts: Arc::default(),
    }
}

fn wants(workload: &str, memory_bytes: u64) -> InstanceState {
    let (tenant, workload) = workload.split_once('/').unwrap();
    InstanceState {
        workload: WorkloadId {
            tenant: tenant.parse().unwrap(),
            kind: crate::key::WorkloadKind::Agent,
            name: name(workload),
        },
        placement: EffectivePlacement {
            pool: name("default"),
            trust_class: name("default"),
            isolation: Isolation::Shared,
            priority: 0,
        },
        requests: Resources {
            memory_bytes,
            cpu_millis: 1,
            instances: 1,
        },
        digest: None,
        created_ms: 0,
    }
}

fn key(tenant: &str, index: usize) -> InstanceKey {
    InstanceKey {
        tenant: tenant.parse().unwrap(),
        name: format!("i{index}"),
    }
}

/// Places an instance and follows the advice.
fn place(cluster: &mut Cluster, key: &InstanceKey, instance: &InstanceState) -> Decision {
    let decision = cluster.place(key, instance);
    if let Decision::Bind(host) = &decision {
        cluster.bind(key.clone(), host, instance.clone());
    }
    decision
}

fn hosts(cluster: &mut Cluster, offers: impl IntoIterator<Item = (&'static str, Availability)>) {
    for (host, offered) in offers {
        cluster.put_host(name(host), offered);
    }
}

#[test]
fn the_reasons_are_counted() {
    let mut cluster = Cluster::default();
    assert_eq!(
        cluster.place(&key("a", 0), &wants("a/x", 1)).clone(),
        Decision::Unschedulable(Misfits::default())
    );
    let cordoned = Availability {
        unschedulable: true,
        ..offer()
    };
    let elsewhere = Availability {
        pool: name("gpu"),
        ..offer()
    };
    hosts(
        &mut cluster,
        [
            ("a", cordoned),
            ("b", elsewhere.clone()),
            ("c", elsewhere),
            ("d", offer()),
        ],
    );
    let Decision::Unschedulable(misfits) = cluster.place(&key("a", 0), &wants("a/x", 1_001)) else {
        panic!("it fits nowhere");
    };
    assert_eq!(
        misfits.to_string(),
        "none of 4 hosts can run it: 2 in another pool, 1 cordoned or draining, 1 with too little \
         memory free"
    );
}

#[test]
fn replicas_are_spread_over_zones_and_hosts() {
    let mut cluster = Cluster::default();
    let zone = |zone: &str| Availability {
        zone: Some(zone.to_owned()),
        ..offer()
    };
    hosts(
        &mut cluster,
        [
            ("a1", zone("a")),
            ("a2", zone("a")),
            ("a3", zone("a")),
            ("b1", zone("b")),
        ],
    );
    let placed: Vec<Decision> = (0..4)
        .map(|index| place(&mut cluster, &key("t", index), &wants("t/x", 1)))
        .collect();
    let zone_of = |decision: &Decision| match decision {
        Decision::Bind(host) => host.as_str()[..1].to_owned(),
        other => panic!("{other:?}"),
    };
    let first: HashSet<_> = placed[..2].iter().map(zone_of).collect();
    assert_eq!(first.len(), 2, "one in each zone first: {placed:?}");
    let distinct: HashSet<_> = placed.iter().map(|d| format!("{d:?}")).collect();
    assert_eq!(distinct.len(), 4, "each on a host of its own");
}

#[test]
fn a_host_that_has_the_component_is_preferred() {
    let digest = Digest::of(b"component");
    let mut cluster = Cluster::default();
    let cached = Availability {
        artifacts: Arc::new(HashSet::from([digest])),
        ..offer()
    };
    hosts(
        &mut cluster,
        [("a", offer()), ("b", cached), ("c", offer())],
    );
    for index in 0..5 {
        let instance = InstanceState {
            digest: Some(digest),
            ..wants(&format!("t/x{index}"), 10)
        };
        let decision = cluster.place(&key("t", index), &instance);
        assert_eq!(decision, Decision::Bind(name("b")));
    }
}

#[test]
fn a_dedicated_host_takes_one_tenant() {
    let mut cluster = Cluster::default();
    hosts(&mut cluster, [("a", offer()), ("b", offer())]);
    let mut dedicated = wants("t/x", 1);
    dedicated.placement.isolation = Isolation::Dedicated;
    let Decision::Bind(first) = place(&mut cluster, &key("t", 0), &dedicated) else {
        panic!("both are empty");
    };
    for index in 0..10 {
        let decision = place(&mut cluster, &key("other", index), &wants("other/y", 1));
        assert!(matches!(decision, Decision::Bind(host) if host != first));
    }
    dedicated.workload.tenant = "third".parse().unwrap();
    let Decision::Unschedulable(misfits) = cluster.place(&key("third", 0), &dedicated) else {
        panic!("both hosts are taken");
    };
    assert_eq!(misfits.of(Misfit::Isolation), 2);
}

#[test]
fn the_least_important_makes_room() {
    let mut cluster = Cluster::default();
    hosts(&mut cluster, [("a", offer()), ("b", offer())]);
    for (index, (host, priority, memory, created_ms)) in [
        ("a", 5, 500, 1),
        ("a", 1, 500, 2),
        ("b", 2, 300, 3),
        ("b", 2, 300, 4),
        ("b", 2, 400, 5),
    ]
    .into_iter()
    .enumerate()
    {
        let mut instance = wants("t/x", memory);
        instance.placement.priority = priority;
        instance.created_ms = created_ms;
        cluster.bind(key("t", index), &name(host), instance);
    }
    let mut urgent = wants("t/urgent", 500);
    urgent.placement.priority = 10;
    let expected = |host: &str, victims: &[usize]| Decision::Preempt {
        host: name(host),
        victims: victims.iter().map(|index| key("t", *index)).collect(),
    };
    assert_eq!(cluster.place(&key("t", 9), &urgent), expected("a", &[1]));
    // 400 of the youngest and 300 of the next are more than needed only together.
    urgent.requests.memory_bytes = 600;
    assert_eq!(cluster.place(&key("t", 9), &urgent), expected("b", &[3, 4]));
    urgent.placement.priority = 1;
    assert!(matches!(
        cluster.place(&key("t", 9), &urgent),
        Decision::Unschedulable(_)
    ));
}

#[test]
fn a_lost_host_gives_back_what_ran_there() {
    let mut cluster = Cluster::default();
    hosts(&mut cluster, [("a", offer())]);
    for index in 0..3 {
        place(&mut cluster, &key("t", index), &wants("t/x", 1));
    }
    let orphans = cluster.remove_host(&name("a"));
    assert_eq!(orphans.len(), 3);
    assert_eq!(cluster.host_of(&key("t", 0)), None);
}

#[derive(Debug, Clone)]
enum Event {
    Host(usize, Availability),
    Lose(usize),
    Place(usize, InstanceState),
    Remove(usize),
}

prop_compose! {
    fn availability()(
        pool in 0..2u8, zone in 0..3u8, ready in prop::bool::weighted(0.9),
        unschedulable in prop::bool::weighted(0.1), memory_pressure in prop::bool::weighted(0.1),
        memory_bytes in 0..1_000u64, cpu_millis in 0..100u64, instances in 0..12u32,
        trust in 0..3u8, dedicated in prop::bool::weighted(0.2),
    ) -> Availability {
        let classes = [name("default"), name("low")];
        Availability {
            pool: name(["default", "other"][usize::from(pool)]),
            zone: (zone > 0).then(|| zone.to_string()),
            ready, unschedulable, memory_pressure,
            allocatable: Resources { memory_bytes, cpu_millis, instances },
            trust_classes: match trust { 0 => classes[..1].into(), 1 => classes[1..].into(), _ => classes[..].into() },
            isolation: if dedicated { Isolation::Dedicated } else { Isolation::Shared },
            artifacts: Arc::default(),
        }
    }
}

prop_compose! {
    fn instance()(
        tenant in 0..3u8, workload in 0..3u8, pool in prop::bool::weighted(0.2),
        low in prop::bool::weighted(0.3), dedicated in prop::bool::weighted(0.2),
        priority in -2..3i32, memory_bytes in 0..300u64, cpu_millis in 0..30u64, created_ms in 0..9i64,
    ) -> InstanceState {
        let mut state = wants(&format!("t{tenant}/w{workload}"), memory_bytes);
        state.requests.cpu_millis = cpu_millis;
        state.created_ms = created_ms;
        state.placement = EffectivePlacement {
            pool: name(if pool { "other" } else { "default" }),
            trust_class: name(if low { "low" } else { "default" }),
            isolation: if dedicated { Isolation::Dedicated } else { Isolation::Shared },
            priority,
        };
        state
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0..6usize, availability()).prop_map(|(host, offered)| Event::Host(host, offered)),
        1 => (0..6usize).prop_map(Event::Lose),
        10 => (0..40usize, instance()).prop_map(|(index, wants)| Event::Place(index, wants)),
        2 => (0..40usize).prop_map(Event::Remove),
    ];
    prop::collection::vec(event, 1..80)
}

/// What must hold whenever an instance has just been bound.
fn binding_is_lawful(cluster: &Cluster, host: &Name, instance: &InstanceState) {
    let state = cluster.host(host).unwrap();
    let offered = state.availability();
    assert!(offered.ready && !offered.unschedulable && !offered.memory_pressure);
    assert_eq!(offered.pool, instance.placement.pool);
    assert!(
        offered
            .trust_classes
            .contains(&instance.placement.trust_class)
    );
    let here = cluster.on_host(host);
    let sum = |part: fn(&InstanceState) -> u64| here.iter().map(|(_, i)| part(i)).sum::<u64>();
    assert!(sum(|i| i.requests.memory_bytes) <= offered.allocatable.memory_bytes);
    assert!(sum(|i| i.requests.cpu_millis) <= offered.allocatable.cpu_millis);
    assert!(here.len() <= offered.allocatable.instances as usize);
    let tenants: HashSet<&TenantName> = here.iter().map(|(_, i)| &i.workload.tenant).collect();
    let alone = offered.isolation == Isolation::Dedicated
        || instance.placement.isolation == Isolation::Dedicated;
    assert!(!alone || tenants.len() == 1);
    let others = here
        .iter()
        .filter(|(_, i)| i.workload.tenant != instance.workload.tenant);
    assert!(
        others
            .clone()
            .all(|(_, i)| i.placement.isolation == Isolation::Shared)
    );
}

/// The running totals are what adding everything up gives.
fn totals_hold(cluster: &Cluster) {
    let mut zones: BTreeMap<(WorkloadId, Option<String>), u32> = BTreeMap::new();
    for (host, state) in cluster.hosts() {
        let here = cluster.on_host(host);
        let memory: u64 = here.iter().map(|(_, i)| i.requests.memory_bytes).sum();
        assert_eq!(state.used().memory_bytes, memory);
        assert_eq!(state.used().instances as usize, here.len());
        let tenants: HashSet<_> = here.iter().map(|(key, _)| key.tenant.clone()).collect();
        assert_eq!(state.tenants().count(), tenants.len());
        for (_, instance) in here {
            let zone = state.availability().zone.clone();
            *zones.entry((instance.workload, zone)).or_default() += 1;
        }
    }
    let counted: BTreeMap<_, _> = cluster
        .spread
        .iter()
        .flat_map(|(id, spread)| {
            let zones = spread.zones.iter();
            zones.map(|(zone, count)| ((id.clone(), zone.clone()), *count))
        })
        .collect();
    assert_eq!(counted, zones);
}

proptest! {
    #[test]
    fn whatever_happens_bindings_are_lawful(events in events()) {
        let mut cluster = Cluster::default();
        for event in events {
            match event {
                Event::Host(host, offered) => cluster.put_host(name(&format!("h{host}")), offered),
                Event::Lose(host) => drop(cluster.remove_host(&name(&format!("h{host}")))),
                Event::Remove(index) => {
                    for tenant in ["t0", "t1", "t2"] {
                        cluster.unbind(&key(tenant, index));
                    }
                }
                Event::Place(index, instance) => {
                    let key = key(instance.workload.tenant.as_str(), index);
                    cluster.unbind(&key);
                    match cluster.place(&key, &instance) {
                        Decision::Bind(host) => {
                            cluster.bind(key, &host, instance.clone());
                            binding_is_lawful(&cluster, &host, &instance);
                        }
                        Decision::Preempt { host, victims } => {
                            for victim in &victims {
                                prop_assert_eq!(cluster.host_of(victim), Some(&host));
                                let priority = cluster.bound[victim].1.placement.priority;
                                prop_assert!(priority < instance.placement.priority);
                                cluster.unbind(victim);
                            }
                            prop_assert!(!victims.is_empty());
                            cluster.bind(key, &host, instance.clone());
                            binding_is_lawful(&cluster, &host, &instance);
                        }
                        Decision::Unschedulable(misfits) => {
                            prop_assert_eq!(misfits.hosts() as usize, cluster.hosts().count());
                        }
                    }
                }
            }
            totals_hold(&cluster);
        }
    }
}

/// A thousand hosts, a hundred thousand instances of ten thousand workloads of a hundred tenants.
#[test]
fn a_large_cluster_fills_evenly_and_survives_a_loss() {
    let mut cluster = Cluster::default();
    for host in 0..1_000 {
        let offered = Availability {
            zone: Some(format!("z{}", host % 3)),
            allocatable: Resources {
                memory_bytes: 130 << 20,
                cpu_millis: 4_000,
                instances: 200,
            },
            ..offer()
        };
        cluster.put_host(name(&format!("h{host}")), offered);
    }
    let instance = |index: usize| wants(&format!("t{}/w{}", index % 100, index / 10), 1 << 20);
    let tenant = |index: usize| format!("t{}", index % 100);
    for index in 0..100_000 {
        let decision = place(&mut cluster, &key(&tenant(index), index), &instance(index));
        assert!(
            matches!(decision, Decision::Bind(_)),
            "{index}: {decision:?}"
        );
    }
    let counts: Vec<u32> = cluster
        .hosts()
        .map(|(_, host)| host.used().instances)
        .collect();
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(
        most - least <= 10,
        "from {least} to {most} instances on a host"
    );

    let orphans = cluster.remove_host(&name("h7"));
    assert!(!orphans.is_empty());
    for (key, instance) in &orphans {
        assert!(matches!(
            place(&mut cluster, key, instance),
            Decision::Bind(_)
        ));
    }
    totals_hold(&cluster);
}
