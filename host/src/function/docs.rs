//! Doc comments of a component.
//!
//! Component binaries have no place for WIT doc comments, and no toolchain keeps them: they are lost when
//! the core module becomes a component. So they travel in custom sections at the component's top level,
//! which `ringfence build` appends:
//!
//! - [`DOCS_SECTION`], as wasm-tools defines it: a version byte (0 or 1), then JSON for one package,
//!   in the form that `wit_parser::PackageMetadata` serialises to. The package is not named: it is the
//!   component's own world, and, where another tool injected the section, the author's whole package.
//! - `package-docs:NAMESPACE:NAME@VERSION` ([`NAMED_DOCS_PREFIX`]), in the same encoding, once for
//!   each package that the component's interfaces are from; `@VERSION` only where the package has one.

use std::collections::HashMap;

use serde::Deserialize;

use super::bounds::{MAX_DESCRIPTION_BYTES, MAX_DOCS_BYTES};
use super::name::InterfaceName;

/// Custom section with the docs of the component's world, or of one package that is not named.
pub const DOCS_SECTION: &str = "package-docs";
/// What comes before the package's name in the name of a custom section with its docs.
pub const NAMED_DOCS_PREFIX: &str = "package-docs:";

/// Why a section of docs was not read. Docs are advice, so that this is a warning, not a refusal.
#[derive(Debug, thiserror::Error)]
pub enum DocsError {
    /// Too large.
    #[error("doc comments take more than {MAX_DOCS_BYTES} bytes")]
    TooLarge,
    /// Made by a tool that this host does not know.
    #[error("unknown version of the `{DOCS_SECTION}` section")]
    Version,
    /// Not the JSON that was expected.
    #[error("cannot read doc comments")]
    Json(#[from] serde_json::Error),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PackageDocs {
    worlds: HashMap<String, WorldDocs>,
    interfaces: HashMap<String, InterfaceDocs>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WorldDocs {
    /// Imports, and exports of what is not also imported.
    funcs: HashMap<String, FunctionDocs>,
    func_exports: HashMap<String, FunctionDocs>,
    interfaces: HashMap<String, InterfaceDocs>,
    interface_exports: HashMap<String, InterfaceDocs>,
    types: HashMap<String, TypeDocs>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct InterfaceDocs {
    docs: Option<String>,
    funcs: HashMap<String, FunctionDocs>,
    types: HashMap<String, TypeDocs>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum FunctionDocs {
    Just(Option<String>),
    Detailed {
        #[serde(default)]
        docs: Option<String>,
    },
}

impl FunctionDocs {
    fn text(&self) -> Option<&str> {
        match self {
            FunctionDocs::Just(docs) | FunctionDocs::Detailed { docs } => docs.as_deref(),
        }
    }
}

/// Docs of a type.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TypeDocs {
    docs: Option<String>,
    /// By field, case or flag.
    items: HashMap<String, String>,
}

impl TypeDocs {
    pub(super) fn text(&self) -> Option<Box<str>> {
        clean(self.docs.as_deref())
    }

    pub(super) fn item(&self, name: &str) -> Option<Box<str>> {
        clean(self.items.get(name).map(String::as_str))
    }
}

/// Doc comments of the packages that a component's author wrote.
#[derive(Debug, Default)]
pub struct Docs {
    named: HashMap<String, PackageDocs>,
    unnamed: Vec<PackageDocs>,
    bytes: usize,
}

impl Docs {
    /// Takes in a custom section if it is one of docs.
    ///
    /// # Errors
    /// It is one, but cannot be read.
    pub fn read(&mut self, section: &str, data: &[u8]) -> Result<(), DocsError> {
        let package = section.strip_prefix(NAMED_DOCS_PREFIX);
        if package.is_none() && section != DOCS_SECTION {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(data.len());
        if self.bytes > MAX_DOCS_BYTES {
            return Err(DocsError::TooLarge);
        }
        let docs: PackageDocs = match data.split_first() {
            Some((0 | 1, json)) => serde_json::from_slice(json)?,
            _ => return Err(DocsError::Version),
        };
        match package {
            Some(package) => drop(self.named.insert(package.to_owned(), docs)),
            None => self.unnamed.push(docs),
        }
        Ok(())
    }

    fn packages(&self) -> impl Iterator<Item = &PackageDocs> {
        self.named.values().chain(&self.unnamed)
    }

    fn worlds(&self) -> impl Iterator<Item = &WorldDocs> {
        self.packages().flat_map(|package| package.worlds.values())
    }

    /// Packages that may be the one of an interface.
    fn of(&self, name: InterfaceName<'_>) -> impl Iterator<Item = &PackageDocs> {
        let key = name.package.map(|(namespace, package)| match name.version {
            Some(version) => format!("{namespace}:{package}@{version}"),
            None => format!("{namespace}:{package}"),
        });
        let named = key.and_then(|key| self.named.get(&key));
        named.into_iter().chain(&self.unnamed)
    }

    fn interfaces(&self, interface: &str) -> Vec<&InterfaceDocs> {
        let name = InterfaceName::parse(interface);
        match name.package {
            Some(_) => self
                .of(name)
                .filter_map(|package| package.interfaces.get(name.interface))
                .collect(),
            None => self
                .worlds()
                .flat_map(|world| {
                    let exported = world.interface_exports.get(interface);
                    exported.into_iter().chain(world.interfaces.get(interface))
                })
                .collect(),
        }
    }

    /// Docs of an exported interface.
    pub(super) fn interface(&self, interface: &str) -> Option<Box<str>> {
        let found = self.interfaces(interface);
        clean(found.iter().find_map(|docs| docs.docs.as_deref()))
    }

    /// Docs of an exported function.
    pub(super) fn function(&self, interface: Option<&str>, function: &str) -> Option<Box<str>> {
        let text = |docs: &'_ HashMap<String, FunctionDocs>| -> Option<String> {
            docs.get(function)?.text().map(str::to_owned)
        };
        let found = match interface {
            Some(interface) => {
                let found = self.interfaces(interface);
                found.into_iter().find_map(|docs| text(&docs.funcs))
            }
            None => self
                .worlds()
                .find_map(|world| text(&world.func_exports).or_else(|| text(&world.funcs))),
        };
        clean(found.as_deref())
    }

    /// Docs of a type that `interface` exports under `name`, whether it defines or uses it.
    pub(super) fn of_type(&self, interface: Option<&str>, name: &str) -> Option<&TypeDocs> {
        let Some(interface) = interface else {
            return self.worlds().find_map(|world| world.types.get(name));
        };
        let direct = self.interfaces(interface);
        let direct = direct.into_iter().find_map(|docs| docs.types.get(name));
        // A used type is defined elsewhere, most often in the same package.
        direct.or_else(|| {
            self.of(InterfaceName::parse(interface))
                .flat_map(|package| package.interfaces.values())
                .find_map(|docs| docs.types.get(name))
        })
    }
}

/// Trimmed, none where nothing is left, and cut where it is too long.
fn clean(text: Option<&str>) -> Option<Box<str>> {
    let text = text?.trim();
    if text.is_empty() {
        return None;
    }
    if text.len() <= MAX_DESCRIPTION_BYTES {
        return Some(text.into());
    }
    let end = text.floor_char_boundary(MAX_DESCRIPTION_BYTES);
    Some(format!("{}…", &text[..end]).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docs(section: &str, json: &str) -> Docs {
        let mut docs = Docs::default();
        docs.read(section, format!("\u{1}{json}").as_bytes())
            .unwrap();
        docs
    }

    #[test]
    fn both_sections_describe_functions_and_types() {
        let package = r#"{
            "docs": "about the package",
            "worlds": {"w": {"func_exports": {"f": {"docs": " of f \n"}}, "funcs": {"g": "of g"}}},
            "interfaces": {"i": {
                "docs": "of i",
                "funcs": {"h": {"docs": "of h", "stability": {"stable": {"since": "1.0.0"}}}},
                "types": {"t": {"docs": "of t", "items": {"x": "of x"}}}
            }}
        }"#;
        for docs in [
            docs("package-docs:a:b@1.0.0", package),
            docs("package-docs", package),
        ] {
            assert_eq!(docs.function(None, "f").as_deref(), Some("of f"));
            assert_eq!(docs.function(None, "g").as_deref(), Some("of g"));
            assert_eq!(docs.interface("a:b/i@1.0.0").as_deref(), Some("of i"));
            assert_eq!(
                docs.function(Some("a:b/i@1.0.0"), "h").as_deref(),
                Some("of h")
            );
            let of_type = docs.of_type(Some("a:b/other@1.0.0"), "t").unwrap();
            assert_eq!(of_type.text().as_deref(), Some("of t"));
            assert_eq!(of_type.item("x").as_deref(), Some("of x"));
        }
    }

    #[test]
    fn docs_of_one_package_are_not_given_to_another() {
        let docs = docs(
            "package-docs:a:b@1.0.0",
            r#"{"interfaces": {"i": {"docs": "x"}}}"#,
        );
        assert_eq!(docs.interface("a:b/i@1.0.0").as_deref(), Some("x"));
        assert_eq!(docs.interface("a:b/i@2.0.0"), None);
        assert_eq!(docs.interface("a:c/i@1.0.0"), None);
    }

    #[test]
    fn long_docs_are_cut_and_broken_ones_reported() {
        let long = "é".repeat(MAX_DESCRIPTION_BYTES);
        let cut = clean(Some(&long)).unwrap();
        assert!(cut.ends_with('…') && cut.len() <= MAX_DESCRIPTION_BYTES + '…'.len_utf8());
        let mut docs = Docs::default();
        let read = |docs: &mut Docs, data: &[u8]| docs.read(DOCS_SECTION, data);
        assert!(matches!(read(&mut docs, b"\x01{"), Err(DocsError::Json(_))));
        assert!(matches!(
            read(&mut docs, b"\x07{}"),
            Err(DocsError::Version)
        ));
        let large = vec![b' '; MAX_DOCS_BYTES + 1];
        assert!(matches!(read(&mut docs, &large), Err(DocsError::TooLarge)));
        assert!(docs.read("name", b"anything").is_ok());
    }
}
