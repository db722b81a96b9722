//! The real binary, from the outside: a host that is started, used, killed and started again.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

#[path = "cli/ceilings.rs"]
mod ceilings;
#[path = "cli/outside.rs"]
mod outside;
#[path = "cli/power.rs"]
mod power;
#[path = "cli/registry.rs"]
mod registry;
#[path = "shared/started.rs"]
mod started;
#[path = "cli/tls.rs"]
mod tls;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use outside::{http_with, status};
use started::started;

const BINARY: &str = env!("CARGO_BIN_EXE_ringfence");
/// Longest that a host may take to start: the first start compiles the built-in chat agent.
const PATIENCE: Duration = Duration::from_secs(120);

/// A host process with a folder of its own.
struct Host {
    process: Child,
    url: String,
    folder: PathBuf,
}

impl Host {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::started(folder, serve(folder, arguments))
    }

    fn started(folder: &Path, mut command: Command) -> Self {
        let (process, url) = started(&mut command);
        Self {
            process,
            url,
            folder: folder.to_owned(),
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        client(&self.url, arguments)
    }

    /// Standard output of a command that works.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Exit code and standard error of a command that does not.
    fn err(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        (output.status.code().unwrap(), text(&output.stderr))
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_string_lossy().into_owned()
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn terminate(self) -> i32 {
        let id = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        self.ended()
    }

    /// The exit code of a host that was asked to end.
    fn ended(mut self) -> i32 {
        self.process.wait().unwrap().code().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Gone already where the test ended it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.join("data"))
        .args(arguments)
        .env_remove("RINGFENCE_HOST")
        .stderr(Stdio::null());
    command
}

fn client(url: &str, arguments: &[&str]) -> Output {
    Command::new(BINARY)
        .args(arguments)
        .env("RINGFENCE_HOST", url)
        .env_remove("RINGFENCE_API_KEY")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A scripted model and a chat agent on it.
const DESK: &str = "\
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {name: script}
spec:
  provider:
    scripted:
      turns: [{text: 'You said: {{user.text}}'}]
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: desk}
spec:
  description: Repeats what it hears.
  instructions: Repeat.
  model: {name: script}
  grants:
    tools: [{name: absent}]
";

fn tool(name: &str) -> String {
    format!(
        "---\napiVersion: ringfence.dev/v1alpha1\nkind: Tool\nmetadata: {{name: {name}}}\n\
         spec: {{agent: desk}}\n"
    )
}

#[test]
fn resources_are_applied_shown_run_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start(folder.path(), &[]);
    let nothing = host.run(&["get", "all"]);
    assert_eq!(
        text(&nothing.stderr),
        "no agents, tools or models in tenant default\n"
    );
    let desk = host.file("desk.yaml", DESK);

    let dry = host.ok(&["apply", "-f", &desk, "--dry-run"]);
    assert_eq!(
        dry,
        "model/script created (dry run)\nagent/desk created (dry run)\n"
    );
    assert_eq!(
        host.err(&["get", "agent", "desk"]).0,
        3,
        "a dry run changes nothing"
    );
    assert_eq!(
        host.ok(&["apply", "-f", &desk]),
        "model/script created\nagent/desk created\n"
    );
    assert_eq!(
        host.ok(&["apply", "-f", &desk]),
        "model/script unchanged\nagent/desk unchanged\n"
    );
    let changed = host.file("changed.yaml", &DESK.replace("Repeat.", "Repeat twice."));
    assert_eq!(
        host.ok(&["apply", "-f", &changed]),
        "model/script unchanged\nagent/desk configured\n"
    );

    let agent: serde_json::Value =
        serde_json::from_str(&host.ok(&["get", "agent", "desk", "-o", "json"])).unwrap();
    assert_eq!(agent["metadata"]["generation"], 2);
    assert_eq!(agent["status"]["observedGeneration"], 2);
    let conditions = agent["status"]["conditions"].as_array().unwrap();
    let status =
        |kind: &str| conditions.iter().find(|c| c["type"] == kind).unwrap()["status"].clone();
    assert_eq!(
        (status("Ready"), status("TargetsFound")),
        ("True".into(), "False".into())
    );
    let table = host.ok(&["get", "agents"]);
    assert!(
        table.contains("desk") && !table.contains('\u{1b}'),
        "plain in a pipe: {table}"
    );
    assert!(
        host.ok(&["describe", "agent", "desk"])
            .contains("tool absent")
    );

    // What is printed as YAML can be applied.
    let yaml = host.file("again.yaml", &host.ok(&["get", "all", "-o", "yaml"]));
    assert_eq!(
        host.ok(&["apply", "-f", &yaml]),
        "model/script unchanged\nagent/desk unchanged\n"
    );

    assert_eq!(host.ok(&["run", "desk", "hello"]).trim(), "You said: hello");
    let traced = host.run(&["run", "desk", "hello", "--trace"]);
    assert!(
        text(&traced.stderr).contains("models script"),
        "{}",
        text(&traced.stderr)
    );
    assert!(host.ok(&["get", "runs"]).contains("desk"));

    let asks = host.file("ask.yaml", &tool("ask-desk"));
    host.ok(&["apply", "-f", &asks]);
    let answer = host.ok(&["call", "ask-desk", "ask", "--arg", "message=5"]);
    assert_eq!(
        answer.trim(),
        "You said: 5",
        "text stays text though it looks like a number"
    );

    assert_eq!(
        host.ok(&["delete", "tool", "ask-desk"]),
        "tool/ask-desk deleted\n"
    );
    assert_eq!(
        host.ok(&["delete", "-f", &desk]),
        "agent/desk deleted\nmodel/script deleted\n"
    );
    let (code, error) = host.err(&["run", "desk", "hello"]);
    assert_eq!(code, 3, "{error}");
    assert_eq!(host.terminate(), 0);
}

