//! Reads and edits the top level of a component's binary format.

use wasm_encoder::{ComponentSection as _, ComponentSectionId, RawSection};
use wasmparser::{BinaryReader, ComponentExportSectionReader, ComponentExternalKind};

use crate::authoring::error::{AuthoringError, Result};

/// One section: after eight bytes of header, a binary is a row of them.
pub(super) struct Section<'a> {
    /// What kind of section.
    pub(super) id: u8,
    /// Its content.
    pub(super) body: &'a [u8],
    /// All its bytes: id, length and content.
    pub(super) whole: &'a [u8],
}

const HEADER: usize = 8;

/// The sections of a component, those of nested components and modules left within theirs.
///
/// # Errors
/// When a section ends before its length.
pub(super) fn sections(component: &[u8]) -> Result<Vec<Section<'_>>> {
    let truncated = || {
        AuthoringError::component("read the component that was built")(
            "a section ends before its length",
        )
    };
    let mut found = Vec::new();
    let mut rest = component.get(HEADER..).ok_or_else(truncated)?;
    while let Some((&id, after_id)) = rest.split_first() {
        let (length, body) = leb128(after_id).ok_or_else(truncated)?;
        let (body, after) = body.split_at_checked(length).ok_or_else(truncated)?;
        found.push(Section {
            id,
            body,
            whole: &rest[..rest.len() - after.len()],
        });
        rest = after;
    }
    Ok(found)
}

/// An unsigned 32-bit number in LEB128, and what follows it.
pub(super) fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[index + 1..]));
        }
    }
    None
}

/// Takes away the instances that a component exports beside those in `wanted`.
///
/// Each export also gives the exported instance a new index, which what follows may count on; an empty
/// instance takes it instead.
///
/// # Errors
/// When the bytes are not a component.
pub(super) fn keep_exports(component: &[u8], wanted: &[String]) -> Result<Vec<u8>> {
    // One instance, made of a list of no exports.
    const EMPTY_INSTANCE: RawSection<'_> = RawSection {
        id: ComponentSectionId::Instance as u8,
        data: &[1, 1, 0],
    };
    let unreadable = || AuthoringError::component("read the component that was built");
    let mut output = component.get(..HEADER).unwrap_or_default().to_vec();
    for section in sections(component)? {
        if section.id != ComponentSectionId::Export as u8 {
            output.extend_from_slice(section.whole);
            continue;
        }
        let reader = ComponentExportSectionReader::new(BinaryReader::new(section.body, 0))
            .map_err(unreadable())?;
        let exports: Vec<_> = reader
            .into_iter_with_offsets()
            .collect::<std::result::Result<_, _>>()
            .map_err(unreadable())?;
        for (index, (start, export)) in exports.iter().enumerate() {
            let unwanted = export.kind == ComponentExternalKind::Instance
                && !wanted.iter().any(|name| name == export.name.name);
            if unwanted {
                EMPTY_INSTANCE.append_to_component(&mut output);
                continue;
            }
            let end = exports
                .get(index + 1)
                .map_or(section.body.len(), |(next, _)| *next);
            let mut data = vec![1];
            data.extend_from_slice(&section.body[*start..end]);
            RawSection {
                id: section.id,
                data: &data,
            }
            .append_to_component(&mut output);
        }
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
    use wit_parser::{ManglingAndAbi, Resolve};

    use super::*;
    use crate::authoring::build::docs::decode_with_docs;

    fn component() -> Vec<u8> {
        let mut resolve = Resolve::default();
        let wit = "package local:demo;
            interface a { one: func(); }
            interface b { record r { x: u32 } two: func() -> r; }
            world demo {
                export a;
                export exports: interface { init: func(); }
                export b;
            }";
        let package = resolve.push_str("demo.wit", wit).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
            .unwrap();
        ComponentEncoder::default()
            .module(&module)
            .unwrap()
            .encode()
            .unwrap()
    }

    fn exports(component: &[u8]) -> Vec<String> {
        let (resolve, world) = decode_with_docs(component).unwrap();
        resolve.worlds[world]
            .exports
            .keys()
            .map(|key| resolve.name_world_key(key))
            .collect()
    }

    #[test]
    fn only_unwanted_instances_go_and_the_rest_stays_valid() {
        let wanted = ["local:demo/a".to_owned(), "local:demo/b".to_owned()];
        let component = component();
        assert_eq!(exports(&component).len(), 3);
        let kept = keep_exports(&component, &wanted).unwrap();
        let mut names = exports(&kept);
        names.sort();
        assert_eq!(names, wanted);
    }

    #[test]
    fn sections_cover_the_whole_component_and_truncation_is_an_error() {
        let component = component();
        let length: usize = sections(&component)
            .unwrap()
            .iter()
            .map(|section| section.whole.len())
            .sum();
        assert_eq!(HEADER + length, component.len());
        assert!(sections(&component[..component.len() - 1]).is_err());
        assert!(sections(&component[..4]).is_err());
    }
}
