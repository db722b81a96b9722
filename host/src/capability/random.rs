//! `wasi:random`: wasmtime's own, with a typed error where a guest asks for too much at once.

use wasmtime::component::HasData;
use wasmtime_wasi::p2::bindings::random::{insecure, random};
use wasmtime_wasi::random::WasiRandomCtx;

use crate::error::CallError;
use crate::limits::{RANDOM_BYTES, name};
use crate::sandbox::State;

/// Marker of the state that `wasi:random` works on.
pub(crate) struct Random;

impl HasData for Random {
    type Data<'a> = RandomView<'a>;
}

/// wasmtime's generators.
pub(crate) struct RandomView<'a>(&'a mut WasiRandomCtx);

/// The view of one store.
pub(crate) fn view(state: &mut State) -> RandomView<'_> {
    RandomView(state.wasi.random())
}

fn check(length: u64) -> wasmtime::Result<()> {
    if length > RANDOM_BYTES {
        return Err(CallError::limit(name::RANDOM_BYTES, RANDOM_BYTES).into());
    }
    Ok(())
}

impl random::Host for RandomView<'_> {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        check(length)?;
        random::Host::get_random_bytes(self.0, length)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        random::Host::get_random_u64(self.0)
    }
}

impl insecure::Host for RandomView<'_> {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        check(length)?;
        insecure::Host::get_insecure_random_bytes(self.0, length)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        insecure::Host::get_insecure_random_u64(self.0)
    }
}
