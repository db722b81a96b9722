//! `ringfence new`, then `ringfence build`, for every language and kind, with the languages' own
//! tools: what comes out is a component with the exports and the doc comments of its WIT.
//!
//! The first run installs the tools from their package registries into the cache folder.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use ringfence_api::Digest;
use ringfence_cli::authoring::build::docs::decode_with_docs;
use serde_json::{Value, json};
use wit_parser::{Resolve, TypeDefKind, WorldId, WorldItem};

/// A folder for projects, and what is done in it.
struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn ringfence(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ringfence"))
            .args(args)
            .current_dir(self.folder.path())
            // Rust projects share their dependencies' compiled crates.
            .env(
                "CARGO_TARGET_DIR",
                Path::new(env!("CARGO_TARGET_TMPDIR")).join("authoring"),
            )
            .output()
            .unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Scaffolds a project in a folder and builds it.
    fn make(&self, language: &str, kind: &str, folder: &str) -> Component {
        self.scaffold(language, kind, folder);
        self.build(language, kind, folder)
    }

    fn scaffold(&self, language: &str, kind: &str, folder: &str) {
        let output = self.ringfence(&[
            "new", "--lang", language, "--kind", kind, "my-notes", "--dir", folder,
        ]);
        assert!(output.status.success(), "{}", stderr(&output));
    }

    fn build(&self, language: &str, kind: &str, folder: &str) -> Component {
        let output = self.ringfence(&["build", folder, "-o", "json"]);
        assert!(
            output.status.success(),
            "{language} {kind}: {}",
            stderr(&output)
        );
        let built: Value = serde_json::from_slice(&output.stdout).unwrap();
        let path = PathBuf::from(built["path"].as_str().unwrap());
        assert!(path.ends_with("my-notes.wasm"));
        let bytes = fs::read(path).unwrap();
        assert_eq!(
            [&built["name"], &built["kind"], &built["language"]],
            ["my-notes", kind, language]
        );
        assert_eq!(built["size"], bytes.len());
        assert_eq!(built["digest"], Digest::of(&bytes).to_string());
        let (resolve, world) = decode_with_docs(&bytes).unwrap();
        Component {
            bytes,
            resolve,
            world,
        }
    }

    /// A source that does not compile: the compiler's own message, and a failure.
    fn breaks(&self, folder: &str, source: &str, garbage: &str, message: &str) {
        let path = self.path(folder).join(source);
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str(garbage);
        fs::write(&path, text).unwrap();
        let before = fs::read(self.path(folder).join("my-notes.wasm")).unwrap();
        let output = self.ringfence(&["build", folder]);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let stderr = stderr(&output);
        assert!(stderr.contains(message), "{message:?} is not in: {stderr}");
        assert!(stderr.contains("error: "), "{stderr}");
        let after = fs::read(self.path(folder).join("my-notes.wasm")).unwrap();
        assert!(
            before == after,
            "a failed build must not touch the last good component"
        );
    }
}

/// A host of this machine, as `ringfence serve` starts it.
struct Host {
    process: Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Host {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_ringfence"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let stdout = process.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut url).unwrap();
        Self {
            process,
            url: url.trim().to_owned(),
            folder,
        }
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ringfence"))
            .args(["--host", &self.url])
            .args(args)
            .output()
            .unwrap()
    }

