//! Keeps WIT doc comments in the component, where hosts find the descriptions of functions.
//!
//! The component binary format has no place for documentation, and every toolchain drops it on the
//! way from WIT to component. WIT packages keep theirs in a custom section `package-docs`, and the
//! decoder of `wit-parser` reads such a section in a component too: there it speaks of the package
//! `root:component` that a component decodes to, so it can describe the world and functions that the
//! world exports directly, but not functions of an interface of another package. Therefore a built
//! component carries, at its top level and in the same encoding:
//!
//! - `package-docs`: the world, its own functions and inline interfaces;
//! - `package-docs:NAMESPACE:NAME@VERSION` ([`NAMED_DOCS_PREFIX`]), once for each package of its
//!   interfaces; `@VERSION` only where the package has one. Readers that do not know it skip it.
//!
//! Each speaks of nothing that the component does not have, so it can be injected whole into the
//! decoded component. WASI and the agent contract are left out: every host has those.

use std::borrow::Cow;

use ringfence_host::function::{DOCS_SECTION, NAMED_DOCS_PREFIX};
use wasm_encoder::{ComponentSection as _, CustomSection};
use wit_component::DecodedWasm;
use wit_parser::{
    InterfaceId, PackageId, PackageMetadata, Resolve, TypeDefKind, TypeId, WorldId, WorldItem,
};

use super::sections::{Section, leb128, sections};
use crate::authoring::contract::AGENT_PACKAGE;
use crate::authoring::error::{AuthoringError, Result};

/// Adds the doc comments of a world to a component that implements it, replacing any it has.
///
/// # Errors
/// When the bytes are not a component.
pub fn embed(component: &[u8], source: &Resolve, world: WorldId) -> Result<Vec<u8>> {
    let mut output = strip(component)?;
    let (mut resolve, root) = decode(&output)?;
    copy_world((source, world), (&mut resolve, root));

    for (package, described) in resolve.packages.iter() {
        let name = if resolve.worlds[root].package == Some(package) {
            DOCS_SECTION.to_owned()
        } else if is_known(&resolve, package) {
            continue;
        } else {
            format!("{NAMED_DOCS_PREFIX}{}", described.name)
        };
        let data = PackageMetadata::extract(&resolve, package)
            .encode()
            .map_err(AuthoringError::component("encode the doc comments"))?;
        // A byte of version, then `{}` where there is nothing to say.
        if data.len() > 3 {
            let section = CustomSection {
                name: Cow::Owned(name),
                data: Cow::Owned(data),
            };
            section.append_to_component(&mut output);
        }
    }
    Ok(output)
}

/// Decodes a component, with the doc comments that [`embed`] put into it.
///
/// # Errors
/// When the bytes are not a component.
pub fn decode_with_docs(component: &[u8]) -> Result<(Resolve, WorldId)> {
    let (mut resolve, root) = decode(component)?;
    for section in sections(component)? {
        let Some((name, data)) = docs_in(&section) else {
            continue;
        };
        let Some(name) = name.strip_prefix(NAMED_DOCS_PREFIX) else {
            continue;
        };
        let package = resolve
            .packages
            .iter()
            .find(|(_, package)| package.name.to_string() == name);
        if let Some(package) = package.map(|(id, _)| id) {
            PackageMetadata::decode(data)
                .and_then(|docs| docs.inject(&mut resolve, package))
                .map_err(AuthoringError::component(
                    "read the component's doc comments",
                ))?;
        }
    }
    Ok((resolve, root))
}

/// Id of custom sections.
const CUSTOM: u8 = 0;

fn decode(component: &[u8]) -> Result<(Resolve, WorldId)> {
    match wit_component::decode(component).map_err(AuthoringError::component(
        "read the component that was built",
    ))? {
        DecodedWasm::Component(resolve, world) => Ok((resolve, world)),
        DecodedWasm::WitPackage(..) => Err(AuthoringError::component(
            "use the result of the build",
        )("it is a WIT package, not a component")),
    }
}

/// Whether every host has the docs of a package.
fn is_known(resolve: &Resolve, package: PackageId) -> bool {
    let name = &resolve.packages[package].name;
    name.namespace == "wasi" || format!("{}:{}", name.namespace, name.name) == AGENT_PACKAGE
}

