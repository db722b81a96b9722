//! Why a component is refused.

use crate::function::WalkError;

use super::{MAX_EXTERNS, MAX_NESTING, MAX_TYPES};

/// Why bytes are not a component that this host can run.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// No bytes.
    #[error("the file is empty; build the component and send the .wasm file")]
    Empty,
    /// The text form of WebAssembly.
    #[error(
        "this is the text format of WebAssembly; convert it with `wasm-tools parse FILE -o FILE.wasm`"
    )]
    Text,
    /// Not WebAssembly at all.
    #[error("this is not a WebAssembly binary: it does not start with the bytes `\\0asm`")]
    NotWasm,
    /// A core module.
    #[error(
        "this is a core WebAssembly module, not a component; build it with `ringfence build`, or for Rust with `--target wasm32-wasip2`, or wrap it with `wasm-tools component new FILE --adapt ADAPTER`"
    )]
    CoreModule,
    /// An encoding of components from before or after this one.
    #[error(
        "this is not a module or component of a version that this host knows; build it again with current tools"
    )]
    Version,
    /// A WIT package in its binary form.
    #[error(
        "this is a WIT package, which describes interfaces but has no code; send the component that implements it"
    )]
    WitPackage,
    /// The file ends too early.
    #[error("the file is cut off after {bytes} bytes; send it again")]
    Truncated {
        /// Its length.
        bytes: usize,
    },
    /// The file breaks the rules of the format.
    #[error("the component is malformed at byte {offset}: {reason}; build it again")]
    Malformed {
        /// Where.
        offset: usize,
        /// What the validator says.
        reason: String,
    },
    /// The component needs an extension of WebAssembly that the engine has switched off.
    #[error(
        "the component uses an extension of WebAssembly that this host does not run ({reason}); build it without, for example without threads, tail calls, exceptions, garbage collection or async"
    )]
    Feature {
        /// What the validator says.
        reason: String,
    },
    /// Components within components too deeply.
    #[error("components are nested more than {MAX_NESTING} deep")]
    Nesting,
    /// Too many imports or exports.
    #[error("{count} imports and exports; at most {MAX_EXTERNS} are allowed")]
    TooManyExterns {
        /// How many.
        count: usize,
    },
    /// Too many types.
    #[error("more than {MAX_TYPES} type definitions")]
    TooManyTypes,
    /// WASI 0.3.
    #[error(
        "the component is built for WASI 0.3, and this host serves WASI 0.2; build it for WASI 0.2 (`wasm32-wasip2`). It has: {}", names.join(", ")
    )]
    Wasi3 {
        /// The imports and exports in question.
        names: Vec<String>,
    },
    /// Imports that nobody here provides.
    #[error(
        "the component imports what this host does not have: {}. It serves WASI 0.2 (io, clocks, random, cli, filesystem, sockets, outgoing http) and ringfence:agent@0.1", names.join(", ")
    )]
    MissingImports {
        /// Their names.
        names: Vec<String>,
    },
    /// Nothing to call.
    #[error(
        "the component exports nothing that can be called: export functions, or `wasi:cli/run`, `wasi:http/incoming-handler` or `ringfence:agent/handler`"
    )]
    NothingToCall,
    /// An exported function that cannot be offered.
    #[error(transparent)]
    Function(#[from] WalkError),
}
