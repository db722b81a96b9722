//! Capabilities: what a guest can import beside its own code. One module each; every effect becomes a
//! [`Call`](crate::mediation::Call) that goes through mediation, with the guest as its principal.

mod agents;
pub(crate) mod bindings;
mod context;
mod convert;
mod folders;
mod http;
mod models;
mod output;
mod random;
mod session;
mod tools;

pub(crate) use folders::WriteQuota;
pub(crate) use http::OutgoingHooks;
#[expect(unreachable_pub, reason = "generated code re-exports it")]
pub use models::OpenStream;

use wasmtime::component::{HasData, Linker};

use crate::sandbox::State;

/// Marker of the state that this crate's own interfaces work on.
pub(crate) struct Capabilities;

impl HasData for Capabilities {
    type Data<'a> = &'a mut State;
}

/// Links everything that any guest can import. What a guest was not granted is linked all the same and
/// answers with a denial, so that a component never fails to start for asking.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    use bindings::ringfence::agent as ours;
    use wasmtime_wasi::p2::bindings::filesystem::types as filesystem;
    use wasmtime_wasi::p2::bindings::random as for_random;

    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    // Ours stand in the place of wasmtime's, which know no quota and no typed error.
    linker.allow_shadowing(true);
    filesystem::add_to_linker::<_, folders::Folders>(linker, folders::view)?;
    for_random::random::add_to_linker::<_, random::Random>(linker, random::view)?;
    for_random::insecure::add_to_linker::<_, random::Random>(linker, random::view)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    http::link(linker)?;
    linker.allow_shadowing(false);
    // `types` has no functions, but components name it as an import.
    ours::types::add_to_linker::<_, Capabilities>(linker, |state| state)?;
    ours::context::add_to_linker::<_, Capabilities>(linker, |state| state)?;
    ours::models::add_to_linker::<_, Capabilities>(linker, |state| state)?;
    ours::tools::add_to_linker::<_, Capabilities>(linker, |state| state)?;
    ours::agents::add_to_linker::<_, Capabilities>(linker, |state| state)?;
    ours::session::add_to_linker::<_, Capabilities>(linker, |state| state)?;
    ours::output::add_to_linker::<_, Capabilities>(linker, |state| state)?;
    Ok(())
}

impl bindings::ringfence::agent::types::Host for State {}
