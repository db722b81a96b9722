//! Folders that the host's operator offers: a grant names one, and never a path of the host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ringfence_api::{FolderAccess, FolderGrant, Name};

use super::status::Unresolved;
use crate::mediation::FolderMount;

/// A folder that the host's operator offers, `NAME=PATH` or `NAME=PATH:ro`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedFolder {
    /// Name by which grants refer to it.
    pub name: Name,
    /// Where it is, absolute and without symbolic links.
    pub path: PathBuf,
    /// The most that may be granted.
    pub access: FolderAccess,
}

/// An argument of `--allow-folder` that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// Not of the form.
    #[error("{0:?} is not a folder to offer: write NAME=PATH, or NAME=PATH:ro for read-only")]
    Form(String),
    /// A bad name.
    #[error("the folder {0:?}")]
    Name(String, #[source] ringfence_api::NameError),
    /// It is not there.
    #[error("the folder {} cannot be offered: it has to exist and to be readable", .path.display())]
    Path {
        /// As it was written.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Two of one name.
    #[error("two folders are offered as {0}: give each a name of its own")]
    Twice(Name),
}

impl OfferedFolder {
    /// A folder, canonicalised.
    ///
    /// # Errors
    /// It does not exist, is no folder, or cannot be read.
    pub fn new(name: Name, path: &Path, access: FolderAccess) -> Result<Self, OfferError> {
        let fail = |source| OfferError::Path {
            path: path.to_owned(),
            source,
        };
        let path = path.canonicalize().map_err(fail)?;
        // Opening it now tells a missing permission at the start and not in the middle of a call.
        std::fs::read_dir(&path).map_err(fail)?;
        Ok(Self { name, path, access })
    }
}

impl FromStr for OfferedFolder {
    type Err = OfferError;

    fn from_str(text: &str) -> Result<Self, OfferError> {
        let (name, path) = text
            .split_once('=')
            .filter(|(_, path)| !path.is_empty())
            .ok_or_else(|| OfferError::Form(text.to_owned()))?;
        let name = name
            .parse()
            .map_err(|error| OfferError::Name(text.to_owned(), error))?;
        match path.strip_suffix(":ro") {
            Some(path) => Self::new(name, Path::new(path), FolderAccess::ReadOnly),
            None => Self::new(name, Path::new(path), FolderAccess::ReadWrite),
        }
    }
}

/// The folders that the host's operator offers.
#[derive(Debug, Clone, Default)]
pub struct Offers {
    folders: BTreeMap<Name, OfferedFolder>,
}

impl Offers {
    /// Offers these and nothing else.
    ///
    /// # Errors
    /// Two folders have one name.
    pub fn new(folders: impl IntoIterator<Item = OfferedFolder>) -> Result<Self, OfferError> {
        let mut by_name = BTreeMap::new();
        for folder in folders {
            if let Some(twice) = by_name.insert(folder.name.clone(), folder) {
                return Err(OfferError::Twice(twice.name));
            }
        }
        Ok(Self { folders: by_name })
    }

    /// Where a granted folder is.
    pub(super) fn mount(
        &self,
        grant: &FolderGrant,
        field: &str,
    ) -> Result<FolderMount, Unresolved> {
        let Some(folder) = self.folders.get(&grant.name) else {
            let message = format!(
                "the host offers no folder {0}: start it with --allow-folder {0}=PATH",
                grant.name
            );
            return Err(Unresolved::new(
                "FolderNotOffered",
                format!("{field}.name"),
                message,
            ));
        };
        if grant.access == FolderAccess::ReadWrite && folder.access == FolderAccess::ReadOnly {
            let message = format!(
                "the host offers the folder {} read-only: grant it with access: readOnly",
                grant.name
            );
            return Err(Unresolved::new(
                "FolderReadOnly",
                format!("{field}.access"),
                message,
            ));
        }
        Ok(FolderMount {
            path: folder.path.clone(),
            mount: grant.mount.clone(),
            access: grant.access,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_offered_by_name_and_canonical() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docs");
        std::fs::create_dir(&path).unwrap();
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        let text = format!("docs={}/link:ro", folder.path().display());
        let offered: OfferedFolder = text.parse().unwrap();
        assert_eq!(offered.path, path.canonicalize().unwrap());
        assert_eq!(offered.access, FolderAccess::ReadOnly);
        for bad in ["docs", "docs=", "Docs=/", "docs=/nowhere/at/all"] {
            assert!(bad.parse::<OfferedFolder>().is_err(), "{bad}");
        }
        let twice = Offers::new([offered.clone(), offered]);
        assert!(matches!(twice, Err(OfferError::Twice(_))));
    }

    #[test]
    fn a_folder_is_mounted_no_wider_than_offered() {
        let folder = tempfile::tempdir().unwrap();
        let name: Name = "docs".parse().unwrap();
        let offered = OfferedFolder::new(name.clone(), folder.path(), FolderAccess::ReadOnly);
        let offers = Offers::new([offered.unwrap()]).unwrap();
        let grant = |name: &str, access| FolderGrant {
            name: name.parse().unwrap(),
            mount: "/docs".to_owned(),
            access,
        };
        assert!(
            offers
                .mount(&grant("docs", FolderAccess::ReadOnly), "f")
                .is_ok()
        );
        let wide = offers
            .mount(&grant("docs", FolderAccess::ReadWrite), "f")
            .unwrap_err();
        assert_eq!(
            (wide.reason, wide.field.as_str()),
            ("FolderReadOnly", "f.access")
        );
        let other = offers
            .mount(&grant("notes", FolderAccess::ReadOnly), "f")
            .unwrap_err();
        assert!(
            other.message.contains("--allow-folder notes=PATH"),
            "{other}"
        );
    }
}
