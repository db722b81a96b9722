//! No JSON panics the codec, whatever the type; and what it accepts survives being given out and read
//! again.

use arbitrary::{Result, Unstructured};
use ringfence_host::function::{
    Case, Enum, ExportPath, Field, Flags, Function, Keyed, Label, Name, Outcome, Output, Record,
    Returns, Shape, Variant, arguments_to_vals, vals_to_result,
};
use serde_json::{Map, Value};

const DEPTH: usize = 6;
const MEMBERS: usize = 5;

/// Names that do not depend on the input keep the dictionary of the fuzzer small.
fn label(index: usize) -> Label {
    format!("n-{index}").into()
}

fn names(u: &mut Unstructured<'_>) -> Result<Keyed<Name>> {
    let name = |index| Name {
        name: label(index),
        doc: None,
    };
    let count = u.int_in_range(1..=MEMBERS)?;
    Ok((0..count).map(name).collect::<Vec<_>>().into())
}

fn shapes(u: &mut Unstructured<'_>, depth: usize) -> Result<Vec<Shape>> {
    let count = u.int_in_range(1..=MEMBERS)?;
    (0..count).map(|_| shape(u, depth)).collect()
}

fn maybe(u: &mut Unstructured<'_>, depth: usize) -> Result<Option<Shape>> {
    match u.arbitrary()? {
        true => shape(u, depth).map(Some),
        false => Ok(None),
    }
}

fn shape(u: &mut Unstructured<'_>, depth: usize) -> Result<Shape> {
    let kinds = if depth == 0 { 15 } else { 21 };
    let below = depth.saturating_sub(1);
    Ok(match u.int_in_range(0..=kinds)? {
        0 => Shape::Bool,
        1 => Shape::S8,
        2 => Shape::U8,
        3 => Shape::S16,
        4 => Shape::U16,
        5 => Shape::S32,
        6 => Shape::U32,
        7 => Shape::S64,
        8 => Shape::U64,
        9 => Shape::F32,
        10 => Shape::F64,
        11 => Shape::Char,
        12 => Shape::String,
        13 => Shape::Bytes,
        14 => Shape::Enum(Enum {
            doc: None,
            cases: names(u)?,
        }),
        15 => Shape::Flags(Flags {
            doc: None,
            flags: names(u)?,
        }),
        16 => Shape::List(Box::new(shape(u, below)?)),
        17 => Shape::Tuple(shapes(u, below)?),
        18 => Shape::Option(Box::new(shape(u, below)?)),
        19 => Shape::Result(Box::new(Outcome {
            ok: maybe(u, below)?,
            err: maybe(u, below)?,
        })),
        20 => {
            let field = |(index, shape)| Field {
                name: label(index),
                doc: None,
                shape,
            };
            let fields = shapes(u, below)?.into_iter().enumerate().map(field);
            Shape::Record(Record {
                doc: None,
                fields: fields.collect(),
            })
        }
        _ => {
            let mut cases = Vec::new();
            for index in 0..u.int_in_range(1..=MEMBERS)? {
                cases.push(Case {
                    name: label(index),
                    doc: None,
                    shape: maybe(u, below)?,
                });
            }
            Shape::Variant(Variant {
                doc: None,
                cases: cases.into(),
            })
        }
    })
}

fn function(shape: Shape) -> Function {
    let param = Field {
        name: "x".into(),
        doc: None,
        shape: shape.clone(),
    };
    let export = ExportPath {
        interface: None,
        function: "f".to_owned(),
    };
    let returns = Returns {
        ok: Output::Value(shape),
        failure: None,
    };
    let name = "f".parse().expect("a valid name");
    Function::new(name, String::new(), export, vec![param], returns)
}

fn object(value: Value) -> Map<String, Value> {
    Map::from_iter([("x".to_owned(), value)])
}

/// The value alone: records are given out as they are, everything else as `result`.
fn unwrapped(function: &Function, structured: Value) -> Value {
    match (&function.returns.ok, structured) {
        (Output::Value(Shape::Record(_)), value) => value,
        (_, Value::Object(mut members)) => members.remove("result").unwrap_or(Value::Null),
        (_, value) => value,
    }
}

/// Ends the bytes that say the type; no JSON holds it.
pub const TYPE_END: u8 = 0xff;

/// Reads a type, up to [`TYPE_END`], and a JSON value, and the value as that type.
pub fn arguments(bytes: &[u8]) {
    let mut halves = bytes.splitn(2, |byte| *byte == TYPE_END);
    let (Some(kind), Some(value)) = (halves.next(), halves.next()) else {
        return;
    };
    let Ok(shape) = shape(&mut Unstructured::new(kind), DEPTH) else {
        return;
    };
    let Ok(value) = serde_json::from_slice::<Value>(value) else {
        return;
    };
    let function = function(shape);
    match arguments_to_vals(&function, object(value)) {
        Err(error) => assert!(error.to_string().starts_with('/'), "{error}"),
        Ok(vals) => {
            let result = vals_to_result(&function, &vals).expect("values of their own type");
            let first = unwrapped(&function, result.structured.expect("a value"));
            let again = arguments_to_vals(&function, object(first.clone())).expect("own JSON");
            let result = vals_to_result(&function, &again).expect("values of their own type");
            assert_eq!(
                unwrapped(&function, result.structured.expect("a value")),
                first
            );
        }
    }
}
