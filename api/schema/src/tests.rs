//! Each keyword, and what is refused.

use serde_json::{Value, json};

use crate::Schema;

fn check(schema: Value, value: Value) -> Vec<String> {
    Schema::new(schema).unwrap().violations(&value)
}

#[test]
fn each_keyword_accepts_and_refuses() {
    let tree = json!({"$ref": "#/$defs/tree", "$defs": {"tree": {
        "type": "object", "required": ["kids"], "additionalProperties": false,
        "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}}}});
    for (schema, good, bad) in [
        (json!({"type": "integer"}), json!(2.0), json!(2.5)),
        (json!({"type": ["string", "null"]}), json!(null), json!(1)),
        (json!({"enum": ["a", 1]}), json!(1.0), json!("b")),
        (
            json!({"const": {"a": 1, "b": 2}}),
            json!({"b": 2, "a": 1}),
            json!({}),
        ),
        (json!({"required": ["a"]}), json!({"a": null}), json!({})),
        (
            json!({"properties": {"a": {"type": "string"}}}),
            json!({"b": 1}),
            json!({"a": 1}),
        ),
        (
            json!({"additionalProperties": false}),
            json!({}),
            json!({"a": 1}),
        ),
        (
            json!({"additionalProperties": {"type": "null"}}),
            json!({"a": null}),
            json!({"a": 1}),
        ),
        (
            json!({"items": {"minimum": 1}}),
            json!([1, 2]),
            json!([1, 0]),
        ),
        (
            json!({"prefixItems": [true], "items": false}),
            json!([1]),
            json!([1, 2]),
        ),
        (json!({"minItems": 1, "maxItems": 2}), json!([1]), json!([])),
        (json!({"uniqueItems": true}), json!([1, 2]), json!([1, 1.0])),
        (
            json!({"minLength": 2, "maxLength": 2}),
            json!("éé"),
            json!("é"),
        ),
        (
            json!({"exclusiveMinimum": 0, "exclusiveMaximum": 1}),
            json!(0.5),
            json!(0),
        ),
        (
            json!({"minProperties": 1, "maxProperties": 1}),
            json!({"a": 1}),
            json!({"a": 1, "b": 1}),
        ),
        (
            json!({"anyOf": [{"type": "null"}, {"type": "string"}]}),
            json!("x"),
            json!(1),
        ),
        (
            json!({"oneOf": [{"type": "number"}, {"type": "integer"}]}),
            json!(1.5),
            json!(1),
        ),
        (
            json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}),
            json!(2),
            json!(3),
        ),
        (json!({"not": {"type": "string"}}), json!(1), json!("x")),
        (
            tree,
            json!({"kids": [{"kids": []}]}),
            json!({"kids": [{"kid": []}]}),
        ),
    ] {
        assert_eq!(
            check(schema.clone(), good),
            Vec::<String>::new(),
            "{schema}"
        );
        assert!(!check(schema.clone(), bad).is_empty(), "{schema}");
    }
}

#[test]
fn a_rule_that_would_not_be_enforced_is_refused_up_front() {
    for (schema, place) in [
        (json!({"type": "string", "pattern": "^a"}), "#/pattern"),
        (
            json!({"properties": {"d": {"format": "date"}}}),
            "#/properties/d/format",
        ),
        (json!({"$ref": "https://example.com/s"}), "#/$ref"),
        (json!({"$ref": "#/$defs/none"}), "#/$ref"),
        (json!({"type": "text"}), "#/type"),
        (json!({"minItems": -1}), "#/minItems"),
        (json!({"if": true, "then": false}), "#/if"),
        (json!([1]), "#"),
    ] {
        let error = Schema::new(schema).unwrap_err();
        assert!(error.starts_with(place), "{error}");
    }
}

#[test]
fn a_reference_to_itself_ends() {
    let violations = check(json!({"$ref": "#"}), json!(1));
    assert!(violations[0].contains("too deep"), "{violations:?}");
}

#[test]
fn alternatives_that_multiply_end() {
    let fork = json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]});
    assert!(!check(fork, json!(1)).is_empty());
}
