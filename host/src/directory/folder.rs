//! The manifest folder: resources that come from files and go with them.
//!
//! A file that cannot be read or is wrong changes nothing: what came from it last stays, and the log
//! says what to repair. What was applied is never touched by a file of the same name; that is said too.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ringfence_api::{Kind, Manifest, TenantName};
use tokio_util::sync::CancellationToken;

use super::apply::{Attempt, Change, Control, ControlError, Step, problem};
use super::store::{Key, Stored};

/// Bytes of one manifest file.
pub const FILE_BYTES: u64 = 16 << 20;
/// Files of a manifest folder.
pub const FILES: usize = 10_000;
/// Folders within folders.
const DEPTH: usize = 8;
/// Time between two looks at the folder.
const POLL: Duration = Duration::from_millis(500);
/// Time between two tries to make run what does not.
const RETRY: Duration = Duration::from_secs(30);

/// Something that the author of the folder has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The file, relative to the folder.
    pub file: String,
    /// What is wrong with it.
    pub message: String,
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.file, self.message)
    }
}

/// What a look at the folder did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Synced {
    /// Resources that were created or changed.
    pub changed: usize,
    /// Resources that went with their files.
    pub removed: usize,
    /// What has to be repaired.
    pub complaints: Vec<Complaint>,
}

/// When a file was changed, and how large it is.
type Stamp = (SystemTime, u64);

/// A folder of manifests, watched.
#[derive(Debug)]
pub struct ManifestFolder {
    path: PathBuf,
    seen: Option<BTreeMap<String, Stamp>>,
}

impl ManifestFolder {
    /// A folder, which has to exist.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn new(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        fs::read_dir(&path)?;
        Ok(Self { path, seen: None })
    }

    /// The folder, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the folder, and applies what is different since the last look. None when nothing is.
    ///
    /// # Errors
    /// The state cannot be read or written.
    pub async fn sync(&mut self, control: &Control) -> Result<Option<Synced>, ControlError> {
        let files = match scan(&self.path) {
            Ok(files) => files,
            Err(error) => {
                // The folder may be on its way: nothing is removed because of it.
                tracing::warn!(folder = %self.path.display(), %error, "the manifest folder cannot be read");
                return Ok(None);
            }
        };
        if self.seen.as_ref() == Some(&files) {
            return Ok(None);
        }
        let mut wanted = Wanted::default();
        for file in files.keys() {
            wanted.read(&self.path, file);
        }
        let synced = control.sync_files(wanted).await?;
        self.seen = Some(files);
        Ok(Some(synced))
    }

    /// Keeps looking until `stop`, and retries what does not run.
    pub async fn watch(mut self, control: Arc<Control>, stop: CancellationToken) {
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = poll.tick() => {}
            }
            match self.sync(&control).await {
                Ok(None) => {}
                Ok(Some(synced)) => {
                    tracing::info!(
                        changed = synced.changed,
                        removed = synced.removed,
                        "manifest folder read"
                    );
                    for complaint in &synced.complaints {
                        tracing::error!("manifest folder: {complaint}");
                    }
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "manifest folder");
                }
            }
        }
    }
}

/// Retries what does not run, until `stop`.
pub async fn retry_forever(control: Arc<Control>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
        if let Err(error) = control.retry(None).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "retrying resources"
            );
        }
    }
}

/// What the folder asks for.
#[derive(Default)]
pub(super) struct Wanted {
    manifests: Vec<(String, Manifest)>,
    owners: HashMap<Key, String>,
    broken: Vec<String>,
    complaints: Vec<Complaint>,
}

impl Wanted {
    fn read(&mut self, folder: &Path, file: &str) {
        let mut complain = |message: String| {
            self.complaints.push(Complaint {
                file: file.to_owned(),
                message,
            });
        };
        let text = match read(&folder.join(file)) {
            Ok(text) => text,
            Err(error) => {
                complain(format!("cannot be read: {error}"));
                self.broken.push(file.to_owned());
                return;
            }
        };
        let manifests = match Manifest::from_yaml(&text, &TenantName::default()) {
            Ok(manifests) => manifests,
            Err(problems) => {
                problems
                    .iter()
                    .for_each(|problem| complain(problem.to_string()));
                self.broken.push(file.to_owned());
                return;
            }
        };
        for manifest in manifests {
            let key = Key::of(&manifest);
            if key.kind.is_of_tenants() && key.tenant.is_system() {
                complain(format!("{key}: tenant {} belongs to the host", key.tenant));
                continue;
            }
            match self.owners.get(&key) {
                Some(owner) => {
                    complain(format!("{key} is also in {owner}, which counts: keep one"))
                }
                None => {
                    self.owners.insert(key, file.to_owned());
                    self.manifests.push((file.to_owned(), manifest));
                }
            }
        }
    }
}

impl Control {
    /// Removes what came from files, where the host has no manifest folder any more.
    ///
    /// # Errors
    /// The state cannot be read or written.
    pub async fn forget_files(&self) -> Result<Synced, ControlError> {
        self.sync_files(Wanted::default()).await
    }

