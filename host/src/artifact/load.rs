//! The only unsafe code of the host: mapping compiled code into the process.
//!
//! Wasmtime trusts compiled code as it trusts itself, so a wrong file here would be arbitrary code in
//! the host. The function below is therefore private to the module that owns the directory.
#![allow(unsafe_code)]

use std::path::Path;

use wasmtime::component::Component;

use super::aot::Verified;
use crate::engine::Engine;

/// Maps a file of the compiled cache.
///
/// # Errors
/// The file is of another wasmtime or another configuration, or is not compiled code at all. Wasmtime
/// checks both itself, whatever the name of the file says.
pub(super) fn load(engine: &Engine, file: &Verified) -> wasmtime::Result<Component> {
    let path: &Path = file.path();
    // SAFETY: `deserialize_file` requires that the file is unmodified output of
    // `Engine::precompile_component`, and stays so while it is mapped.
    // - Who writes: `aot::Cache::insert` is the only code that gives a file a name in the cache. It
    //   takes `compile::Output`, which only `compile::Compiler` makes, from the output file of our own
    //   worker; no bytes from a tenant, a registry or an upload get there in any other way.
    // - Who else could: the directory is ours and 0700 (`files::private_dir` sets it at every start)
    //   and locked against a second host process. Who can write there can also replace the host.
    // - Stays so: files are 0444, complete before they are renamed into place, and never written
    //   again. Replacing or deleting one unlinks it, which leaves an existing mapping as it was.
    // - Damage by the disk: a `Verified` exists only for a file whose checksum was computed over all
    //   of its bytes just now.
    unsafe { Component::deserialize_file(engine.wasmtime(), path) }
}
