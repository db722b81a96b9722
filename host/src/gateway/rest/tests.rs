//! The OpenAPI document is complete, and what is answered is what it says.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::access::needs;
use super::problem::Failure;
use super::{openapi, operations};
use crate::error::CallError;
use crate::mediation::RunId;
use crate::message::{
    Blob, EmbeddedResource, Message, Part, ResourceBody, Role, ToolCall, ToolResult,
};
use crate::record::{CallRecord, Decision, LogLine, Outcome, RoutedFrom, RunSummary};

/// A validator for one of the document's schemas.
fn validator(name: &str) -> jsonschema::Validator {
    let mut schema = openapi().clone();
    schema["$ref"] = format!("#/components/schemas/{name}").into();
    jsonschema::draft202012::new(&schema).unwrap()
}

fn fits(name: &str, document: &Value) {
    let validator = validator(name);
    let errors: Vec<String> = validator
        .iter_errors(document)
        .map(|e| e.to_string())
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:?}\n{document:#}");
}

#[test]
fn every_route_is_described_with_typed_answers() {
    let document = openapi();
    let mut ids = BTreeSet::new();
    for operation in operations() {
        let method = operation.method.as_str().to_ascii_lowercase();
        let described = &document["paths"][operation.path][&method];
        assert_eq!(
            described["operationId"], operation.id,
            "{} {method}",
            operation.path
        );
        assert!(ids.insert(operation.id), "{} is there twice", operation.id);
        let of_tenant = operation.path.contains("{tenant}");
        assert_eq!(needs(operation.id).is_some(), of_tenant, "{}", operation.id);
        for (status, answer) in described["responses"].as_object().unwrap() {
            for content in answer["content"].as_object().unwrap().values() {
                assert!(content["schema"].is_object(), "{} {status}", operation.id);
            }
        }
        let in_path = operation.path.matches('{').count();
        let parameters = described["parameters"].as_array().unwrap();
        assert_eq!(
            parameters.iter().filter(|p| p["in"] == "path").count(),
            in_path
        );
    }
    assert!(ids.len() > 20, "{ids:?}");
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(document: &Value, value: &Value) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(target)) = map.get("$ref") {
                    let pointer = target.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{target}");
                }
                map.values().for_each(|value| walk(document, value));
            }
            Value::Array(items) => items.iter().for_each(|value| walk(document, value)),
            _ => {}
        }
    }
    walk(openapi(), openapi());
}

#[test]
fn failures_are_as_described() {
    let errors = [
        CallError::denied("http", "GET https://a.test/", "not granted"),
        CallError::limit("input-bytes", 5),
        CallError::Timeout,
        CallError::NotFound("x".to_owned()),
    ];
    for error in errors {
        fits("Failure", &Failure::from(error).document());
    }
    let problem = ringfence_api::Problem::new("spec.model", "is missing");
    fits("Failure", &Failure::manifests(&[problem]).document());
}

#[test]
fn content_and_records_are_as_described() {
    let blob = Blob {
        mime_type: "image/png".to_owned(),
        data: "abc".into(),
    };
    let resource = |mime_type: Option<&str>, body| {
        Part::Resource(EmbeddedResource {
            uri: "file:///a".to_owned(),
            mime_type: mime_type.map(ToOwned::to_owned),
            body,
        })
    };
    let parts = vec![
        Part::Text("a".to_owned()),
        Part::Image(blob.clone()),
        Part::Audio(blob),
        resource(None, ResourceBody::Text("t".to_owned())),
        resource(Some("x/y"), ResourceBody::Bytes("b".into())),
    ];
    let message = Message {
        role: Role::Tool,
        content: parts.clone(),
        tool_calls: vec![ToolCall {
            id: "1".into(),
            name: "n".into(),
            arguments: "{}".into(),
        }],
        tool_results: vec![ToolResult {
            id: "1".into(),
            content: parts,
            is_error: true,
        }],
    };
    fits("Message", &json!(message));
    let run = RunId::new();
    let record = CallRecord {
        run,
        call: 1,
        parent: Some(0),
        routed_from: Some(RoutedFrom {
            host: "h-1".parse().unwrap(),
            call: 3,
        }),
        served_by: Some("h-2".parse().unwrap()),
        tenant: ringfence_api::TenantName::default(),
        caller: "agent/a".to_owned(),
        on_behalf_of: vec!["user/local".to_owned()],
        capability: "tools".into(),
        target: "t_f".to_owned(),
        decision: Decision::Denied,
        outcome: Outcome {
            code: "denied".into(),
            message: Some("no".to_owned()),
        },
        started_us: 1,
        duration_us: 2,
        request_bytes: 3,
        response_bytes: 4,
        usage: Some(crate::model::Usage::default()),
        cpu_us: Some(5),
        memory_bytes: Some(6),
    };
    let mut call = json!(record);
    call["calls"] = json!([]);
    fits("Run", &json!({"run": run, "calls": [call]}));
    let summary = RunSummary {
        run,
        caller: "user/local".to_owned(),
        target: "a".to_owned(),
        outcome: None,
        started_us: 1,
        duration_us: 2,
        calls: 3,
        denied: 0,
    };
    fits("RunList", &json!({"items": [summary]}));
    let line = LogLine {
        run,
        call: 0,
        tenant: ringfence_api::TenantName::default(),
        source: "tool/t".to_owned(),
        at_us: 1,
        text: "x".to_owned(),
    };
    fits("LogLines", &json!({"items": [line]}));
}
