//! Manifests as people write them, and what they are told.

use proptest::prelude::*;

use crate::{Kind, Manifest, Resource, TenantName};

fn read(text: &str) -> Result<Vec<Manifest>, Vec<String>> {
    Manifest::from_yaml(text, &TenantName::default())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn problems(text: &str) -> Vec<String> {
    read(text).expect_err("problems were expected")
}

const DESK: &str = "\
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {name: small}
spec:
  provider:
    openAi: {model: m, baseUrl: http://127.0.0.1:1/v1, addresses: private, apiKey: {env: KEY}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata:
  name: search
  namespace: team-a
spec:
  component: {image: 'registry.example.com/search:1'}
  grants:
    folders:
      - {name: docs, mount: /docs}
    http:
      - host: '*.example.com'
        methods: [GET, POST]
        path: /v1
  parameters:
    - {name: depth, value: '3'}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata:
  name: desk
spec:
  instructions: Answer from the files.
  model: {name: small}
  grants:
    tools: [{name: search, functions: [find]}]
";

#[test]
fn a_run_is_sent_to_where_it_belongs() {
    let told = problems(
        "apiVersion: ringfence.dev/v1alpha1\nkind: Run\nmetadata: {name: r}\nspec: {agent: {name: a, input: x}}",
    );
    assert!(told[0].contains("`ringfence run AGENT`"), "{told:?}");
}

#[test]
fn a_stream_of_documents_is_read() {
    let manifests = read(DESK).unwrap();
    let names: Vec<String> = manifests.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        [
            "Model default/small",
            "Tool team-a/search",
            "Agent default/desk"
        ]
    );
    let Resource::Agent(agent) = &manifests[2].resource else {
        panic!("{names:?}")
    };
    let grants = agent.component_grants();
    assert!(grants.output, "a chat agent may stream its answer");
    assert_eq!(
        grants.models[0].name.as_str(),
        "small",
        "its model is granted"
    );
    assert!(!agent.grants.output, "what was written down is not changed");
}

#[test]
fn what_is_printed_can_be_applied_again() {
    for manifest in read(DESK).unwrap() {
        let mut document = manifest.to_json();
        document["status"] = serde_json::json!({"generation": 3});
        document["metadata"]["generation"] = 3.into();
        document["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        let again = Manifest::from_json(document, &TenantName::default()).unwrap();
        assert_eq!(again, manifest);
        assert_eq!(
            Manifest::from_yaml(&manifest.to_json().to_string(), &TenantName::default()),
            Ok(vec![again])
        );
    }
}

#[test]
fn every_problem_has_its_line() {
    let text = "\
# two things are wrong here
apiVersion: ringfence.dev/v1
kind: agent
metadata:
  name: x
---
apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata: {name: t}
spec:
  mcp:
    url: ftp://example.com
  grants:
    clocks: true
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: Desk}
spec:
  instruction: hello
";
    assert_eq!(
        problems(text),
        [
            "line 2: apiVersion: \"ringfence.dev/v1\" is not known here: use ringfence.dev/v1alpha1",
            "line 3: kind: \"agent\" is not known: did you mean \"Agent\"?",
            "line 13: Tool default/t: spec.grants: has no effect without component: remove it",
            "line 12: Tool default/t: spec.mcp.url: \"ftp\" is not a scheme that works here: use https or http",
            "line 18: Agent default/Desk: metadata.name: \"Desk\" is not a valid name: use 1 to 63 \
             lower-case letters, digits and '-', starting and ending with a letter or digit",
            "line 20: Agent default/Desk: spec.instruction: there is no such field: did you mean \
             \"instructions\"?",
        ]
    );
}

#[test]
fn a_resource_is_written_down_once() {
    let one =
        "apiVersion: ringfence.dev/v1alpha1\nkind: Tool\nmetadata: {name: a}\nspec: {agent: b}\n";
    let text = format!("{one}---\n{one}");
    assert_eq!(
        problems(&text),
        ["line 6: Tool default/a: is written down twice (line 1): keep one"]
    );
    // The same name in another tenant, or of another kind, is another resource.
    assert!(
        read(&format!(
            "{one}---\n{}",
            one.replace("name: a", "name: a, namespace: b")
        ))
        .is_ok()
    );
}

/// A spec with one fault, and the field that has to be named.
#[test]
fn faults_are_found_field_by_field() {
    let cases = [
        (Kind::Tool, "{}", "spec"),
        (
            Kind::Tool,
            "{agent: a, mcp: {url: 'https://x.test'}}",
            "spec",
        ),
        (
            Kind::Tool,
            "{agent: a, parameters: [{name: a, value: b}]}",
            "spec.parameters",
        ),
        (Kind::Tool, "{agent: a, limits: {cpuMs: 5}}", "spec.limits"),
        (
            Kind::Tool,
            "{component: {image: search}}",
            "spec.component.image",
        ),
        (
            Kind::Tool,
            "{component: {digest: 'sha256:1'}}",
            "spec.component.digest",
        ),
        (Kind::Tool, "{component: {}}", "spec.component"),
        (
            Kind::Tool,
            "{component: {image: a/b, imagePullSecrets: [{name: A}]}}",
            "spec.component.imagePullSecrets[0].name",
        ),
        (
            Kind::Tool,
            "{component: {image: a/b, imagePullSecrets: [{name: a}, {name: a}]}}",
            "spec.component.imagePullSecrets[1].name",
        ),
        (
            Kind::Tool,
            "{mcp: {url: 'https://u:p@x.test/'}}",
            "spec.mcp.url",
        ),
        (
            Kind::Tool,
            "{mcp: {url: 'http://127.0.0.1/'}}",
            "spec.mcp.url",
        ),
        (
            Kind::Tool,
            "{mcp: {url: 'https://x.test', pollMs: 10}}",
            "spec.mcp.pollMs",
        ),
        (
            Kind::Tool,
            "{agent: a, descriptions: {'a b': c}}",
            "spec.descriptions.a b",
        ),
        (Kind::Agent, "{instructions: x}", "spec.model"),
        (
            Kind::Agent,
            "{instructions: ' ', model: {name: m}}",
            "spec.instructions",
        ),
        (
            Kind::Agent,
            "{component: {image: a/b}, model: {name: m}}",
            "spec.model",
        ),
        (
            Kind::Agent,
            "{instructions: x, model: {name: m, temperature: 3}}",
            "spec.model.temperature",
        ),
        (
            Kind::Agent,
            "{instructions: x, model: {name: m}, loop: {maxTurns: 0}}",
            "spec.loop.maxTurns",
        ),
        (
            Kind::Agent,
            "{instructions: x, model: {name: m}, outputSchema: text}",
            "spec.outputSchema",
        ),
        (
            Kind::Agent,
            "{instructions: x, model: {name: m}, outputSchema: {properties: {a: {pattern: x}}}}",
            "spec.outputSchema",
        ),
        (
            Kind::Agent,
            "{instructions: x, model: {name: m}, grants: {clocks: true}}",
            "spec.grants.clocks",
        ),
        (
            Kind::Model,
            "{provider: {scripted: {turns: []}}}",
            "spec.provider.scripted.turns",
        ),
        (
            Kind::Model,
            "{provider: {scripted: {turns: [{}]}}}",
            "spec.provider.scripted.turns[0]",
        ),
        (
            Kind::Model,
            "{provider: {scripted: {turns: [{text: a}]}}, timeoutMs: 5}",
            "spec.timeoutMs",
        ),
        (
            Kind::Model,
            "{provider: {anthropic: {model: ''}}}",
            "spec.provider.anthropic.model",
        ),
        (
            Kind::Model,
            "{provider: {openAi: {model: m}}, retry: {attempts: 11, initialMs: 1}}",
            "spec.retry.attempts",
        ),
        (
            Kind::Model,
            "{provider: {openAi: {model: m, apiKey: {env: 'A B'}}}}",
            "spec.provider.openAi.apiKey.env",
        ),
        (
            Kind::Model,
            "{provider: {openAi: {model: m, apiKey: {file: k}}}}",
            "spec.provider.openAi.apiKey.file",
        ),
    ];
    for (kind, spec, field) in cases {
        let text = format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n"
        );
        let found = Manifest::from_yaml(&text, &TenantName::default()).expect_err(spec);
        assert!(
            found.iter().any(|problem| problem.field == field),
            "{spec}: {found:?}"
        );
    }
}

