//! JSON Schemas of what the control API takes and answers.

use ringfence_api::{Kind, Problem};
use serde_json::{Map, Value, json};

use super::Content;
use crate::directory::status::Status;

/// A reference to one of the [`components`].
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// JSON content of one of the [`components`].
pub(super) fn json_content(name: &str) -> Vec<Content> {
    vec![Content {
        media: "application/json",
        schema: reference(name),
    }]
}

/// All schemas by name.
pub(super) fn components() -> Map<String, Value> {
    let mut all = Map::new();
    resources(&mut all);
    artifacts(&mut all);
    content(&mut all);
    calls(&mut all);
    records(&mut all);
    all
}

/// An object: its required fields, then the optional ones.
fn object(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> = required
        .iter()
        .chain(optional)
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    let names: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": false,
    })
}

fn list(of: Value) -> Value {
    json!({"type": "array", "items": of})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn whole() -> Value {
    json!({"type": "integer", "minimum": 0})
}

/// Takes a schema of schemars into the document: its definitions become components of their own, with
/// `prefix` before their names where two kinds use one name for different things.
fn adopt(all: &mut Map<String, Value>, name: &str, mut schema: Value) {
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
        if let Some(Value::Object(definitions)) = object.remove("$defs") {
            for (name, mut definition) in definitions {
                point_to_components(&mut definition);
                all.insert(name, definition);
            }
        }
    }
    point_to_components(&mut schema);
    all.insert(name.to_owned(), schema);
}

