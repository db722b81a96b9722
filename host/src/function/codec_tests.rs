//! One test per WIT type, against the JSON that the module's page promises.

use serde_json::{Value, json};
use wasmtime::component::Val;

use super::shape::{Case, Enum, Field, Flags, Name, Outcome, Record, Shape, Variant};
use super::*;
use crate::message::{Blob, EmbeddedResource, Part, ResourceBody};

pub(super) fn function(shape: Shape, output: Output) -> Function {
    Function::new(
        "f".parse().unwrap(),
        String::new(),
        ExportPath {
            interface: None,
            function: "f".to_owned(),
        },
        vec![field("the-arg", shape)],
        Returns {
            ok: output,
            failure: None,
        },
    )
}

fn field(name: &str, shape: Shape) -> Field {
    Field {
        name: name.into(),
        doc: None,
        shape,
    }
}

fn names(names: &[&str]) -> Keyed<Name> {
    let name = |name: &&str| Name {
        name: (*name).into(),
        doc: None,
    };
    names.iter().map(name).collect::<Vec<_>>().into()
}

fn option(shape: Shape) -> Shape {
    Shape::Option(Box::new(shape))
}

fn decode(shape: &Shape, value: Value) -> Result<Val, CodecError> {
    let function = function(shape.clone(), Output::Nothing);
    let Value::Object(arguments) = json!({ "the_arg": value }) else {
        unreachable!()
    };
    arguments_to_vals(&function, arguments).map(|mut vals| vals.remove(0))
}

fn encode(shape: &Shape, val: &Val) -> Value {
    super::encode::json(shape, val).unwrap()
}

/// `value` is read as `val`, and given out as `value` again.
#[track_caller]
fn same(shape: &Shape, value: Value, val: Val) {
    assert_eq!(decode(shape, value.clone()).as_ref(), Ok(&val));
    assert_eq!(encode(shape, &val), value);
}

#[track_caller]
fn refused(shape: &Shape, value: Value, message: &str) {
    assert_eq!(decode(shape, value).unwrap_err().to_string(), message);
}

#[test]
fn bools_strings_and_chars() {
    same(&Shape::Bool, json!(true), Val::Bool(true));
    same(
        &Shape::String,
        json!("a\u{0}é"),
        Val::String("a\u{0}é".into()),
    );
    same(&Shape::Char, json!("𝄞"), Val::Char('𝄞'));
    refused(
        &Shape::Bool,
        json!("true"),
        "/the_arg: expected true or false, found the string \"true\"",
    );
    refused(
        &Shape::Char,
        json!("ab"),
        "/the_arg: expected a string of one character, found the string \"ab\"",
    );
    refused(
        &Shape::Char,
        json!(""),
        "/the_arg: expected a string of one character, found the string \"\"",
    );
    refused(
        &Shape::String,
        json!(null),
        "/the_arg: expected a string, found null",
    );
}

#[test]
fn small_integers_are_range_checked() {
    same(&Shape::S8, json!(-128), Val::S8(-128));
    same(&Shape::U8, json!(255), Val::U8(255));
    same(&Shape::S16, json!(-32768), Val::S16(i16::MIN));
    same(&Shape::U16, json!(65535), Val::U16(u16::MAX));
    same(&Shape::S32, json!(i32::MIN), Val::S32(i32::MIN));
    same(&Shape::U32, json!(u32::MAX), Val::U32(u32::MAX));
    assert_eq!(decode(&Shape::U8, json!(5.0)), Ok(Val::U8(5)));
    refused(
        &Shape::U8,
        json!(256),
        "/the_arg: expected an integer from 0 to 255, found 256",
    );
    refused(
        &Shape::U8,
        json!(-1),
        "/the_arg: expected an integer from 0 to 255, found -1",
    );
    refused(
        &Shape::S8,
        json!(1.5),
        "/the_arg: expected an integer from -128 to 127, found 1.5",
    );
    refused(
        &Shape::U32,
        json!("5"),
        "/the_arg: expected an integer from 0 to 4294967295, found the string \"5\"",
    );
}

