//! Writing a tar archive: regular files and their folders, in the `ustar` format of POSIX.1-1988, which is
//! all that an image needs.

const BLOCK: usize = 512;
/// Longest path that the header's name field holds.
const LONGEST: usize = 100;

/// An archive in memory.
#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    /// Appends a file. Its path is relative and at most 100 bytes long.
    pub(crate) fn file(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.header(path, b'0', mode, contents.len());
        self.0.extend_from_slice(contents);
        self.pad();
    }

    /// Appends a folder.
    pub(crate) fn folder(&mut self, path: &str, mode: u32) {
        self.header(path, b'5', mode, 0);
    }

    /// The archive: two empty blocks end it.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }

    fn header(&mut self, path: &str, kind: u8, mode: u32, size: usize) {
        assert!(path.len() <= LONGEST, "{path} is too long for a tar header");
        let mut header = [0; BLOCK];
        let mut put =
            |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, path);
        put(100, &format!("{mode:07o}"));
        put(108, "0000000"); // owner and group: root
        put(116, "0000000");
        put(124, &format!("{size:011o}"));
        put(136, "00000000000"); // the beginning of time, so that an image's digest depends on its files only
        put(257, "ustar");
        put(263, "00");
        header[156] = kind;
        header[148..156].fill(b' '); // the checksum counts itself as spaces
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend_from_slice(&header);
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_tar_command_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut tar = Tar::default();
        tar.folder("bin/", 0o755);
        tar.file("bin/hello", 0o750, b"hello\n");
        tar.file("empty", 0o644, b"");
        std::fs::write(folder.path().join("a.tar"), tar.finish()).unwrap();
        let list = Command::new("tar")
            .args(["-tvf", "a.tar", "--utc", "--numeric-owner"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        let words: Vec<Vec<&str>> = list
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(words[0][0], "drwxr-xr-x");
        assert_eq!(
            (words[1][0], words[1][2], words[1][5]),
            ("-rwxr-x---", "6", "bin/hello")
        );
        assert_eq!(words[2][5], "empty");
    }
}
