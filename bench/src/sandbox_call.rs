//! A sandboxed call through the host library, against the bare wasmtime cycle for the same component in
//! the same engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ringfence_api::{FunctionName, Name};
use ringfence_host::mediation::{CallContext, Principal, Request};
use ringfence_test_guests::ECHO;
use ringfence_tests::{Setup, TestHost};
use serde_json::Map;
use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::report::{Goal, Measurement};
use crate::setting::Setting;
use crate::stats::{count, median, micros, percentile};

pub(crate) const METRICS: &[&str] = &["sandbox_call_ratio", "sandbox_calls_per_s"];

const TEXT: &str = "hello";
const PATIENCE: Duration = Duration::from_secs(60);
/// Rounds of single calls, and calls of each side in one; the sides alternate.
const ROUNDS: usize = 20;
const CALLS: usize = 1000;
/// Rounds of calls from several tasks, tasks, and time of each side in one.
const BUSY_ROUNDS: usize = 5;
const TASKS: u64 = 2;
const BUSY: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) fn measure(_: &Setting) -> Result<Vec<Measurement>> {
    let mut measured = None;
    ringfence_tests::within(|host| {
        let measured = &mut measured;
        async move { *measured = Some(compare(host).await) }
    });
    measured.context("it was measured")?
}

async fn compare(host: TestHost) -> Result<Vec<Measurement>> {
    let subject = Arc::new(Subject::new(host).await?);
    let single = tokio::spawn(single(subject.clone())).await??;
    let mut rates = [const { Vec::new() }; 2];
    for _ in 0..BUSY_ROUNDS {
        for side in [Side::Sandboxed, Side::Wasi] {
            rates[usize::from(side == Side::Wasi)].push(busy(&subject, side).await?);
        }
    }
    let [sandboxed_rate, bare_rate] = rates.map(|rates| median(&rates));
    let [sandboxed, wasi, empty] = single;
    let p50 = |times: &[f64]| percentile(times, 50);
    Ok(vec![
        Measurement {
            name: "sandbox_call_ratio",
            value: p50(&sandboxed) / p50(&wasi),
            unit: "x",
            goal: Goal::AtMost(1.5),
            detail: format!(
                "p50 {:.1} µs (p99 {:.1}) through mediation with record, against {:.1} µs (p99 {:.1}) of \
                 the bare cycle (same engine and pool, InstancePre cached, store with a WASI context, \
                 instantiate, typed call, drop); a store that holds nothing, imports trapping, takes \
                 {:.1} µs; {} calls each in alternating rounds of {CALLS} from one task, guest echo",
                p50(&sandboxed),
                percentile(&sandboxed, 99),
                p50(&wasi),
                percentile(&wasi, 99),
                p50(&empty),
                ROUNDS * CALLS,
            ),
        },
        Measurement {
            name: "sandbox_calls_per_s",
            value: sandboxed_rate,
            unit: "calls/s",
            goal: Goal::AtLeast(100_000.0),
            detail: format!(
                "{TASKS} tasks on 2 worker threads, the thread that writes records beside them; the bare \
                 cycle {bare_rate:.0}; {} records were dropped because the disk could not keep up; medians \
                 of {BUSY_ROUNDS} alternating rounds of {} s",
                subject.host.host().records().dropped(),
                BUSY.as_secs()
            ),
        },
    ])
}

/// Latencies of all sides in microseconds.
async fn single(subject: Arc<Subject>) -> Result<[Vec<f64>; 3]> {
    let mut times = [const { Vec::new() }; 3];
    for round in 0..=ROUNDS {
        for (times, side) in times.iter_mut().zip(Side::ALL) {
            for _ in 0..CALLS {
                let began = Instant::now();
                subject.call(side).await?;
                // The first round warms up.
                if round > 0 {
                    times.push(micros(began.elapsed()));
                }
            }
        }
    }
    Ok(times)
}