/// Name and content of a section, if it holds docs.
fn docs_in<'a>(section: &Section<'a>) -> Option<(&'a str, &'a [u8])> {
    if section.id != CUSTOM {
        return None;
    }
    let (length, named) = leb128(section.body)?;
    let (name, data) = named.split_at_checked(length)?;
    let name = std::str::from_utf8(name).ok()?;
    (name == DOCS_SECTION || name.starts_with(NAMED_DOCS_PREFIX)).then_some((name, data))
}

/// The component without sections of docs.
fn strip(component: &[u8]) -> Result<Vec<u8>> {
    let sections = sections(component)?;
    let kept = sections.iter().filter(|section| docs_in(section).is_none());
    let header = component.len()
        - sections
            .iter()
            .map(|section| section.whole.len())
            .sum::<usize>();
    Ok(
        kept.fold(component[..header].to_vec(), |mut output, section| {
            output.extend_from_slice(section.whole);
            output
        }),
    )
}

/// Copies docs by name: from the world as it was written to the world as the component has it.
fn copy_world(from: (&Resolve, WorldId), to: (&mut Resolve, WorldId)) {
    let (source, world) = from;
    let (resolve, root) = to;
    resolve.worlds[root].docs = source.worlds[world].docs.clone();
    let (imports, exports) = (
        resolve.worlds[root].imports.clone(),
        resolve.worlds[root].exports.clone(),
    );
    for (items, written, exported) in [
        (imports, &source.worlds[world].imports, false),
        (exports, &source.worlds[world].exports, true),
    ] {
        for (key, item) in &items {
            let name = resolve.name_world_key(key);
            let same = written
                .iter()
                .find(|(key, _)| source.name_world_key(key) == name)
                .map(|(_, item)| item);
            match (item, same) {
                (WorldItem::Function(_), Some(WorldItem::Function(written))) => {
                    let world = &mut resolve.worlds[root];
                    let items = if exported {
                        &mut world.exports
                    } else {
                        &mut world.imports
                    };
                    if let Some(WorldItem::Function(function)) = items.get_mut(key) {
                        function.docs = written.docs.clone();
                    }
                }
                (
                    WorldItem::Interface { id, .. },
                    Some(WorldItem::Interface { id: written, .. }),
                ) => {
                    copy_interface((source, *written), (resolve, *id));
                }
                (WorldItem::Type { id, .. }, Some(WorldItem::Type { id: written, .. })) => {
                    copy_type((source, *written), (resolve, *id));
                }
                // The toolchain's own imports, or interfaces that only types are used of.
                (WorldItem::Interface { id, .. }, None) => {
                    if let Some(written) = interface_of_same_name(resolve, *id, source) {
                        copy_interface((source, written), (resolve, *id));
                    }
                }
                _ => {}
            }
        }
    }
}

fn interface_of_same_name(
    resolve: &Resolve,
    id: InterfaceId,
    source: &Resolve,
) -> Option<InterfaceId> {
    let name = resolve.id_of(id)?;
    source
        .interfaces
        .iter()
        .map(|(id, _)| id)
        .find(|id| source.id_of(*id).as_ref() == Some(&name))
}

fn copy_interface(from: (&Resolve, InterfaceId), to: (&mut Resolve, InterfaceId)) {
    let (source, written) = (from.0, &from.0.interfaces[from.1]);
    let (resolve, id) = to;
    let interface = &mut resolve.interfaces[id];
    interface.docs = written.docs.clone();
    for (name, function) in &mut interface.functions {
        if let Some(written) = written.functions.get(name) {
            function.docs = written.docs.clone();
        }
    }
    for (name, id) in interface.types.clone() {
        if let Some(written) = written.types.get(&name) {
            copy_type((source, *written), (resolve, id));
        }
    }
}