#[test]
fn errors_say_what_to_do_and_have_codes() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start(folder.path(), &[]);
    let wrong = host.file("wrong.yaml", &DESK.replace("instructions:", "instruction:"));
    let (code, error) = host.err(&["apply", "-f", &wrong]);
    assert_eq!(code, 6);
    assert!(
        error.contains("wrong.yaml: line 14: Agent default/desk: spec.instruction"),
        "{error}"
    );
    assert!(error.contains("did you mean \"instructions\"?"), "{error}");

    let reserved = DESK.replace("name: desk", "name: desk, namespace: api");
    let (code, error) = host.err(&["apply", "-f", &host.file("reserved.yaml", &reserved)]);
    assert_eq!(code, 6);
    assert!(
        error.contains("metadata.namespace: \"api\" is a path of the gateway"),
        "{error}"
    );

    let missing = host.file(
        "missing.yaml",
        &tool("t").replace(
            "agent: desk",
            &format!("component: {{digest: 'sha256:{}'}}", "0".repeat(64)),
        ),
    );
    let (code, error) = host.err(&["apply", "-f", &missing]);
    assert_eq!(code, 6);
    assert!(error.contains("push it first"), "{error}");

    let junk = host.file("junk.wasm", "this is no component");
    let (code, error) = host.err(&["push", &junk]);
    assert_eq!(code, 6, "{error}");
    assert_eq!(
        host.ok(&["get", "artifacts", "-o", "json"]).trim(),
        "{\n  \"items\": []\n}"
    );

    assert_eq!(host.err(&["get", "nonsense"]).0, 2);
    assert_eq!(
        host.err(&["--tenant", "ringfence-system", "get", "agents"])
            .0,
        3
    );
    assert_eq!(host.err(&["frobnicate"]).0, 2);

    let second = serve(folder.path(), &[])
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(5));
    assert!(
        text(&second.stderr).contains("in use by another host"),
        "{}",
        text(&second.stderr)
    );
    let url = host.url.clone();
    host.kill();
    let gone = client(&url, &["get", "agents"]);
    assert_eq!(gone.status.code(), Some(5));
    assert!(
        text(&gone.stderr).contains("is `ringfence serve` running?"),
        "{}",
        text(&gone.stderr)
    );

    let open = serve(folder.path(), &["--listen", "0.0.0.0:0"]);
    let mut open = Command::new(open.get_program());
    let open = open
        .args(["serve", "--listen", "0.0.0.0:0", "--data-dir"])
        .arg(folder.path().join("b"));
    let refused = open.output().unwrap();
    assert_eq!(refused.status.code(), Some(4));
    assert!(
        text(&refused.stderr).contains("--api-keys FILE"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn a_change_that_cannot_run_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start(folder.path(), &[]);
    let rollout =
        |rollout: &str| DESK.replace("Repeat.", &format!("Repeat.\n  rollout: {{{rollout}}}"));
    let good = "maxSurge: 1, maxUnavailable: 25%, progressDeadlineSeconds: 60, onFailure: halt";
    host.ok(&["apply", "-f", &host.file("good.yaml", &rollout(good))]);
    for (wrong, field) in [
        ("canary: {steps: [{weight: 10}]}", "spec.rollout.canary"),
        ("minReadySeconds: 5", "spec.rollout.minReadySeconds"),
        ("paused: true", "spec.rollout.paused"),
    ] {
        let (code, error) = host.err(&["apply", "-f", &host.file("wrong.yaml", &rollout(wrong))]);
        assert_eq!(code, 6, "{error}");
        assert!(
            error.contains(field) && error.contains("takes a cluster"),
            "{error}"
        );
    }
    // Another component that is not there: the agent that serves is the one that was.
    let gone = DESK.replace(
        "  instructions: Repeat.\n  model: {name: script}\n",
        &format!("  component: {{digest: 'sha256:{}'}}\n", "0".repeat(64)),
    );
    assert_eq!(
        host.err(&["apply", "-f", &host.file("gone.yaml", &gone)]).0,
        6
    );
    assert_eq!(host.ok(&["run", "desk", "hello"]).trim(), "You said: hello");
    let agent = host.ok(&["get", "agent", "desk", "-o", "json"]);
    let agent: serde_json::Value = serde_json::from_str(&agent).unwrap();
    assert_eq!(agent["metadata"]["generation"], 1);
    assert_eq!(agent["spec"]["rollout"]["maxUnavailable"], "25%");
}

#[test]
fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start(folder.path(), &[]);
    host.ok(&["apply", "-f", &host.file("desk.yaml", DESK)]);
    let mut host = Some(host);
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let running = host.take().unwrap();
        // Applies go on in the background while the host is killed under them.
        let url = running.url.clone();
        let path = folder.path().to_owned();
        let applier = std::thread::spawn(move || {
            let mut done = Vec::new();
            for n in 0.. {
                let name = format!("t{round}-{n}");
                let file = path.join(format!("{name}.yaml"));
                std::fs::write(&file, tool(&name)).unwrap();
                let output = client(&url, &["apply", "-f", &file.to_string_lossy()]);
                match output.status.success() {
                    true => done.push(name),
                    false => return done,
                }
            }
            done
        });
        std::thread::sleep(Duration::from_millis(400 + 150 * round));
        running.kill();
        acknowledged.extend(applier.join().unwrap());
        host = Some(Host::start(folder.path(), &[]));
    }
    let host = host.unwrap();
    let tools = host.ok(&["get", "tools", "-o", "json"]);
    let tools: serde_json::Value = serde_json::from_str(&tools).unwrap();
    let there: Vec<&str> = tools["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|t| t["metadata"]["name"].as_str())
        .collect();
    assert!(!acknowledged.is_empty());
    for name in &acknowledged {
        assert!(
            there.contains(&name.as_str()),
            "{name} was acknowledged and is lost"
        );
    }
    assert_eq!(host.ok(&["run", "desk", "hi"]).trim(), "You said: hi");
}

