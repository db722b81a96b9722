//! Components, and artifacts in a directory of their own.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::OnceLock;

use ringfence_api::TenantName;
use ringfence_host::artifact::{ArtifactSettings, Artifacts, Launcher};
use ringfence_host::engine::{Engine, PoolSize};
use tempfile::TempDir;

/// One per process, as in a host.
pub(crate) fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE
        .get_or_init(|| Engine::new(PoolSize::new(8)).unwrap())
        .clone()
}

pub(crate) fn tenant() -> TenantName {
    "a".parse().unwrap()
}

pub(crate) fn settings() -> ArtifactSettings {
    ArtifactSettings::new(Launcher::this_program(crate::WORKER).unwrap())
}

pub(crate) struct Fixture {
    pub dir: TempDir,
    pub artifacts: Artifacts,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ArtifactSettings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings();
        change(&mut settings);
        let artifacts = Artifacts::open(dir.path(), engine(), settings).unwrap();
        Self { dir, artifacts }
    }

    /// Every file but the lock, relative to the directory.
    pub(crate) fn files(&self) -> BTreeSet<String> {
        files(self.dir.path())
    }
}

pub(crate) fn files(root: &Path) -> BTreeSet<String> {
    fn walk(root: &Path, dir: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                found.insert(name.to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(root, root, &mut found);
    found.remove("lock");
    found
}

/// A component that exports `f: func() -> u32`, which returns `n`.
pub(crate) fn component(n: u32) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(component
            (core module $m (func (export "f") (result i32) i32.const {n}))
            (core instance $i (instantiate $m))
            (func (export "f") (result u32) (canon lift (core func $i "f"))))"#
    ))
    .unwrap()
}

pub(crate) fn core_module() -> Vec<u8> {
    wat::parse_str("(module (func))").unwrap()
}

/// A valid component with one function of `blocks` nested and joined blocks: small in bytes, slow and
/// large in the compiler.
pub(crate) fn slow_component(blocks: usize) -> Vec<u8> {
    let mut body = String::new();
    for n in 0..blocks {
        let (a, b) = (n % 50, (n * 7 + 3) % 50);
        let _ = write!(
            body,
            "(if (i32.lt_u (local.get {a}) (local.get {b}))
               (then (local.set {a} (i32.add (local.get {b}) (i32.const {n}))))
               (else (local.set {b} (i32.mul (local.get {a}) (local.get {b})))))"
        );
    }
    let locals = "i32 ".repeat(50);
    wat::parse_str(format!(
        r#"(component
            (core module $m (func (export "f") (result i32) (local {locals}) {body} local.get 0))
            (core instance $i (instantiate $m))
            (func (export "f") (result u32) (canon lift (core func $i "f"))))"#
    ))
    .unwrap()
}
