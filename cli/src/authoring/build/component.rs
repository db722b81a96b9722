//! From a core module to a component, for compilers that stop at the module.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::wit::World;
use crate::authoring::error::{AuthoringError, Result};

/// Adds to a module the component type that says which world it implements, for compilers whose
/// linker does not.
///
/// # Errors
/// When the world cannot be encoded.
pub(super) fn with_type(mut module: Vec<u8>, world: &World) -> Result<Vec<u8>> {
    embed_component_metadata(
        &mut module,
        &world.resolve,
        world.id,
        StringEncoding::UTF8,
        false,
    )
    .map_err(AuthoringError::component(
        "add the component type to the module",
    ))?;
    Ok(module)
}

/// Makes a component of a module that implements its world on top of WASI preview 1.
///
/// # Errors
/// When the module does not implement the world.
pub(super) fn reactor(module: &[u8]) -> Result<Vec<u8>> {
    encode(module, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
}

/// Makes a component that exports `wasi:cli/run` of a program for WASI preview 1.
///
/// # Errors
/// When the module is not such a program.
pub(super) fn command(module: &[u8]) -> Result<Vec<u8>> {
    encode(module, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)
}

fn encode(module: &[u8], adapter: &[u8]) -> Result<Vec<u8>> {
    let build = || {
        ComponentEncoder::default()
            .validate(true)
            .module(module)?
            .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)?
            .encode()
    };
    build().map_err(AuthoringError::component(
        "make a component of the compiled module",
    ))
}