#[test]
fn the_manifest_folder_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("manifests");
    std::fs::create_dir(&manifests).unwrap();
    std::fs::write(manifests.join("desk.yaml"), DESK).unwrap();
    let host = Host::start(
        folder.path(),
        &["--manifests", &manifests.to_string_lossy()],
    );
    assert_eq!(host.ok(&["run", "desk", "hi"]).trim(), "You said: hi");
    let (code, error) = host.err(&["delete", "agent", "desk"]);
    assert_eq!(code, 6);
    assert!(error.contains("file desk.yaml"), "{error}");

    std::fs::write(manifests.join("tool.yaml"), tool("late")).unwrap();
    until(|| host.run(&["get", "tool", "late"]).status.success());
    // A file that is wrong takes nothing away.
    std::fs::write(manifests.join("desk.yaml"), "kind: [").unwrap();
    std::fs::remove_file(manifests.join("tool.yaml")).unwrap();
    until(|| host.err(&["get", "tool", "late"]).0 == 3);
    assert_eq!(host.ok(&["run", "desk", "hi"]).trim(), "You said: hi");
}

/// Waits for something that the host does by itself.
fn until(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it did not happen");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn keys_separate_tenants_and_roles() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder
        .path()
        .join("keys.yaml")
        .to_string_lossy()
        .into_owned();
    let key = |arguments: &[&str]| {
        let output = Command::new(BINARY)
            .args(["key", "--file", &file])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    };
    let admin = key(&["new", "root", "--role", "admin"]);
    let caller = key(&["new", "guest", "--in", "default"]);
    let brief = key(&["new", "brief", "--expires-in", "3s"]);
    let host = Host::start(folder.path(), &["--api-keys", &file]);
    let (code, error) = host.err(&["get", "agents"]);
    assert_eq!(code, 4);
    assert!(error.contains("RINGFENCE_API_KEY"), "{error}");
    host.ok(&[
        "--api-key",
        &admin,
        "apply",
        "-f",
        &host.file("desk.yaml", DESK),
    ]);
    assert_eq!(
        host.ok(&["--api-key", &caller, "run", "desk", "hi"]).trim(),
        "You said: hi"
    );
    assert_eq!(
        host.err(&["--api-key", &caller, "delete", "agent", "desk"])
            .0,
        4
    );
    assert_eq!(
        host.err(&["--api-key", &caller, "-t", "other", "run", "desk", "hi"])
            .0,
        3
    );
    assert!(!key(&["list"]).contains(&caller));
    assert!(key(&["list"]).contains("never"));
    over_http(&host, &caller);
    // One ends by itself, one with its line in the file.
    until(|| {
        host.run(&["--api-key", &brief, "run", "desk", "hi"])
            .status
            .code()
            == Some(4)
    });
    assert_eq!(key(&["delete", "guest"]), "key/guest deleted");
    until(|| status(&asked_with(&host, &caller, "/default/v1/models")) == "401");
    host.ok(&["--api-key", &admin, "run", "desk", "hi"]);
}

