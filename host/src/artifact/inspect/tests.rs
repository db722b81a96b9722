//! Components made from WIT text, with code that does nothing.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

use super::*;
use crate::function::{Output, Shape, WalkError};

/// A component of the world `w` in `wit`, which may use the packages of the contract.
fn component(wit: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    resolve.push_dir(contract).unwrap();
    let package = resolve.push_str("test.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("w")).unwrap();
    let abi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);
    let mut module = dummy_module(&resolve, world, abi);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let encoder = ComponentEncoder::default().module(&module).unwrap();
    encoder.validate(true).encode().unwrap()
}

fn world(body: &str) -> Vec<u8> {
    component(&format!("package test:it@1.2.3; world w {{ {body} }}"))
}

#[track_caller]
fn refused(bytes: &[u8], start: &str) {
    let error = inspect(bytes).unwrap_err().to_string();
    assert!(error.starts_with(start), "{error}");
}

fn names(inspection: &Inspection) -> Vec<&str> {
    inspection
        .functions
        .iter()
        .map(|f| f.name.as_str())
        .collect()
}

/// Appends a custom section.
fn with_section(mut bytes: Vec<u8>, name: &str, data: &[u8]) -> Vec<u8> {
    let mut body = vec![u8::try_from(name.len()).unwrap()];
    body.extend(name.as_bytes());
    body.extend(data);
    let mut length = body.len();
    bytes.push(0);
    while length >= 0x80 {
        bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend(body);
    bytes
}

#[test]
fn functions_of_the_world_and_of_interfaces_are_found() {
    let bytes = component(
        "package test:it@1.2.3;
         interface text-search {
             record query { max-count: option<u32>, text: string }
             find-all: func(q: query) -> result<list<string>, string>;
         }
         world w {
             export text-search;
             export word-count: func(text: string) -> u64;
             export helper: interface { ping: func(); }
         }",
    );
    let found = inspect(&bytes).unwrap();
    assert_eq!(found.kinds, [Kind::Functions]);
    let mut functions = names(&found);
    functions.sort_unstable();
    assert_eq!(
        functions,
        ["helper_ping", "text_search_find_all", "word_count"]
    );
    let find = found.functions.get("text_search_find_all").unwrap();
    assert_eq!(
        find.export.to_string(),
        "test:it/text-search@1.2.3#find-all"
    );
    assert_eq!(
        serde_json::to_value(&*find.input_schema).unwrap(),
        serde_json::json!({
            "type": "object",
            "properties": { "q": {
                "type": "object",
                "properties": {
                    "max_count": { "anyOf": [
                        { "type": "null" },
                        { "type": "integer", "minimum": 0, "maximum": 4_294_967_295_u32 },
                    ] },
                    "text": { "type": "string" },
                },
                "required": ["text"],
                "additionalProperties": false,
            } },
            "required": ["q"],
            "additionalProperties": false,
        })
    );
    assert!(find.returns.failure.is_some());
    assert_eq!(
        found.functions.get("helper_ping").unwrap().output_schema,
        None
    );
    assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
}

#[test]
fn doc_comments_come_from_the_sections() {
    let bytes = component(
        "package test:it@1.2.3;
         interface i { enum c { red } record r { x: u8, c: c } f: func(r: r); }
         world w { export i; export g: func(); }",
    );
    let named =
        br#"1{"interfaces":{"i":{"docs":"About i.","funcs":{"f":{"docs":"Does f."}},"types":{
        "r":{"docs":"An r.","items":{"x":"The x."}},"c":{"items":{"red":"Warm."}}}}}}"#;
    let mut named = named.to_vec();
    named[0] = 1;
    let mut own = br#"1{"worlds":{"root":{"func_exports":{"g":{"docs":"Does g."}}}}}"#.to_vec();
    own[0] = 1;
    let bytes = with_section(bytes, "package-docs:test:it@1.2.3", &named);
    let bytes = with_section(bytes, "package-docs", &own);
    let found = inspect(&bytes).unwrap();
    assert_eq!(found.warnings, Vec::<String>::new());
    assert_eq!(found.functions.get("g").unwrap().description, "Does g.");
    let f = found.functions.get("i_f").unwrap();
    assert_eq!(f.description, "Does f.\n\nAbout i.");
    let r = &f.input_schema["properties"]["r"];
    assert_eq!(r["description"], "An r.");
    assert_eq!(r["properties"]["x"]["description"], "The x.");
    assert_eq!(r["properties"]["c"]["description"], "- `red`: Warm.");
}

#[test]
fn broken_doc_comments_are_a_warning() {
    let bytes = with_section(world("export f: func();"), "package-docs", b"\x01{");
    let found = inspect(&bytes).unwrap();
    assert!(
        found.warnings[0].starts_with("section `package-docs`"),
        "{:?}",
        found.warnings
    );
}