#[test]
fn faults_in_grants_are_found() {
    let cases = [
        ("tools: [{name: a}, {name: a}]", "tools[1].name"),
        ("tools: [{name: a, functions: []}]", "tools[0].functions"),
        ("http: [{host: 'https://a.test'}]", "http[0].host"),
        (
            "http: [{host: 169.254.169.254, addresses: private}]",
            "http[0].host",
        ),
        ("http: [{host: 10.0.0.1}]", "http[0].host"),
        (
            "http: [{host: a.test, methods: [get]}]",
            "http[0].methods[0]",
        ),
        ("http: [{host: a.test, path: v1}]", "http[0].path"),
        ("http: [{host: a.test, path: /a/../b}]", "http[0].path"),
        ("http: [{host: a.test}, {host: a.test}]", "http[1]"),
        ("http: [{host: a.test, port: 70000}]", "http[0].port"),
        (
            "http: [{host: a.test, headers: [{name: x}]}]",
            "http[0].headers[0]",
        ),
        (
            "http: [{host: a.test, headers: [{name: host, value: x}]}]",
            "http[0].headers[0].name",
        ),
        (
            "http: [{host: a.test, headers: [{name: x, value: a, valueFrom: {env: B}}]}]",
            "http[0].headers[0]",
        ),
        ("folders: [{name: a, mount: docs}]", "folders[0].mount"),
        (
            "folders: [{name: a, mount: /a}, {name: b, mount: /a/b}]",
            "folders[1].mount",
        ),
        (
            "folders: [{name: a, mount: /a, writeBytes: 5}]",
            "folders[0].writeBytes",
        ),
        ("env: [{name: 1A, value: x}]", "env[0].name"),
        ("env: [{name: A, value: 1}]", "env[0].value"),
        (
            "env: [{name: A, value: x}, {name: A, value: y}]",
            "env[1].name",
        ),
        ("memory: true", "memory"),
    ];
    for (grants, field) in cases {
        let text = format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: Tool\nmetadata: {{name: x}}\nspec:\n  \
             component: {{image: a/b}}\n  grants:\n    {grants}\n"
        );
        let found = Manifest::from_yaml(&text, &TenantName::default()).expect_err(grants);
        let field = format!("spec.grants.{field}");
        assert!(
            found.iter().any(|problem| problem.field == field),
            "{grants}: {found:?}"
        );
    }
}

