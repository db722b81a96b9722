//! The artifact store with real compile workers and a real registry. This program starts itself as
//! the worker, so it has its own `main`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

#[path = "artifact/compile.rs"]
mod compile;
#[path = "artifact/crash.rs"]
mod crash;
#[path = "artifact/credentials.rs"]
mod credentials;
#[path = "artifact/fixture.rs"]
mod fixture;
#[path = "artifact/logins.rs"]
mod logins;
#[path = "artifact/registry.rs"]
mod registry;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// First argument of the worker.
pub(crate) const WORKER: &str = "compile-worker";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(WORKER) => return ringfence_host::artifact::worker::main(arguments),
        Some(crash::CHILD) => return crash::child(arguments),
        _ => {}
    }
    let mut tests = Vec::new();
    compile::add(&mut tests);
    crash::add(&mut tests);
    credentials::add(&mut tests);
    logins::add(&mut tests);
    registry::add(&mut tests);
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

/// A test that runs in a runtime of its own; it fails by panicking.
pub(crate) fn test<F>(name: &str, body: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()>,
{
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(body());
        Ok(())
    })
}
