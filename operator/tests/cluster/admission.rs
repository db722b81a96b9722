//! What the API server itself refuses, and what it says.

use crate::fixture::cluster;

async fn refusal(yaml: &str) -> String {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let arguments = ["apply", "-n", &namespace, "-f", "-"];
    let applied = cluster
        .kubectl_as(cluster.kubeconfig(), &arguments, yaml)
        .await;
    applied.expect_err("it should be refused").to_string()
}

fn manifest(kind: &str, spec: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n"
    )
}

#[tokio::test]
async fn contradictions_are_refused_with_a_remedy() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let many: String = (0..17).map(|n| format!("{{name: s{n}}}, ")).collect();
    for (kind, spec, expected) in [
        ("Tool", "{}", "give exactly one of component, mcp and agent"),
        (
            "Tool",
            "{agent: a, mcp: {url: 'https://example.com'}}",
            "give exactly one of component, mcp and agent",
        ),
        (
            "Tool",
            "{agent: a, grants: {clocks: true}}",
            "grants, limits and parameters have no effect without component: remove them",
        ),
        (
            "Agent",
            "{instructions: x}",
            "give component, or instructions and a model for the built-in chat agent",
        ),
        (
            "Agent",
            "{component: {image: 'r/i:1'}, loop: {maxTurns: 3}}",
            "remove them, or component",
        ),
        (
            "Agent",
            "{instructions: x, model: {name: m}, grants: {clocks: true}}",
            "give them to a tool",
        ),
        (
            "Agent",
            "{component: {image: a, digest: 'sha256:00'}}",
            "spec.component.digest",
        ),
        (
            "Tool",
            "{component: {image: 'r/i:1'}, grants: {http: [{host: a.b, headers: [{name: x}]}]}}",
            "give value, or valueFrom for a secret, and not both",
        ),
        (
            "Tool",
            "{component: {image: 'r/i:1'}, grant: {}}",
            "unknown field \"spec.grant\"",
        ),
        (
            "Agent",
            "{instructions: x, model: {name: Big}}",
            "spec.model.name",
        ),
        (
            "Agent",
            "{instructions: x, model: {name: m}, replicas: 1001}",
            "spec.replicas",
        ),
        (
            "Agent",
            "{instructions: x, model: {name: m}, rollout: {maxSurge: 0, maxUnavailable: '0%'}}",
            "maxSurge and maxUnavailable are both 0",
        ),
        (
            "Agent",
            "{instructions: x, model: {name: m}, rollout: {maxSurge: '101%'}}",
            "spec.rollout.maxSurge",
        ),
        (
            "Agent",
            "{instructions: x, model: {name: m}, rollout: {maxUnavailable: 1001}}",
            "spec.rollout.maxUnavailable",
        ),
        (
            "Tool",
            "{agent: a, rollout: {maxSurge: '0%', canary: {steps: [{weight: 5}]}}}",
            "a canary runs beside the earlier revision: raise maxSurge to 1 or more",
        ),
        (
            "Tool",
            "{agent: a, rollout: {minReadySeconds: 600}}",
            "progressDeadlineSeconds (600 where absent) has to be more than minReadySeconds",
        ),
        (
            "Tool",
            "{agent: a, rollout: {canary: {steps: [{weight: 100}]}}}",
            "spec.rollout.canary.steps[0].weight",
        ),
        (
            "Tool",
            "{agent: a, rollout: {canary: {steps: []}}}",
            "spec.rollout.canary.steps",
        ),
        (
            "Tool",
            "{agent: a, rollout: {onFailure: retry}}",
            "spec.rollout.onFailure",
        ),
        (
            "Ceiling",
            "{allow: {}, tenants: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}",
            "In and NotIn need values; Exists and DoesNotExist take none",
        ),
        ("Ceiling", "{allow: {tools: ['*a']}}", "spec.allow.tools[0]"),
        ("Tool", "{component: {}}", "give one of digest and image"),
        (
            "Tool",
            "{component: {digest: null, image: null}}",
            "give one of digest and image",
        ),
        (
            "Tool",
            &format!("{{component: {{digest: '{digest}', imagePullSecrets: [{{name: a}}]}}}}"),
            "imagePullSecrets has no effect without image: remove it",
        ),
        (
            "Tool",
            "{component: {image: 'r/i:1', imagePullSecrets: [{name: a}, {name: a}]}}",
            "Duplicate value",
        ),
        (
            "Tool",
            "{component: {image: 'r/i:1', imagePullSecrets: [{name: A}]}}",
            "spec.component.imagePullSecrets[0].name",
        ),
        (
            "Tool",
            &format!("{{component: {{image: 'r/i:1', imagePullSecrets: [{many}]}}}}"),
            "must have at most 16 items",
        ),
        ("Model", "{provider: {}}", "spec.provider"),
    ] {
        let said = refusal(&manifest(kind, spec)).await;
        assert!(said.contains(expected), "{kind} {spec}: {said}");
    }
}

#[tokio::test]
async fn an_instance_is_frozen() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let instance = "apiVersion: ringfence.dev/v1alpha1
kind: Instance
metadata: {name: x}
spec:
  workload: {agent: {instructions: x, model: {name: m}}}
  generation: 1
  placement: {pool: unused, trustClass: default}
  requests: {}
  pinned: {grants: {output: true}}
";
    let arguments = ["apply", "-n", &namespace, "-f", "-"];
    let kubeconfig = cluster.kubeconfig();
    cluster
        .kubectl_as(kubeconfig, &arguments, instance)
        .await
        .unwrap();
    for (edited, expected) in [
        (
            instance.replace("output: true", "output: true, clocks: true"),
            "what was pinned stays",
        ),
        (
            instance.replace("instructions: x", "instructions: other"),
            "an instance is frozen",
        ),
        (instance.replace("unused", "other"), "an instance is frozen"),
    ] {
        let refused = cluster.kubectl_as(kubeconfig, &arguments, &edited).await;
        let said = refused.expect_err("it should be refused").to_string();
        assert!(said.contains(expected), "{said}");
    }
}
