//! `ringfence.toml`: what a project folder is and how it is built.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use ringfence_api::Name;
use serde::Deserialize;

use super::error::{AuthoringError, Result};

/// Name of the project file.
pub const FILE: &str = "ringfence.toml";

/// A language that components can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust, through cargo and the `wasm32-wasip2` target.
    Rust,
    /// Python, through componentize-py.
    Python,
    /// JavaScript, through esbuild and componentize-js.
    #[value(alias = "js")]
    Javascript,
    /// TypeScript, the same way: esbuild takes the types off.
    #[value(alias = "ts")]
    Typescript,
    /// Go, with the ordinary compiler.
    Go,
    /// C, with the compiler that ziglang carries.
    C,
}

impl Language {
    /// The language whose table has its options.
    fn options(self) -> Self {
        match self {
            Self::Typescript => Self::Javascript,
            other => other,
        }
    }
}

/// What a component is to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Exported functions become functions of a tool.
    Tool,
    /// Exports `ringfence:agent/handler`.
    Agent,
    /// A command-line program: arguments and stdin in, stdout and exit code out.
    Command,
}

/// A project file. Keys that are not listed here are refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// The component's name; its file is `NAME.wasm`.
    pub name: Name,
    /// The language.
    pub language: Language,
    /// What it is.
    pub kind: Kind,
    /// Folder or file with the WIT package, relative to the project.
    #[serde(default = "default_wit")]
    pub wit: PathBuf,
    /// The world in it; by default its only one.
    pub world: Option<String>,
    /// Where the source starts, relative to the project. By default `app.py` (Python),
    /// `src/index.js` or `.ts` (JavaScript and TypeScript), the folder itself (Rust and Go). C takes `[c] sources`.
    pub entry: Option<PathBuf>,
    /// Options for Rust.
    #[serde(default)]
    pub rust: RustOptions,
    /// Options for Python.
    #[serde(default)]
    pub python: PythonOptions,
    /// Options for JavaScript and TypeScript.
    #[serde(default)]
    pub javascript: JavascriptOptions,
    /// Options for Go.
    #[serde(default)]
    pub go: GoOptions,
    /// Options for C.
    #[serde(default)]
    pub c: COptions,
}

/// Options for Rust.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RustOptions {
    /// The package to build, in a workspace of several.
    pub package: Option<String>,
    /// Features to turn on.
    #[serde(default)]
    pub features: Vec<String>,
}

/// Options for Python.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PythonOptions {
    /// Requirements file, by default `requirements.txt` if it is there.
    pub requirements: Option<PathBuf>,
}

/// Part of the JavaScript engine that needs something from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JavascriptFeature {
    /// `console` writes to stdout and stderr.
    Stdio,
    /// `Math.random` and `crypto` have entropy.
    Random,
    /// `Date` and timers have clocks.
    Clocks,
    /// `fetch` works, through `wasi:http`.
    Http,
}

/// Options for JavaScript.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JavascriptOptions {
    /// Parts of the engine to keep; a component imports what they need. `http` is added where the
    /// world exports `wasi:http/incoming-handler`.
    #[serde(default = "default_features")]
    pub features: Vec<JavascriptFeature>,
}

impl Default for JavascriptOptions {
    fn default() -> Self {
        Self {
            features: default_features(),
        }
    }
}

/// Options for Go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoOptions {
    /// Build tags.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// Options for C.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct COptions {
    /// Source files, by default every `.c` file of `src`.
    #[serde(default)]
    pub sources: Vec<PathBuf>,
    /// Folders searched for headers.
    #[serde(default)]
    pub include: Vec<PathBuf>,
    /// Preprocessor definitions, a name to its value.
    #[serde(default)]
    pub define: BTreeMap<String, String>,
}

fn default_wit() -> PathBuf {
    "wit".into()
}

fn default_features() -> Vec<JavascriptFeature> {
    use JavascriptFeature::{Clocks, Random, Stdio};
    vec![Stdio, Random, Clocks]
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Javascript => "javascript",
            Self::Typescript => "typescript",
            Self::Go => "go",
            Self::C => "c",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tool => "tool",
            Self::Agent => "agent",
            Self::Command => "command",
        })
    }
}

impl Project {
    /// Reads the project file of a folder.
    ///
    /// # Errors
    /// When there is none, or when it is not a valid one.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(AuthoringError::project(folder, missing_file(folder)));
            }
            Err(error) => return Err(AuthoringError::io("read", &path)(error)),
        };
        let (project, tables) =
            parse(&text).map_err(|problem| AuthoringError::project(&path, problem))?;
        if let Some(table) = tables
            .iter()
            .find(|table| **table != project.language.options())
        {
            return Err(AuthoringError::project(
                &path,
                format!(
                    "[{table}] has no effect on a {} project; remove it",
                    project.language
                ),
            ));
        }
        Ok(project)
    }
}

/// The project and the language tables that its text has.
fn parse(text: &str) -> std::result::Result<(Project, Vec<Language>), String> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| error.to_string())?;
    let tables = table
        .keys()
        .filter_map(|key| Language::from_str(key, false).ok())
        .collect();
    Ok((
        toml::from_str(text).map_err(|error| error.to_string())?,
        tables,
    ))
}

fn missing_file(folder: &Path) -> String {
    let found = [
        ("Cargo.toml", "rust"),
        ("go.mod", "go"),
        ("tsconfig.json", "typescript"),
        ("package.json", "javascript"),
        ("app.py", "python"),
        ("requirements.txt", "python"),
    ]
    .into_iter()
    .find(|(file, _)| folder.join(file).exists());
    let language = found.map_or("LANGUAGE", |(_, language)| language);
    format!(
        "there is no {FILE}; write one (name = \"NAME\", language = \"{language}\", kind = \"tool\") or start with `ringfence new --lang {language} --kind tool NAME`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Project> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), text).unwrap();
        Project::read(folder.path())
    }

    #[test]
    fn a_short_file_takes_the_defaults() {
        let project = read("name = \"notes\"\nlanguage = \"javascript\"\nkind = \"tool\"").unwrap();
        assert_eq!(project.wit, Path::new("wit"));
        assert_eq!(project.javascript.features.len(), 3);
        assert_eq!(project.world, None);
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error =
            read("name = \"a\"\nlanguage = \"go\"\nkind = \"tool\"\noptimise = true").unwrap_err();
        assert!(error.to_string().contains("optimise"), "{error}");
        let error =
            read("name = \"a\"\nlanguage = \"go\"\nkind = \"tool\"\n[go]\nflags = []").unwrap_err();
        assert!(error.to_string().contains("flags"), "{error}");
    }

    #[test]
    fn options_of_another_language_are_refused() {
        let error = read("name = \"a\"\nlanguage = \"go\"\nkind = \"tool\"\n[rust]\nfeatures = []")
            .unwrap_err();
        assert!(
            error.to_string().contains("[rust] has no effect"),
            "{error}"
        );
    }

    #[test]
    fn typescript_takes_the_options_of_javascript() {
        let text =
            "name = \"a\"\nlanguage = \"typescript\"\nkind = \"tool\"\n[javascript]\nfeatures = []";
        assert!(read(text).unwrap().javascript.features.is_empty());
    }

    #[test]
    fn a_folder_without_a_project_file_says_how_to_get_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("go.mod"), "").unwrap();
        let error = Project::read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("language = \"go\""), "{error}");
    }
}
