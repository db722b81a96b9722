//! Measures what Ringfence promises about speed and density, beside what it is compared with, on the
//! machine that it runs on. `make bench` builds and runs it; `docs/benchmarks.md` says what each figure
//! means.
//!
//! Nothing here passes or fails: figures depend on the machine, so no test asserts them.
#![forbid(unsafe_code)]

mod agents;
mod api;
mod cluster;
mod echo_server;
mod first_call;
mod load;
mod mcp_call;
mod report;
mod sandbox_call;
mod server;
mod setting;
mod stats;
mod wasi_http;
mod wasmtime_cli;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser as _;

use crate::report::{Measurement, Report};
use crate::setting::Setting;

/// Measures what Ringfence promises.
#[derive(clap::Parser)]
struct Arguments {
    /// Measures only what gives this metric
    #[arg(long, value_name = "METRIC")]
    only: Option<String>,
}

/// Something that is measured in one go.
struct Benchmark {
    /// The metrics that it gives.
    metrics: &'static [&'static str],
    measure: fn(&Setting) -> Result<Vec<Measurement>>,
}

const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        metrics: sandbox_call::METRICS,
        measure: sandbox_call::measure,
    },
    Benchmark {
        metrics: mcp_call::METRICS,
        measure: mcp_call::measure,
    },
    Benchmark {
        metrics: wasi_http::METRICS,
        measure: wasi_http::measure,
    },
    Benchmark {
        metrics: agents::METRICS,
        measure: agents::measure,
    },
    Benchmark {
        metrics: &[first_call::PYTHON.metric],
        measure: |setting| first_call::measure(setting, &first_call::PYTHON),
    },
    Benchmark {
        metrics: &[first_call::JAVASCRIPT.metric],
        measure: |setting| first_call::measure(setting, &first_call::JAVASCRIPT),
    },
    Benchmark {
        metrics: cluster::ready::METRICS,
        measure: cluster::ready::measure,
    },
    Benchmark {
        metrics: cluster::many::METRICS,
        measure: cluster::many::measure,
    },
    Benchmark {
        metrics: cluster::loss::METRICS,
        measure: cluster::loss::measure,
    },
    Benchmark {
        metrics: cluster::routed::METRICS,
        measure: cluster::routed::measure,
    },
    Benchmark {
        metrics: cluster::runs::METRICS,
        measure: cluster::runs::measure,
    },
    Benchmark {
        metrics: cluster::gateway::METRICS,
        measure: cluster::gateway::measure,
    },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    // This program is also the compile worker of the host that it runs, and one of the peers.
    let done = match arguments.next().as_deref() {
        Some(ringfence_tests::WORKER) => {
            return ringfence_host::artifact::worker::main(arguments);
        }
        Some(echo_server::ROLE) => echo_server::serve(),
        _ => run(&Arguments::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let only = arguments.only.as_deref();
    let chosen: Vec<&Benchmark> = BENCHMARKS
        .iter()
        .filter(|benchmark| only.is_none_or(|only| benchmark.metrics.contains(&only)))
        .collect();
    if chosen.is_empty() {
        let all: Vec<&str> = BENCHMARKS.iter().flat_map(|b| b.metrics).copied().collect();
        bail!("there is no such metric; there are {}", all.join(", "));
    }
    let setting = Setting::find()?;
    let mut report = Report::open(&setting, only.is_some())?;
    let mut failed = 0;
    for benchmark in chosen {
        let names = benchmark.metrics.join(", ");
        eprintln!("bench: measuring {names}");
        match (benchmark.measure)(&setting) {
            Ok(measurements) => report.add(measurements)?,
            Err(error) => {
                failed += 1;
                eprintln!("bench: {names} could not be measured: {error:#}");
            }
        }
    }
    print!("{report}");
    println!("\nwritten to {}", report.path().display());
    if failed > 0 {
        bail!("{failed} of the benchmarks failed; see above");
    }
    Ok(())
}
