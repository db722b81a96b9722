//! `ringfence new`: scaffolds a small, useful project that builds at once.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use wit_parser::Resolve;

use super::error::{AuthoringError, Result};
use super::project::{self, Kind, Language};
use crate::show::{self, Format};

/// Arguments of `ringfence new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Language to write it in
    #[arg(long, value_name = "LANGUAGE")]
    pub lang: Language,
    /// What to make
    #[arg(long, default_value = "tool")]
    pub kind: Kind,
    /// Name of the component; also of the folder that is made for it
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Folder to make instead of NAME; must be empty if it exists
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// A file of a project: where it goes and what is in it, both with `{{name}}` and `{{snake}}`.
type Template = (&'static str, &'static str);

macro_rules! templates {
    ($($target:literal <- $source:literal),+ $(,)?) => {
        &[$(($target, include_str!(concat!("templates/", $source)))),+]
    };
}

/// Runs `ringfence new`: the folder goes to stdout, what to do next to stderr.
///
/// # Errors
/// As for [`scaffold`].
pub fn run(args: &NewArgs, format: Format) -> anyhow::Result<()> {
    let folder = args
        .dir
        .clone()
        .unwrap_or_else(|| PathBuf::from(&args.name));
    scaffold(&folder, &args.name, args.lang, args.kind)?;
    eprintln!(
        "{} in {}; next: ringfence build {}",
        args.kind,
        args.lang,
        folder.display()
    );
    let path = folder.display().to_string();
    if format == Format::Table {
        return show::print(&path);
    }
    let document = json!({
        "folder": path,
        "name": args.name,
        "kind": args.kind.to_string(),
        "language": args.lang.to_string(),
    });
    show::document(&document, format)
}

/// Writes a project into `folder`, which must not exist or be empty.
///
/// # Errors
/// When there is no template for the language and kind, when the name will not do, or when the
/// folder cannot be written.
pub fn scaffold(folder: &Path, name: &str, language: Language, kind: Kind) -> Result<()> {
    let Some(templates) = templates(language, kind) else {
        return Err(AuthoringError::project(
            folder,
            "there is no template for an agent in C; use rust, python, javascript, typescript or go (`ringfence build` itself can build one)",
        ));
    };
    check_name(name)?;
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(AuthoringError::project(
            folder,
            "the folder is not empty; choose another with --dir",
        ));
    }
    let fill = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{snake}}", &name.replace('-', "_"))
    };
    for (path, content) in templates {
        super::contract::write_if_changed(&folder.join(fill(path)), fill(content))?;
    }
    let wit = folder.join("wit");
    if wit.exists() {
        super::contract::vendor(&wit)?;
    }
    debug_assert!(
        project::Project::read(folder).is_ok(),
        "the template's project file is valid"
    );
    Ok(())
}

/// The name becomes a WIT package, so it has to be a WIT identifier; that makes it a resource name
/// and a name for every language's packages, too.
fn check_name(name: &str) -> Result<()> {
    let refuse = |why: String| AuthoringError::project(name, why);
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word
                .chars()
                .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
    };
    if name.len() > 63 || !name.split('-').all(is_word) {
        return Err(refuse(
            "not a name for a component: use words of lower-case letters and digits, joined by '-', each starting with a letter, 63 characters at most".to_owned(),
        ));
    }
    Resolve::default()
        .push_str(
            "name.wit",
            &format!("package local:{name};\nworld name {{}}\n"),
        )
        .map_err(|_| refuse("the name is a keyword of WIT; choose another".to_owned()))?;
    Ok(())
}

