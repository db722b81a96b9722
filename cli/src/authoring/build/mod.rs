//! `ringfence build`: a project folder becomes a component.
//!
//! Each language has a module that drives its own compiler and returns the bytes of a component. What
//! follows is the same for all: the doc comments of the WIT are put in, and the result is checked to
//! be what the project file promises.

pub mod docs;

mod c;
mod cache;
mod component;
mod go;
mod javascript;
mod process;
mod progress;
mod python;
mod rust;
mod sections;
mod wit;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use ringfence_api::Digest;
use serde_json::json;

use self::progress::Progress;
use self::wit::World;
use super::contract::{AGENT_PACKAGE, AGENT_VERSION};
use super::error::{AuthoringError, Result};
use super::project::{Kind, Language, Project};
use crate::show::{self, Format};

/// Arguments of `ringfence build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The project folder: where ringfence.toml is
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// Where to write the component [default: DIR/NAME.wasm]
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Only install what building in every language takes from package registries, and build nothing
    #[arg(long, conflicts_with = "file")]
    pub install_tools: bool,
}

/// A component that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// The project it was built from.
    pub project: Project,
    /// Where it is.
    pub path: PathBuf,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: usize,
    /// What it exports.
    pub exports: Vec<String>,
    /// What it imports.
    pub imports: Vec<String>,
}

/// Everything that a language's module needs to know.
struct Job<'a> {
    folder: &'a Path,
    project: &'a Project,
    progress: &'a Progress,
}

impl Job<'_> {
    /// Folder for generated and intermediate files, inside the project; ignored by git.
    fn scratch(&self) -> Result<PathBuf> {
        let folder = self.folder.join(".ringfence");
        super::contract::write_if_changed(&folder.join(".gitignore"), "*\n")?;
        Ok(folder)
    }
}

/// Runs `ringfence build`: what was built goes to stdout, everything else to stderr.
///
/// # Errors
/// As for [`build`].
pub fn run(args: &BuildArgs, format: Format) -> anyhow::Result<()> {
    if args.install_tools {
        // Nothing is built, so that there is nothing to print.
        return Ok(install_tools()?);
    }
    let built = build(&args.dir, args.file.as_deref())?;
    eprintln!(
        "{} {}, {}, {}",
        built.project.kind,
        built.project.name,
        size(built.size),
        built.digest
    );
    eprintln!("exports {}", list(&built.exports));
    eprintln!("imports {}", list(&built.imports));
    let path = built.path.display().to_string();
    if format == Format::Table {
        return show::print(&path);
    }
    let document = json!({
        "path": path,
        "name": built.project.name,
        "kind": built.project.kind.to_string(),
        "language": built.project.language.to_string(),
        "digest": built.digest,
        "size": built.size,
        "exports": built.exports,
        "imports": built.imports,
    });
    show::document(&document, format)
}

/// Builds the project in `folder` and writes the component to `output`, or `NAME.wasm` in the folder.
///
/// # Errors
/// When the project file, the WIT or the source is wrong, or a tool is missing.
pub fn build(folder: &Path, output: Option<&Path>) -> Result<Built> {
    let folder = &folder
        .canonicalize()
        .map_err(AuthoringError::io("open", folder))?;
    let project = Project::read(folder)?;
    let progress = Progress::new();
    let job = Job {
        folder,
        project: &project,
        progress: &progress,
    };
    let result = compile(&job);
    progress.finish();
    let bytes = result?;

    let (resolve, world) = docs::decode_with_docs(&bytes)?;
    let exports = wit::names(&resolve, resolve.worlds[world].exports.iter());
    let imports = wit::names(&resolve, resolve.worlds[world].imports.iter());
    check_kind(folder, &project, &exports)?;

    let path = output.map_or_else(
        || folder.join(format!("{}.wasm", project.name)),
        Path::to_owned,
    );
    write_whole(&path, &bytes)?;
    Ok(Built {
        project,
        path,
        digest: Digest::of(&bytes),
        size: bytes.len(),
        exports,
        imports,
    })
}

/// Installs what building in every language takes from package registries into the cache folder, so
/// that later builds need no network for it.
///
/// # Errors
/// When Python or Node is missing or a registry cannot be reached.
pub fn install_tools() -> Result<()> {
    let progress = Progress::new();
    let done = python::componentize_py(&progress)
        .and_then(|_| javascript::tools(&progress))
        .and_then(|_| c::ziglang(&progress));
    progress.finish();
    done.map(drop)
}

fn compile(job: &Job<'_>) -> Result<Vec<u8>> {
    let world = World::read(job.folder, job.project)?;
    let required = || {
        world
            .as_ref()
            .ok_or_else(|| World::missing(job.folder, job.project))
    };
    let bytes = match job.project.language {
        Language::Rust => rust::build(job)?,
        Language::Python => python::build(job, required()?)?,
        Language::Javascript | Language::Typescript => javascript::build(job, required()?)?,
        Language::Go => go::build(job, world.as_ref())?,
        Language::C => c::build(job, world.as_ref())?,
    };
    match world {
        Some(world) => docs::embed(&bytes, &world.resolve, world.id),
        None => Ok(bytes),
    }
}

/// Whether the component is what the project file says.
fn check_kind(folder: &Path, project: &Project, exports: &[String]) -> Result<()> {
    let handler = format!("{AGENT_PACKAGE}/handler@{AGENT_VERSION}");
    let (fits, wanted) = match project.kind {
        Kind::Agent => (exports.contains(&handler), handler.as_str()),
        Kind::Command => (
            exports
                .iter()
                .any(|export| export.starts_with("wasi:cli/run@")),
            "wasi:cli/run",
        ),
        Kind::Tool => (!exports.is_empty(), "at least one function"),
    };
    if fits {
        return Ok(());
    }
    Err(AuthoringError::project(
        folder.join(super::project::FILE),
        format!(
            "kind is {}, so the component has to export {wanted}; it exports {}",
            project.kind,
            list(exports)
        ),
    ))
}

/// Writes a file beside its place and moves it there, so that nobody reads half a component.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(AuthoringError::io("create", folder))?;
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    fs::write(&partial, bytes).map_err(AuthoringError::io("write", &partial))?;
    fs::rename(&partial, path).map_err(AuthoringError::io("write", path))
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "sizes are shown with one decimal"
)]
fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
