//! Callers with tokens of the cluster, and what its roles allow them on every surface of a host.

use serde_json::{Value, json};

use crate::fixture::{Cluster, Host, eventually};

const TENANT: &str = "team-a";
const AUDIENCE: &str = "ringfence";

/// Two agents, and a tool for each.
const DESK: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {name: echo}
spec: {provider: {scripted: {turns: [{text: 'noted: {{user.text}}'}]}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: scribe}
spec: {instructions: Take notes., model: {name: echo}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: clerk}
spec: {instructions: Take notes., model: {name: echo}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata: {name: scribe}
spec: {agent: scribe, description: Takes a note.}
---
apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata: {name: clerk}
spec: {agent: clerk, description: Takes a note.}
";

/// Everything; one tool and nothing else; looking only.
const ROLES: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: caller}
rules:
  - {apiGroups: [ringfence.dev], resources: [agents], verbs: [run]}
  - {apiGroups: [ringfence.dev], resources: [tools, models], verbs: [call]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: narrow}
rules:
  - {apiGroups: [ringfence.dev], resources: [tools], resourceNames: [clerk], verbs: [call]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules:
  - {apiGroups: [ringfence.dev], resources: [agents, tools, models], verbs: [get, list]}
";

const VERSION: &str = "2026-07-28";

fn bind(role: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {role}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {role}}}
subjects: [{{kind: ServiceAccount, name: {role}, namespace: {TENANT}}}]
"
    )
}

