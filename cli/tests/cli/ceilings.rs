//! Ceilings of a host of its own.

use std::process::Command;

use super::{BINARY, DESK, Host, text};

/// Tenants are known by their name.
const NARROW: &str = "\
apiVersion: ringfence.dev/v1alpha1
kind: Ceiling
metadata: {name: narrow}
spec:
  tenants: {matchLabels: {kubernetes.io/metadata.name: default}}
  allow: {models: [script], output: true}
  limits: {memoryBytes: 1048576}
";

const OUTSIDE: &str = "\
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {name: outside}
spec: {provider: {openAi: {model: m, baseUrl: 'http://127.0.0.1:1/v1', addresses: private}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata: {name: server}
spec: {mcp: {url: 'http://127.0.0.1:1/mcp', addresses: private}}
";

fn ready(host: &Host, key: &[&str], kind: &str, name: &str) -> serde_json::Value {
    let shown = host.ok(&[key, &["get", kind, name, "-o", "json"]].concat());
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    shown["status"]["conditions"][0].clone()
}

#[test]
fn a_ceiling_bounds_at_once_and_only_who_administers_the_host_sets_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder
        .path()
        .join("keys.yaml")
        .to_string_lossy()
        .into_owned();
    let key = |arguments: &[&str]| {
        let output = Command::new(BINARY)
            .args(["key", "--file", &file, "new"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    };
    let root = key(&["root", "--role", "admin"]);
    let tenant = key(&["tenant", "--in", "default", "--role", "admin"]);
    let host = Host::start(folder.path(), &["--api-keys", &file]);
    let root = ["--api-key", &root];
    let tenant = ["--api-key", &tenant];
    let desk = host.file("desk.yaml", DESK);
    let outside = host.file("outside.yaml", OUTSIDE);
    let narrow = host.file("narrow.yaml", NARROW);
    let ok = |host: &Host, key: &[&str], arguments: &[&str]| host.ok(&[key, arguments].concat());
    ok(&host, &tenant, &["apply", "-f", &desk, "-f", &outside]);
    assert_eq!(ready(&host, &tenant, "model", "outside")["status"], "True");

    for refused in [
        vec!["apply", "-f", &narrow],
        vec!["get", "ceilings"],
        vec!["delete", "ceiling", "narrow"],
    ] {
        let (code, said) = host.err(&[&tenant[..], &refused].concat());
        assert_eq!(code, 4, "{said}");
        assert!(said.contains("a ceiling bounds tenants"), "{said}");
    }
    let lost = host.file(
        "lost.yaml",
        &NARROW.replace("{name: narrow}", "{name: n, namespace: default}"),
    );
    let (code, said) = host.err(&[&root[..], &["apply", "-f", &lost]].concat());
    assert_eq!(code, 6);
    assert!(said.contains("it belongs to no tenant"), "{said}");

    assert_eq!(
        ok(&host, &root, &["apply", "-f", &narrow]),
        "ceiling/narrow created\n"
    );
    assert_eq!(
        ok(&host, &root, &["apply", "-f", &narrow]),
        "ceiling/narrow unchanged\n"
    );
    let grants = ok(&host, &tenant, &["grants", "desk"]);
    assert!(
        grants.contains("tools       absent  no     ceiling narrow"),
        "{grants}"
    );
    let described = ok(&host, &tenant, &["describe", "agent", "desk"]);
    assert!(
        described.contains("refused by a ceiling: tools absent (ceiling narrow)"),
        "{described}"
    );
    for (kind, name) in [("model", "outside"), ("tool", "server")] {
        let ready = ready(&host, &tenant, kind, name);
        assert_eq!(ready["reason"], "RefusedByCeiling", "{ready}");
        assert!(
            ready["message"]
                .as_str()
                .unwrap()
                .contains("(ceiling narrow)"),
            "{ready}"
        );
    }
    let (code, said) = host.err(&[&tenant[..], &["apply", "-f", &outside]].concat());
    assert_eq!(code, 6);
    assert!(said.contains("(ceiling narrow)"), "{said}");
    // Other tenants are not bounded.
    ok(&host, &root, &["-t", "other", "apply", "-f", &outside]);
    // One megabyte is too little for the chat agent: the limit is the ceiling's.
    let (code, said) = host.err(&[&tenant[..], &["run", "desk", "hi"]].concat());
    assert_eq!(code, 7, "{said}");

    host.kill();
    let host = Host::start(folder.path(), &["--api-keys", &file]);
    assert_eq!(ready(&host, &tenant, "model", "outside")["status"], "False");
    let shown = ok(&host, &root, &["describe", "ceiling", "narrow"]);
    assert!(shown.contains("it bounds 1 of the tenants"), "{shown}");
    assert_eq!(
        ok(&host, &root, &["delete", "ceiling", "narrow"]),
        "ceiling/narrow deleted\n"
    );
    assert_eq!(ready(&host, &tenant, "model", "outside")["status"], "True");
    assert_eq!(
        ok(&host, &tenant, &["run", "desk", "hi"]).trim(),
        "You said: hi"
    );
}