#[test]
fn integers_of_64_bits_are_exact() {
    let safe = (1u64 << 53) - 1;
    same(&Shape::U64, json!(safe), Val::U64(safe));
    same(&Shape::U64, json!("9007199254740992"), Val::U64(safe + 1));
    same(
        &Shape::U64,
        json!("18446744073709551615"),
        Val::U64(u64::MAX),
    );
    same(
        &Shape::S64,
        json!("-9223372036854775808"),
        Val::S64(i64::MIN),
    );
    same(&Shape::S64, json!(-5), Val::S64(-5));
    assert_eq!(decode(&Shape::U64, json!(u64::MAX)), Ok(Val::U64(u64::MAX)));
    assert_eq!(decode(&Shape::S64, json!(i64::MIN)), Ok(Val::S64(i64::MIN)));
    assert_eq!(decode(&Shape::U64, json!("007")), Ok(Val::U64(7)));
    for bad in [
        json!("18446744073709551616"),
        json!("-1"),
        json!("+1"),
        json!("1e3"),
        json!(" 1"),
        json!(""),
        json!(1e19),
        json!(1.5),
        json!("9".repeat(100_000)),
    ] {
        assert!(decode(&Shape::U64, bad).is_err());
    }
}

#[test]
fn floats_have_names_for_what_json_lacks() {
    same(&Shape::F64, json!(0.1), Val::Float64(0.1));
    same(&Shape::F64, json!("Infinity"), Val::Float64(f64::INFINITY));
    same(
        &Shape::F32,
        json!("-Infinity"),
        Val::Float32(f32::NEG_INFINITY),
    );
    same(&Shape::F32, json!(0.1), Val::Float32(0.1));
    same(&Shape::F32, json!(1.0e-45), Val::Float32(f32::from_bits(1)));
    let Ok(Val::Float64(nan)) = decode(&Shape::F64, json!("NaN")) else {
        panic!("not a float")
    };
    assert!(nan.is_nan());
    assert_eq!(encode(&Shape::F32, &Val::Float32(f32::NAN)), json!("NaN"));
    assert_eq!(decode(&Shape::F64, json!(3)), Ok(Val::Float64(3.0)));
    refused(
        &Shape::F32,
        json!(1e39),
        "/the_arg: expected a number that a 32-bit float can hold, found 1e+39",
    );
    assert!(decode(&Shape::F64, json!("nan")).is_err());
}

#[test]
fn bytes_are_base64() {
    let bytes = |bytes: &[u8]| Val::List(bytes.iter().copied().map(Val::U8).collect());
    same(&Shape::Bytes, json!("AP8="), bytes(&[0, 255]));
    same(&Shape::Bytes, json!(""), bytes(&[]));
    assert_eq!(decode(&Shape::Bytes, json!("AP8")), Ok(bytes(&[0, 255])));
    refused(
        &Shape::Bytes,
        json!("A"),
        "/the_arg: expected a base64 string, found the string \"A\"",
    );
    refused(
        &Shape::Bytes,
        json!([1]),
        "/the_arg: expected a base64 string, found an array of 1",
    );
}

#[test]
fn lists_and_tuples_are_arrays() {
    let list = Shape::List(Box::new(Shape::U16));
    same(
        &list,
        json!([1, 2]),
        Val::List(vec![Val::U16(1), Val::U16(2)]),
    );
    refused(
        &list,
        json!([1, "x"]),
        "/the_arg/1: expected an integer from 0 to 65535, found the string \"x\"",
    );
    let tuple = Shape::Tuple(vec![Shape::Bool, Shape::String]);
    same(
        &tuple,
        json!([true, "x"]),
        Val::Tuple(vec![Val::Bool(true), Val::String("x".into())]),
    );
    refused(
        &tuple,
        json!([true]),
        "/the_arg: expected an array of exactly 2, found an array of 1",
    );
}

fn point() -> Shape {
    Shape::Record(Record {
        doc: None,
        fields: vec![
            field("x-axis", Shape::S32),
            field("label", option(Shape::String)),
        ],
    })
}

#[test]
fn records_are_objects_and_their_options_may_be_left_out() {
    let val = |label: Option<&str>| {
        Val::Record(vec![
            ("x-axis".into(), Val::S32(1)),
            (
                "label".into(),
                Val::Option(label.map(|text| Box::new(Val::String(text.into())))),
            ),
        ])
    };
    same(
        &point(),
        json!({ "x_axis": 1, "label": "a" }),
        val(Some("a")),
    );
    same(&point(), json!({ "x_axis": 1 }), val(None));
    assert_eq!(
        decode(&point(), json!({ "label": null, "x_axis": 1 })),
        Ok(val(None))
    );
    refused(
        &point(),
        json!({}),
        "/the_arg/x_axis: missing; expected an integer",
    );
    refused(
        &point(),
        json!({ "x_axis": 1, "a/b": 1 }),
        "/the_arg/a~1b: unknown; expected one of `x_axis`, `label`",
    );
    refused(
        &point(),
        json!({ "x-axis": 1 }),
        "/the_arg/x_axis: missing; expected an integer",
    );
}