/// Calls a second of several tasks.
async fn busy(subject: &Arc<Subject>, side: Side) -> Result<f64> {
    let began = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        let subject = subject.clone();
        tasks.push(tokio::spawn(async move {
            let mut calls = 0;
            while began.elapsed() < BUSY {
                subject.call(side).await?;
                calls += 1;
            }
            anyhow::Ok(calls)
        }));
    }
    let mut calls: u64 = 0;
    for task in tasks {
        calls += task.await??;
    }
    Ok(count(calls) / began.elapsed().as_secs_f64())
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Through the host library.
    Sandboxed,
    /// Wasmtime alone, with the WASI context that the component's imports need.
    Wasi,
    /// Wasmtime alone, with nothing: the imports trap.
    Empty,
}

impl Side {
    const ALL: [Self; 3] = [Self::Sandboxed, Self::Wasi, Self::Empty];
}

struct Subject {
    host: TestHost,
    caller: Arc<Principal>,
    tool: Name,
    function: FunctionName,
    wasi: Bare<WasiState>,
    empty: Bare<()>,
}

impl Subject {
    async fn new(host: TestHost) -> Result<Self> {
        host.tool("echo", ECHO, Setup::default()).await;
        let engine = host.engine().wasmtime();
        let component = Component::from_binary(engine, ECHO).map_err(from_wasmtime)?;
        let mut linker = Linker::<WasiState>::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(from_wasmtime)?;
        let mut trapping = Linker::<()>::new(engine);
        trapping
            .define_unknown_imports_as_traps(&component)
            .map_err(from_wasmtime)?;
        Ok(Self {
            caller: Principal::user(host.tenant().clone(), "bench"),
            tool: "echo".parse()?,
            function: "echo".parse()?,
            wasi: Bare::new(&linker, &component).map_err(from_wasmtime)?,
            empty: Bare::new(&trapping, &component).map_err(from_wasmtime)?,
            host,
        })
    }

    async fn call(&self, side: Side) -> Result<()> {
        match side {
            Side::Sandboxed => self.sandboxed().await,
            Side::Wasi => {
                let answer = self.wasi.call(WasiState::default()).await;
                answer.map_err(from_wasmtime)
            }
            Side::Empty => self.empty.call(()).await.map_err(from_wasmtime),
        }
    }

    async fn sandboxed(&self) -> Result<()> {
        let tenant = self.host.tenant().clone();
        let context = CallContext::start(tenant, self.caller.clone(), PATIENCE);
        let mut arguments = Map::new();
        arguments.insert("text".to_owned(), TEXT.into());
        let request = Request::Function {
            tool: self.tool.clone(),
            function: self.function.clone(),
            arguments,
        };
        let reply = self.host.host().call(context, request).await?;
        let result = reply.into_function()?;
        ensure!(
            !result.is_error && !result.content.is_empty(),
            "a wrong answer: {result:?}"
        );
        Ok(())
    }
}

fn from_wasmtime(error: wasmtime::Error) -> anyhow::Error {
    anyhow::Error::from_boxed(error.into_boxed_dyn_error())
}

/// The cycle that everybody who embeds wasmtime has to go through, and nothing else.
struct Bare<T: 'static> {
    pre: InstancePre<T>,
    echo: ComponentExportIndex,
}

impl<T: Send + 'static> Bare<T> {
    fn new(linker: &Linker<T>, component: &Component) -> wasmtime::Result<Self> {
        let echo = component.get_export_index(None, "echo");
        Ok(Self {
            pre: linker.instantiate_pre(component)?,
            echo: echo.ok_or_else(|| wasmtime::format_err!("the guest exports no echo"))?,
        })
    }

    async fn call(&self, state: T) -> wasmtime::Result<()> {
        let mut store = Store::new(self.pre.engine(), state);
        // The engine's code asks for the epoch: the least that can be done is to let it yield.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let instance = self.pre.instantiate_async(&mut store).await?;
        let echo = instance.get_typed_func::<(&str,), (String,)>(&mut store, &self.echo)?;
        let (answer,) = echo.call_async(&mut store, (TEXT,)).await?;
        wasmtime::ensure!(answer == TEXT, "a wrong answer: {answer}");
        Ok(())
    }
}

/// A store's data with the least that WASI needs.
struct WasiState {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl Default for WasiState {
    fn default() -> Self {
        Self {
            wasi: WasiCtxBuilder::new().build(),
            table: ResourceTable::new(),
        }
    }
}

impl WasiView for WasiState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}
