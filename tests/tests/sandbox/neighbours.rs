//! What a hostile guest does, its neighbours do not feel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use libtest_mimic::Trial;
use ringfence_host::limits::Limits;
use ringfence_test_guests as guests;
use ringfence_tests::{Setup, TestHost, json_of};
use serde_json::{Value, json};

use crate::limits::{short_cpu, small_memory};
use crate::test;

/// Calls that the well-behaved neighbour makes.
const CALLS: i64 = 10;

pub(crate) fn add(tests: &mut Vec<Trial>) {
    let small = |change: fn(&mut Limits)| {
        let mut limits = Limits::TOOL;
        change(&mut limits);
        Setup::limited(limits)
    };
    let bytes = |bytes: u64| json!({ "bytes": bytes });
    let hostile: [(&str, &'static [u8], &'static str, Value, Setup); 7] = [
        ("spin", guests::SPIN, "spin", json!({}), short_cpu(100)),
        (
            "start_spin",
            guests::START_SPIN,
            "run",
            json!({}),
            short_cpu(100),
        ),
        (
            "memory",
            guests::OUTPUT,
            "text",
            bytes(64 << 20),
            small_memory(),
        ),
        (
            "table",
            guests::TABLE,
            "grow",
            json!({ "elements": 90_000 }),
            Setup::default(),
        ),
        (
            "log",
            guests::LOG,
            "shout",
            bytes(1 << 20),
            small(|limits| limits.log_bytes = 10_000),
        ),
        (
            "output",
            guests::OUTPUT,
            "empties",
            json!({ "count": 1_000_000 }),
            small(|limits| limits.output_bytes = 1 << 20),
        ),
        (
            "host_calls",
            guests::HOST_CALLS,
            "chatter",
            json!({ "count": 1_000_000 }),
            Setup::default(),
        ),
    ];
    for (name, guest, function, arguments, setup) in hostile {
        tests.push(test(
            &format!("neighbours_do_not_feel::{name}"),
            move |host| unharmed(host, guest, function, arguments, setup),
        ));
    }
}

/// Several hostile guests of one tenant run over and over until a guest of another has been answered as
/// often as it wants.
async fn unharmed(
    host: TestHost,
    guest: &'static [u8],
    function: &'static str,
    arguments: Value,
    setup: Setup,
) {
    host.tool("hostile", guest, setup).await;
    let neighbour = TestHost::new();
    neighbour.tool("echo", guests::ECHO, Setup::default()).await;
    let enough = Arc::new(AtomicBool::new(false));
    let hostile: Vec<_> = (0..3)
        .map(|_| {
            let (host, enough, arguments) = (host.clone(), enough.clone(), arguments.clone());
            tokio::spawn(async move {
                let mut codes = Vec::new();
                while !enough.load(Ordering::Relaxed) {
                    let answer = host.call("hostile", function, arguments.clone()).await;
                    codes.push(answer.map_or_else(|error| error.code(), |_| "ok"));
                }
                codes
            })
        })
        .collect();
    let calls = tokio::spawn(async move {
        for n in 0..CALLS {
            let sum = neighbour.call("echo", "add", json!({ "a": n, "b": 1 }));
            assert_eq!(json_of(&sum.await.unwrap()), n + 1);
        }
    });
    calls.await.unwrap();
    enough.store(true, Ordering::Relaxed);
    for task in hostile {
        for code in task.await.unwrap() {
            assert!(matches!(code, "limit-exceeded" | "ok"), "{code}");
        }
    }
}
