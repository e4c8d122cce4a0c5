//! A digest to detect changes: in the text of scenarios, kernel images, this program.

use std::io::{self, Read as _};
use std::path::Path;

use super::open;

/// The 64-bit FNV hash (RFC 9923). It is the same on every machine and in every version, which the standard library
/// doesn't promise for its own. It detects changes, but doesn't resist attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest(u64);

impl Digest {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    #[must_use]
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(bytes.iter().fold(self.0, step))
    }

    /// Adds one of several parts: two lists of parts differ even if their concatenations are equal.
    #[must_use]
    pub(crate) fn part(self, part: &[u8]) -> Self {
        self.bytes(&(part.len() as u64).to_le_bytes()).bytes(part)
    }

    /// The content of a file of at most `limit` bytes.
    pub(crate) fn file(self, path: &Path, limit: u64) -> io::Result<Self> {
        const AT_ONCE: usize = 1 << 16;
        let mut file = open(path, limit)?.take(limit);
        let mut buffer = vec![0; AT_ONCE];
        let mut digest = self;
        loop {
            let read = file.read(&mut buffer)?;
            match buffer.get(..read) {
                Some([]) | None => return Ok(digest),
                Some(bytes) => digest = digest.bytes(bytes),
            }
        }
    }

    /// As a number.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// As 16 hexadecimal digits.
    pub(crate) fn hex(self) -> String {
        format!("{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_others() {
        // From the test vectors of the RFC.
        assert_eq!(Digest::new().number(), 0xcbf2_9ce4_8422_2325);
        assert_eq!(Digest::new().bytes(b"a").number(), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(Digest::new().bytes(b"foobar").hex(), "85944171f73967e8");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |parts: &[&str]| parts.iter().fold(Digest::new(), |digest, part| digest.part(part.as_bytes()));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab"]), of(&["ab", ""]));
    }

    #[test]
    fn a_file_is_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![7; 200_000]).unwrap();
        assert_eq!(Digest::new().file(&path, 1 << 20).unwrap(), Digest::new().bytes(&vec![7; 200_000]));
        assert!(Digest::new().file(folder.path(), 1 << 20).is_err());
    }
}