    fn call(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn push(&self, component: &Path) -> String {
        let pushed = self.call(&["push", "-o", "json", component.to_str().unwrap()]);
        pushed["digest"].as_str().unwrap().to_owned()
    }

    fn apply(&self, manifests: &str) {
        let file = self.folder.path().join("manifests.yaml");
        fs::write(&file, manifests).unwrap();
        let applied = self.run(&["apply", "-f", file.to_str().unwrap()]);
        assert!(applied.status.success(), "{}", stderr(&applied));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

struct Component {
    bytes: Vec<u8>,
    resolve: Resolve,
    world: WorldId,
}

impl Component {
    fn exports(&self) -> Vec<String> {
        let exports = self.resolve.worlds[self.world].exports.keys();
        exports
            .map(|key| self.resolve.name_world_key(key))
            .collect()
    }

    fn imports(&self) -> Vec<String> {
        let imports = self.resolve.worlds[self.world].imports.keys();
        imports
            .map(|key| self.resolve.name_world_key(key))
            .collect()
    }

    fn is_tool(&self) -> &Self {
        let exports = &self.resolve.worlds[self.world].exports;
        assert_eq!(self.exports(), ["local:my-notes/text"]);
        let Some(WorldItem::Interface { id, .. }) = exports.values().next() else {
            unreachable!("checked")
        };
        let text = &self.resolve.interfaces[*id];
        let docs = |name: &str| {
            text.functions[name]
                .docs
                .contents
                .as_deref()
                .unwrap_or_default()
        };
        assert_eq!(
            docs("measure"),
            "Counts the lines, words and bytes of a text."
        );
        assert_eq!(
            docs("find"),
            "Finds the lines of a text that contain a phrase. Fails if the phrase is empty."
        );
        let TypeDefKind::Record(hit) = &self.resolve.types[text.types["hit"]].kind else {
            unreachable!("a record in the WIT")
        };
        assert_eq!(
            hit.fields[0].docs.contents.as_deref(),
            Some("Number of the line, from 1.")
        );
        self
    }

    fn is_agent(&self) -> &Self {
        assert_eq!(self.exports(), ["ringfence:agent/handler@0.1.0"]);
        let imports = self.imports();
        for wanted in [
            "ringfence:agent/models@0.1.0",
            "ringfence:agent/tools@0.1.0",
        ] {
            assert!(imports.iter().any(|import| import == wanted), "{imports:?}");
        }
        self
    }

    fn is_command(&self) -> &Self {
        let exports = self.exports();
        assert!(
            exports
                .iter()
                .any(|export| export.starts_with("wasi:cli/run@0.2.")),
            "{exports:?}"
        );
        self
    }

    /// No path of the machine that built it.
    fn is_clean(&self, workshop: &Workshop) -> &Self {
        let path = workshop.folder.path().to_str().unwrap().as_bytes();
        assert!(
            !self.bytes.windows(path.len()).any(|window| window == path),
            "the build folder is in the component"
        );
        self
    }
}

#[test]
fn rust() {
    let workshop = Workshop::new();
    let tool = workshop.make("rust", "tool", "tool");
    tool.is_tool().is_clean(&workshop);
    workshop.make("rust", "agent", "agent").is_agent();
    workshop.make("rust", "command", "command").is_command();
    let again = workshop.make("rust", "tool", "elsewhere");
    assert!(
        tool.bytes == again.bytes,
        "the same source gives the same component"
    );
    workshop.breaks("tool", "src/lib.rs", "fn broken( {", "src/lib.rs:");
}

#[test]
fn python() {
    let workshop = Workshop::new();
    workshop.make("python", "tool", "tool").is_tool();
    workshop.make("python", "agent", "agent").is_agent();
    workshop.make("python", "command", "command").is_command();
    workshop.breaks("tool", "app.py", "def broken(:\n", "SyntaxError");
    // A package that has no pure Python wheel cannot run in a component, and the build says so.
    fs::write(workshop.path("agent/requirements.txt"), "ziglang==0.17.0\n").unwrap();
    let output = workshop.ringfence(&["build", "agent"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("pure Python wheel"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn javascript() {
    let workshop = Workshop::new();
    workshop.make("javascript", "tool", "tool").is_tool();
    workshop.make("javascript", "agent", "agent").is_agent();
    workshop
        .make("javascript", "command", "command")
        .is_command();
    workshop.breaks(
        "tool",
        "src/index.js",
        "export const broken = ;\n",
        "index.js:",
    );
}

/// As somebody does who begins: `new`, `build`, `push`, `apply`, and then it is called.
#[test]
fn typescript() {
    let workshop = Workshop::new();
    workshop.make("typescript", "tool", "tool").is_tool();
    workshop.make("typescript", "agent", "agent").is_agent();
    workshop
        .make("typescript", "command", "command")
        .is_command();
    let host = Host::start();
    let digests = ["tool", "agent", "command"]
        .map(|folder| host.push(&workshop.path(folder).join("my-notes.wasm")));
    host.apply(&format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: Tool\nmetadata: {{name: notes}}\n\
         spec: {{component: {{digest: '{}'}}}}\n---\n\
         apiVersion: ringfence.dev/v1alpha1\nkind: Model\nmetadata: {{name: script}}\n\
         spec: {{provider: {{scripted: {{turns: [{{calls: [{{name: notes_text_measure, arguments: {{text: 'a b'}}}}]}}, \
         {{text: 'measured: {{{{last.text}}}}'}}]}}}}}}\n---\n\
         apiVersion: ringfence.dev/v1alpha1\nkind: Agent\nmetadata: {{name: desk}}\n\
         spec: {{component: {{digest: '{}'}}, grants: {{models: [{{name: script}}], tools: [{{name: notes}}]}}}}\n---\n\
         apiVersion: ringfence.dev/v1alpha1\nkind: Tool\nmetadata: {{name: words}}\n\
         spec: {{component: {{digest: '{}'}}}}\n",
        digests[0], digests[1], digests[2]
    ));
    let counted = host.call(&[
        "call",
        "notes",
        "text_measure",
        "--arg",
        "text=one two\nthree\n",
    ]);
    assert_eq!(counted, json!({"lines": 2, "words": 3, "bytes": 14}));
    let found = [
        "call",
        "notes",
        "text_find",
        "--arg",
        "text=a\nbc\ncab",
        "--arg",
        "phrase=c",
    ];
    let hits = json!([{"line": 2, "text": "bc"}, {"line": 3, "text": "cab"}]);
    assert_eq!(host.call(&found)["result"], hits);
    let nothing = host.run(&[
        "call",
        "notes",
        "text_find",
        "--arg",
        "text=a",
        "--arg",
        "phrase=",
    ]);
    assert!(!nothing.status.success());
    assert!(
        stderr(&nothing).contains("the phrase is empty"),
        "{}",
        stderr(&nothing)
    );
    let said = host.run(&["run", "desk", "how long is it?"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.starts_with("measured: ") && said.contains("words"),
        "{said}"
    );
    let args = r#"args=["1"]"#;
    let frequent = host.run(&[
        "call",
        "words",
        "run",
        "--arg",
        args,
        "--arg",
        "stdin=b a b",
    ]);
    let frequent = String::from_utf8_lossy(&frequent.stdout).into_owned();
    assert_eq!(frequent.trim(), "2\tb", "{frequent}");

    // What the language has and esbuild takes off: enums, generics, type imports, `satisfies`, a file beside.
    fs::write(
        workshop.path("tool/src/lines.ts"),
        "export interface Hit { line: number; text: string }\n\
         export const linesOf = (text: string): string[] => text.split(/\\r?\\n/);\n",
    )
    .unwrap();
    let source = "\
import { linesOf, type Hit } from './lines';

enum Unit { Lines, Words, Bytes }
type Counts = Record<'lines' | 'words' | 'bytes', number>;

const count = <T,>(items: readonly T[]): number => items.length;

export const text = {
  measure(text: string): Counts {
    const sizes: number[] = [];
    sizes[Unit.Lines] = count(linesOf(text));
    sizes[Unit.Words] = count(text.split(/\\s+/).filter(Boolean));
    sizes[Unit.Bytes] = new TextEncoder().encode(text).length;
    return { lines: sizes[0]!, words: sizes[1]!, bytes: sizes[2]! } satisfies Counts;
  },
  find(text: string, phrase: string): Hit[] {
    return linesOf(text)
      .map((line, index): Hit => ({ line: index + 1, text: line }))
      .filter((hit) => hit.text.includes(phrase));
  },
};
";
    fs::write(workshop.path("tool/src/index.ts"), source).unwrap();
    workshop.build("typescript", "tool", "tool").is_tool();
    let digest = host.push(&workshop.path("tool/my-notes.wasm"));
    host.apply(&format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: Tool\nmetadata: {{name: notes}}\n\
         spec: {{component: {{digest: '{digest}'}}}}\n"
    ));
    let counted = host.call(&["call", "notes", "text_measure", "--arg", "text=é\nb c"]);
    assert_eq!(counted, json!({"lines": 2, "words": 3, "bytes": 6}));
    workshop.breaks("tool", "src/index.ts", "const x: = 1;\n", "index.ts:");
}

#[test]
fn go() {
    let workshop = Workshop::new();
    let tool = workshop.make("go", "tool", "tool");
    tool.is_tool().is_clean(&workshop);
    workshop.make("go", "agent", "agent").is_agent();
    workshop
        .make("go", "command", "command")
        .is_command()
        .is_clean(&workshop);
    let again = workshop.make("go", "tool", "elsewhere");
    assert!(
        tool.bytes == again.bytes,
        "the same source gives the same component"
    );
    workshop.breaks(
        "tool",
        "export_local_my_notes_text/text.go",
        "func broken( {\n",
        "text.go:",
    );
}

#[test]
fn c() {
    let workshop = Workshop::new();
    let tool = workshop.make("c", "tool", "tool");
    tool.is_tool().is_clean(&workshop);
    workshop.make("c", "command", "command").is_command();
    let again = workshop.make("c", "tool", "elsewhere");
    assert!(
        tool.bytes == again.bytes,
        "the same source gives the same component"
    );
    workshop.breaks("tool", "src/tool.c", "int broken( {\n", "tool.c:");
}

#[test]
fn a_folder_that_is_no_project_says_what_to_do() {
    let workshop = Workshop::new();
    let output = workshop.ringfence(&["build"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("ringfence new --lang"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_new_project_is_named_in_the_format_that_was_asked_for() {
    let workshop = Workshop::new();
    let new = |folder, format| {
        let output = workshop.ringfence(&[
            "new", "--lang", "c", "my-notes", "--dir", folder, "-o", format,
        ]);
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(new("a", "table"), "a\n");
    let json: Value = serde_json::from_str(&new("b", "json")).unwrap();
    let expected = serde_json::json!({
        "folder": "b", "name": "my-notes", "kind": "tool", "language": "c"
    });
    assert_eq!(json, expected);
    assert!(new("c", "yaml").contains("folder: c\n"));
}

#[test]
fn a_missing_compiler_says_what_to_install() {
    let workshop = Workshop::new();
    let output = workshop.ringfence(&["new", "--lang", "go", "--kind", "command", "my-notes"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let output = Command::new(env!("CARGO_BIN_EXE_ringfence"))
        .args(["build", "my-notes"])
        .current_dir(workshop.folder.path())
        .env("PATH", workshop.folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("Install Go 1.25 or newer"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_world_that_does_not_fit_the_kind_is_refused() {
    let workshop = Workshop::new();
    let output = workshop.ringfence(&["new", "--lang", "go", "--kind", "command", "my-notes"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let file = workshop.path("my-notes/ringfence.toml");
    fs::write(
        &file,
        fs::read_to_string(&file)
            .unwrap()
            .replace("command", "agent"),
    )
    .unwrap();
    let output = workshop.ringfence(&["build", "my-notes"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("ringfence:agent/handler@0.1.0"),
        "{}",
        stderr(&output)
    );
}
