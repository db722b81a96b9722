//! Reads and validates the bytes of a component.

use wasmparser::component_types::ComponentItem;
use wasmparser::types::Types;
use wasmparser::{
    ComponentTypeRef, Encoding, FuncValidatorAllocations, Parser, Payload, ValidPayload, Validator,
    WasmFeatures,
};

use super::{InspectError, MAX_EXTERNS, MAX_NESTING, MAX_TYPES};
use crate::function::Docs;

/// What the engine runs: WebAssembly 2 without `externref`, extended constants, and components. It is
/// the engine's own set, which its configuration spells out as what is refused.
const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL)
    .difference(WasmFeatures::GC_TYPES);

/// A valid component.
pub(super) struct Validated {
    pub(super) types: Types,
    pub(super) imports: Vec<(String, ComponentItem)>,
    pub(super) exports: Vec<(String, ComponentItem)>,
    pub(super) docs: Docs,
    pub(super) warnings: Vec<String>,
}

/// Tells apart what people send by mistake, before the validator speaks of offsets.
fn preamble(bytes: &[u8]) -> Result<(), InspectError> {
    let text = bytes.trim_ascii_start();
    match bytes {
        [] => Err(InspectError::Empty),
        _ if text.starts_with(b"(") || text.starts_with(b";;") => Err(InspectError::Text),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(InspectError::CoreModule),
        [b'\0', b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', _, _, _, _, ..] => Err(InspectError::Version),
        _ if b"\0asm".starts_with(bytes) || bytes.starts_with(b"\0asm") => {
            let bytes = bytes.len();
            Err(InspectError::Truncated { bytes })
        }
        _ => Err(InspectError::NotWasm),
    }
}

/// Validates every type, instruction and link of a component.
pub(super) fn validate(bytes: &[u8]) -> Result<Validated, InspectError> {
    preamble(bytes)?;
    let refused = |error: wasmparser::Error| refused(&error, bytes.len());
    let mut validator = Validator::new_with_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut docs = Docs::default();
    let mut warnings = Vec::new();
    // Modules and components around the payload at hand, itself included.
    let mut stack = vec![Encoding::Component];
    let mut defined_types = 0u32;
    let mut types = None;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(refused)?;
        // Counted before the validator spends anything on them.
        match &payload {
            Payload::ComponentTypeSection(section) => {
                defined_types = defined_types.saturating_add(section.count());
                if defined_types > MAX_TYPES {
                    return Err(InspectError::TooManyTypes);
                }
            }
            Payload::ModuleSection { .. } => stack.push(Encoding::Module),
            Payload::ComponentSection { .. } => stack.push(Encoding::Component),
            Payload::End(_) => drop(stack.pop()),
            _ => {}
        }
        if stack.len() > MAX_NESTING {
            return Err(InspectError::Nesting);
        }
        match validator.payload(&payload).map_err(refused)? {
            ValidPayload::Func(function, body) => {
                let mut function = function.into_validator(allocations);
                function.validate(&body).map_err(refused)?;
                allocations = function.into_allocations();
            }
            ValidPayload::End(end) if stack.is_empty() => types = Some(end),
            _ => {}
        }
        if stack.len() != 1 {
            continue;
        }
        let item = |name: &str, import: bool| -> Option<(String, ComponentItem)> {
            let types = validator.types(0)?;
            let item = match import {
                true => types.component_item_for_import(name)?,
                false => types.component_item_for_export(name)?,
            };
            Some((name.to_owned(), item.clone()))
        };
        match payload {
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import.map_err(refused)?;
                    // A type that is imported by equality is nothing that the host provides.
                    if !matches!(
                        import.ty,
                        ComponentTypeRef::Type(wasmparser::TypeBounds::Eq(_))
                    ) {
                        imports.extend(item(import.name.name, true));
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    exports.extend(item(export.map_err(refused)?.name.name, false));
                }
            }
            Payload::CustomSection(section) => {
                if let Err(error) = docs.read(section.name(), section.data()) {
                    warnings.push(format!("section `{}`: {error}", section.name()));
                }
            }
            _ => {}
        }
        let count = imports.len() + exports.len();
        if count > MAX_EXTERNS {
            return Err(InspectError::TooManyExterns { count });
        }
    }
    let types = types.ok_or(InspectError::Truncated { bytes: bytes.len() })?;
    Ok(Validated {
        types,
        imports,
        exports,
        docs,
        warnings,
    })
}

fn refused(error: &wasmparser::Error, length: usize) -> InspectError {
    let reason = error.message().to_owned();
    // The validator does not say of a second memory that it is an extension.
    if error.missing_wasm_feature().is_some() || reason == "multiple memories" {
        return InspectError::Feature { reason };
    }
    match error.offset() {
        // The parser was still asking for more where the bytes end.
        offset if reason.contains("unexpected end") && offset >= length.saturating_sub(16) => {
            InspectError::Truncated { bytes: length }
        }
        offset => InspectError::Malformed { offset, reason },
    }
}
