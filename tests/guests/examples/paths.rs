//! Uses files wherever it is told to: tries to leave a granted folder, or to write where it may
//! only read.

use std::fs;

use wasip2::filesystem::preopens;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, OpenFlags, PathFlags};

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// The content of a file.
            export read-file: func(path: string) -> result<string, string>;
            /// Writes a file.
            export write-file: func(path: string, text: string) -> result<_, string>;
            /// Names in a folder, sorted.
            export list-names: func(path: string) -> result<list<string>, string>;
            /// Makes a symbolic link at `path` to `target`.
            export make-symlink: func(target: string, path: string) -> result<_, string>;
            /// Makes a hard link at `path` to `target`.
            export make-link: func(target: string, path: string) -> result<_, string>;
            /// Renames.
            export move-file: func(old: string, new: string) -> result<_, string>;
            /// Deletes a file.
            export remove-file: func(path: string) -> result<_, string>;
            /// Makes a folder.
            export make-folder: func(path: string) -> result<_, string>;
            /// The folders that it was given.
            export preopens: func() -> list<string>;
            /// Opens `path` below the first folder it was given with the descriptor functions themselves, past the
            /// checks of the standard library; the bytes read.
            export raw-read: func(path: string) -> result<string, string>;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn read_file(path: String) -> Result<String, String> {
        fs::read_to_string(path).map_err(|e| e.to_string())
    }

    fn write_file(path: String, text: String) -> Result<(), String> {
        fs::write(path, text).map_err(|e| e.to_string())
    }

    fn list_names(path: String) -> Result<Vec<String>, String> {
        let entries = fs::read_dir(path).map_err(|e| e.to_string())?;
        let mut names = entries
            .map(|entry| {
                Ok(entry
                    .map_err(|e| e.to_string())?
                    .file_name()
                    .to_string_lossy()
                    .into())
            })
            .collect::<Result<Vec<String>, String>>()?;
        names.sort();
        Ok(names)
    }

    fn make_symlink(target: String, path: String) -> Result<(), String> {
        let (folder, name) = first_folder(&path)?;
        folder
            .symlink_at(&target, &name)
            .map_err(|e| e.name().to_owned())
    }

    fn make_link(target: String, path: String) -> Result<(), String> {
        fs::hard_link(target, path).map_err(|e| e.to_string())
    }

    fn move_file(old: String, new: String) -> Result<(), String> {
        fs::rename(old, new).map_err(|e| e.to_string())
    }

    fn remove_file(path: String) -> Result<(), String> {
        fs::remove_file(path).map_err(|e| e.to_string())
    }

    fn make_folder(path: String) -> Result<(), String> {
        fs::create_dir(path).map_err(|e| e.to_string())
    }

    fn preopens() -> Vec<String> {
        preopens::get_directories()
            .into_iter()
            .map(|(_, path)| path)
            .collect()
    }

    fn raw_read(path: String) -> Result<String, String> {
        let (folder, _) = preopens::get_directories()
            .into_iter()
            .next()
            .ok_or("no folder is granted")?;
        let file = folder
            .open_at(
                PathFlags::SYMLINK_FOLLOW,
                &path,
                OpenFlags::empty(),
                DescriptorFlags::READ,
            )
            .map_err(|e| e.name().to_owned())?;
        let (bytes, _) = file.read(1 << 16, 0).map_err(|e| e.name().to_owned())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The granted folder that an absolute path lies in, and the rest of the path.
fn first_folder(path: &str) -> Result<(Descriptor, String), String> {
    preopens::get_directories()
        .into_iter()
        .find_map(|(folder, mount)| {
            let rest = path.strip_prefix(&format!("{}/", mount.trim_end_matches('/')))?;
            Some((folder, rest.to_owned()))
        })
        .ok_or_else(|| "no granted folder holds this path".to_owned())
}

export!(Component);