#[test]
fn variants_have_a_tag_and_a_value() {
    let case = |name: &str, shape: Option<Shape>| Case {
        name: name.into(),
        doc: None,
        shape,
    };
    let shape = Shape::Variant(Variant {
        doc: None,
        cases: vec![
            case("no-thing", None),
            case("some-thing", Some(Shape::U8)),
            case("per-haps", Some(option(Shape::U8))),
        ]
        .into(),
    });
    same(
        &shape,
        json!({ "tag": "no_thing" }),
        Val::Variant("no-thing".into(), None),
    );
    same(
        &shape,
        json!({ "tag": "some_thing", "value": 1 }),
        Val::Variant("some-thing".into(), Some(Box::new(Val::U8(1)))),
    );
    same(
        &shape,
        json!({ "tag": "per_haps" }),
        Val::Variant("per-haps".into(), Some(Box::new(Val::Option(None)))),
    );
    refused(
        &shape,
        json!({ "tag": "x" }),
        "/the_arg/tag: expected one of `no_thing`, `some_thing`, `per_haps`, found the string \"x\"",
    );
    refused(
        &shape,
        json!({ "tag": "some_thing" }),
        "/the_arg/value: missing; expected an integer",
    );
    refused(
        &shape,
        json!({ "tag": "no_thing", "value": 1 }),
        "/the_arg/value: expected no value with `no_thing`, found 1",
    );
    refused(
        &shape,
        json!({ "tag": "no_thing", "more": 1 }),
        "/the_arg/more: unknown; expected `tag` and `value`",
    );
    assert!(decode(&shape, json!({ "value": 1 })).is_err());
}

#[test]
fn enums_are_strings_and_flags_arrays_of_them() {
    let of = Shape::Enum(Enum {
        doc: None,
        cases: names(&["dark-red", "blue"]),
    });
    same(&of, json!("dark_red"), Val::Enum("dark-red".into()));
    refused(
        &of,
        json!("dark-red"),
        "/the_arg: expected one of `dark_red`, `blue`, found the string \"dark-red\"",
    );
    let flags = Shape::Flags(Flags {
        doc: None,
        flags: names(&["can-read", "can-write"]),
    });
    same(
        &flags,
        json!(["can_read", "can_write"]),
        Val::Flags(vec!["can-read".into(), "can-write".into()]),
    );
    same(&flags, json!([]), Val::Flags(vec![]));
    assert_eq!(
        decode(&flags, json!(["can_write", "can_read"])),
        Ok(Val::Flags(vec!["can-read".into(), "can-write".into()]))
    );
    refused(
        &flags,
        json!(["can_read", "can_read"]),
        "/the_arg/1: expected each flag at most once, found the string \"can_read\"",
    );
}

#[test]
fn nested_options_are_unambiguous() {
    let twice = option(option(Shape::U8));
    let some = |val| Val::Option(Some(Box::new(val)));
    same(&twice, json!(null), Val::Option(None));
    same(&twice, json!({ "some": null }), some(Val::Option(None)));
    same(&twice, json!({ "some": 1 }), some(some(Val::U8(1))));
    let thrice = option(twice.clone());
    same(
        &thrice,
        json!({ "some": { "some": null } }),
        some(some(Val::Option(None))),
    );
    refused(
        &twice,
        json!(1),
        "/the_arg: expected an object with just `some`, found 1",
    );
    refused(
        &twice,
        json!({ "some": "x" }),
        "/the_arg/some: expected an integer from 0 to 255, found the string \"x\"",
    );
    same(
        &Shape::List(Box::new(option(Shape::U8))),
        json!([null, 1]),
        Val::List(vec![Val::Option(None), some(Val::U8(1))]),
    );
}

#[test]
fn nested_results_are_ok_or_err() {
    let shape = Shape::Result(Box::new(Outcome {
        ok: Some(Shape::U8),
        err: None,
    }));
    same(
        &shape,
        json!({ "ok": 1 }),
        Val::Result(Ok(Some(Box::new(Val::U8(1))))),
    );
    same(&shape, json!({ "err": null }), Val::Result(Err(None)));
    for bad in [
        json!({}),
        json!({ "ok": 1, "err": null }),
        json!({ "err": 1 }),
        json!({ "ok": null }),
        json!(1),
    ] {
        assert!(decode(&shape, bad).is_err());
    }
}

