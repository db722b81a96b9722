//! Rollouts in a small world.

mod property;
mod world;

use k8s_openapi::jiff::SignedDuration;
use ringfence_api::{
    ArtifactSource, Digest, OnFailure, PROMOTED_ANNOTATION, RolloutSpec, condition,
};
use serde_json::json;

use super::*;
use world::*;

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
                Some(ArtifactSource::Image(source)) => source.image.clone(),
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
fn what_became_ready_in_time_has_not_failed_while_it_has_to_stay_ready() {
    let rollout = RolloutSpec {
        min_ready_seconds: Some(20),
        progress_deadline_seconds: Some(30),
        ..quick()
    };
    let mut world = World::new(1, rollout);
    world.settle();
    world.pass(20);
    world.settle();
    world.good.remove(&image("2"));
    world.version("2");
    world.settle();
    world.pass(25);
    world.good.insert(image("2"));
    world.settle();
    world.pass(15);
    world.settle();
    assert_eq!(
        world.said(condition::PROGRESSING).1,
        "RevisionUpdated",
        "40 seconds after it began"
    );
    world.pass(5);
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
