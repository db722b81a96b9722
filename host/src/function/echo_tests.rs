//! The codec against the engine: a component that returns what it is given.

use proptest::strategy::Strategy;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use wasmtime::component::{Component, Linker, Val};
use wasmtime::{Engine, Store};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::property_tests::val;
use super::{Function, Output, arguments_to_vals, vals_to_result};
use crate::artifact::inspect::inspect;

const WIT: &str = "
package test:echo@1.0.0;

interface types {
    record inner { big-number: u64, maybe: option<option<u8>> }
}

interface echo {
    use types.{inner};
    flags access { can-read, can-write, can-list }
    enum color { dark-red, blue }
    variant choice { nothing, one(inner), many(list<inner>), opt(option<string>) }
    record everything {
        a: bool, b: s8, c: u8, d: s16, e: u16, f: s32, g: u32, h: s64, i: u64,
        j: f32, k: f64, l: char, m: string, n: list<u8>, o: list<string>,
        p: tuple<u8, string>, q: inner, r: choice, s: color, t: access,
        u: option<inner>, v: result<string, color>, w: result, x: list<choice>,
    }
    /// Both are so large that they are passed by pointer, so that the code is the identity.
    echo: func(all: everything) -> everything;
}

world w { export echo; }
";

/// Arguments and result are laid out alike in memory; memory is never freed, so each test call gets a
/// new instance.
const CODE: &str = r#"(module
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 1024))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        (local.set $at
            (i32.and
                (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
                (i32.sub (i32.const 0) (local.get 2))))
        (global.set $next (i32.add (local.get $at) (local.get 3)))
        (local.get $at))
    (func (export "test:echo/echo@1.0.0#echo") (param i32) (result i32) (local.get 0)))"#;

struct Echo {
    engine: Engine,
    component: Component,
    function: std::sync::Arc<Function>,
}

impl Echo {
    fn new() -> Self {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("echo.wit", WIT).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        let mut module = wat::parse_str(CODE).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        let encoder = ComponentEncoder::default().module(&module).unwrap();
        let bytes = encoder.validate(true).encode().unwrap();
        let function = inspect(&bytes)
            .unwrap()
            .functions
            .get("echo_echo")
            .unwrap()
            .clone();
        let engine = Engine::default();
        let component = Component::from_binary(&engine, &bytes).unwrap();
        Self {
            engine,
            component,
            function,
        }
    }

    fn call(&self, vals: &[Val]) -> Vec<Val> {
        let mut store = Store::new(&self.engine, ());
        // The interface `types` holds types only, so that there is nothing to link.
        let linker = Linker::new(&self.engine);
        let instance = linker.instantiate(&mut store, &self.component).unwrap();
        let path = &self.function.export;
        let interface = instance
            .get_export_index(&mut store, None, path.interface.as_deref().unwrap())
            .unwrap();
        let index = instance
            .get_export_index(&mut store, Some(&interface), &path.function)
            .unwrap();
        let function = instance.get_func(&mut store, index).unwrap();
        let mut results = vec![Val::Bool(false)];
        function.call(&mut store, vals, &mut results).unwrap();
        results
    }
}

#[test]
fn every_type_comes_back_as_it_was_sent() {
    let echo = Echo::new();
    let all = json!({
        "a": true, "b": -1, "c": 2, "d": -3, "e": 4, "f": -5, "g": 6,
        "h": "-9223372036854775808", "i": "18446744073709551615",
        "j": 0.1, "k": "NaN", "l": "é", "m": "text", "n": "AAEC", "o": ["x", ""],
        "p": [7, "y"],
        "q": { "big_number": 8, "maybe": { "some": null } },
        "r": { "tag": "one", "value": { "big_number": 9, "maybe": { "some": 1 } } },
        "s": "dark_red", "t": ["can_read", "can_list"],
        "v": { "err": "blue" }, "w": { "ok": null },
        "x": [{ "tag": "nothing" }, { "tag": "opt" }, { "tag": "opt", "value": "z" }],
    });
    let Value::Object(arguments) = json!({ "all": all }) else {
        unreachable!()
    };
    let vals = arguments_to_vals(&echo.function, arguments).unwrap();
    let result = vals_to_result(&echo.function, &echo.call(&vals)).unwrap();
    assert_eq!(result.structured, Some(all));
    assert!(!result.is_error);
}

#[test]
fn random_values_pass_through_the_engine() {
    let echo = Echo::new();
    let Output::Value(shape) = &echo.function.returns.ok else {
        panic!("echo returns a value")
    };
    let mut runner = TestRunner::deterministic();
    for _ in 0..64 {
        let sent = val(shape).new_tree(&mut runner).unwrap().current();
        let object = super::encode::json(shape, &sent).unwrap();
        let arguments = serde_json::Map::from_iter([("all".to_owned(), object.clone())]);
        let vals = arguments_to_vals(&echo.function, arguments).unwrap();
        let result = vals_to_result(&echo.function, &echo.call(&vals)).unwrap();
        assert_eq!(result.structured, Some(object));
    }
}
