//! Functions: what a tool's component exports, as callers see it.
//!
//! One walk over the WIT types of a component ([`walk`]) gives each exported function a [`Shape`] for
//! every parameter and for its result. Everything else comes from those shapes: the JSON Schemas
//! ([`schema`]), JSON to component values ([`arguments_to_vals`]) and component values to JSON and
//! content ([`vals_to_result`]). A [`FunctionTable`] is stored beside the compiled component, so a call
//! decodes nothing but its own arguments.
//!
//! # How WIT looks in JSON
//! Every WIT identifier (function, parameter, field, case, flag) is written with `_` for `-`.
//!
//! | WIT | JSON |
//! |---|---|
//! | `bool`, `string`, `char` | boolean, string, string of one character |
//! | `s8` … `u32` | integer |
//! | `s64`, `u64` | integer or decimal string; given out as a string beyond ±(2^53 − 1) |
//! | `f32`, `f64` | number, or `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | `list<u8>` | base64 string |
//! | `list<T>`, `tuple<…>` | array |
//! | `record` | object |
//! | `variant` | `{"tag": …, "value": …}`, without `value` where the case carries none |
//! | `enum`, `flags` | string, array of strings |
//! | `option<T>` | `null` or the value of `T`; a field may also be left out |
//! | `option<option<T>>` | `null` or `{"some": …}`, the inner option being what follows `some` |
//! | `result<T, E>` | `{"ok": …}` or `{"err": …}`, with `null` where it carries none |
//!
//! Arguments are one object by parameter name. A function that returns `result` fails with the JSON of
//! its error, and returns the value of `ok` otherwise. A `ringfence:agent/types.part`, or a list of
//! them, becomes content.

mod bounds;
mod decode;
mod docs;
mod encode;
mod error;
mod fixed;
mod name;
mod part;
mod result;
mod schema;
mod shape;
mod table;
mod walk;

#[cfg(test)]
mod codec_tests;
#[cfg(test)]
mod echo_tests;
#[cfg(test)]
mod property_tests;

pub use bounds::{
    MAX_DESCRIPTION_BYTES, MAX_DOCS_BYTES, MAX_FUNCTIONS, MAX_SHAPE_DEPTH, MAX_SHAPE_NODES,
    MAX_TABLE_NODES, MAX_VALUE_BYTES, NODE_TEXT_BYTES,
};
pub use decode::arguments_to_vals;
pub use docs::{DOCS_SECTION, Docs, DocsError, NAMED_DOCS_PREFIX};
pub use encode::vals_to_result;
pub use error::{CodecError, Fault, JsonPath, Segment};
pub use fixed::{ASK, COMMAND, ask_schema, command_schema};
pub(crate) use fixed::{CommandLine, ask_message, command_result};
pub use result::FunctionResult;
pub use shape::{
    Case, Enum, Field, Flags, Keyed, Label, Labeled, Name, Outcome, Record, Shape, Variant,
};
pub use table::{ExportPath, Failure, Function, FunctionTable, Output, Returns};
pub use walk::{WalkError, walk};
