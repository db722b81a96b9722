//! Component values to JSON and content.

use base64::Engine as _;
use serde_json::{Map, Number, Value};
use wasmtime::component::Val;

use super::decode::BASE64;
use super::error::{CodecError, Fault};
use super::part::part;
use super::result::FunctionResult;
use super::schema::MAX_SAFE_INTEGER;
use super::shape::{Outcome, Shape};
use super::table::{Function, Output};
use crate::message::Part;

/// What the values that a call left behind mean.
///
/// # Errors
/// Where the values do not fit the function's type, which a component of that type cannot bring about.
pub fn vals_to_result(function: &Function, vals: &[Val]) -> Result<FunctionResult, CodecError> {
    let returns = &function.returns;
    let val = match (vals, &returns.failure) {
        ([Val::Result(Err(payload))], Some(failure)) => {
            return failed(failure.shape.as_ref(), payload.as_deref());
        }
        ([Val::Result(Ok(payload))], Some(_)) => payload.as_deref(),
        ([val], None) => Some(val),
        ([], None) => None,
        _ => return Err(returned("another number of results", "these")),
    };
    succeeded(&returns.ok, val)
}

fn succeeded(output: &Output, val: Option<&Val>) -> Result<FunctionResult, CodecError> {
    let content = match (output, val) {
        (Output::Nothing, None) => Vec::new(),
        (Output::Part, Some(val)) => vec![part(val)?],
        (Output::Parts, Some(Val::List(vals))) => {
            let indexed = vals.iter().enumerate();
            indexed
                .map(|(index, val)| part(val).map_err(|error| error.index(index)))
                .collect::<Result<_, _>>()?
        }
        (Output::Value(shape), Some(val)) => return structured(shape, val),
        (_, Some(val)) => return Err(returned("another result", kind(val))),
        (_, None) => return Err(returned("a result", "nothing")),
    };
    Ok(FunctionResult {
        content,
        structured: None,
        is_error: false,
    })
}

fn structured(shape: &Shape, val: &Val) -> Result<FunctionResult, CodecError> {
    let value = json(shape, val)?;
    let content = vec![Part::Text(text(&value))];
    let structured = match (shape, value) {
        (Shape::Record(_), value) => value,
        (_, value) => Value::Object(Map::from_iter([("result".to_owned(), value)])),
    };
    Ok(FunctionResult {
        content,
        structured: Some(structured),
        is_error: false,
    })
}

fn failed(shape: Option<&Shape>, val: Option<&Val>) -> Result<FunctionResult, CodecError> {
    match (shape, val) {
        (Some(shape), Some(val)) => Ok(FunctionResult::error(text(&json(shape, val)?))),
        (None, None) => Ok(FunctionResult::error("failed without a reason")),
        (_, Some(val)) => Err(returned("an error without a value", kind(val))),
        (_, None) => Err(returned("an error", "nothing")),
    }
}

/// A string as it is, anything else as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A component value as JSON.
pub(super) fn json(shape: &Shape, val: &Val) -> Result<Value, CodecError> {
    Ok(match (shape, val) {
        (Shape::Bool, Val::Bool(value)) => Value::Bool(*value),
        (Shape::S8, Val::S8(n)) => (*n).into(),
        (Shape::U8, Val::U8(n)) => (*n).into(),
        (Shape::S16, Val::S16(n)) => (*n).into(),
        (Shape::U16, Val::U16(n)) => (*n).into(),
        (Shape::S32, Val::S32(n)) => (*n).into(),
        (Shape::U32, Val::U32(n)) => (*n).into(),
        (Shape::S64, Val::S64(n)) if n.unsigned_abs() > MAX_SAFE_INTEGER => n.to_string().into(),
        (Shape::S64, Val::S64(n)) => (*n).into(),
        (Shape::U64, Val::U64(n)) if *n > MAX_SAFE_INTEGER => n.to_string().into(),
        (Shape::U64, Val::U64(n)) => (*n).into(),
        (Shape::F32, Val::Float32(n)) => float(shortest(*n)),
        (Shape::F64, Val::Float64(n)) => float(*n),
        (Shape::Char, Val::Char(char)) => char.to_string().into(),
        (Shape::String, Val::String(text)) => text.as_str().into(),
        (Shape::Bytes, val) => BASE64.encode(bytes(val)?).into(),
        (Shape::List(item), Val::List(vals)) => array(vals, |_| Some(item))?,
        (Shape::Tuple(items), Val::Tuple(vals)) if vals.len() == items.len() => {
            array(vals, |index| items.get(index))?
        }
        (Shape::Record(record), Val::Record(vals)) if vals.len() == record.fields.len() => {
            let mut members = Map::with_capacity(vals.len());
            for (field, (_, val)) in record.fields.iter().zip(vals) {
                if field.shape.is_option() && matches!(val, Val::Option(None)) {
                    continue;
                }
                let key = field.name.json();
                let value = json(&field.shape, val).map_err(|error| error.key(key))?;
                members.insert(key.to_owned(), value);
            }
            Value::Object(members)
        }
        (Shape::Variant(variant), Val::Variant(name, payload)) => {
            let Some(case) = variant.cases.by_wit(name) else {
                return Err(returned("a case of its variant", "an unknown one"));
            };
            let mut members = Map::with_capacity(2);
            members.insert("tag".to_owned(), case.name.json().into());
            match (&case.shape, payload.as_deref()) {
                (None, None) | (Some(Shape::Option(_)), Some(Val::Option(None))) => {}
                (shape, val) => {
                    let value = payload_json("value", shape.as_ref(), val)?;
                    members.insert("value".to_owned(), value);
                }
            }
            Value::Object(members)
        }
        (Shape::Enum(of), Val::Enum(name)) => match of.cases.by_wit(name) {
            Some(case) => case.name.json().into(),
            None => return Err(returned("a case of its enum", "an unknown one")),
        },
        (Shape::Flags(flags), Val::Flags(names)) => {
            let name = |name: &String| match flags.flags.by_wit(name) {
                Some(flag) => Ok(Value::from(flag.name.json())),
                None => Err(returned("its flags", "an unknown one")),
            };
            Value::Array(names.iter().map(name).collect::<Result<_, _>>()?)
        }
        (Shape::Option(_), Val::Option(None)) => Value::Null,
        (Shape::Option(inner), Val::Option(Some(val))) if inner.is_option() => {
            object("some", payload_json("some", Some(inner), Some(val))?)
        }
        (Shape::Option(inner), Val::Option(Some(val))) => json(inner, val)?,
        (Shape::Result(outcome), Val::Result(result)) => result_json(outcome, result)?,
        (shape, val) => return Err(returned(wit_name(shape), kind(val))),
    })
}

