//! Making the store of one call.

use std::path::Path;
use std::sync::Arc;

use ringfence_api::FolderAccess;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{FsPerms, ResourceTable, WasiCtx, WasiCtxBuilder};
use wasmtime_wasi_http::WasiHttpCtx;

use super::clock::StoppedClock;
use super::limiter::Limiter;
use super::meter::CpuMeter;
use super::state::{Guest, HostCalls, State};
use super::stdio::Capture;
use crate::capability::{OutgoingHooks, WriteQuota};
use crate::core::Core;
use crate::directory::Instance;
use crate::engine::Engine;
use crate::error::CallError;
use crate::limits::{HOST_CALL_BYTES, HTTP_HEADER_BYTES, RANDOM_BYTES, name};
use crate::mediation::{CallContext, Principal};

/// A store with the ends of its standard streams.
pub(super) struct Entered {
    pub(super) store: Store<State>,
    pub(super) log: Capture,
}

impl Entered {
    /// Lets more pass between guest and host in one call than [`HOST_CALL_BYTES`].
    pub(super) fn allow_host_call_bytes(&mut self, bytes: usize) {
        self.store.data_mut().host_call_bytes = bytes;
        self.store.set_hostcall_fuel(bytes);
    }
}

/// What a command-line tool gets beside its grants.
pub(super) struct Console {
    pub(super) arguments: Vec<String>,
    pub(super) stdin: bytes::Bytes,
    pub(super) stdout: Capture,
}

/// Makes the store for one call of `instance`.
pub(super) fn enter(
    engine: &Engine,
    core: &Arc<Core>,
    instance: &Arc<Instance>,
    context: &CallContext,
    console: Option<Console>,
) -> Result<Entered, CallError> {
    let limits = &instance.limits;
    let log = Capture::new(name::LOG_BYTES, limits.log_bytes);
    let host_calls = HostCalls::new(limits.host_calls);
    let principal = Principal::instance(instance.clone(), context.caller.clone());
    let cpu = CpuMeter::new();
    let mut http = WasiHttpCtx::new();
    http.set_field_size_limit(HTTP_HEADER_BYTES);
    let handles = usize::try_from(limits.resource_handles).unwrap_or(usize::MAX);
    let mut table = ResourceTable::new();
    table.set_max_capacity(handles);
    let state = State {
        wasi: wasi(instance, &log, console)?,
        http,
        hooks: OutgoingHooks {
            core: core.clone(),
            principal: principal.clone(),
            context: context.clone(),
        },
        table,
        write_quota: WriteQuota::new(limits.folder_write_bytes),
        limiter: Limiter::new(limits),
        host_call_bytes: HOST_CALL_BYTES,
        cpu,
        guest: Guest {
            core: core.clone(),
            instance: instance.clone(),
            principal,
            context: context.clone(),
            host_calls,
            emitted: 0,
            open_streams: 0,
        },
    };
    let mut store = Store::new(engine.wasmtime(), state);
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(HOST_CALL_BYTES);
    store.set_max_component_handles(handles);
    store.set_epoch_deadline(1);
    let cpu_limit = limits.cpu;
    store.epoch_deadline_callback(move |store| {
        // Between two epochs others get their turn, whatever the guest does.
        Ok(if store.data().cpu.used_within_poll() >= cpu_limit {
            UpdateDeadline::Interrupt
        } else {
            UpdateDeadline::Yield(1)
        })
    });
    context.begin();
    Ok(Entered { store, log })
}

fn wasi(
    instance: &Instance,
    log: &Capture,
    console: Option<Console>,
) -> Result<WasiCtx, CallError> {
    let mut wasi = WasiCtxBuilder::new();
    wasi.max_random_size(RANDOM_BYTES).stderr(log.clone());
    match console {
        Some(console) => {
            wasi.args(&console.arguments)
                .stdin(wasmtime_wasi::p2::pipe::MemoryInputPipe::new(console.stdin))
                .stdout(console.stdout);
        }
        None => {
            wasi.stdout(log.clone());
        }
    }
    let grants = &instance.grants;
    if !grants.clocks() {
        wasi.wall_clock(StoppedClock).monotonic_clock(StoppedClock);
    }
    for variable in grants.env() {
        wasi.env(&variable.name, &variable.value);
    }
    for folder in grants.folders() {
        let permissions = match folder.access {
            FolderAccess::ReadOnly => FsPerms::ReadOnly,
            FolderAccess::ReadWrite => FsPerms::ReadWrite,
        };
        preopen(&mut wasi, &folder.path, &folder.mount, permissions)?;
    }
    Ok(wasi.build())
}

fn preopen(
    wasi: &mut WasiCtxBuilder,
    host: &Path,
    guest: &str,
    permissions: FsPerms,
) -> Result<(), CallError> {
    wasi.preopened_dir(host, guest, permissions)
        .map(drop)
        .map_err(|error| {
            // The path on the host is nothing that a caller has to know.
            tracing::warn!(folder = %host.display(), %error, "a granted folder cannot be opened");
            CallError::Unavailable(format!("the folder granted as {guest} cannot be opened"))
        })
}