#[test]
fn arguments_are_complete_and_known() {
    let function = function(Shape::U8, Output::Nothing);
    let Value::Object(more) = json!({ "the_arg": 1, "other": 2 }) else {
        unreachable!()
    };
    let error = arguments_to_vals(&function, more).unwrap_err();
    assert_eq!(error.to_string(), "/other: unknown; expected `the_arg`");
    let error = arguments_to_vals(&function, serde_json::Map::new()).unwrap_err();
    assert_eq!(error.to_string(), "/the_arg: missing; expected an integer");
}

#[test]
fn small_json_cannot_become_large_values() {
    let wide = Shape::Record(Record {
        doc: None,
        fields: (0..1000)
            .map(|n| field(&format!("f{n}"), option(Shape::U8)))
            .collect(),
    });
    let list = Shape::List(Box::new(wide));
    let error = decode(&list, Value::Array(vec![json!({}); 10_000])).unwrap_err();
    assert!(matches!(error.fault, Fault::TooLarge { .. }), "{error}");
}

#[test]
fn results_are_objects_with_text_beside_them() {
    let value = |shape: Shape, val: Val| {
        vals_to_result(&function(Shape::Bool, Output::Value(shape)), &[val]).unwrap()
    };
    let result = value(Shape::String, Val::String("hi".into()));
    assert_eq!(result.structured, Some(json!({ "result": "hi" })));
    assert_eq!(result.content, [Part::Text("hi".into())]);
    let record = Val::Record(vec![
        ("x-axis".into(), Val::S32(1)),
        ("label".into(), Val::Option(None)),
    ]);
    let result = value(point(), record);
    assert_eq!(result.structured, Some(json!({ "x_axis": 1 })));
    assert_eq!(result.content, [Part::Text("{\"x_axis\":1}".into())]);
    let nothing = vals_to_result(&function(Shape::Bool, Output::Nothing), &[]).unwrap();
    assert_eq!(nothing, FunctionResult::default());
}

#[test]
fn an_err_is_an_error_and_never_structured() {
    let mut function = function(Shape::Bool, Output::Value(Shape::U8));
    function.returns.failure = Some(Failure {
        shape: Some(Shape::String),
    });
    let result = |val| vals_to_result(&function, &[Val::Result(val)]).unwrap();
    let failed = result(Err(Some(Box::new(Val::String("no such file".into())))));
    assert_eq!(failed, FunctionResult::error("no such file"));
    let ok = result(Ok(Some(Box::new(Val::U8(7)))));
    assert_eq!(
        (ok.structured, ok.is_error),
        (Some(json!({ "result": 7 })), false)
    );
}

#[test]
fn values_of_another_type_are_reported_not_trusted() {
    let function = function(Shape::Bool, Output::Value(Shape::U8));
    let error = vals_to_result(&function, &[Val::Bool(true)]).unwrap_err();
    assert!(matches!(error.fault, Fault::Returned { .. }));
    assert!(vals_to_result(&function, &[]).is_err());
    assert!(vals_to_result(&function, &[Val::U8(1), Val::U8(1)]).is_err());
}

#[test]
fn parts_become_content() {
    let text = |text: &str| Val::String(text.into());
    let bytes = || Val::List(vec![Val::U8(1), Val::U8(2)]);
    let part = |case: &str, val| Val::Variant(case.into(), Some(Box::new(val)));
    let blob = Val::Record(vec![
        ("mime-type".into(), text("image/png")),
        ("data".into(), bytes()),
    ]);
    let document = Val::Record(vec![
        ("uri".into(), text("file:///a")),
        ("mime-type".into(), Val::Option(None)),
        ("body".into(), part("bytes", bytes())),
    ]);
    let vals = Val::List(vec![
        part("text", text("a")),
        part("image", blob),
        part("resource", document),
    ]);
    let result = vals_to_result(&function(Shape::Bool, Output::Parts), &[vals]).unwrap();
    assert_eq!(result.structured, None);
    assert_eq!(
        result.content,
        [
            Part::Text("a".into()),
            Part::Image(Blob {
                mime_type: "image/png".into(),
                data: vec![1, 2].into()
            }),
            Part::Resource(EmbeddedResource {
                uri: "file:///a".into(),
                mime_type: None,
                body: ResourceBody::Bytes(vec![1, 2].into()),
            }),
        ]
    );
}
