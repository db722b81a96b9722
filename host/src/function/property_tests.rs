//! Random types, values and JSON.

use jsonschema::Validator;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use serde_json::{Map, Number, Value, json};
use wasmtime::component::Val;

use super::codec_tests::function;
use super::encode::json as encode;
use super::shape::{Case, Enum, Field, Flags, Name, Outcome, Record, Shape, Variant};
use super::*;

fn labels(most: usize) -> impl Strategy<Value = Vec<Label>> {
    let label = "[a-z][a-z0-9]{0,3}(-[a-z][a-z0-9]{0,3}){0,2}";
    btree_set(label, 1..=most).prop_map(|names| names.into_iter().map(Label::from).collect())
}

fn names() -> impl Strategy<Value = Vec<Name>> {
    let name = |name| Name { name, doc: None };
    labels(12).prop_map(move |names| names.into_iter().map(name).collect())
}

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Bool),
        Just(Shape::S8),
        Just(Shape::U8),
        Just(Shape::S16),
        Just(Shape::U16),
        Just(Shape::S32),
        Just(Shape::U32),
        Just(Shape::S64),
        Just(Shape::U64),
        Just(Shape::F32),
        Just(Shape::F64),
        Just(Shape::Char),
        Just(Shape::String),
        Just(Shape::Bytes),
        names().prop_map(|names| Shape::Enum(Enum {
            doc: None,
            cases: names.into()
        })),
        names().prop_map(|names| Shape::Flags(Flags {
            doc: None,
            flags: names.into()
        })),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        let maybe = proptest::option::of(inner.clone());
        prop_oneof![
            // A list of bytes is `Bytes`, never this.
            inner.clone().prop_map(|item| match item {
                Shape::U8 => Shape::Bytes,
                item => Shape::List(Box::new(item)),
            }),
            vec(inner.clone(), 1..4).prop_map(Shape::Tuple),
            inner
                .clone()
                .prop_map(|inner| Shape::Option(Box::new(inner))),
            (maybe.clone(), maybe.clone())
                .prop_map(|(ok, err)| Shape::Result(Box::new(Outcome { ok, err }))),
            (labels(4), vec(inner, 4)).prop_map(|(names, shapes)| {
                let field = |(name, shape)| Field {
                    name,
                    doc: None,
                    shape,
                };
                let fields = names.into_iter().zip(shapes).map(field).collect();
                Shape::Record(Record { doc: None, fields })
            }),
            (labels(4), vec(maybe, 4)).prop_map(|(names, shapes)| {
                let case = |(name, shape)| Case {
                    name,
                    doc: None,
                    shape,
                };
                let cases: Vec<_> = names.into_iter().zip(shapes).map(case).collect();
                Shape::Variant(Variant {
                    doc: None,
                    cases: cases.into(),
                })
            }),
        ]
    })
}

fn boxed(shape: &Option<Shape>) -> BoxedStrategy<Option<Box<Val>>> {
    match shape {
        Some(shape) => val(shape).prop_map(|val| Some(Box::new(val))).boxed(),
        None => Just(None).boxed(),
    }
}

