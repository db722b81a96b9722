//! What a store holds: the guest's view of the world, and the counters that bound it.

use std::sync::Arc;

use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::limiter::Limiter;
use super::meter::CpuMeter;
use crate::capability::{OutgoingHooks, WriteQuota};
use crate::core::{Core, Effect};
use crate::directory::Instance;
use crate::error::CallError;
use crate::limits::name;
use crate::mediation::{CallContext, Principal, Request};

/// Data of one store.
pub(crate) struct State {
    pub(crate) wasi: WasiCtx,
    pub(crate) http: WasiHttpCtx,
    pub(crate) hooks: OutgoingHooks,
    pub(crate) table: ResourceTable,
    pub(crate) write_quota: WriteQuota,
    pub(crate) limiter: Limiter,
    /// Bytes that one call between guest and host may pass.
    pub(crate) host_call_bytes: usize,
    pub(crate) cpu: Arc<CpuMeter>,
    pub(crate) guest: Guest,
}

/// Who runs in the store, and in which call.
pub(crate) struct Guest {
    pub(crate) core: Arc<Core>,
    pub(crate) instance: Arc<Instance>,
    pub(crate) principal: Arc<Principal>,
    pub(crate) context: CallContext,
    pub(crate) host_calls: HostCalls,
    /// Bytes sent through `output`.
    pub(crate) emitted: u64,
    /// Model streams that are open.
    pub(crate) open_streams: usize,
}

/// Calls that a sandbox may still make to capabilities.
#[derive(Debug)]
pub(crate) struct HostCalls {
    left: u64,
    limit: u64,
}

impl HostCalls {
    pub(crate) fn new(limit: u64) -> Self {
        Self { left: limit, limit }
    }

    /// Takes one.
    pub(crate) fn count(&mut self) -> Result<(), CallError> {
        let left = self.left.checked_sub(1);
        self.left = left.ok_or_else(|| CallError::limit(name::HOST_CALLS, self.limit))?;
        Ok(())
    }
}

impl Guest {
    /// Counts a call to a capability. One too many ends the guest: a typed error could be ignored, and
    /// the guest would go on asking.
    pub(crate) fn count_host_call(&mut self) -> wasmtime::Result<()> {
        Ok(self.host_calls.count()?)
    }

    /// Starts a call with the guest as its principal. It runs beside the guest, and is aborted when the
    /// returned future is dropped.
    pub(crate) fn effect(&mut self, request: Request) -> Effect {
        self.core
            .spawn(self.context.nested(self.principal.clone()), request)
    }

    /// Denies what no call stands for, such as a list, where nothing of the capability is granted.
    pub(crate) fn check_granted(&self, capability: &str, granted: bool) -> Result<(), CallError> {
        if granted {
            return Ok(());
        }
        Err(CallError::denied(
            capability,
            capability,
            "not granted to this component",
        ))
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_calls_run_out() {
        let mut calls = HostCalls::new(2);
        assert_eq!(calls.count(), Ok(()));
        assert_eq!(calls.count(), Ok(()));
        assert_eq!(calls.count(), Err(CallError::limit("host-calls", 2)));
    }
}
