//! The guest contract as this binary carries it: the `ringfence:agent` package and the WASI packages
//! that it was checked against. A project gets its own copy, so that its language's tools and its
//! author's editor see ordinary WIT files.

use std::fs;
use std::path::Path;

use super::error::{AuthoringError, Result};

macro_rules! wit_files {
    ($($file:literal),+ $(,)?) => {
        &[$(($file, include_str!(concat!("../../../wit/", $file)))),+]
    };
}

/// Files of `ringfence:agent`.
const AGENT: &[(&str, &str)] = wit_files![
    "agents.wit",
    "context.wit",
    "handler.wit",
    "models.wit",
    "output.wit",
    "session.wit",
    "tools.wit",
    "types.wit",
    "world.wit",
];

/// WASI 0.2, one file per package.
const WASI: &[(&str, &str)] = wit_files![
    "deps/cli.wit",
    "deps/clocks.wit",
    "deps/filesystem.wit",
    "deps/http.wit",
    "deps/io.wit",
    "deps/random.wit",
    "deps/sockets.wit",
];

/// Namespace and name of the contract's package.
pub const AGENT_PACKAGE: &str = "ringfence:agent";

/// Version of the contract's package.
pub const AGENT_VERSION: &str = "0.1.0";

/// Version of the WASI packages.
pub const WASI_VERSION: &str = "0.2.12";

/// Puts what the project's WIT refers to into `DIR/deps`: the agent contract always as this binary
/// has it, WASI packages only where the project has none of its own.
///
/// # Errors
/// When a file cannot be read or written.
pub fn vendor(wit: &Path) -> Result<()> {
    let text = own_text(wit)?;
    let deps = wit.join("deps");
    if text.contains(&format!("{AGENT_PACKAGE}/")) {
        let folder = deps.join("ringfence-agent");
        for (name, content) in AGENT {
            write_if_changed(&folder.join(name), content)?;
        }
    }
    if text.contains("wasi:") {
        for (path, content) in WASI {
            let file = path.trim_start_matches("deps/");
            let package = file.trim_end_matches(".wit");
            if !has_package(&deps, package) {
                write_if_changed(&deps.join(format!("wasi-{package}")).join(file), content)?;
            }
        }
    }
    Ok(())
}

/// Whether `deps` has a file or folder for a WASI package, under any of the usual names.
fn has_package(deps: &Path, package: &str) -> bool {
    let Ok(entries) = fs::read_dir(deps) else {
        return false;
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .any(|name| {
            let name = name.trim_end_matches(".wit");
            let name = name
                .strip_prefix("wasi-")
                .or(name.strip_prefix("wasi:"))
                .unwrap_or(name);
            name == package
                || name
                    .strip_prefix(package)
                    .is_some_and(|rest| rest.starts_with(['@', '-']))
        })
}

/// The project's own WIT, without comments.
fn own_text(wit: &Path) -> Result<String> {
    let mut text = String::new();
    let mut files = Vec::new();
    if wit.is_file() {
        files.push(wit.to_owned());
    } else {
        for entry in fs::read_dir(wit).map_err(AuthoringError::io("read", wit))? {
            let path = entry.map_err(AuthoringError::io("read", wit))?.path();
            if path.extension().is_some_and(|extension| extension == "wit") {
                files.push(path);
            }
        }
    }
    for file in files {
        let content = fs::read_to_string(&file).map_err(AuthoringError::io("read", &file))?;
        for line in content.lines() {
            text.push_str(line.split("//").next().unwrap_or_default());
            text.push('\n');
        }
    }
    Ok(text)
}

/// Writes a file and the folders above it, unless it already has this content: untouched files keep
/// compilers from starting over.
pub(crate) fn write_if_changed(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let content = content.as_ref();
    if fs::read(path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(AuthoringError::io("create", parent))?;
    }
    fs::write(path, content).map_err(AuthoringError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(wit: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("world.wit"), wit).unwrap();
        folder
    }

    #[test]
    fn a_project_gets_only_what_its_wit_names() {
        let plain = project("package a:b;\n// wasi: is only mentioned\nworld w {}");
        vendor(plain.path()).unwrap();
        assert!(!plain.path().join("deps").exists());

        let agent = project("package a:b;\nworld w { export ringfence:agent/handler@0.1.0; }");
        vendor(agent.path()).unwrap();
        assert!(
            agent
                .path()
                .join("deps/ringfence-agent/handler.wit")
                .exists()
        );
        assert!(!agent.path().join("deps/wasi-io").exists());
    }

    #[test]
    fn a_projects_own_wasi_packages_are_left_alone() {
        let folder = project("package a:b;\nworld w { import wasi:io/poll@0.2.3; }");
        fs::create_dir_all(folder.path().join("deps/io")).unwrap();
        vendor(folder.path()).unwrap();
        assert!(!folder.path().join("deps/wasi-io").exists());
        assert!(folder.path().join("deps/wasi-cli/cli.wit").exists());
    }

    #[test]
    fn versions_are_those_of_the_files() {
        assert!(AGENT.iter().all(|(_, text)| {
            text.starts_with(&format!("package {AGENT_PACKAGE}@{AGENT_VERSION};"))
        }));
        assert!(
            WASI.iter()
                .all(|(_, text)| text.contains(&format!("@{WASI_VERSION};")))
        );
    }

    #[test]
    fn the_vendored_files_resolve() {
        let folder = project(
            "package a:b;\nworld w { include ringfence:agent/agent@0.1.0; include wasi:cli/command@0.2.12; export wasi:http/incoming-handler@0.2.12; }",
        );
        vendor(folder.path()).unwrap();
        let mut resolve = wit_parser::Resolve::default();
        resolve.push_dir(folder.path()).unwrap();
    }
}
