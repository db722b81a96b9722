//! What bounds the work of this module, whatever a component or a caller sends.

/// Types inside types, counted from a parameter or result. One level is at most four levels of JSON
/// Schema, and schemas have to stay below the 128 levels that JSON parsers commonly allow.
pub const MAX_SHAPE_DEPTH: usize = 24;
/// Types, fields, cases and flags in one function. The schema repeats a type wherever it is used, so
/// this is also what keeps a few nested records from becoming gigabytes of schema.
pub const MAX_SHAPE_NODES: usize = 4096;
/// The same over all functions of one component.
pub const MAX_TABLE_NODES: usize = 16_384;
/// Bytes of names and doc comments that count like one more node, since they are repeated as well.
pub const NODE_TEXT_BYTES: usize = 64;
/// Exported functions of one component.
pub const MAX_FUNCTIONS: usize = 256;
/// Bytes of one doc comment; what is longer is cut.
pub const MAX_DESCRIPTION_BYTES: usize = 8 << 10;
/// Bytes of all sections of doc comments of one component.
pub const MAX_DOCS_BYTES: usize = 1 << 20;
/// Bytes that the arguments of one call may take as component values, and a result that is binary data.
/// A component value takes tens of bytes where its JSON may be two characters, or absent; this is what
/// keeps that factor from being used against the host. Three MiB of `list<u8>` fit.
pub const MAX_VALUE_BYTES: usize = 128 << 20;
