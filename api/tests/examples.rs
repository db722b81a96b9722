//! Every manifest that people are shown: those of the examples, and those in the documents.

#![allow(clippy::unwrap_used, clippy::panic)] // tests fail by panicking

use std::fs;
use std::path::{Path, PathBuf};

use ringfence_api::{Digest, HostPool, Manifest, Run, TenantName};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Folders that tools fill: nothing in them is ours.
const GENERATED: [&str; 3] = ["node_modules", "target", ".ringfence"];

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !GENERATED.contains(&name.as_str()) {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
}

/// What stands for a value that only whoever applies the manifest knows, filled in.
fn filled(text: &str) -> String {
    let digest = Digest::of(b"a component").to_string();
    let mut text = text
        .replace("sha256:…", &digest)
        .replace("${OPENAI_BASE_URL}", "http://127.0.0.1:1/v1");
    while let Some(start) = text.find("${") {
        let end = start + text[start..].find('}').unwrap() + 1;
        let is_digest = text[..start].trim_end().ends_with("digest:");
        text.replace_range(start..end, if is_digest { &digest } else { "something" });
    }
    text
}

/// The manifests in a text, all of which have to be valid. Kinds that only a cluster has are read as the
/// cluster reads them.
fn valid(from: &str, text: &str) -> usize {
    let text = filled(text);
    let of_cluster = if text.contains("kind: Run\n") {
        Some(serde_saphyr::from_str::<Run>(&text).map(drop))
    } else if text.contains("kind: HostPool\n") {
        Some(serde_saphyr::from_str::<HostPool>(&text).map(drop))
    } else {
        None
    };
    if let Some(read) = of_cluster {
        assert!(read.is_ok(), "{from}: {read:?}");
        return 1;
    }
    match Manifest::from_yaml(&text, &TenantName::default()) {
        Ok(manifests) => manifests.len(),
        Err(problems) => panic!("{from}: {problems:#?}"),
    }
}

#[test]
fn manifests_of_the_examples_are_valid() {
    let mut found = Vec::new();
    files(&root().join("guest-examples"), "yaml", &mut found);
    files(&root().join("deploy/examples"), "yaml", &mut found);
    let manifests: usize = found
        .iter()
        .map(|path| {
            valid(
                &path.display().to_string(),
                &fs::read_to_string(path).unwrap(),
            )
        })
        .sum();
    assert!(found.len() >= 15, "the examples are not where they were");
    assert!(manifests >= found.len());
}

#[test]
fn manifests_in_the_documents_are_valid() {
    let mut found = vec![root().join("README.md"), root().join("builtin/README.md")];
    files(&root().join("docs"), "md", &mut found);
    files(&root().join("guest-examples"), "md", &mut found);
    let mut manifests = 0;
    for path in found {
        let document = fs::read_to_string(&path).unwrap();
        for block in document.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            if block.contains("apiVersion:") {
                manifests += valid(&path.display().to_string(), block);
            }
        }
    }
    assert!(manifests >= 3, "README shows a tool, a model and an agent");
}