/// Values of a type.
pub(super) fn val(shape: &Shape) -> BoxedStrategy<Val> {
    match shape {
        Shape::Bool => any::<bool>().prop_map(Val::Bool).boxed(),
        Shape::S8 => any::<i8>().prop_map(Val::S8).boxed(),
        Shape::U8 => any::<u8>().prop_map(Val::U8).boxed(),
        Shape::S16 => any::<i16>().prop_map(Val::S16).boxed(),
        Shape::U16 => any::<u16>().prop_map(Val::U16).boxed(),
        Shape::S32 => any::<i32>().prop_map(Val::S32).boxed(),
        Shape::U32 => any::<u32>().prop_map(Val::U32).boxed(),
        Shape::S64 => any::<i64>().prop_map(Val::S64).boxed(),
        Shape::U64 => any::<u64>().prop_map(Val::U64).boxed(),
        Shape::F32 => proptest::num::f32::ANY.prop_map(Val::Float32).boxed(),
        Shape::F64 => proptest::num::f64::ANY.prop_map(Val::Float64).boxed(),
        Shape::Char => any::<char>().prop_map(Val::Char).boxed(),
        Shape::String => any::<String>().prop_map(Val::String).boxed(),
        Shape::Bytes => vec(any::<u8>().prop_map(Val::U8), 0..20)
            .prop_map(Val::List)
            .boxed(),
        Shape::List(item) => vec(val(item), 0..4).prop_map(Val::List).boxed(),
        Shape::Tuple(items) => items
            .iter()
            .map(val)
            .collect::<Vec<_>>()
            .prop_map(Val::Tuple)
            .boxed(),
        Shape::Record(record) => {
            let names: Vec<_> = record
                .fields
                .iter()
                .map(|field| field.name.wit().to_owned())
                .collect();
            let vals: Vec<_> = record
                .fields
                .iter()
                .map(|field| val(&field.shape))
                .collect();
            vals.prop_map(move |vals| Val::Record(names.iter().cloned().zip(vals).collect()))
                .boxed()
        }
        Shape::Variant(variant) => {
            let cases = variant.cases.items().iter().map(|case| {
                let name = case.name.wit().to_owned();
                boxed(&case.shape)
                    .prop_map(move |val| Val::Variant(name.clone(), val))
                    .boxed()
            });
            proptest::strategy::Union::new(cases).boxed()
        }
        Shape::Enum(of) => {
            let names: Vec<_> = of
                .cases
                .items()
                .iter()
                .map(|case| case.name.wit().to_owned())
                .collect();
            proptest::sample::select(names).prop_map(Val::Enum).boxed()
        }
        Shape::Flags(flags) => {
            let names: Vec<_> = flags
                .flags
                .items()
                .iter()
                .map(|flag| flag.name.wit().to_owned())
                .collect();
            let most = names.len();
            proptest::sample::subsequence(names, 0..=most)
                .prop_map(Val::Flags)
                .boxed()
        }
        Shape::Option(inner) => prop_oneof![
            Just(Val::Option(None)),
            val(inner).prop_map(|val| Val::Option(Some(Box::new(val)))),
        ]
        .boxed(),
        Shape::Result(outcome) => prop_oneof![
            boxed(&outcome.ok).prop_map(|val| Val::Result(Ok(val))),
            boxed(&outcome.err).prop_map(|val| Val::Result(Err(val))),
        ]
        .boxed(),
    }
}

fn shape_and_val() -> impl Strategy<Value = (Shape, Val)> {
    shape().prop_flat_map(|shape| {
        let val = val(&shape);
        (Just(shape), val)
    })
}

/// Any JSON, with words that the codec knows among its keys and strings.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("tag".to_owned()),
        Just("value".to_owned()),
        Just("some".to_owned()),
        Just("ok".to_owned()),
        Just("err".to_owned()),
        Just("NaN".to_owned()),
        "[a-c]{1,2}",
        any::<String>(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-300i32..300).prop_map(Value::from),
        proptest::num::f64::ANY
            .prop_map(|n| Number::from_f64(n).map_or(Value::Null, Value::Number)),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((word.clone(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn arguments(value: Value) -> Map<String, Value> {
    Map::from_iter([("the_arg".to_owned(), value)])
}

fn validator(schema: &Map<String, Value>) -> Validator {
    jsonschema::draft202012::new(&Value::Object(schema.clone())).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn values_survive_json_and_fit_the_schemas((shape, val) in shape_and_val()) {
        let function = function(shape.clone(), Output::Value(shape.clone()));
        let value = encode(&shape, &val).unwrap();
        // Through text, as a client sees it.
        let value: Value = serde_json::from_str(&value.to_string()).unwrap();
        let object = Value::Object(arguments(value.clone()));
        prop_assert!(validator(&function.input_schema).is_valid(&object), "{object}");
        let back = arguments_to_vals(&function, arguments(value.clone())).unwrap();
        // NaN is not itself, so that values are compared as JSON.
        prop_assert_eq!(encode(&shape, &back[0]).unwrap(), value);
        let result = vals_to_result(&function, &[val]).unwrap();
        let schema = function.output_schema.as_deref().unwrap();
        let structured = result.structured.unwrap();
        prop_assert!(validator(schema).is_valid(&structured), "{structured}");
        prop_assert_eq!(&schema["type"], &json!("object"));
    }

    #[test]
    fn no_json_panics_and_what_is_accepted_fits_the_schema(shape in shape(), value in any_json()) {
        let function = function(shape, Output::Nothing);
        let object = Value::Object(arguments(value.clone()));
        let schema = validator(&function.input_schema);
        match arguments_to_vals(&function, arguments(value)) {
            // Padding of base64 and such is the only thing that a schema cannot say.
            Ok(_) => prop_assert!(schema.is_valid(&object), "{}", object),
            Err(error) => prop_assert!(error.to_string().starts_with('/')),
        }
    }

    #[test]
    fn tables_survive_being_stored(shape in shape()) {
        let table: FunctionTable = [function(shape.clone(), Output::Value(shape))].into_iter().collect();
        let stored = serde_json::to_vec(&table).unwrap();
        prop_assert_eq!(serde_json::from_slice::<FunctionTable>(&stored).unwrap(), table);
    }
}