#[test]
fn parts_become_content() {
    let bytes = component(
        "package test:it@1.2.3;
         interface i {
             use ringfence:agent/types@0.1.0.{part, part as piece};
             one: func() -> part;
             renamed: func() -> list<piece>;
             many: func() -> result<list<part>, string>;
             nested: func() -> tuple<part>;
         }
         interface mine {
             variant part { text(string) }
             other: func() -> part;
         }
         world w {
             use ringfence:agent/types@0.1.0.{part};
             export i;
             export mine;
             export direct: func(given: part) -> list<part>;
         }",
    );
    let found = inspect(&bytes).unwrap();
    let output = |name: &str| &found.functions.get(name).unwrap().returns.ok;
    assert_eq!(output("i_one"), &Output::Part);
    assert_eq!(output("i_many"), &Output::Parts);
    assert_eq!(output("i_renamed"), &Output::Parts);
    assert_eq!(output("direct"), &Output::Parts);
    assert!(matches!(output("i_nested"), Output::Value(Shape::Tuple(_))));
    assert!(matches!(
        output("mine_other"),
        Output::Value(Shape::Variant(_))
    ));
    assert_eq!(found.functions.get("i_one").unwrap().output_schema, None);
}

#[test]
fn kinds_and_needs_come_from_exports_and_imports() {
    let kinds = |body| inspect(&world(body)).unwrap().kinds;
    assert_eq!(kinds("export wasi:cli/run@0.2.12;"), [Kind::Command]);
    assert_eq!(
        kinds("export wasi:http/incoming-handler@0.2.12;"),
        [Kind::Http]
    );
    assert_eq!(
        kinds("export ringfence:agent/handler@0.1.0;"),
        [Kind::Agent]
    );
    let both = inspect(&world(
        "import wasi:http/outgoing-handler@0.2.12; import wasi:filesystem/preopens@0.2.12;
         import wasi:cli/environment@0.2.12; import ringfence:agent/models@0.1.0;
         export wasi:cli/run@0.2.12; export f: func();",
    ))
    .unwrap();
    assert_eq!(both.kinds, [Kind::Functions, Kind::Command]);
    assert_eq!(both.kind(), Some(Kind::Functions));
    assert_eq!(names(&both), ["f"]);
    let needs = [
        Capability::Models,
        Capability::Http,
        Capability::Folders,
        Capability::Env,
    ];
    let needs = BTreeSet::from(needs);
    assert!(both.needs().is_superset(&needs), "{:?}", both.needs());
    assert!(!both.needs().contains(&Capability::Tools));
}

#[test]
fn what_is_not_a_component_is_told_apart() {
    refused(b"", "the file is empty");
    refused(b"  (component)", "this is the text format");
    refused(b"PK\x03\x04", "this is not a WebAssembly binary");
    refused(b"\0as", "the file is cut off after 3 bytes");
    refused(
        &wat::parse_str("(module)").unwrap(),
        "this is a core WebAssembly module",
    );
    refused(
        b"\0asm\x0a\0\x01\0",
        "this is not a module or component of a version",
    );
    refused(
        &wat::parse_str("(component)").unwrap(),
        "the component exports nothing",
    );
    let mut resolve = Resolve::default();
    let package = resolve
        .push_str("a.wit", "package a:b; interface i { f: func(); }")
        .unwrap();
    refused(
        &wit_component::encode(&resolve, package).unwrap(),
        "this is a WIT package",
    );
}

#[test]
fn every_cut_of_a_component_is_refused() {
    let bytes = world("export f: func(text: string) -> string;");
    assert!(inspect(&bytes).is_ok());
    for length in 0..bytes.len() {
        // A cut between two sections can leave a valid, smaller component behind.
        if let Ok(rest) = inspect(&bytes[..length]) {
            assert_eq!(names(&rest), ["f"]);
        }
    }
    let cut = &bytes[..bytes.len() / 2];
    assert!(
        matches!(inspect(cut), Err(InspectError::Truncated { .. })),
        "{:?}",
        inspect(cut)
    );
}

#[test]
fn missing_imports_are_named() {
    refused(
        &world("import priv: interface { f: func(); } import g: func(); export h: func();"),
        "the component imports what this host does not have: priv, g.",
    );
    let other = "package test:it; interface store { resource bucket; } world w { import store; export h: func(); }";
    refused(
        &component(other),
        "the component imports what this host does not have: test:it/store.",
    );
    let types = "package test:it; interface plain { record r { x: u8 } }
        world w { use plain.{r}; export h: func(r: r); }";
    assert!(inspect(&component(types)).is_ok());
    let newer = wat::parse_str(
        "(component (import \"wasi:io/poll@0.2.99\" (instance (export \"p\" (func)))))",
    );
    refused(
        &newer.unwrap(),
        "the component imports what this host does not have: wasi:io/poll@0.2.99.",
    );
}