async fn mcp(host: &Host, token: &str, path: &str, method: &str, params: Value) -> (u16, Value) {
    let mut params = params;
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let mut request = http::Request::post(path)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", VERSION)
        .header("mcp-method", method);
    if let Some(name) = params["name"].as_str() {
        request = request.header("mcp-name", name);
    }
    let request = request.body(body.to_string()).unwrap();
    let (status, text) = host.send(token, request).await;
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

async fn tools(host: &Host, token: &str) -> (u16, Vec<String>) {
    let path = format!("/{TENANT}/mcp");
    let (status, answer) = mcp(host, token, &path, "tools/list", json!({})).await;
    let all = answer["result"]["tools"].as_array();
    let names = all.into_iter().flatten().map(|tool| tool["name"].as_str());
    (status, names.flatten().map(str::to_owned).collect())
}

async fn call(host: &Host, token: &str, tool: &str) -> (u16, Value) {
    let params = json!({"name": tool, "arguments": {"message": "milk"}});
    mcp(host, token, &format!("/{TENANT}/mcp"), "tools/call", params).await
}

fn models(answer: &str) -> Vec<String> {
    let answer: Value = serde_json::from_str(answer).unwrap();
    let all = answer["data"].as_array().into_iter().flatten();
    all.map(|model| model["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_of_the_cluster_say_who_may_do_what() {
    let cluster = Cluster::start().await;
    cluster.namespace(TENANT, DESK).await;
    cluster.apply(TENANT, ROLES).await;
    for role in ["caller", "narrow", "reader"] {
        cluster.apply(TENANT, &bind(role)).await;
    }
    let caller = cluster.account(TENANT, "caller", AUDIENCE).await;
    let narrow = cluster.account(TENANT, "narrow", AUDIENCE).await;
    let reader = cluster.account(TENANT, "reader", AUDIENCE).await;
    let nobody = cluster.account(TENANT, "nobody", AUDIENCE).await;
    let host = cluster
        .host("host", &["--authenticate", "kubernetes"])
        .await;
    for what in ["agent/scribe", "agent/clerk", "tool/scribe", "tool/clerk"] {
        cluster.ready(TENANT, what).await;
    }

    // Who they are.
    let for_the_server = cluster.token(TENANT, "caller", "").await;
    for wrong in ["", "nonsense", &for_the_server] {
        let (status, answer) = host.ask(wrong, TENANT, "scribe").await;
        assert_eq!(status, 401, "{answer}");
        assert!(!answer.contains(&for_the_server));
    }
    assert_eq!(host.get("", "/healthz").await.0, 200);

    // Who may do everything.
    let (status, answer) = host.ask(&caller, TENANT, "scribe").await;
    assert!(status == 200 && answer.contains("noted: hello"), "{answer}");
    assert_eq!(host.ask(&caller, TENANT, "model/echo").await.0, 200);
    assert_eq!(host.ask(&caller, TENANT, "none").await.0, 404);
    assert_eq!(host.ask(&caller, "default", "scribe").await.0, 404);
    let (_, listed) = tools(&host, &caller).await;
    assert_eq!(listed, ["clerk_ask", "scribe_ask"]);
    let (_, answer) = call(&host, &caller, "scribe_ask").await;
    assert_eq!(answer["result"]["isError"], false, "{answer}");
    let listed = models(&host.get(&caller, &format!("/{TENANT}/v1/models")).await.1);
    assert_eq!(listed, ["clerk", "scribe", "model/echo"]);

    // Who may call one tool sees that tool, and nothing tells of the others.
    let (_, listed) = tools(&host, &narrow).await;
    assert_eq!(listed, ["clerk_ask"]);
    let (_, answer) = call(&host, &narrow, "clerk_ask").await;
    assert_eq!(answer["result"]["isError"], false, "{answer}");
    let (_, answer) = call(&host, &narrow, "scribe_ask").await;
    let (_, missing) = call(&host, &narrow, "ghost_ask").await;
    let without_name = |answer: &Value, name: &str| answer.to_string().replace(name, "");
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert_eq!(
        without_name(&answer, "scribe"),
        without_name(&missing, "ghost")
    );
    let one = format!("/{TENANT}/tools/clerk/mcp");
    let (status, _) = mcp(&host, &narrow, &one, "tools/list", json!({})).await;
    assert_eq!(status, 200);
    for hidden in ["scribe", "ghost"] {
        let path = format!("/{TENANT}/tools/{hidden}/mcp");
        let (status, answer) = mcp(&host, &narrow, &path, "tools/list", json!({})).await;
        assert_eq!(status, 404, "{answer}");
        let path = format!("/{TENANT}/tools/{hidden}/http/");
        assert_eq!(host.get(&narrow, &path).await.0, 404);
    }
    assert_eq!(host.ask(&narrow, TENANT, "scribe").await.0, 404);

    // Who may look is told what they may not do.
    let (status, answer) = host.ask(&reader, TENANT, "scribe").await;
    assert_eq!(status, 403, "{answer}");
    assert!(
        answer.contains(r#"run agents.ringfence.dev \"scribe\""#),
        "{answer}"
    );
    let (status, listed) = tools(&host, &reader).await;
    assert_eq!((status, listed.len()), (200, 0));
    let (_, answer) = call(&host, &reader, "scribe_ask").await;
    let code = &answer["result"]["_meta"]["ringfence.dev/error"]["code"];
    assert_eq!(code, "denied", "{answer}");
    let path = format!("/{TENANT}/tools/scribe/http/");
    assert_eq!(host.get(&reader, &path).await.0, 403);

    // The control API: the same permissions, and everybody's own runs.
    let api = format!("/api/v1/tenants/{TENANT}");
    let run = json!({"input": "hello"});
    let (status, answer) = host
        .post(&caller, &format!("{api}/agents/scribe/run"), &run)
        .await;
    assert!(status == 200 && answer.contains("noted: hello"), "{answer}");
    let (status, answer) = host
        .post(&reader, &format!("{api}/agents/scribe/run"), &run)
        .await;
    assert_eq!(status, 403, "{answer}");
    let functions = format!("{api}/tools/clerk/functions");
    assert_eq!(host.get(&narrow, &functions).await.0, 200);
    let ran = async |token: &str| {
        let (status, runs) = host.get(token, &format!("{api}/runs")).await;
        assert_eq!(status, 200, "{runs}");
        let runs: Value = serde_json::from_str(&runs).unwrap();
        runs["items"].as_array().unwrap().len()
    };
    assert!(ran(&caller).await > ran(&narrow).await);
    assert_eq!((ran(&reader).await, ran(&nobody).await), (0, 0));
    let (status, answer) = host.get(&nobody, "/api/v1/tenants").await;
    assert!(status == 200 && !answer.contains(TENANT), "{answer}");
    let (_, answer) = host.get(&reader, "/api/v1/tenants").await;
    assert!(answer.contains(TENANT), "{answer}");

    // Who may do nothing learns nothing: a tenant that exists is one that does not.
    nothing_is_told(&host, &nobody).await;

    // The metrics are for whom the cluster allows its own.
    for (token, status) in [(&caller, 403), (&nobody, 403)] {
        assert_eq!(host.get(token, "/metrics").await.0, status);
    }
    let metrics = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: scraper}
rules: [{nonResourceURLs: [/metrics], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: scraper}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: scraper}
subjects: [{kind: ServiceAccount, name: scraper, namespace: team-a}]
";
    cluster.apply(TENANT, metrics).await;
    let scraper = cluster.account(TENANT, "scraper", AUDIENCE).await;
    let (status, text) = host.get(&scraper, "/metrics").await;
    assert_eq!(status, 200, "{text}");
    for series in [
        r#"ringfence_gateway_reviews_total{kind="token",result="yes"}"#,
        r#"ringfence_gateway_reviews_total{kind="token",result="no"}"#,
        r#"ringfence_gateway_reviews_total{kind="token",result="kept"}"#,
        r#"ringfence_gateway_reviews_total{kind="access",result="yes"}"#,
        r#"ringfence_gateway_reviews_total{kind="access",result="kept"}"#,
    ] {
        assert!(text.contains(series), "{series} in\n{text}");
    }

    // While the API server is away, who is known goes on for some seconds; nobody else gets in, nor is
    // told that their token is wrong.
    let unknown = cluster.account(TENANT, "late", AUDIENCE).await;
    assert_eq!(host.ask(&caller, TENANT, "scribe").await.0, 200);
    cluster.control_plane.stop_api_server().await.unwrap();
    assert_eq!(host.ask(&caller, TENANT, "scribe").await.0, 200);
    let (status, answer) = host.ask(&unknown, TENANT, "scribe").await;
    assert_eq!(status, 503, "{answer}");
    assert!(answer.contains("unavailable"), "{answer}");
    cluster.control_plane.restart_api_server().await.unwrap();
    // Who may do nothing: the answer is that of an API server that knows its roles again.
    let answered = async || (host.ask(&unknown, TENANT, "scribe").await.0 == 404).then_some(());
    eventually("a new caller is known again", answered).await;
}

/// Every surface answers for a tenant that is there as for one that is not.
async fn nothing_is_told(host: &Host, token: &str) {
    for (method, path) in [
        ("GET", "/TENANT/v1/models"),
        ("GET", "/TENANT/v1/models/scribe"),
        ("GET", "/TENANT/v1/models/model%2Fecho"),
        ("GET", "/TENANT/mcp"),
        ("GET", "/TENANT/tools/scribe/mcp"),
        ("GET", "/TENANT/tools/scribe/http/"),
        ("POST", "/TENANT/v1/chat/completions"),
        ("POST", "/TENANT/mcp"),
        ("POST", "/TENANT/tools/scribe/mcp"),
        ("POST", "/TENANT/tools/scribe/http/x"),
        ("GET", "/api/v1/tenants/TENANT/agents"),
        ("GET", "/api/v1/tenants/TENANT/agents/scribe"),
        ("GET", "/api/v1/tenants/TENANT/tools/scribe/functions"),
        ("POST", "/api/v1/tenants/TENANT/tools/scribe/functions/ask"),
        ("POST", "/api/v1/tenants/TENANT/agents/scribe/run"),
        ("GET", "/api/v1/tenants/TENANT/logs?source=agent/scribe"),
        ("GET", "/api/v1/tenants/TENANT/artifacts"),
    ] {
        for body in [
            json!({"model": "scribe", "messages": [{"role": "user", "content": "x"}]}),
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                "params": {"name": "scribe_ask", "arguments": {"message": "x"}}}),
            json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
                "protocolVersion": "2025-11-25", "capabilities": {},
                "clientInfo": {"name": "x", "version": "1"}}}),
        ] {
            let ask = async |tenant: &str| {
                let request = http::Request::builder()
                    .method(method)
                    .uri(path.replace("TENANT", tenant))
                    .header("content-type", "application/json")
                    .header("accept", "application/json, text/event-stream");
                let body = if method == "GET" {
                    String::new()
                } else {
                    body.to_string()
                };
                let (status, answer) = host.send(token, request.body(body).unwrap()).await;
                (status, answer.replace(tenant, "TENANT"))
            };
            let (there, not_there) = (ask(TENANT).await, ask("ghost").await);
            assert_eq!(there, not_there, "{method} {path} {body}");
            assert!(matches!(there.0, 400 | 404), "{method} {path}: {there:?}");
        }
    }
}
