//! Container images without a registry: files of this machine in an OCI layout, as one tar that
//! `ctr images import` takes.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::tar::Tar;

/// An image made of a few files, from scratch.
#[derive(Debug, Clone)]
pub struct Image {
    name: String,
    files: Vec<(String, PathBuf)>,
    entrypoint: Vec<String>,
    user: u32,
}

impl Image {
    /// An empty image. The name has a registry and a tag: `test.local/NAME:1`. Pods that use it say
    /// `imagePullPolicy: Never`.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            files: Vec::new(),
            entrypoint: Vec::new(),
            user: 65532,
        }
    }

    /// Adds an executable file of this machine, under an absolute path of at most 100 bytes. It has to be
    /// linked statically, for there is nothing else in the image.
    #[must_use]
    pub fn file(mut self, path: &str, source: impl Into<PathBuf>) -> Self {
        self.files.push((path.to_owned(), source.into()));
        self
    }

    /// What a container runs.
    #[must_use]
    pub fn entrypoint(mut self, command: &[&str]) -> Self {
        self.entrypoint = command.iter().copied().map(str::to_owned).collect();
        self
    }

    /// The user that a container runs as, unless the Pod says otherwise: 65532 if nothing is set here.
    #[must_use]
    pub fn user(mut self, id: u32) -> Self {
        self.user = id;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes the tar.
    ///
    /// # Errors
    /// When a file cannot be read or the tar not be written.
    pub fn write(&self, tar: &Path) -> io::Result<()> {
        let layer = self.layer()?;
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let mut layout = Layout::default();
        // Not compressed, so one digest names both what is stored and what it unpacks to.
        let layer = layout.blob("application/vnd.oci.image.layer.v1.tar", layer);
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint,
                "User": self.user.to_string(),
                "WorkingDir": "/",
                "Env": ["PATH=/usr/bin:/bin"],
            },
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        let config = layout.json("application/vnd.oci.image.config.v1+json", &config);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [layer],
        });
        let mut manifest = layout.json("application/vnd.oci.image.manifest.v1+json", &manifest);
        manifest["annotations"] = json!({"io.containerd.image.name": self.name});
        std::fs::write(
            tar,
            layout.finish(&json!({"schemaVersion": 2, "manifests": [manifest]})),
        )
    }

    fn layer(&self) -> io::Result<Vec<u8>> {
        let mut tar = Tar::default();
        tar.folder("tmp/", 0o1777);
        let mut folders = BTreeSet::new();
        for (path, source) in &self.files {
            let path = path.trim_start_matches('/');
            for (end, _) in path.match_indices('/') {
                if folders.insert(&path[..end]) {
                    tar.folder(&path[..=end], 0o755);
                }
            }
            let contents = std::fs::read(source).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", source.display()))
            })?;
            tar.file(path, 0o755, &contents);
        }
        Ok(tar.finish())
    }
}

/// An OCI image layout that is being written.
#[derive(Default)]
struct Layout(Tar);

impl Layout {
    /// Adds a blob and returns its descriptor.
    fn blob(&mut self, media_type: &str, contents: Vec<u8>) -> Value {
        let digest = hex::encode(Sha256::digest(&contents));
        self.0
            .file(&format!("blobs/sha256/{digest}"), 0o644, &contents);
        json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": contents.len()})
    }

    fn json(&mut self, media_type: &str, contents: &Value) -> Value {
        self.blob(media_type, contents.to_string().into_bytes())
    }

    fn finish(mut self, index: &Value) -> Vec<u8> {
        self.0
            .file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
        self.0
            .file("index.json", 0o644, index.to_string().as_bytes());
        self.0.finish()
    }
}
