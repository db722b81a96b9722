//! Hosts and operators that end in the middle: nothing is executed twice, and every run comes to an end.

use std::time::Duration;

use kube::ResourceExt as _;
use ringfence_api::RunPhase;

use crate::fixture::{Host, World, code, ended_as, marks, status, tally_spec};

const RUNS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_executed_twice_whatever_ends_in_the_middle() {
    let world = World::new().await;
    let operator = world.operator("first").await;
    let (first_data, second_data) = (World::data(), World::data());
    let first = Host::join(&world, "first", first_data.path());
    let second = Host::join(&world, "second", second_data.path());
    world.component("Tool", "tally", &tally_spec(2)).await;

    // A host is killed and starts anew on the same disk: what it had begun is not known, and not begun again.
    world.run("cut", &marks("cut", 600_000)).await;
    world.mark("cut").await;
    let cut = world
        .until("cut", |run| status(run).phase == RunPhase::Running)
        .await;
    let (killed, data, stays) = match status(&cut).host_name.unwrap().as_str() {
        "first" => (first, &first_data, second),
        _ => (second, &second_data, first),
    };
    let name = status(&cut).host_name.unwrap();
    killed.kill();
    let again = Host::join(&world, name.as_str(), data.path());
    ended_as(
        &world.over("cut").await,
        RunPhase::Failed,
        "unknown-outcome",
    );

    // It loses its disk: what was bound to the journal before is not begun by its successor.
    world.ready("default", "tool/tally").await;
    world.run("lost", &marks("lost", 600_000)).await;
    world.mark("lost").await;
    let lost = world
        .until("lost", |run| status(run).phase == RunPhase::Running)
        .await;
    let (other, there) = match status(&lost).host_name.unwrap() == name {
        true => (stays, again),
        false => (again, stays),
    };
    let name = status(&lost).host_name.unwrap();
    there.kill();
    let fresh = World::data();
    let there = Host::join(&world, name.as_str(), fresh.path());
    ended_as(
        &world.over("lost").await,
        RunPhase::Failed,
        "unknown-outcome",
    );

    // Many runs; the operator is replaced and a host dies for good while they go on.
    world.ready("default", "tool/tally").await;
    for n in 0..RUNS {
        let name = format!("many-{n}");
        world.run(&name, &marks(&name, 400)).await;
        if n == RUNS / 3 {
            operator_restarts(&world, &operator.metrics);
        }
    }
    operator.stop();
    let operator = world.operator("second").await;
    world.mark("many-5").await;
    there.kill();
    let all = world.all_over(RUNS + 2).await;
    let marked = world.marked();
    let mut succeeded = 0;
    for run in &all {
        let times = marked.get(&run.name_any()).copied().unwrap_or_default();
        assert!(times <= 1, "{} was executed {times} times", run.name_any());
        match status(run).phase {
            RunPhase::Succeeded => {
                succeeded += 1;
                assert_eq!(times, 1, "{} was not executed", run.name_any());
            }
            _ => assert_eq!(code(run), "unknown-outcome", "{run:?}"),
        }
    }
    assert!(succeeded > RUNS / 4, "{succeeded} of {RUNS}");

    // A host that leaves in good order ends what it has begun, and gives the rest back.
    let last_data = World::data();
    let last = Host::join(&world, "last", last_data.path());
    world.ready("default", "tool/tally").await;
    for n in 0..RUNS {
        let name = format!("move-{n}");
        world.run(&name, &marks(&name, 400)).await;
    }
    world.mark("move-0").await;
    other.end().await;
    let all = world.all_over(RUNS * 2 + 2).await;
    let marked = world.marked();
    for run in all.iter().filter(|run| run.name_any().starts_with("move-")) {
        ended_as(run, RunPhase::Succeeded, "");
        assert_eq!(marked[&run.name_any()], 1);
    }
    drop(last);
    operator.stop();
}

/// The operator has done something by now, so that its end is in the middle.
fn operator_restarts(world: &World, metrics: &ringfence_operator::metrics::Metrics) {
    let text = metrics.render();
    assert!(!text.contains("runs_bound_total 0\n"), "{text}");
    assert!(world.marked().len() > 2);
    std::thread::sleep(Duration::from_millis(10));
}