    /// Makes the resources that come from files be those that `wanted` has.
    pub(super) async fn sync_files(&self, mut wanted: Wanted) -> Result<Synced, ControlError> {
        let _changing = self.changing.lock().await;
        let existing = self.store().list(None, None).await?;
        let mut from_files: HashMap<Key, Stored> = HashMap::new();
        let mut applied: HashMap<Key, ()> = HashMap::new();
        for stored in existing {
            match stored.file {
                Some(_) => drop(from_files.insert(Key::of(&stored.manifest), stored)),
                None => drop(applied.insert(Key::of(&stored.manifest), ())),
            }
        }
        let mut put = Vec::new();
        for (file, manifest) in std::mem::take(&mut wanted.manifests) {
            let key = Key::of(&manifest);
            if applied.contains_key(&key) {
                let message = format!(
                    "{key} was applied, which counts: delete it with `ringfence delete`, or remove it \
                     from the file"
                );
                wanted.complaints.push(Complaint { file, message });
                continue;
            }
            from_files.remove(&key);
            let steps = self.plan(vec![manifest], Some(&file)).await?;
            put.extend(
                steps
                    .into_iter()
                    .filter(|Step { change, .. }| *change != Change::Unchanged),
            );
        }
        let gone: Vec<Key> = from_files
            .into_iter()
            .filter(|(_, stored)| {
                stored
                    .file
                    .as_ref()
                    .is_some_and(|file| !wanted.broken.contains(file))
            })
            .map(|(key, _)| key)
            .collect();
        let changed = put.len();
        // Ceilings before anything that they bound.
        let (ceilings, put): (Vec<Step>, Vec<Step>) = put
            .into_iter()
            .partition(|step| step.stored.manifest.kind() == Kind::Ceiling);
        let ceilings = ceilings.into_iter().map(|step| step.stored).collect();
        let gone_ceilings = gone.iter().filter(|key| key.kind == Kind::Ceiling);
        self.store()
            .write(ceilings, gone_ceilings.cloned().collect())
            .await?;
        self.follow_ceilings().await?;
        let attempts: Vec<Attempt> = self
            .resolve_all(put.into_iter().map(|step| step.stored).collect())
            .await;
        for attempt in &attempts {
            if let Some(problem) = problem(attempt) {
                let file = attempt.0.file.clone().unwrap_or_default();
                wanted.complaints.push(Complaint {
                    file,
                    message: problem.to_string(),
                });
            }
        }
        let stored = attempts.iter().map(|(stored, _)| stored.clone()).collect();
        self.store().write(stored, gone.clone()).await?;
        self.publish(attempts);
        gone.iter().for_each(|key| self.withdraw(key));
        Ok(Synced {
            changed,
            removed: gone.len(),
            complaints: wanted.complaints,
        })
    }
}

/// The manifest files of a folder, with what tells whether they changed.
fn scan(folder: &Path) -> io::Result<BTreeMap<String, Stamp>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((path, depth)) = folders.pop() {
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_string_lossy().starts_with('.') {
                continue;
            }
            // Symbolic links to files are followed: mounted ConfigMaps are made of them.
            let Ok(meta) = fs::metadata(entry.path()) else {
                continue;
            };
            if meta.is_dir() && depth < DEPTH && !entry.file_type()?.is_symlink() {
                folders.push((entry.path(), depth + 1));
            }
            let path = entry.path();
            let known = path
                .extension()
                .is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
            if meta.is_file() && known && files.len() < FILES {
                let relative = path.strip_prefix(folder).unwrap_or(&path);
                let stamp = (meta.modified()?, meta.len());
                files.insert(relative.to_string_lossy().into_owned(), stamp);
            }
        }
    }
    Ok(files)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?
        .take(FILE_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(io::Error::other(format!("larger than {FILE_BYTES} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str) -> String {
        format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: Tool\nmetadata: {{name: {name}}}\n\
             spec: {{agent: a}}\n"
        )
    }

    #[test]
    fn files_are_found_below_and_hidden_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| fs::write(folder.path().join(name), "x").unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        for name in [
            "a.yaml",
            "below/b.yml",
            "c.json",
            "d.txt",
            ".e.yaml",
            ".git/f.yaml",
        ] {
            write(name);
        }
        let found = scan(folder.path()).unwrap();
        assert_eq!(
            found.into_keys().collect::<Vec<_>>(),
            ["a.yaml", "below/b.yml", "c.json"]
        );
    }

    #[test]
    fn one_bad_file_does_not_spoil_the_others() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yaml"), tool("one")).unwrap();
        fs::write(folder.path().join("b.yaml"), "kind: [").unwrap();
        fs::write(
            folder.path().join("c.yaml"),
            tool("one") + "---\n" + &tool("two"),
        )
        .unwrap();
        let mut wanted = Wanted::default();
        for file in scan(folder.path()).unwrap().keys() {
            wanted.read(folder.path(), file);
        }
        let names: Vec<_> = wanted
            .manifests
            .iter()
            .map(|(f, m)| format!("{f} {m}"))
            .collect();
        assert_eq!(
            names,
            ["a.yaml Tool default/one", "c.yaml Tool default/two"]
        );
        assert_eq!(wanted.broken, ["b.yaml"]);
        let complaints: Vec<_> = wanted.complaints.iter().map(ToString::to_string).collect();
        assert!(
            complaints[0].starts_with("b.yaml: line 1: not valid YAML"),
            "{complaints:?}"
        );
        assert_eq!(
            complaints[1],
            "c.yaml: Tool default/one is also in a.yaml, which counts: keep one"
        );
    }
}
