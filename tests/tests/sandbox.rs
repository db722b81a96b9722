//! Sandboxes from end to end: every hostile or well-behaved guest of `tests/guests` in a real host.
//! This program starts itself as the compile worker, so it has its own `main`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

#[path = "sandbox/agents.rs"]
mod agents;
#[path = "sandbox/ambient.rs"]
mod ambient;
#[path = "sandbox/behave.rs"]
mod behave;
#[path = "sandbox/calls.rs"]
mod calls;
#[path = "sandbox/files.rs"]
mod files;
#[path = "sandbox/gateway.rs"]
mod gateway;
#[path = "sandbox/harm.rs"]
mod harm;
#[path = "sandbox/http.rs"]
mod http;
#[path = "sandbox/limits.rs"]
mod limits;
#[path = "sandbox/metrics.rs"]
mod metrics;
#[path = "sandbox/neighbours.rs"]
mod neighbours;
#[path = "sandbox/nested_limits.rs"]
mod nested_limits;
#[path = "sandbox/records.rs"]
mod records;
#[path = "sandbox/refused.rs"]
mod refused;
#[path = "sandbox/time.rs"]
mod time;

use std::future::Future;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use ringfence_host::error::CallError;
use ringfence_tests::{TestHost, WORKER, within};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(WORKER) {
        return ringfence_host::artifact::worker::main(arguments);
    }
    let mut tests = guests();
    agents::add(&mut tests);
    calls::add(&mut tests);
    files::add(&mut tests);
    gateway::add(&mut tests);
    http::add(&mut tests);
    metrics::add(&mut tests);
    neighbours::add(&mut tests);
    records::add(&mut tests);
    time::add(&mut tests);
    let arguments = Arguments {
        // After each test no sandbox may be left, so that none may run beside another.
        test_threads: Some(1),
        ..Arguments::from_args()
    };
    libtest_mimic::run(&arguments, tests).exit_code()
}

/// A test in a tenant of its own, after which no sandbox may be left.
pub(crate) fn test<F>(name: &str, body: impl FnOnce(TestHost) -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()>,
{
    Trial::test(name, move || {
        within(body);
        Ok(())
    })
}

/// The limit that a call crossed.
pub(crate) fn limit<T>(name: &str, maximum: u64) -> Result<T, CallError> {
    Err(CallError::limit(name, maximum))
}

/// One test for each guest, named like it: the build fails when one is missing.
fn guests() -> Vec<Trial> {
    #[allow(unused_imports)] // each of them has some of the guests
    mod covered {
        pub(super) use crate::agents::*;
        pub(super) use crate::ambient::*;
        pub(super) use crate::behave::*;
        pub(super) use crate::files::*;
        pub(super) use crate::harm::*;
        pub(super) use crate::http::*;
        pub(super) use crate::limits::*;
        pub(super) use crate::nested_limits::*;
        pub(super) use crate::refused::*;
    }
    let mut tests = Vec::new();
    macro_rules! register {
        ($guest:ident) => {
            tests.push(test(concat!("guest::", stringify!($guest)), |host| {
                covered::$guest(host)
            }));
        };
    }
    ringfence_test_guests::foreach_guest!(register);
    tests
}