fn point_to_components(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match value {
                    Value::String(target) if key == "$ref" => {
                        *target = target.replace("#/$defs/", "#/components/schemas/");
                    }
                    other => point_to_components(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(point_to_components),
        _ => {}
    }
}

fn resources(all: &mut Map<String, Value>) {
    adopt(all, "Problem", schemars::schema_for!(Problem).to_value());
    adopt(all, "Status", schemars::schema_for!(Status).to_value());
    adopt(all, "Metadata", ringfence_api::metadata_schema().clone());
    let mut manifests = Vec::new();
    for kind in Kind::ALL {
        let spec = format!("{kind}Spec");
        adopt(all, &spec, ringfence_api::spec_schema(kind).clone());
        let head = || {
            vec![
                ("apiVersion", json!({"const": ringfence_api::API_VERSION})),
                ("kind", json!({"const": kind.as_str()})),
                ("spec", reference(&spec)),
            ]
        };
        let mut manifest = head();
        manifest.push(("metadata", reference("Metadata")));
        let manifest_name = format!("{kind}Manifest");
        all.insert(manifest_name.clone(), object(&manifest, &[]));
        manifests.push(reference(&manifest_name));
        let mut resource = head();
        resource.push(("metadata", reference("ResourceMetadata")));
        resource.push(("status", reference("Status")));
        all.insert(kind.to_string(), object(&resource, &[]));
        let items = list(reference(kind.as_str()));
        all.insert(format!("{kind}List"), object(&[("items", items)], &[]));
    }
    let mut metadata = ringfence_api::metadata_schema().clone();
    metadata["properties"]["generation"] = whole();
    metadata["properties"]["creationTimestamp"] = json!({"type": "string", "format": "date-time"});
    adopt(all, "ResourceMetadata", metadata);
    all.insert(
        "Manifest".to_owned(),
        json!({"oneOf": [{"oneOf": manifests}, list(json!({"oneOf": manifests}))]}),
    );
    let change = json!({"enum": ["created", "configured", "unchanged", "deleted"]});
    let item = object(
        &[
            (
                "kind",
                json!({"enum": ["Agent", "Tool", "Model", "Ceiling"]}),
            ),
            ("name", text()),
            ("change", change),
            ("generation", whole()),
        ],
        &[("namespace", text())],
    );
    let report = object(
        &[
            ("kind", json!({"enum": ["Agent", "Tool"]})),
            ("namespace", text()),
            ("name", text()),
            ("granted", reference("Grants")),
            ("refused", list(reference("Refusal"))),
        ],
        &[
            ("asked", list(reference("Capability"))),
            ("effectiveGrants", reference("Grants")),
        ],
    );
    all.insert("GrantsReport".to_owned(), report);
    let result = [
        ("items", list(item)),
        ("dryRun", json!({"type": "boolean"})),
    ];
    all.insert("ApplyResult".to_owned(), object(&result, &[]));
    all.insert(
        "Failure".to_owned(),
        object(
            &[
                ("type", text()),
                ("title", text()),
                ("status", whole()),
                ("code", text()),
                ("detail", text()),
            ],
            &[
                ("problems", list(reference("Problem"))),
                ("run", text()),
                (
                    "limit",
                    object(&[("name", text()), ("maximum", whole())], &[]),
                ),
                (
                    "denial",
                    object(
                        &[
                            ("capability", text()),
                            ("target", text()),
                            ("reason", text()),
                        ],
                        &[("policy", text())],
                    ),
                ),
            ],
        ),
    );
    let version = [("version", text()), ("apiVersion", text())];
    all.insert("Version".to_owned(), object(&version, &[]));
    all.insert(
        "TenantList".to_owned(),
        object(&[("items", list(text()))], &[]),
    );
}

fn artifacts(all: &mut Map<String, Value>) {
    let meta = [
        ("digest", text()),
        ("size", whole()),
        ("createdMs", whole()),
        ("images", list(text())),
    ];
    all.insert("ArtifactSummary".to_owned(), object(&meta, &[]));
    let summaries = list(reference("ArtifactSummary"));
    all.insert(
        "ArtifactList".to_owned(),
        object(&[("items", summaries)], &[]),
    );
    let mut full = meta.to_vec();
    // Its fields are those of the inspection as it is stored, which grows with the host.
    full.push(("inspection", json!({"type": "object"})));
    full.push(("needs", list(text())));
    all.insert("Artifact".to_owned(), object(&full, &[]));
    all.insert("Deleted".to_owned(), object(&[("digest", text())], &[]));
    let credential = [("username", text()), ("password", text())];
    all.insert(
        "RegistryRequest".to_owned(),
        object(&[("image", text())], &credential),
    );
    let pushed = [("image", text()), ("manifest", text())];
    all.insert("Pushed".to_owned(), object(&pushed, &[]));
}

fn content(all: &mut Map<String, Value>) {
    let base64 = json!({"type": "string", "contentEncoding": "base64"});
    let blob = object(&[("mimeType", text()), ("data", base64.clone())], &[]);
    all.insert("Blob".to_owned(), blob);
    let body = json!({"oneOf": [
        object(&[("text", text())], &[]),
        object(&[("bytes", base64)], &[]),
    ]});
    let optional = json!({"type": ["string", "null"]});
    all.insert(
        "EmbeddedResource".to_owned(),
        object(
            &[("uri", text()), ("body", body)],
            &[("mimeType", optional)],
        ),
    );
    all.insert(
        "Part".to_owned(),
        json!({"oneOf": [
            object(&[("text", text())], &[]),
            object(&[("image", reference("Blob"))], &[]),
            object(&[("audio", reference("Blob"))], &[]),
            object(&[("resource", reference("EmbeddedResource"))], &[]),
        ]}),
    );
    let parts = || list(reference("Part"));
    let call = object(
        &[("id", text()), ("name", text()), ("arguments", text())],
        &[],
    );
    let result = object(
        &[("id", text()), ("content", parts())],
        &[("isError", json!({"type": "boolean"}))],
    );
    all.insert(
        "Message".to_owned(),
        object(
            &[(
                "role",
                json!({"enum": ["system", "user", "assistant", "tool"]}),
            )],
            &[
                ("content", parts()),
                ("toolCalls", list(call)),
                ("toolResults", list(result)),
            ],
        ),
    );
}

fn calls(all: &mut Map<String, Value>) {
    let parts = || list(reference("Part"));
    let timeout = json!({"type": ["integer", "null"], "minimum": 1, "maximum": 600_000});
    let optional = || json!({"type": ["string", "null"]});
    all.insert(
        "CallRequest".to_owned(),
        object(
            &[],
            &[
                ("arguments", json!({"type": "object"})),
                ("timeoutMs", timeout.clone()),
            ],
        ),
    );
    let functions = list(reference("FunctionStatus"));
    all.insert(
        "FunctionList".to_owned(),
        object(&[("items", functions)], &[]),
    );
    all.insert(
        "CallResult".to_owned(),
        object(
            &[
                ("run", text()),
                ("content", parts()),
                ("isError", json!({"type": "boolean"})),
            ],
            &[("structured", json!({}))],
        ),
    );
    let mut run = object(
        &[],
        &[
            ("input", optional()),
            ("messages", list(reference("Message"))),
            ("session", optional()),
            ("timeoutMs", timeout),
        ],
    );
    run["anyOf"] = json!([
        {"required": ["input"], "properties": {"input": {"type": "string"}}},
        {"required": ["messages"], "properties": {"messages": {"minItems": 1}}},
    ]);
    all.insert("RunRequest".to_owned(), run);
    // The fields of usage are those that the model's endpoint told.
    let usage = json!({"type": "object"});
    let answer = [
        ("run", text()),
        ("text", text()),
        ("content", parts()),
        ("usage", usage),
    ];
    all.insert("RunResult".to_owned(), object(&answer, &[]));
    all.insert(
        "RunEvents".to_owned(),
        json!({
            "type": "string",
            "description": "Server-sent events. `run` {run}; `part` a Part; `progress` {done, total, \
                message}; then one of `answer` a RunResult with droppedEvents, and `error` a Failure.",
        }),
    );
}

fn records(all: &mut Map<String, Value>) {
    let outcome = object(&[("code", text())], &[("message", text())]);
    let nullable = json!({"oneOf": [outcome.clone(), {"type": "null"}]});
    let summary = object(
        &[
            ("run", text()),
            ("caller", text()),
            ("target", text()),
            ("outcome", nullable),
            ("startedUs", whole()),
            ("durationUs", whole()),
            ("calls", whole()),
            ("denied", whole()),
        ],
        &[],
    );
    all.insert("RunSummary".to_owned(), summary);
    let items = list(reference("RunSummary"));
    all.insert("RunList".to_owned(), object(&[("items", items)], &[]));
    let call = object(
        &[
            ("run", text()),
            ("call", whole()),
            ("tenant", text()),
            ("caller", text()),
            ("capability", text()),
            ("target", text()),
            ("decision", json!({"enum": ["allowed", "denied"]})),
            ("outcome", outcome),
            ("startedUs", whole()),
            ("durationUs", whole()),
            ("requestBytes", whole()),
            ("responseBytes", whole()),
            ("calls", list(reference("Call"))),
        ],
        &[
            ("parent", whole()),
            (
                "routedFrom",
                object(&[("host", text()), ("call", whole())], &[]),
            ),
            ("servedBy", text()),
            ("onBehalfOf", list(text())),
            ("usage", json!({"type": "object"})),
            ("cpuUs", whole()),
            ("memoryBytes", whole()),
        ],
    );
    all.insert("Call".to_owned(), call);
    let run = [("run", text()), ("calls", list(reference("Call")))];
    all.insert("Run".to_owned(), object(&run, &[]));
    let line = object(
        &[
            ("run", text()),
            ("call", whole()),
            ("tenant", text()),
            ("source", text()),
            ("atUs", whole()),
            ("text", text()),
        ],
        &[],
    );
    all.insert("LogLine".to_owned(), line);
    let lines = list(reference("LogLine"));
    all.insert("LogLines".to_owned(), object(&[("items", lines)], &[]));
}
