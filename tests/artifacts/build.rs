//! Builds `tests/guests` for `wasm32-wasip2`, assembles its `.wat` files, and writes one constant for
//! each guest.
#![allow(clippy::panic, clippy::expect_used)] // a build script reports by failing

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TARGET: &str = "wasm32-wasip2";

fn main() {
    let out_dir = PathBuf::from(variable("OUT_DIR"));
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let tests = manifest_dir.parent().expect("this crate lies in tests/");
    let guests = tests.join("guests");
    for watched in [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "examples",
        "wat",
        "conformance/src",
        "conformance/wit",
        "conformance/Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={}", guests.join(watched).display());
    }
    println!("cargo::rerun-if-changed={}", tests.join("../wit").display());
    println!("cargo::rerun-if-changed=build.rs");

    let mut wasm = BTreeMap::new();
    let target_dir = shared_target_dir(&out_dir).join("test-guests");
    build(&guests, &target_dir);
    let release = target_dir.join(TARGET).join("release");
    for (name, folder) in [("examples", "examples"), ("bin", "")] {
        for source in sources(
            &guests.join(if name == "bin" { "src/bin" } else { name }),
            "rs",
        ) {
            let built = release.join(folder).join(format!("{source}.wasm"));
            // An example that is no executable gets an underscore for each dash.
            let other = release
                .join(folder)
                .join(format!("{}.wasm", source.replace('-', "_")));
            wasm.insert(source, if built.is_file() { built } else { other });
        }
    }
    wasm.insert("conformance".to_owned(), release.join("conformance.wasm"));
    for source in sources(&guests.join("wat"), "wat") {
        let path = guests.join("wat").join(format!("{source}.wat"));
        let bytes = wat::parse_file(&path).unwrap_or_else(|error| panic!("{error}"));
        let built = out_dir.join(format!("{source}.wasm"));
        fs::write(&built, bytes).expect("OUT_DIR is writable");
        wasm.insert(source, built);
    }
    fs::write(out_dir.join("guests.rs"), generate(&wasm)).expect("OUT_DIR is writable");
}

fn build(guests: &Path, target_dir: &Path) {
    let status = Command::new(variable("CARGO"))
        .args(["build", "--release", "--locked", "--target", TARGET])
        .args(["--workspace", "--lib", "--bins", "--examples"])
        .arg("--manifest-path")
        .arg(guests.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target_dir)
        // These belong to the build that runs this script: flags for another target, Clippy's driver.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()
        .expect("cargo can be started, since it runs this script");
    if !status.success() {
        panic!(
            "tests/guests does not build: see cargo's output above; if the target {TARGET} is missing, run `make setup`"
        );
    }
}

/// Names of the files in `folder` that end so, without the ending.
fn sources(folder: &Path, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let matches = path.extension().is_some_and(|e| e == extension);
            matches.then(|| path.file_stem().map(|s| s.to_string_lossy().into_owned()))?
        })
        .collect()
}

/// Constants, the table of all guests, and the macro that names each.
fn generate(wasm: &BTreeMap<String, PathBuf>) -> String {
    let mut code = String::new();
    let mut all = String::new();
    let mut names = String::new();
    for (name, path) in wasm {
        let identifier = name.replace('-', "_");
        let constant = identifier.to_uppercase();
        let path = path.display().to_string();
        writeln!(
            code,
            "/// The guest `{name}`.\npub static {constant}: &[u8] = include_bytes!({path:?});"
        )
        .expect("writing to a string");
        writeln!(all, "    ({name:?}, {constant}),").expect("writing to a string");
        writeln!(names, "            {identifier}").expect("writing to a string");
    }
    format!(
        "{code}\n/// Every guest by name.\npub static ALL: &[(&str, &[u8])] = &[\n{all}];\n\n\
         /// Expands `$check!(guest_name)` for every guest: a test file uses it to make the build fail \
         when a guest\n/// has no test.\n#[macro_export]\nmacro_rules! foreach_guest {{\n    \
         ($check:ident) => {{\n        $crate::foreach_guest!(@each $check\n{names}        );\n    }};\n    \
         (@each $check:ident $($name:ident)*) => {{ $( $check!($name); )* }};\n}}\n"
    )
}

/// A subfolder of the workspace's target folder survives changes of `OUT_DIR`'s name.
fn shared_target_dir(out_dir: &Path) -> &Path {
    out_dir
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .unwrap_or(out_dir)
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