fn copy_type(from: (&Resolve, TypeId), to: (&mut Resolve, TypeId)) {
    let written = &from.0.types[from.1];
    let (resolve, id) = to;
    let target = &mut resolve.types[id];
    target.docs = written.docs.clone();
    match (&mut target.kind, &written.kind) {
        (TypeDefKind::Record(target), TypeDefKind::Record(written)) => {
            for (target, written) in target.fields.iter_mut().zip(&written.fields) {
                target.docs = written.docs.clone();
            }
        }
        (TypeDefKind::Flags(target), TypeDefKind::Flags(written)) => {
            for (target, written) in target.flags.iter_mut().zip(&written.flags) {
                target.docs = written.docs.clone();
            }
        }
        (TypeDefKind::Variant(target), TypeDefKind::Variant(written)) => {
            for (target, written) in target.cases.iter_mut().zip(&written.cases) {
                target.docs = written.docs.clone();
            }
        }
        (TypeDefKind::Enum(target), TypeDefKind::Enum(written)) => {
            for (target, written) in target.cases.iter_mut().zip(&written.cases) {
                target.docs = written.docs.clone();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
    use wit_parser::ManglingAndAbi;

    use super::*;

    const WIT: &str = "
        package local:demo@1.2.3;

        /// Works on text.
        interface text {
            /// What was counted.
            record counts {
                /// Lines, the last one too.
                lines: u32,
            }
            /// Counts.
            measure: func(text: string) -> counts;
        }

        /// The whole tool.
        world demo {
            export text;
            /// Says which version this is.
            export version: func() -> string;
            export inline: interface {
                /// Does nothing.
                nothing: func();
            }
        }";

    fn build() -> (Vec<u8>, Resolve, WorldId) {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("demo.wit", WIT).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
            .unwrap();
        let component = ComponentEncoder::default()
            .module(&module)
            .unwrap()
            .encode()
            .unwrap();
        (component, resolve, world)
    }

    fn function_docs(resolve: &Resolve, world: WorldId) -> Vec<(String, Option<String>)> {
        let mut docs = Vec::new();
        for item in resolve.worlds[world].exports.values() {
            match item {
                WorldItem::Function(function) => {
                    docs.push((function.name.clone(), function.docs.contents.clone()))
                }
                WorldItem::Interface { id, .. } => {
                    for function in resolve.interfaces[*id].functions.values() {
                        docs.push((function.name.clone(), function.docs.contents.clone()));
                    }
                }
                WorldItem::Type { .. } => {}
            }
        }
        docs.sort();
        docs
    }

    #[test]
    fn every_function_keeps_its_description() {
        let (component, source, world) = build();
        let (resolve, root) = decode_with_docs(&component).unwrap();
        assert!(
            function_docs(&resolve, root)
                .iter()
                .all(|(_, docs)| docs.is_none()),
            "toolchains drop docs"
        );

        let documented = embed(&component, &source, world).unwrap();
        let (resolve, root) = decode_with_docs(&documented).unwrap();
        let some = |name: &str, docs: &str| (name.to_owned(), Some(docs.to_owned()));
        assert_eq!(
            function_docs(&resolve, root),
            [
                some("measure", "Counts."),
                some("nothing", "Does nothing."),
                some("version", "Says which version this is.")
            ]
        );
        assert_eq!(
            resolve.worlds[root].docs.contents.as_deref(),
            Some("The whole tool.")
        );
        let record = resolve
            .types
            .iter()
            .find(|(_, ty)| ty.name.as_deref() == Some("counts"))
            .unwrap()
            .1;
        let TypeDefKind::Record(record) = &record.kind else {
            unreachable!("counts is a record")
        };
        assert_eq!(
            record.fields[0].docs.contents.as_deref(),
            Some("Lines, the last one too.")
        );
    }

    #[test]
    fn plain_decoders_read_the_worlds_own_functions() {
        let (component, source, world) = build();
        let documented = embed(&component, &source, world).unwrap();
        let DecodedWasm::Component(resolve, root) = wit_component::decode(&documented).unwrap()
        else {
            unreachable!("it is a component")
        };
        let docs = function_docs(&resolve, root);
        assert_eq!(docs[2].1.as_deref(), Some("Says which version this is."));
    }

    #[test]
    fn embedding_again_replaces() {
        let (component, source, world) = build();
        let once = embed(&component, &source, world).unwrap();
        assert_eq!(embed(&once, &source, world).unwrap(), once);
        assert_eq!(strip(&once).unwrap(), component);
    }
}
