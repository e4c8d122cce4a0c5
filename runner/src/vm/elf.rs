//! The parts of ELF that mptcplab needs: a file's interpreter, its sections by name, and a copy without debugging
//! information. Main type: [`Elf`].
//!
//! Only 64-bit little-endian files (elf(5)), as on every machine that mptcplab runs on.

use std::ops::Range;

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;

/// The length of the file's header.
const HEADER: usize = 64;

/// An ELF file. Its tables are trusted only where they lie inside the file.
#[derive(Debug, Clone, Copy)]
pub struct Elf<'a> {
    bytes: &'a [u8],
}

/// A segment: a part that is loaded, or describes how to load others.
struct Segment {
    kind: u32,
    /// In the file.
    range: Range<usize>,
}

impl<'a> Elf<'a> {
    /// `None` if it isn't such a file.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        // Class 2: 64 bits; data 1: little-endian.
        (bytes.len() >= HEADER && bytes.starts_with(b"\x7fELF\x02\x01")).then_some(Self { bytes })
    }

    /// The program that loads this one and its libraries. A static program has none.
    pub fn interpreter(&self) -> Option<String> {
        let range = self.segments().find(|segment| segment.kind == PT_INTERP)?.range;
        let path = self.bytes.get(range)?;
        Some(String::from_utf8_lossy(path.strip_suffix(b"\0").unwrap_or(path)).into_owned())
    }

    /// A section's content.
    pub fn section(&self, name: &str) -> Option<&'a [u8]> {
        let (table, count, names) = (self.u64(40)?, self.u16(60)?, self.u16(62)?);
        let header = |index: u16| at(table, u64::from(index), 64);
        let content = |header: usize| {
            let (offset, length) = (self.u64(header + 24)?, self.u64(header + 32)?);
            self.bytes.get(range(offset, length)?)
        };
        let names = content(header(names)?)?;
        (0..count).find_map(|index| {
            let header = header(index)?;
            let own = names.get(self.u32(header)? as usize..)?;
            let own = own.split(|byte| *byte == 0).next()?;
            if own == name.as_bytes() { content(header) } else { None }
        })
    }

    /// The program without the parts that are never loaded, such as debugging information: the file up to the end of
    /// the last segment, without sections.
    pub fn without_sections(&self) -> Vec<u8> {
        let end = self.segments().filter(|segment| segment.kind == PT_LOAD).map(|segment| segment.range.end).max();
        let Some(loaded) = end.and_then(|end| self.bytes.get(..end)).filter(|loaded| loaded.len() >= HEADER) else {
            return self.bytes.to_vec();
        };
        let mut loaded = loaded.to_vec();
        // Where the table of sections is, how many it has, and which one has the names.
        for field in [40..48, 60..62, 62..64] {
            loaded[field].fill(0);
        }
        loaded
    }

    fn segments(&self) -> impl Iterator<Item = Segment> {
        let (table, count) = (self.u64(32).unwrap_or_default(), self.u16(56).unwrap_or_default());
        (0..count).filter_map(move |index| {
            let header = at(table, u64::from(index), 56)?;
            let (offset, length) = (self.u64(header + 8)?, self.u64(header + 32)?);
            Some(Segment { kind: self.u32(header)?, range: range(offset, length)? })
        })
    }

    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
}

/// Where an entry of a table is.
fn at(table: u64, index: u64, size: u64) -> Option<usize> {
    let offset = table.checked_add(index.checked_mul(size)?)?;
    // Room for the fields behind it, so that adding to it can't overflow.
    usize::try_from(offset).ok().filter(|offset| *offset < usize::MAX / 2)
}

fn range(offset: u64, length: u64) -> Option<Range<usize>> {
    let (offset, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
    Some(offset..offset.checked_add(length)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_test_program_is_understood() {
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        let elf = Elf::parse(&bytes).unwrap();
        if let Some(interpreter) = elf.interpreter() {
            assert!(std::path::Path::new(&interpreter).is_file(), "{interpreter}");
        }
        assert!(!elf.section(".text").unwrap().is_empty());
        assert_eq!(elf.section(".nonsense"), None);
    }

    #[test]
    fn without_its_sections_a_program_still_runs() {
        use std::os::unix::fs::PermissionsExt as _;
        let bytes = std::fs::read("/bin/true").unwrap();
        let stripped = Elf::parse(&bytes).unwrap().without_sections();
        assert!(stripped.len() < bytes.len());
        assert_eq!(Elf::parse(&stripped).unwrap().section(".text"), None);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("true");
        std::fs::write(&path, stripped).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        // Through its loader: another thread's child may just now have the file open for writing.
        let loader = Elf::parse(&bytes).unwrap().interpreter().unwrap();
        assert!(std::process::Command::new(loader).arg(path).status().unwrap().success());
    }

    #[test]
    fn nothing_else_is_taken_for_one() {
        assert!(Elf::parse(b"").is_none());
        assert!(Elf::parse(b"#!/bin/sh\n").is_none());
        assert!(Elf::parse(b"\x7fELF\x02\x01").is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_files_do_not_panic(rest in prop::collection::vec(any::<u8>(), 58..400)) {
            let bytes = [b"\x7fELF\x02\x01".as_slice(), &rest].concat();
            let elf = Elf::parse(&bytes).unwrap();
            elf.interpreter();
            elf.section(".modinfo");
            elf.without_sections();
        }
    }
}
