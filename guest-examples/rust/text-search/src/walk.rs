//! Files below a folder, within bounds.

use std::fs;
use std::path::Path;

/// Most files of one answer or search.
const FILES: usize = 1000;
/// Deepest folder below the one that was asked for.
const DEPTH: usize = 16;
/// Largest file that is read, in bytes.
const FILE_BYTES: u64 = 8 << 20;

/// Files below `folder` whose paths end with `suffix`, sorted, with their sizes. Hidden files and
/// folders (`.git`) are left out, and links are not followed.
pub fn files(folder: &str, suffix: &str) -> Result<Vec<(String, u64)>, String> {
    let mut found = Vec::new();
    collect(Path::new(folder), suffix, 0, &mut found).map_err(|error| {
        format!("cannot list {folder}: {error}; only granted folders can be seen")
    })?;
    found.sort();
    found.truncate(FILES);
    Ok(found)
}

fn collect(
    folder: &Path,
    suffix: &str,
    depth: usize,
    found: &mut Vec<(String, u64)>,
) -> std::io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < DEPTH {
            // A folder inside that cannot be read hides nothing else.
            let _ = collect(&path, suffix, depth + 1, found);
        } else if kind.is_file() {
            let path = path.to_string_lossy().into_owned();
            if path.ends_with(suffix) {
                found.push((path, entry.metadata()?.len()));
            }
        }
        if found.len() >= FILES {
            break;
        }
    }
    Ok(())
}

/// The text of a file.
pub fn read(path: &str) -> Result<String, String> {
    let metadata = fs::metadata(path)
        .map_err(|error| format!("cannot read {path}: {error}; only granted folders can be seen"))?;
    if metadata.len() > FILE_BYTES {
        return Err(format!("{path} has {} bytes; at most {FILE_BYTES} are read", metadata.len()));
    }
    fs::read_to_string(path).map_err(|error| format!("cannot read {path} as text: {error}"))
}
