//! Shape to JSON Schema (2020-12).

use serde_json::{Map, Value, json};

use super::shape::{Case, Enum, Field, Flags, Name, Outcome, Record, Shape, Variant};
use super::table::Output;

/// Largest integer that every JSON implementation keeps exactly.
pub(super) const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

type Object = Map<String, Value>;

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

/// Schema of the arguments of a function: one object by parameter name.
pub(super) fn arguments(params: &[Field]) -> Object {
    fields(params)
}

/// Schema of the structured value of a function that returns `output`.
pub(super) fn structured(output: &Output) -> Option<Object> {
    match output {
        Output::Value(Shape::Record(record)) => Some(of_record(record)),
        Output::Value(shape) => Some(object(json!({
            "type": "object",
            "properties": { "result": of(shape) },
            "required": if shape.is_option() { json!([]) } else { json!(["result"]) },
            "additionalProperties": false,
        }))),
        Output::Nothing | Output::Part | Output::Parts => None,
    }
}

/// Schema of a value.
pub(super) fn of(shape: &Shape) -> Object {
    match shape {
        Shape::Bool => object(json!({ "type": "boolean" })),
        Shape::S8 => integer(i8::MIN.into(), i8::MAX.into()),
        Shape::U8 => integer(0, u8::MAX.into()),
        Shape::S16 => integer(i16::MIN.into(), i16::MAX.into()),
        Shape::U16 => integer(0, u16::MAX.into()),
        Shape::S32 => integer(i32::MIN.into(), i32::MAX.into()),
        Shape::U32 => integer(0, u32::MAX.into()),
        Shape::S64 => long(json!(i64::MIN), json!(i64::MAX), "^-?[0-9]{1,20}$"),
        Shape::U64 => long(json!(0), json!(u64::MAX), "^[0-9]{1,20}$"),
        Shape::F32 | Shape::F64 => object(json!({
            "anyOf": [{ "type": "number" }, { "enum": ["NaN", "Infinity", "-Infinity"] }],
        })),
        Shape::Char => object(json!({ "type": "string", "minLength": 1, "maxLength": 1 })),
        Shape::String => object(json!({ "type": "string" })),
        Shape::Bytes => object(json!({ "type": "string", "contentEncoding": "base64" })),
        Shape::List(item) => object(json!({ "type": "array", "items": of(item) })),
        Shape::Tuple(items) => object(json!({
            "type": "array",
            "prefixItems": items.iter().map(of).collect::<Vec<_>>(),
            "items": false,
            "minItems": items.len(),
            "maxItems": items.len(),
        })),
        Shape::Record(record) => of_record(record),
        Shape::Variant(variant) => of_variant(variant),
        Shape::Enum(of) => of_enum(of),
        Shape::Flags(flags) => of_flags(flags),
        Shape::Option(inner) if inner.is_option() => {
            object(json!({ "anyOf": [{ "type": "null" }, single("some", of(inner))] }))
        }
        Shape::Option(inner) => object(json!({ "anyOf": [{ "type": "null" }, of(inner)] })),
        Shape::Result(outcome) => of_result(outcome),
    }
}

fn integer(minimum: i64, maximum: i64) -> Object {
    object(json!({ "type": "integer", "minimum": minimum, "maximum": maximum }))
}

/// 64 bits: beyond 2^53 many JSON implementations round, so a string of digits is as good.
fn long(minimum: Value, maximum: Value, pattern: &str) -> Object {
    object(json!({
        "anyOf": [
            { "type": "integer", "minimum": minimum, "maximum": maximum },
            {
                "type": "string",
                "pattern": pattern,
                "description": format!("Decimal digits, for integers beyond ±{MAX_SAFE_INTEGER}."),
            },
        ],
    }))
}

/// An object with exactly one member.
fn single(key: &str, schema: Object) -> Object {
    object(json!({
        "type": "object",
        "properties": { key: schema },
        "required": [key],
        "additionalProperties": false,
    }))
}

fn describe(schema: &mut Object, doc: Option<&str>) {
    if let Some(doc) = doc {
        schema.insert("description".to_owned(), doc.into());
    }
}

fn fields(fields: &[Field]) -> Object {
    let mut properties = Object::new();
    for field in fields {
        // An option that may be left out needs no `null` where models read, but `null` is what many
        // clients send; `of` allows both.
        let mut schema = of(&field.shape);
        describe(&mut schema, field.doc.as_deref());
        properties.insert(field.name.json().to_owned(), schema.into());
    }
    let required: Vec<_> = fields
        .iter()
        .filter(|field| !field.shape.is_option())
        .map(|field| field.name.json())
        .collect();
    object(json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    }))
}

fn of_record(record: &Record) -> Object {
    let mut schema = fields(&record.fields);
    describe(&mut schema, record.doc.as_deref());
    schema
}

fn of_variant(variant: &Variant) -> Object {
    let case = |case: &Case| {
        let mut properties = Object::new();
        properties.insert("tag".to_owned(), json!({ "const": case.name.json() }));
        let value = match &case.shape {
            Some(shape) => of(shape),
            None => object(json!({ "type": "null" })),
        };
        properties.insert("value".to_owned(), value.into());
        let needed = case.shape.as_ref().is_some_and(|shape| !shape.is_option());
        let mut schema = object(json!({
            "type": "object",
            "properties": properties,
            "required": if needed { json!(["tag", "value"]) } else { json!(["tag"]) },
            "additionalProperties": false,
        }));
        describe(&mut schema, case.doc.as_deref());
        schema
    };
    let cases: Vec<_> = variant.cases.items().iter().map(case).collect();
    let mut schema = object(json!({ "oneOf": cases }));
    describe(&mut schema, variant.doc.as_deref());
    schema
}

fn of_result(outcome: &Outcome) -> Object {
    let payload = |shape: &Option<Shape>| match shape {
        Some(shape) => of(shape),
        None => object(json!({ "type": "null" })),
    };
    object(json!({
        "oneOf": [single("ok", payload(&outcome.ok)), single("err", payload(&outcome.err))],
    }))
}

/// The doc comment of a type followed by those of its names, which JSON Schema has no place for.
fn with_names(doc: Option<&str>, names: &[Name]) -> Option<String> {
    let lines = names.iter().filter_map(|name| {
        Some(format!(
            "- `{}`: {}",
            name.name.json(),
            name.doc.as_deref()?
        ))
    });
    let text: Vec<String> = doc.map(str::to_owned).into_iter().chain(lines).collect();
    (!text.is_empty()).then(|| text.join("\n"))
}

fn of_enum(of: &Enum) -> Object {
    let names: Vec<_> = of
        .cases
        .items()
        .iter()
        .map(|case| case.name.json())
        .collect();
    let mut schema = object(json!({ "type": "string", "enum": names }));
    describe(
        &mut schema,
        with_names(of.doc.as_deref(), of.cases.items()).as_deref(),
    );
    schema
}

fn of_flags(flags: &Flags) -> Object {
    let names: Vec<_> = flags
        .flags
        .items()
        .iter()
        .map(|flag| flag.name.json())
        .collect();
    let mut schema = object(json!({
        "type": "array",
        "items": { "type": "string", "enum": names },
        "uniqueItems": true,
    }));
    describe(
        &mut schema,
        with_names(flags.doc.as_deref(), flags.flags.items()).as_deref(),
    );
    schema
}