proptest! {
    /// Whatever is written: an answer, no panic, and no half-read stream.
    #[test]
    fn any_text_is_answered(text in "[ -~\n]{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn any_mutation_of_a_manifest_is_answered(at in 0..DESK.len(), with in "[\\PC\n]{0,4}") {
        let mut text = DESK.to_owned();
        text.replace_range(at..at + 1, &with);
        if let Ok(manifests) = read(&text) {
            for manifest in manifests {
                let again = Manifest::from_json(manifest.to_json(), &TenantName::default());
                prop_assert_eq!(again, Ok(manifest));
            }
        }
    }
}

#[test]
fn a_tenant_that_nobody_could_reach_is_refused() {
    for name in TenantName::RESERVED {
        let text = DESK.replace("team-a", name);
        let found = problems(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("metadata.namespace") && found[0].contains("choose another"),
            "{found:?}"
        );
    }
    assert!(read(&DESK.replace("team-a", "apis")).is_ok());
}

#[test]
fn what_places_instances_has_bounds() {
    let agent = |extra: &str| {
        format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: Agent\nmetadata: {{name: a}}\n\
             spec: {{instructions: x, model: {{name: m}}, {extra}}}\n"
        )
    };
    for (extra, field) in [
        ("replicas: 0", "spec.replicas"),
        ("replicas: 1001", "spec.replicas"),
        ("placement: {priority: 1000001}", "spec.placement.priority"),
        (
            "placement: {requests: {cpuMillis: 1000001}}",
            "spec.placement.requests.cpuMillis",
        ),
        ("placement: {pool: A}", "spec.placement.pool"),
        ("placement: {host: a}", "spec.placement.host"),
    ] {
        let found = problems(&agent(extra));
        assert!(found[0].contains(field), "{extra}: {found:?}");
    }
    let good = "replicas: 3, placement: {pool: big, priority: -5, requests: {memoryBytes: 1024}}";
    assert!(read(&agent(good)).is_ok());
}

