//! The archive that a kernel unpacks into its initial file system: [`Archive`] writes cpio's `newc` format
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Component, Path};

const FOLDER: u32 = 0o040_755;
const CHARACTER_DEVICE: u32 = 0o020_600;
const FILE: u32 = 0o100_000;

/// Writes an archive. Parent folders of a file are added automatically.
#[derive(Debug)]
pub struct Archive<W> {
    out: W,
    /// What was written so far, for the padding.
    length: usize,
    inodes: u32,
    folders: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    /// An empty archive.
    pub fn new(out: W) -> Self {
        Self { out, length: 0, inodes: 0, folders: BTreeSet::new() }
    }

    /// A file; an absolute path, or one that is relative to the root.
    pub fn file(&mut self, path: &Path, content: &[u8], executable: bool) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            self.folder(folder)?;
        }
        let mode = FILE | if executable { 0o755 } else { 0o644 };
        self.entry(&name(path)?, mode, content, (0, 0))
    }

    /// A folder.
    pub fn folder(&mut self, path: &Path) -> io::Result<()> {
        let name = name(path)?;
        for (end, _) in name.match_indices('/').chain([(name.len(), "")]) {
            let folder = &name[..end];
            if !folder.is_empty() && self.folders.insert(folder.to_owned()) {
                self.entry(folder, FOLDER, &[], (0, 0))?;
            }
        }
        Ok(())
    }

    /// A character device with these numbers, major and minor.
    pub fn character_device(&mut self, path: &Path, numbers: (u32, u32)) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            self.folder(folder)?;
        }
        self.entry(&name(path)?, CHARACTER_DEVICE, &[], numbers)
    }

    /// Ends the archive, and returns the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, &[], (0, 0))?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8], (major, minor): (u32, u32)) -> io::Result<()> {
        let size = u32::try_from(content.len())
            .map_err(|_| io::Error::other(format!("{name} is too large for the archive: {} bytes", content.len())))?;
        self.inodes += 1;
        let (links, name_size) = (1, name.len() + 1);
        let inode = self.inodes;
        // Magic number, then inode, mode, user, group, links, mtime, size, device (2), device of a node (2), size of
        // the name with its zero byte, checksum.
        self.write(
            format!(
                "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{links:08x}{0:08x}{size:08x}{0:08x}{0:08x}{major:08x}\
                 {minor:08x}{name_size:08x}{0:08x}{name}\0",
                0
            )
            .as_bytes(),
        )?;
        self.pad()?;
        self.write(content)?;
        self.pad()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len();
        self.out.write_all(bytes)
    }

    /// Headers and contents begin at multiples of four.
    fn pad(&mut self) -> io::Result<()> {
        let missing = self.length.next_multiple_of(4) - self.length;
        self.write(&[0; 3][..missing])
    }
}

/// A path as in the archive: from the root, without a leading slash.
fn name(path: &Path) -> io::Result<String> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(part) if part.to_str().is_some_and(|part| !part.contains('\0')) => {
                parts.push(part.to_string_lossy());
            }
            _ => return Err(io::Error::other(format!("`{}` can't be in the archive", path.display()))),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<u8> {
        let mut archive = Archive::new(Vec::new());
        archive.file(Path::new("/a/b/c.yaml"), b"title: x\n", false).unwrap();
        archive.file(Path::new("/a/b/run"), b"12345", true).unwrap();
        archive.character_device(Path::new("/dev/console"), (5, 1)).unwrap();
        archive.folder(Path::new("/a/b/d")).unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn every_part_begins_at_a_multiple_of_four() {
        let bytes = example();
        assert_eq!(bytes.len() % 4, 0);
        let starts = bytes.windows(6).enumerate().filter(|(_, window)| *window == b"070701");
        assert!(starts.clone().count() == 8 && starts.clone().all(|(at, _)| at % 4 == 0));
        assert!(bytes.windows(10).any(|window| window == b"TRAILER!!!"));
    }

    #[test]
    fn folders_come_once_and_before_what_is_in_them() {
        let text = String::from_utf8_lossy(&example()).into_owned();
        let place = |name: &str| text.find(&format!("{name}\0")).unwrap();
        assert!(place("a/b") < place("a/b/c.yaml"));
        assert_eq!(text.matches("a/b\0").count(), 1);
    }

    #[test]
    fn a_way_out_of_the_root_is_refused() {
        let mut archive = Archive::new(Vec::new());
        assert!(archive.file(Path::new("/a/../../b"), b"", false).is_err());
    }
}
