//! The guests of `tests/guests`, compiled. `tests/guests/README.md` says what each does and what a host
//! has to make of it.
//!
//! A test file proves that it covers every guest by having one item per guest and
//! ```text
//! macro_rules! assert_test_exists { ($name:ident) => { #[allow(unused_imports)] use self::$name as _; }; }
//! ringfence_test_guests::foreach_guest!(assert_test_exists);
//! ```
#![forbid(unsafe_code)]

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wasmparser::{ComponentExternalKind, Encoding, Parser, Payload};

    /// Names that a component exports at its top level; `None` for a core module.
    fn exports(bytes: &[u8]) -> Option<BTreeSet<String>> {
        let mut depth = 0;
        let mut names = BTreeSet::new();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.unwrap() {
                Payload::Version { encoding, .. } => {
                    if depth == 0 && encoding == Encoding::Module {
                        return None;
                    }
                    depth += 1;
                }
                Payload::End(_) => depth -= 1,
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        let export = export.unwrap();
                        if matches!(
                            export.kind,
                            ComponentExternalKind::Func | ComponentExternalKind::Instance
                        ) {
                            names.insert(export.name.name.to_owned());
                        }
                    }
                }
                _ => {}
            }
        }
        Some(names)
    }

    #[test]
    fn the_readme_names_every_guest_and_every_export() {
        let readme = include_str!("../../guests/README.md");
        for (name, bytes) in super::ALL {
            let row = readme
                .lines()
                .find(|line| line.starts_with(&format!("| `{name}` |")));
            let row = row.unwrap_or_else(|| panic!("{name} has no row"));
            for export in exports(bytes).unwrap_or_default() {
                let export = export.split('@').next().unwrap();
                assert!(
                    row.contains(&format!("`{export}`")),
                    "{name}: {export} is not named"
                );
            }
        }
    }
}