#[test]
fn how_revisions_follow_each_other_has_bounds() {
    let tool = |rollout: &str| {
        format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: Tool\nmetadata: {{name: a}}\n\
             spec: {{agent: b, rollout: {{{rollout}}}}}\n"
        )
    };
    for (rollout, field) in [
        ("maxSurge: 0, maxUnavailable: 0%", "spec.rollout"),
        (
            "maxSurge: 0, canary: {steps: [{weight: 1}]}",
            "spec.rollout.maxSurge",
        ),
        ("maxSurge: 1001", "spec.rollout.maxSurge"),
        ("maxUnavailable: half", "spec.rollout.maxUnavailable"),
        (
            "minReadySeconds: 600",
            "spec.rollout.progressDeadlineSeconds",
        ),
        (
            "progressDeadlineSeconds: 0",
            "spec.rollout.progressDeadlineSeconds",
        ),
        (
            "progressDeadlineSeconds: 604801",
            "spec.rollout.progressDeadlineSeconds",
        ),
        (
            "revisionHistoryLimit: 101",
            "spec.rollout.revisionHistoryLimit",
        ),
        ("canary: {steps: []}", "spec.rollout.canary.steps"),
        (
            "canary: {steps: [{weight: 0}]}",
            "spec.rollout.canary.steps[0].weight",
        ),
        (
            "canary: {steps: [{weight: 1, pauseSeconds: 0}]}",
            "spec.rollout.canary.steps[0].pauseSeconds",
        ),
        ("restartedAt: ''", "spec.rollout.restartedAt"),
        ("onFailure: retry", "spec.rollout.onFailure"),
        ("strategy: Recreate", "spec.rollout.strategy"),
    ] {
        let found = problems(&tool(rollout));
        assert!(
            found.first().is_some_and(|found| found.contains(field)),
            "{rollout}: {found:?}"
        );
    }
    let good = "maxSurge: 2, maxUnavailable: 10%, onFailure: halt, paused: true, \
                canary: {steps: [{weight: 10, pauseSeconds: 60}, {weight: 50}]}";
    assert!(read(&tool(good)).is_ok(), "{:?}", problems(&tool(good)));
}

#[test]
fn pull_secrets_are_bounded_and_belong_to_images() {
    let tool = |component: String| {
        let text = format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: Tool\nmetadata: {{name: x}}\n\
             spec: {{component: {component}}}\n"
        );
        Manifest::from_yaml(&text, &TenantName::default())
    };
    let image = |secrets: usize| {
        let secrets: String = (0..secrets).map(|n| format!("{{name: s{n}}}, ")).collect();
        tool(format!("{{image: a/b, imagePullSecrets: [{secrets}]}}"))
    };
    image(crate::PULL_SECRETS).unwrap();
    let problems = image(crate::PULL_SECRETS + 1).unwrap_err();
    assert_eq!(problems[0].field, "spec.component.imagePullSecrets");
    assert_eq!(
        problems[0].message,
        "has 17 entries: at most 16 are allowed"
    );
    let digest = "sha256:".to_owned() + &"0".repeat(64);
    let problems = tool(format!(
        "{{digest: '{digest}', imagePullSecrets: [{{name: a}}]}}"
    ))
    .unwrap_err();
    assert_eq!(problems[0].field, "spec.component");
    assert!(
        problems[0]
            .message
            .contains("imagePullSecrets has no effect without image: remove it"),
        "{problems:?}"
    );
}