fn object(key: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(key.to_owned(), value)]))
}

fn array<'a>(
    vals: &[Val],
    shape: impl Fn(usize) -> Option<&'a Shape>,
) -> Result<Value, CodecError> {
    let mut values = Vec::with_capacity(vals.len());
    for (index, val) in vals.iter().enumerate() {
        let Some(shape) = shape(index) else { break };
        values.push(json(shape, val).map_err(|error| error.index(index))?);
    }
    Ok(Value::Array(values))
}

fn payload_json(key: &str, shape: Option<&Shape>, val: Option<&Val>) -> Result<Value, CodecError> {
    match (shape, val) {
        (Some(shape), Some(val)) => json(shape, val).map_err(|error| error.key(key)),
        (None, None) => Ok(Value::Null),
        (_, Some(val)) => Err(returned("no value", kind(val)).key(key)),
        (_, None) => Err(returned("a value", "nothing").key(key)),
    }
}

fn result_json(
    outcome: &Outcome,
    result: &Result<Option<Box<Val>>, Option<Box<Val>>>,
) -> Result<Value, CodecError> {
    let (key, shape, val) = match result {
        Ok(val) => ("ok", &outcome.ok, val),
        Err(val) => ("err", &outcome.err, val),
    };
    Ok(object(
        key,
        payload_json(key, shape.as_ref(), val.as_deref())?,
    ))
}

fn float(n: f64) -> Value {
    match Number::from_f64(n) {
        Some(number) => Value::Number(number),
        None if n.is_nan() => "NaN".into(),
        None if n > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}

/// The 64-bit float with the fewest digits that is read back as `n`: 0.1, not 0.10000000149011612.
fn shortest(n: f32) -> f64 {
    let wide = f64::from(n);
    if !n.is_finite() || n.fract() == 0.0 {
        return wide;
    }
    #[allow(clippy::cast_possible_truncation)] // to see whether it is read back
    match format!("{n:e}").parse::<f64>() {
        Ok(short) if short as f32 == n => short,
        _ => wide,
    }
}

/// The bytes of a `list<u8>`.
pub(super) fn bytes(val: &Val) -> Result<Vec<u8>, CodecError> {
    let Val::List(vals) = val else {
        return Err(returned("list<u8>", kind(val)));
    };
    let byte = |val: &Val| match val {
        Val::U8(byte) => Ok(*byte),
        other => Err(returned("u8", kind(other))),
    };
    vals.iter().map(byte).collect()
}

pub(super) fn returned(expected: &'static str, found: &'static str) -> CodecError {
    Fault::Returned {
        expected: expected.into(),
        found,
    }
    .into()
}

fn wit_name(shape: &Shape) -> &'static str {
    match shape {
        Shape::Bool => "bool",
        Shape::S8 => "s8",
        Shape::U8 => "u8",
        Shape::S16 => "s16",
        Shape::U16 => "u16",
        Shape::S32 => "s32",
        Shape::U32 => "u32",
        Shape::S64 => "s64",
        Shape::U64 => "u64",
        Shape::F32 => "f32",
        Shape::F64 => "f64",
        Shape::Char => "char",
        Shape::String => "string",
        Shape::Bytes => "list<u8>",
        Shape::List(_) => "list",
        Shape::Tuple(_) => "tuple",
        Shape::Record(_) => "record",
        Shape::Variant(_) => "variant",
        Shape::Enum(_) => "enum",
        Shape::Flags(_) => "flags",
        Shape::Option(_) => "option",
        Shape::Result(_) => "result",
    }
}

/// The kind of a component value, in WIT's words.
pub(super) fn kind(val: &Val) -> &'static str {
    match val {
        Val::Bool(_) => "bool",
        Val::S8(_) => "s8",
        Val::U8(_) => "u8",
        Val::S16(_) => "s16",
        Val::U16(_) => "u16",
        Val::S32(_) => "s32",
        Val::U32(_) => "u32",
        Val::S64(_) => "s64",
        Val::U64(_) => "u64",
        Val::Float32(_) => "f32",
        Val::Float64(_) => "f64",
        Val::Char(_) => "char",
        Val::String(_) => "string",
        Val::List(_) => "list",
        Val::Map(_) => "map",
        Val::Record(_) => "record",
        Val::Tuple(_) => "tuple",
        Val::Variant(..) => "variant",
        Val::Enum(_) => "enum",
        Val::Option(_) => "option",
        Val::Result(_) => "result",
        Val::Flags(_) => "flags",
        Val::Resource(_) => "resource",
        Val::Future(_) => "future",
        Val::Stream(_) => "stream",
        Val::ErrorContext(_) => "error-context",
        Val::FixedLengthList(_) => "fixed-length list",
    }
}