#[test]
fn wasi_0_3_is_named() {
    let bytes = wat::parse_str(
        "(component
            (import \"wasi:cli/stdout@0.3.0-rc-2026-03-15\" (instance))
            (instance $i) (export \"wasi:cli/run@0.3.0\" (instance $i)))",
    );
    refused(&bytes.unwrap(), "the component is built for WASI 0.3");
    let stream = wat::parse_str("(component (type (stream u8)))").unwrap();
    refused(&stream, "the component uses an extension of WebAssembly");
}

#[test]
fn extensions_that_the_engine_refuses_are_refused() {
    for module in [
        "(memory i64 1)",
        "(memory 1) (memory 1)",
        "(memory 1 1 shared)",
        "(func return_call 0)",
        "(tag)",
        "(type (struct))",
        "(table 1 externref)",
    ] {
        let text = format!("(component (core module {module}))");
        let bytes = wat::parse_str(&text).unwrap();
        let error = inspect(&bytes).unwrap_err();
        assert!(
            matches!(error, InspectError::Feature { .. }),
            "{module}: {error}"
        );
    }
}

#[test]
fn resources_in_functions_are_named() {
    let in_type = "package test:it; interface i { resource r; f: func(a: list<own<r>>); } world w { export i; }";
    refused(
        &component(in_type),
        "function test:it/i#f: parameter `a`, items has the type `own<resource>`",
    );
    let method =
        "package test:it; interface i { resource r { go: func(); } } world w { export i; }";
    refused(
        &component(method),
        "test:it/i#[method]r.go belongs to a resource",
    );
}

#[test]
fn types_are_bounded_in_depth_and_size() {
    let deep = |levels: usize| {
        let ty = format!("{}u32{}", "list<".repeat(levels), ">".repeat(levels));
        inspect(&world(&format!("export f: func(x: {ty});")))
    };
    assert!(deep(crate::function::MAX_SHAPE_DEPTH - 1).is_ok());
    let error = deep(crate::function::MAX_SHAPE_DEPTH + 1).unwrap_err();
    assert!(
        matches!(error, InspectError::Function(WalkError::TooDeep { .. })),
        "{error}"
    );
    // 4^7 fields from a page of WIT.
    let mut records = "record r0 { a: u8 }".to_owned();
    for level in 1..=7 {
        let below = format!("r{}", level - 1);
        records +=
            &format!(" record r{level} {{ a: {below}, b: {below}, c: {below}, d: {below} }}");
    }
    let wit = format!(
        "package test:it; interface i {{ {records} f: func(r: r7); }} world w {{ export i; }}"
    );
    let error = inspect(&component(&wit)).unwrap_err();
    assert!(
        matches!(error, InspectError::Function(WalkError::TooLarge { .. })),
        "{error}"
    );
}

#[test]
fn the_deepest_table_can_be_stored_and_read() {
    let mut ty = "u32".to_owned();
    for _ in 0..crate::function::MAX_SHAPE_DEPTH - 1 {
        ty = format!("result<{ty}>");
    }
    let found = inspect(&world(&format!("export f: func(x: {ty}) -> tuple<u8>;"))).unwrap();
    let stored = serde_json::to_vec(&found).unwrap();
    assert_eq!(
        serde_json::from_slice::<Inspection>(&stored).unwrap(),
        found
    );
}

#[test]
fn nesting_and_counts_are_bounded() {
    let nested = |levels: usize| {
        wat::parse_str(format!(
            "{}{}",
            "(component ".repeat(levels),
            ")".repeat(levels)
        ))
        .unwrap()
    };
    refused(&nested(MAX_NESTING), "the component exports nothing");
    refused(&nested(MAX_NESTING + 1), "components are nested more than");
    let types = "(type (func))".repeat(MAX_TYPES as usize + 1);
    refused(
        &wat::parse_str(format!("(component {types})")).unwrap(),
        "more than",
    );
    let imports: String = (0..=MAX_EXTERNS)
        .map(|n| format!("(import \"a{n}\" (func))"))
        .collect();
    refused(
        &wat::parse_str(format!("(component {imports})")).unwrap(),
        "513 imports and exports",
    );
    let exports: String = (0..=crate::function::MAX_FUNCTIONS)
        .map(|n| format!("export fun{n}: func();"))
        .collect();
    refused(&world(&exports), "exports 257 functions");
}
