//! Component values of `ringfence:agent/types.part` to content.

use bytes::Bytes;
use wasmtime::component::Val;

use super::encode::{bytes, kind, returned};
use super::error::CodecError;
use super::shape::{Case, Shape};
use crate::message::{Blob, EmbeddedResource, Part, ResourceBody};

/// Whether a shape has the structure of `part`; a name alone would let a component of a later contract,
/// or a hostile one, pass for it.
pub(super) fn is_part(shape: &Shape) -> bool {
    let Shape::Variant(variant) = shape else {
        return false;
    };
    let blob = |shape: &Shape| {
        fields(shape, |fields| {
            matches!(
                fields,
                [("mime-type", Shape::String), ("data", Shape::Bytes)]
            )
        })
    };
    let option = |shape: &Shape| matches!(shape, Shape::Option(inner) if **inner == Shape::String);
    let body = |shape: &Shape| match shape {
        Shape::Variant(body) => matches!(
            cases(body.cases.items()).as_slice(),
            [("text", Some(Shape::String)), ("bytes", Some(Shape::Bytes))]
        ),
        _ => false,
    };
    let resource = |shape: &Shape| {
        fields(shape, |fields| match fields {
            [
                ("uri", Shape::String),
                ("mime-type", media),
                ("body", content),
            ] => option(media) && body(content),
            _ => false,
        })
    };
    match cases(variant.cases.items()).as_slice() {
        [
            ("text", Some(Shape::String)),
            ("image", Some(image)),
            ("audio", Some(audio)),
            ("resource", Some(document)),
        ] => blob(image) && blob(audio) && resource(document),
        _ => false,
    }
}

fn fields(shape: &Shape, check: impl Fn(&[(&str, &Shape)]) -> bool) -> bool {
    let Shape::Record(record) = shape else {
        return false;
    };
    let pairs: Vec<_> = record
        .fields
        .iter()
        .map(|field| (field.name.wit(), &field.shape))
        .collect();
    check(&pairs)
}

fn cases(cases: &[Case]) -> Vec<(&str, Option<&Shape>)> {
    cases
        .iter()
        .map(|case| (case.name.wit(), case.shape.as_ref()))
        .collect()
}

/// One piece of content.
pub(super) fn part(val: &Val) -> Result<Part, CodecError> {
    let Val::Variant(case, Some(payload)) = val else {
        return Err(returned("a part", kind(val)));
    };
    Ok(match (case.as_str(), &**payload) {
        ("text", text) => Part::Text(string(text)?),
        ("image", image) => Part::Image(blob(image)?),
        ("audio", audio) => Part::Audio(blob(audio)?),
        ("resource", document) => Part::Resource(resource(document)?),
        (_, other) => return Err(returned("a part", kind(other))),
    })
}

fn string(val: &Val) -> Result<String, CodecError> {
    match val {
        Val::String(text) => Ok(text.clone()),
        other => Err(returned("string", kind(other))),
    }
}

fn data(val: &Val) -> Result<Bytes, CodecError> {
    Ok(bytes(val)?.into())
}

fn blob(val: &Val) -> Result<Blob, CodecError> {
    match val {
        Val::Record(fields) => match fields.as_slice() {
            [(_, media), (_, content)] => Ok(Blob {
                mime_type: string(media)?,
                data: data(content)?,
            }),
            _ => Err(returned("blob", kind(val))),
        },
        other => Err(returned("blob", kind(other))),
    }
}

fn resource(val: &Val) -> Result<EmbeddedResource, CodecError> {
    let Val::Record(fields) = val else {
        return Err(returned("embedded-resource", kind(val)));
    };
    let [(_, uri), (_, media), (_, body)] = fields.as_slice() else {
        return Err(returned("embedded-resource", kind(val)));
    };
    let mime_type = match media {
        Val::Option(media) => media.as_deref().map(string).transpose()?,
        other => return Err(returned("option", kind(other))),
    };
    let body = match body {
        Val::Variant(case, Some(payload)) if case == "text" => ResourceBody::Text(string(payload)?),
        Val::Variant(case, Some(payload)) if case == "bytes" => ResourceBody::Bytes(data(payload)?),
        other => return Err(returned("resource-body", kind(other))),
    };
    Ok(EmbeddedResource {
        uri: string(uri)?,
        mime_type,
        body,
    })
}
