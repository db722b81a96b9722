//! `ringfence apply` and `ringfence delete`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use ringfence_api::{Kind, Manifest, TenantName};
use serde_json::{Value, json};

use super::get::segment;
use super::read_text;
use crate::exit::{Code, fail};
use crate::place::{ApplyOptions, Place};
use crate::show::{self, Format, Style};

/// Folders within folders that are looked into.
const DEPTH: usize = 8;

/// Arguments of `ringfence apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// A file, a folder, or - for standard input; may be given several times
    #[arg(short = 'f', long = "file", required = true, value_name = "PATH")]
    files: Vec<String>,
    /// Check everything and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take fields over from whoever applied them otherwise (on a cluster)
    #[arg(long)]
    force_conflicts: bool,
}

/// Arguments of `ringfence delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// agents, tools, models, ceilings or artifacts
    #[arg(required_unless_present = "files", value_name = "KIND")]
    kind: Option<String>,
    /// Names, or digests of artifacts
    #[arg(required_unless_present = "files", value_name = "NAME")]
    names: Vec<String>,
    /// Delete what these manifests describe
    #[arg(short = 'f', long = "file", value_name = "PATH", conflicts_with_all = ["kind", "names"])]
    files: Vec<String>,
}

/// Applies manifests: per tenant all of them, or none.
///
/// # Errors
/// A manifest is wrong, or the host refuses.
pub async fn apply(place: &Place, args: ApplyArgs, format: Format) -> Result<()> {
    if args.force_conflicts && matches!(place, Place::Host(_)) {
        let message = "--force-conflicts is for a cluster: a host knows no other managers";
        return Err(fail(Code::Usage, message));
    }
    let manifests = read_all(&args.files, place.tenant())?;
    let options = ApplyOptions {
        dry_run: args.dry_run,
        force: args.force_conflicts,
    };
    let items = place.apply(&manifests, options).await?;
    let note = if args.dry_run { " (dry run)" } else { "" };
    changed(&items, note, format)
}

/// Deletes resources or artifacts.
///
/// # Errors
/// One does not exist, or the host refuses.
pub async fn delete(place: &Place, args: DeleteArgs, format: Format) -> Result<()> {
    let mut items = Vec::new();
    if let Some(kind) = args.kind {
        if matches!(kind.as_str(), "artifact" | "artifacts") {
            items = artifacts(place, &args.names).await?;
        } else {
            let kind: Kind = kind
                .parse()
                .map_err(|error| fail(Code::Usage, format!("{error}")))?;
            for name in &args.names {
                items.extend(place.delete(kind, place.tenant(), name).await?);
            }
        }
    }
    let manifests = read_all(&args.files, place.tenant())?;
    // What others refer to goes last.
    for manifest in manifests.iter().rev() {
        let (kind, tenant, name) = manifest.key();
        items.extend(place.delete(kind, &tenant, name.as_str()).await?);
    }
    changed(&items, "", format)
}

async fn artifacts(place: &Place, digests: &[String]) -> Result<Vec<Value>> {
    let Place::Host(client) = place else {
        let message = "hosts of a cluster keep components as long as they have room for them: delete \
                       images from their registry";
        return Err(fail(Code::Usage, message));
    };
    let mut items = Vec::new();
    for digest in digests {
        let path = format!("artifacts/{}", segment(digest));
        client.json(client.in_tenant(Method::DELETE, &path)).await?;
        items.push(json!({"kind": "Artifact", "name": digest, "change": "deleted"}));
    }
    Ok(items)
}

/// One line for each resource, as `kubectl` does it.
fn changed(items: &[Value], note: &str, format: Format) -> Result<()> {
    if format != Format::Table {
        return show::document(&json!({ "items": items }), format);
    }
    let color = show::color();
    let mut out = String::new();
    for item in items {
        let change = item["change"].as_str().unwrap_or_default();
        let style = match change {
            "created" | "configured" => Style::Good,
            "deleted" => Style::Warn,
            _ => Style::Faint,
        };
        let kind = item["kind"]
            .as_str()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let name = item["name"].as_str().unwrap_or_default();
        out += &format!("{kind}/{name} {}{note}\n", style.paint(change, color));
    }
    if out.is_empty() {
        Ok(())
    } else {
        show::print(&out)
    }
}

/// Reads manifests from files and folders; every problem is told with its file and line.
fn read_all(files: &[String], tenant: &TenantName) -> Result<Vec<Manifest>> {
    let mut manifests: Vec<Manifest> = Vec::new();
    let mut seen: BTreeMap<_, String> = BTreeMap::new();
    let mut problems = Vec::new();
    for file in expand(files)? {
        let text = read_text(&file)?;
        let shown = if file == "-" { "standard input" } else { &file };
        match Manifest::from_yaml(&text, tenant) {
            Err(found) => problems.extend(found.iter().map(|p| format!("{shown}: {p}"))),
            Ok(found) => {
                for manifest in found {
                    if let Some(other) = seen.insert(manifest.key(), shown.to_owned()) {
                        problems.push(format!("{shown}: {manifest} is also in {other}: keep one"));
                    }
                    manifests.push(manifest);
                }
            }
        }
    }
    if !problems.is_empty() {
        return Err(fail(Code::Invalid, problems.join("\n")));
    }
    if manifests.is_empty() && !files.is_empty() {
        return Err(fail(
            Code::Invalid,
            format!("{} holds no manifest", files.join(", ")),
        ));
    }
    // What others refer to comes first.
    let order = |kind: Kind| Kind::ALL.iter().position(|other| *other == kind);
    manifests.sort_by_key(|manifest| order(manifest.kind()));
    Ok(manifests)
}

/// Files stay as they are; folders become the manifests in them.
fn expand(paths: &[String]) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for path in paths {
        if path == "-" || !Path::new(path).is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut found = Vec::new();
        walk(Path::new(path), 0, &mut found)
            .map_err(|error| fail(Code::Invalid, format!("{path} cannot be read: {error}")))?;
        if found.is_empty() {
            let message = format!("{path} holds no .yaml, .yml or .json file");
            return Err(fail(Code::Invalid, message));
        }
        found.sort();
        files.extend(
            found
                .into_iter()
                .map(|path| path.to_string_lossy().into_owned()),
        );
    }
    Ok(files)
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() && depth < DEPTH {
            walk(&path, depth + 1, found)?;
        } else if path
            .extension()
            .is_some_and(|e| e == "yaml" || e == "yml" || e == "json")
        {
            found.push(path);
        }
    }
    Ok(())
}
