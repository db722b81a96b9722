//! What a component exports and imports, read without running it.

use serde::{Deserialize, Serialize};
use wasmparser::{ComponentExternalKind, Encoding, Parser, Payload, Validator, WasmFeatures};

/// What was found in a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// Names of what it exports: interfaces and functions.
    pub exports: Vec<String>,
    /// Names of what it imports.
    pub imports: Vec<String>,
}

impl Inspection {
    /// The names of the imports, as they stand in the component.
    pub fn import_names(&self) -> Vec<String> {
        self.imports.clone()
    }

    /// The names of the exports, as they stand in the component.
    pub fn export_names(&self) -> Vec<String> {
        self.exports.clone()
    }
}

/// Why a component is refused.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Not WebAssembly, or damaged.
    #[error("these bytes are not a valid component: {0}")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    /// A core module.
    #[error(
        "this is a core module, not a component; turn it into one with the adapter of its language"
    )]
    CoreModule,
}

/// Reads a component.
///
/// # Errors
/// The bytes are not a valid component.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, InspectError> {
    if Parser::is_core_wasm(bytes) {
        return Err(InspectError::CoreModule);
    }
    let features = WasmFeatures::default();
    Validator::new_with_features(features).validate_all(bytes)?;
    let mut found = Inspection {
        exports: Vec::new(),
        imports: Vec::new(),
    };
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => {
                return Err(InspectError::CoreModule);
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    found.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export?;
                    let kinds = [ComponentExternalKind::Instance, ComponentExternalKind::Func];
                    if kinds.contains(&export.kind) {
                        found.exports.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_names_are_found_and_the_inner_ones_are_not() {
        let text = r#"(component
            (import "a:b/c@1.0.0" (instance))
            (component (import "x:y/z" (instance)))
            (core module (import "m" "n" (func)))
            (instance $i)
            (export "d:e/f@2.0.0" (instance $i)))"#;
        let found = inspect(&wat::parse_str(text).unwrap()).unwrap();
        assert_eq!(found.import_names(), ["a:b/c@1.0.0"]);
        assert_eq!(found.export_names(), ["d:e/f@2.0.0"]);
    }

    #[test]
    fn other_inputs_are_refused() {
        let module = wat::parse_str("(module)").unwrap();
        assert!(matches!(inspect(&module), Err(InspectError::CoreModule)));
        for bad in [&b""[..], b"x", b"(component)"] {
            assert!(matches!(inspect(bad), Err(InspectError::Malformed(_))));
        }
    }
}