/// Keys as clients other than ours send them, and what they are told without a good one.
fn over_http(host: &Host, caller: &str) {
    // The control API is for administrators, also in the key's own tenant.
    for (path, own) in [
        ("/default/v1/models", "200"),
        ("/api/v1/tenants/default/agents", "403"),
    ] {
        assert_eq!(status(&asked_with(host, caller, path)), own, "{path}");
        let refused = asked_with(host, "rf_nobody", path);
        assert_eq!(status(&refused), "401", "{path}");
        assert!(refused.contains("www-authenticate: Bearer"), "{refused}");
        let other = path.replace("default", "other");
        assert_eq!(status(&asked_with(host, caller, &other)), "404", "{other}");
    }
    let head = format!("x-api-key: {caller}\r\n");
    let answer = http_with(&host.url, "GET", "/default/v1/models", &head, "");
    assert_eq!(status(&answer), "200", "{answer}");
}

fn asked_with(host: &Host, key: &str, path: &str) -> String {
    let head = format!("authorization: Bearer {key}\r\n");
    http_with(&host.url, "GET", path, &head, "")
}

#[test]
fn completion_scripts_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = client("http://127.0.0.1:1", &["completion", shell]);
        assert!(output.status.success());
        assert!(text(&output.stdout).contains("inspect"), "{shell}");
    }
}
