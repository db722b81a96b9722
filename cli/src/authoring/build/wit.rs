//! Reads a project's WIT package and finds its world.

use std::path::{Path, PathBuf};

use wit_parser::{Resolve, WorldId, WorldItem, WorldKey};

use crate::authoring::contract;
use crate::authoring::error::{AuthoringError, Result};
use crate::authoring::project::{Kind, Project};

/// A world and everything it refers to.
#[derive(Debug, Clone)]
pub(super) struct World {
    /// All packages.
    pub(super) resolve: Resolve,
    /// The world.
    pub(super) id: WorldId,
    /// Where it was read from.
    pub(super) path: PathBuf,
}

impl World {
    /// Reads the world of a project, with the contract vendored into it first. A command may do
    /// without WIT: its world is `wasi:cli/command`, which the adapter brings.
    ///
    /// # Errors
    /// When the WIT is missing or wrong, or does not have the one world that was asked for.
    pub(super) fn read(folder: &Path, project: &Project) -> Result<Option<Self>> {
        let path = folder.join(&project.wit);
        if !path.exists() {
            if project.kind == Kind::Command {
                return Ok(None);
            }
            return Err(AuthoringError::project(
                path,
                "there are no WIT files; a tool describes its functions there, and an agent exports `ringfence:agent/handler@0.1.0`",
            ));
        }
        contract::vendor(&path)?;
        let mut resolve = Resolve::default();
        let (package, _) = resolve
            .push_path(&path)
            .map_err(AuthoringError::component(format!(
                "read {}",
                path.display()
            )))?;
        let id = resolve
            .select_world(&[package], project.world.as_deref())
            .map_err(AuthoringError::component(format!(
                "choose a world in {}",
                path.display()
            )))?;
        Ok(Some(Self { resolve, id, path }))
    }

    /// What to say when a language cannot do without WIT and there is none.
    pub(super) fn missing(folder: &Path, project: &Project) -> AuthoringError {
        AuthoringError::project(
            folder.join(&project.wit),
            format!(
                "there are no WIT files; a command in {} needs a world that exports `wasi:cli/run@{}`",
                project.language,
                contract::WASI_VERSION
            ),
        )
    }

    /// The world's name.
    pub(super) fn name(&self) -> &str {
        &self.resolve.worlds[self.id].name
    }

    /// Names of what the world exports, as the component will have them.
    pub(super) fn exports(&self) -> Vec<String> {
        names(&self.resolve, self.resolve.worlds[self.id].exports.iter())
    }

    /// Names of what the world imports.
    pub(super) fn imports(&self) -> Vec<String> {
        names(&self.resolve, self.resolve.worlds[self.id].imports.iter())
    }
}

/// Names of a world's items, types left out.
pub(super) fn names<'a>(
    resolve: &Resolve,
    items: impl Iterator<Item = (&'a WorldKey, &'a WorldItem)>,
) -> Vec<String> {
    items
        .filter(|(_, item)| !matches!(item, WorldItem::Type { .. }))
        .map(|(key, _)| resolve.name_world_key(key))
        .collect()
}
