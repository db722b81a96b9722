//! Looks at an artifact before anything is compiled or stored: is it a component that this host can
//! run, what does it export, import and need, and which functions does it offer.
//!
//! Everything is learnt from the validated types of the component; nothing of it is executed. The
//! input is whatever a tenant uploads, so that every count is bounded and every refusal says what to do.

mod error;
mod interfaces;
mod validate;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use ringfence_api::Capability;
use serde::{Deserialize, Serialize};
use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType, ComponentItem};
use wasmparser::types::Types;

pub use error::InspectError;
use interfaces::Id;
use validate::Validated;

use crate::function::{FunctionTable, walk};

/// Imports and exports of one component. A Python guest has about forty.
pub const MAX_EXTERNS: usize = 512;
/// Type definitions in a component and all components within it.
pub const MAX_TYPES: u32 = 20_000;
/// Components and modules within one another.
pub const MAX_NESTING: usize = 32;

/// What a component can be used as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Exports `ringfence:agent/handler`.
    Agent,
    /// Exports functions.
    Functions,
    /// Exports `wasi:http/incoming-handler`.
    Http,
    /// Exports `wasi:cli/run`.
    Command,
}

/// What there is to know about a component before it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// What it can be used as: at least one, in the order in which a tool is served. A component with
    /// functions and a command, for example, is served by its functions.
    pub kinds: Vec<Kind>,
    /// Names of its imports.
    pub imports: Vec<String>,
    /// Names of its exports.
    pub exports: Vec<String>,
    /// The functions that it offers.
    pub functions: FunctionTable,
    /// What its author should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Inspection {
    /// What it is served as unless a resource says otherwise: the first of [`Self::kinds`].
    pub fn kind(&self) -> Option<Kind> {
        self.kinds.first().copied()
    }

    /// What a resource may have to grant. Only a hint: some language runtimes import everything that
    /// there is.
    pub fn needs(&self) -> BTreeSet<Capability> {
        let imports = self.imports.iter();
        imports
            .filter_map(|import| Capability::of_import(import))
            .collect()
    }

    /// Names of the imports, as they stand in the component.
    pub fn import_names(&self) -> Vec<String> {
        self.imports.clone()
    }

    /// Names of the exports, as they stand in the component.
    pub fn export_names(&self) -> Vec<String> {
        self.exports.clone()
    }

    /// Whether it can be used as `kind`.
    pub fn is(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }
}

/// Inspects the bytes of an artifact.
///
/// Validation reads every instruction: call it where a long computation hurts nobody.
///
/// # Errors
/// Where the bytes are not a component that this host can run.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, InspectError> {
    let Validated {
        types,
        imports,
        exports,
        docs,
        mut warnings,
    } = validate::validate(bytes)?;
    if imports.is_empty() && is_wit_package(&exports) {
        return Err(InspectError::WitPackage);
    }
    let names = imports.iter().chain(&exports).map(|(name, _)| name);
    let wasi3: BTreeSet<_> = names.filter(|name| Id::is_wasi3(name)).cloned().collect();
    if !wasi3.is_empty() {
        let names = wasi3.into_iter().collect();
        return Err(InspectError::Wasi3 { names });
    }
    let missing: Vec<_> = imports
        .iter()
        .filter(|(name, item)| !is_provided(&types, name, item))
        .map(|(name, _)| name.clone())
        .collect();
    if !missing.is_empty() {
        return Err(InspectError::MissingImports { names: missing });
    }
    let functions = walk(&types, &imports, &exports, &docs)?;
    let mut kinds: BTreeSet<Kind> = exports
        .iter()
        .filter_map(|(name, _)| Id::parse(name)?.kind())
        .collect();
    if !functions.is_empty() {
        kinds.insert(Kind::Functions);
    }
    if kinds.is_empty() {
        return Err(InspectError::NothingToCall);
    }
    let silent: Vec<_> = functions
        .iter()
        .filter(|function| function.description.is_empty())
        .map(|function| function.name.as_str())
        .collect();
    if !silent.is_empty() {
        warnings.push(format!(
            "no doc comments for {}: models see only names and types; build with `ringfence build`, which keeps WIT doc comments",
            silent.join(", ")
        ));
    }
    let name = |(name, _): (String, ComponentItem)| name;
    Ok(Inspection {
        kinds: kinds.into_iter().collect(),
        functions,
        warnings,
        imports: imports.into_iter().map(name).collect(),
        exports: exports.into_iter().map(name).collect(),
    })
}

/// Whether an import asks for nothing that the host lacks: an interface that it serves, or one with
/// nothing but plain types in it.
fn is_provided(types: &Types, name: &str, item: &ComponentItem) -> bool {
    if Id::parse(name).is_some_and(|id| id.is_served()) {
        return true;
    }
    let ComponentEntityType::Instance(instance) = item.ty else {
        return false;
    };
    types[instance].exports.values().all(|item| {
        matches!(
            item.ty,
            ComponentEntityType::Type {
                created: ComponentAnyTypeId::Defined(_),
                ..
            }
        )
    })
}

fn is_wit_package(exports: &[(String, ComponentItem)]) -> bool {
    let component = |(_, item): &(String, ComponentItem)| {
        matches!(
            item.ty,
            ComponentEntityType::Type {
                created: ComponentAnyTypeId::Component(_),
                ..
            }
        )
    };
    !exports.is_empty() && exports.iter().all(component)
}
