//! Segment files: JSON lines, a bounded number of files of bounded size.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::RecordError;
use super::entry::Entry;

/// Bytes after which a new segment is begun.
pub const SEGMENT_BYTES: u64 = 32 << 20;
/// Segments that are kept; the oldest is removed when there are more.
pub const SEGMENTS: usize = 8;
/// Bytes that gather for one write.
const WRITE_BYTES: usize = 256 << 10;
/// Bytes of one line that are read back; longer ones are not ours.
const LINE_BYTES: u64 = 1 << 20;

/// The segment that is being written.
pub(super) struct Segments {
    folder: PathBuf,
    number: u64,
    file: BufWriter<File>,
    written: u64,
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> RecordError {
    let path = path.to_owned();
    move |source| RecordError::Io { path, source }
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.jsonl"))
}

/// Numbers of the segments in a folder, the oldest first.
fn numbers(folder: &Path) -> Result<Vec<u64>, RecordError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(io(folder))? {
        let entry = entry.map_err(io(folder))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

impl Segments {
    /// Goes on with the newest segment in `folder`, or begins the first one, and hands what the newest ones
    /// hold to `restore`. A host that starts often must not push out what it recorded.
    pub(super) fn open(
        folder: &Path,
        mut restore: impl FnMut(Vec<Entry>),
    ) -> Result<Self, RecordError> {
        fs::create_dir_all(folder).map_err(io(folder))?;
        let numbers = numbers(folder)?;
        for number in numbers.iter().rev().take(2).rev() {
            restore(read(&path(folder, *number))?);
        }
        let number = numbers.last().copied().unwrap_or_default();
        let current = path(folder, number);
        end_line(&current).map_err(io(&current))?;
        let segments = Self {
            folder: folder.to_owned(),
            number,
            file: append_to(&current)?,
            written: fs::metadata(&current).map_err(io(&current))?.len(),
        };
        segments.prune()?;
        Ok(segments)
    }

    /// Appends entries. They are in the hands of the operating system afterwards, not on the disk.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<(), RecordError> {
        let current = path(&self.folder, self.number);
        let mut line = Vec::new();
        for entry in entries {
            line.clear();
            serde_json::to_writer(&mut line, entry).map_err(|error| RecordError::Io {
                path: current.clone(),
                source: error.into(),
            })?;
            line.push(b'\n');
            self.file.write_all(&line).map_err(io(&current))?;
            self.written += line.len() as u64;
        }
        self.file.flush().map_err(io(&current))?;
        if self.written >= SEGMENT_BYTES {
            self.number += 1;
            self.file = append_to(&path(&self.folder, self.number))?;
            self.written = 0;
            self.prune()?;
        }
        Ok(())
    }

    fn prune(&self) -> Result<(), RecordError> {
        let numbers = numbers(&self.folder)?;
        for number in numbers.iter().take(numbers.len().saturating_sub(SEGMENTS)) {
            let old = path(&self.folder, *number);
            fs::remove_file(&old).map_err(io(&old))?;
        }
        Ok(())
    }
}

/// Ends the line that a crash may have cut off, so that the next one stands alone.
fn end_line(path: &Path) -> std::io::Result<()> {
    let mut file = match OpenOptions::new().read(true).append(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    Ok(())
}

fn append_to(path: &Path) -> Result<BufWriter<File>, RecordError> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(io(path))?;
    Ok(BufWriter::with_capacity(WRITE_BYTES, file))
}

/// Reads a segment back. A line that a crash cut off, or that is not ours, is passed over.
fn read(path: &Path) -> Result<Vec<Entry>, RecordError> {
    let mut reader = BufReader::new(File::open(path).map_err(io(path))?);
    let mut entries = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader
            .by_ref()
            .take(LINE_BYTES)
            .read_until(b'\n', &mut line);
        if read.map_err(io(path))? == 0 {
            return Ok(entries);
        }
        entries.extend(serde_json::from_slice(&line).ok());
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::LogLine;
    use super::*;
    use crate::mediation::RunId;

    fn line(text: &str) -> Entry {
        Entry::Log(LogLine {
            run: RunId::new(),
            call: 0,
            tenant: ringfence_api::TenantName::default(),
            source: "tool/t".to_owned(),
            at_us: 0,
            text: text.to_owned(),
        })
    }

    #[test]
    fn what_was_written_is_read_back_even_after_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        Segments::open(folder.path(), |_| ())
            .unwrap()
            .append(&[line("a"), line("b")])
            .unwrap();
        let torn = path(folder.path(), 0);
        let mut bytes = fs::read(&torn).unwrap();
        bytes.extend_from_slice(b"{\"type\":\"log\",\"ru");
        fs::write(&torn, bytes).unwrap();
        // However often it starts, it goes on in the same place.
        for expected in 2..SEGMENTS + 4 {
            let mut restored = 0;
            Segments::open(folder.path(), |entries| restored += entries.len())
                .unwrap()
                .append(&[line("c")])
                .unwrap();
            assert_eq!(restored, expected);
        }
        assert_eq!(numbers(folder.path()).unwrap(), [0]);
    }

    #[test]
    fn old_segments_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..SEGMENTS as u64 + 3 {
            let full = File::create(path(folder.path(), number)).unwrap();
            full.set_len(SEGMENT_BYTES - 1).unwrap();
        }
        let mut segments = Segments::open(folder.path(), |_| ()).unwrap();
        assert_eq!(numbers(folder.path()).unwrap().len(), SEGMENTS);
        segments.append(&[line("a")]).unwrap();
        let numbers = numbers(folder.path()).unwrap();
        assert_eq!(numbers.len(), SEGMENTS);
        assert_eq!(numbers.last(), Some(&(SEGMENTS as u64 + 3)));
    }
}
