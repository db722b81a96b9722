//! Whatever happens, the bounds are kept, and it comes to the same.

use std::sync::Arc;

use proptest::prelude::*;
use ringfence_api::{Instance, OnFailure, RolloutSpec, condition};

use super::world::*;

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
        // 1 and 2 work, 3 and 4 do not. It is tried anew, because it may have failed in time that passed
        // before any host had looked at it.
        world.edit(|tool| tool.spec.rollout.paused = false);
        world.edit(|tool| tool.spec.rollout.restarted_at = Some("at the end".into()));
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