fn templates(language: Language, kind: Kind) -> Option<&'static [Template]> {
    use Kind::{Agent, Command, Tool};
    use Language::{C, Go, Javascript, Python, Rust, Typescript};
    Some(match (language, kind) {
        (Rust, Tool) => templates![
            "ringfence.toml" <- "rust/tool/ringfence.toml",
            ".gitignore" <- "rust/gitignore",
            "Cargo.toml" <- "rust/library.toml",
            "src/lib.rs" <- "rust/tool/lib.rs",
            "wit/world.wit" <- "wit/tool.wit",
        ],
        (Rust, Agent) => templates![
            "ringfence.toml" <- "rust/agent/ringfence.toml",
            ".gitignore" <- "rust/gitignore",
            "Cargo.toml" <- "rust/library.toml",
            "src/lib.rs" <- "rust/agent/lib.rs",
            "wit/world.wit" <- "wit/agent.wit",
        ],
        (Rust, Command) => templates![
            "ringfence.toml" <- "rust/command/ringfence.toml",
            ".gitignore" <- "rust/gitignore",
            "Cargo.toml" <- "rust/program.toml",
            "src/main.rs" <- "rust/command/main.rs",
        ],
        (Python, Tool) => templates![
            "ringfence.toml" <- "python/tool/ringfence.toml",
            ".gitignore" <- "python/gitignore",
            "requirements.txt" <- "python/requirements.txt",
            "app.py" <- "python/tool/app.py",
            "wit/world.wit" <- "wit/tool.wit",
        ],
        (Python, Agent) => templates![
            "ringfence.toml" <- "python/agent/ringfence.toml",
            ".gitignore" <- "python/gitignore",
            "requirements.txt" <- "python/requirements.txt",
            "app.py" <- "python/agent/app.py",
            "wit/world.wit" <- "wit/agent.wit",
        ],
        (Python, Command) => templates![
            "ringfence.toml" <- "python/command/ringfence.toml",
            ".gitignore" <- "python/gitignore",
            "requirements.txt" <- "python/requirements.txt",
            "app.py" <- "python/command/app.py",
            "wit/world.wit" <- "wit/command.wit",
        ],
        (Javascript, Tool) => templates![
            "ringfence.toml" <- "javascript/tool/ringfence.toml",
            ".gitignore" <- "javascript/gitignore",
            "package.json" <- "javascript/package.json",
            "src/index.js" <- "javascript/tool/index.js",
            "wit/world.wit" <- "wit/tool.wit",
        ],
        (Javascript, Agent) => templates![
            "ringfence.toml" <- "javascript/agent/ringfence.toml",
            ".gitignore" <- "javascript/gitignore",
            "package.json" <- "javascript/package.json",
            "src/index.js" <- "javascript/agent/index.js",
            "wit/world.wit" <- "wit/agent.wit",
        ],
        (Javascript, Command) => templates![
            "ringfence.toml" <- "javascript/command/ringfence.toml",
            ".gitignore" <- "javascript/gitignore",
            "package.json" <- "javascript/package.json",
            "src/index.js" <- "javascript/command/index.js",
            "wit/world.wit" <- "wit/command.wit",
        ],
        (Typescript, Tool) => templates![
            "ringfence.toml" <- "typescript/tool/ringfence.toml",
            ".gitignore" <- "javascript/gitignore",
            "package.json" <- "javascript/package.json",
            "tsconfig.json" <- "typescript/tsconfig.json",
            "src/index.ts" <- "typescript/tool/index.ts",
            "wit/world.wit" <- "wit/tool.wit",
        ],
        (Typescript, Agent) => templates![
            "ringfence.toml" <- "typescript/agent/ringfence.toml",
            ".gitignore" <- "javascript/gitignore",
            "package.json" <- "javascript/package.json",
            "tsconfig.json" <- "typescript/tsconfig.json",
            "src/index.ts" <- "typescript/agent/index.ts",
            "src/host.d.ts" <- "typescript/agent/host.d.ts",
            "wit/world.wit" <- "wit/agent.wit",
        ],
        (Typescript, Command) => templates![
            "ringfence.toml" <- "typescript/command/ringfence.toml",
            ".gitignore" <- "javascript/gitignore",
            "package.json" <- "javascript/package.json",
            "tsconfig.json" <- "typescript/tsconfig.json",
            "src/index.ts" <- "typescript/command/index.ts",
            "src/host.d.ts" <- "typescript/command/host.d.ts",
            "wit/world.wit" <- "wit/command.wit",
        ],
        (Go, Tool) => templates![
            "ringfence.toml" <- "go/tool/ringfence.toml",
            ".gitignore" <- "go/gitignore",
            "go.mod" <- "go/library.mod",
            "export_local_{{snake}}_text/text.go" <- "go/tool/text.go",
            "wit/world.wit" <- "wit/tool.wit",
        ],
        (Go, Agent) => templates![
            "ringfence.toml" <- "go/agent/ringfence.toml",
            ".gitignore" <- "go/gitignore",
            "go.mod" <- "go/library.mod",
            "export_ringfence_agent_handler/handler.go" <- "go/agent/handler.go",
            "wit/world.wit" <- "wit/agent.wit",
        ],
        (Go, Command) => templates![
            "ringfence.toml" <- "go/command/ringfence.toml",
            ".gitignore" <- "go/gitignore",
            "go.mod" <- "go/program.mod",
            "main.go" <- "go/command/main.go",
        ],
        (C, Tool) => templates![
            "ringfence.toml" <- "c/tool/ringfence.toml",
            ".gitignore" <- "c/gitignore",
            "src/tool.c" <- "c/tool/tool.c",
            "wit/world.wit" <- "wit/tool.wit",
        ],
        (C, Command) => templates![
            "ringfence.toml" <- "c/command/ringfence.toml",
            ".gitignore" <- "c/gitignore",
            "src/main.c" <- "c/command/main.c",
        ],
        (C, Agent) => return None,
    })
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_template_is_a_valid_project_and_resolves() {
        for language in Language::value_variants() {
            for kind in Kind::value_variants() {
                let folder = tempfile::tempdir().unwrap();
                let result = scaffold(folder.path(), "my-notes", *language, *kind);
                if (*language, *kind) == (Language::C, Kind::Agent) {
                    assert!(result.unwrap_err().to_string().contains("no template"));
                    continue;
                }
                result.unwrap();
                let project = project::Project::read(folder.path()).unwrap();
                assert_eq!(
                    (project.language, project.kind, project.name.as_str()),
                    (*language, *kind, "my-notes")
                );
                let wit = folder.path().join("wit");
                if wit.exists() {
                    Resolve::default().push_dir(&wit).unwrap();
                }
            }
        }
    }

    #[test]
    fn names_that_no_language_takes_are_refused() {
        for name in [
            "", "Notes", "my_notes", "1st", "a--b", "-a", "record", "../up",
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
        check_name("notes2-x").unwrap();
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine"), "").unwrap();
        let error = scaffold(folder.path(), "notes", Language::C, Kind::Tool).unwrap_err();
        assert!(error.to_string().contains("not empty"), "{error}");
    }
}
