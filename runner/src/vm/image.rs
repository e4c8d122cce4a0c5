//! Recognising kernel images: [`Image`].

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::elf::Elf;
use crate::files;

/// Offset of the magic number of the x86 boot protocol (Documentation/arch/x86/boot.rst).
const BOOT_MAGIC: usize = 0x202;
/// Offset of the pointer to the version, which counts from 0x200.
const KERNEL_VERSION: usize = 0x20e;
/// Offset of the compressed kernel's position, which counts from the end of the setup code, and length.
const PAYLOAD: usize = 0x248;
/// The beginning of a kernel's banner (`linux_banner`, init/version.c); the release follows.
const BANNER: &[u8] = b"Linux version ";

/// A kernel to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Where it is.
    pub path: PathBuf,
    /// What runs it.
    pub kind: Kind,
    /// Its release, as in `uname -r`; `None` if the image doesn't contain it.
    pub release: Option<String>,
    /// The uncompressed kernel, if it can be booted: an emulated processor would take seconds to unpack it.
    pub unpacked: Option<Vec<u8>>,
}

/// What an image needs to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An x86 machine: `bzImage`, `vmlinuz`, or an uncompressed `vmlinux` with a PVH entry.
    X86,
    /// User-Mode Linux: the image is a program.
    UserMode,
}

/// Why an image can't be booted.
#[derive(Debug, Error)]
pub enum ImageError {
    /// It doesn't exist, or can't be read.
    #[error("can't read the kernel `{path}`: {source}")]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It isn't a kernel.
    #[error("`{0}` is not a kernel; expected an x86 `vmlinuz` (bzImage) or `vmlinux`, or a User-Mode Linux program")]
    NotAKernel(PathBuf),
    /// An uncompressed kernel without a PVH entry.
    #[error(
        "QEMU can't boot the kernel `{0}`: it has no PVH entry; use the `bzImage` of the same build \
         (arch/x86/boot/bzImage), or build it with CONFIG_PVH"
    )]
    NoEntry(PathBuf),
}

impl Image {
    /// Reads and recognises an image.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let bytes = files::read(path, files::KERNEL)
            .map_err(|source| ImageError::Unreadable { path: path.to_owned(), source })?;
        let image = |kind, release| Ok(Self { path: path.to_owned(), kind, release, unpacked: None });
        if let Some(elf) = Elf::parse(&bytes) {
            let release = banner(&bytes);
            if elf.section(".uml.setup.init").is_some() {
                return image(Kind::UserMode, release);
            }
            return match release {
                None => Err(ImageError::NotAKernel(path.to_owned())),
                Some(_) if has_entry(&bytes) => image(Kind::X86, release),
                Some(_) => Err(ImageError::NoEntry(path.to_owned())),
            };
        }
        if bytes.get(BOOT_MAGIC..BOOT_MAGIC + 4) == Some(b"HdrS") {
            let unpacked = unpack(&bytes).filter(|kernel| has_entry(kernel));
            return image(Kind::X86, boot_version(&bytes)).map(|image| Self { unpacked, ..image });
        }
        Err(ImageError::NotAKernel(path.to_owned()))
    }
}

/// Whether QEMU can start an uncompressed kernel: the PVH entry is in a Xen note.
fn has_entry(kernel: &[u8]) -> bool {
    let notes = Elf::parse(kernel).and_then(|elf| elf.section(".notes")).unwrap_or_default();
    find(notes, b"Xen\0").is_some()
}

/// The uncompressed kernel in a `bzImage`, for known compressions; with others, the image unpacks itself.
fn unpack(image: &[u8]) -> Option<Vec<u8>> {
    let field = |at: usize| image.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    // `setup_sects`; for historical reasons, 0 means 4.
    let sectors = match *image.get(0x1f1)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let (offset, length) = (field(PAYLOAD)? as usize, field(PAYLOAD + 4)? as usize);
    let payload = image.get((sectors + 1) * 512 + offset..)?.get(..length)?;
    let mut kernel = Vec::new();
    if payload.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = ruzstd::decoding::StreamingDecoder::new(payload).ok()?;
        decoder.take(files::KERNEL).read_to_end(&mut kernel).ok()?;
    } else if payload.starts_with(&[0x1f, 0x8b]) {
        flate2::read::GzDecoder::new(payload).take(files::KERNEL).read_to_end(&mut kernel).ok()?;
    }
    Some(kernel)
}

/// The release in the header of a compressed image: `6.12.0-amd64 (builder@host) #1 SMP …`.
fn boot_version(bytes: &[u8]) -> Option<String> {
    let offset = bytes.get(KERNEL_VERSION..KERNEL_VERSION + 2)?;
    let offset = usize::from(u16::from_le_bytes(offset.try_into().ok()?));
    first_word(bytes.get(0x200 + offset..).filter(|_| offset != 0)?)
}

/// The release in the banner of an uncompressed kernel.
fn banner(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes;
    while let Some(found) = find(rest, BANNER) {
        rest = rest.get(found + BANNER.len()..)?;
        if rest.first().is_some_and(u8::is_ascii_digit) {
            return first_word(rest);
        }
    }
    None
}

/// The text up to a blank, if it can be part of a path.
fn first_word(bytes: &[u8]) -> Option<String> {
    let word = bytes.split(|byte| matches!(byte, b' ' | 0)).next()?;
    let fine = word.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'/') && word.len() < 128;
    String::from_utf8(word.to_vec()).ok().filter(|_| fine && !word.is_empty())
}

/// The position of the text.
fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let first = *text.first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| *byte == first) {
        if bytes.get(from + at..)?.starts_with(text) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn image(content: &[u8]) -> Result<Image, ImageError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        fs::write(&path, content).unwrap();
        Image::open(&path)
    }

    /// As a boot loader sees it.
    fn compressed(version: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 0x400];
        bytes[BOOT_MAGIC..BOOT_MAGIC + 4].copy_from_slice(b"HdrS");
        bytes[KERNEL_VERSION..KERNEL_VERSION + 2].copy_from_slice(&0x80_u16.to_le_bytes());
        bytes[0x280..0x280 + version.len()].copy_from_slice(version);
        bytes
    }

    #[test]
    fn a_compressed_image_tells_its_release() {
        let found = image(&compressed(b"6.12.117+deb12-cloud-amd64 (x@y) #1 SMP\0")).unwrap();
        assert_eq!((found.kind, found.release.as_deref()), (Kind::X86, Some("6.12.117+deb12-cloud-amd64")));
        assert_eq!(image(&compressed(b"../../etc #1\0")).unwrap().release, None);
    }

    #[test]
    fn an_uncompressed_one_has_it_in_its_banner() {
        assert_eq!(banner(b"..Linux version %s..Linux version 6.1.0-rc1 (gcc) #2").as_deref(), Some("6.1.0-rc1"));
        assert_eq!(banner(b"Linux version "), None);
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        for content in [&b""[..], b"#!/bin/sh\n", &[0; 0x1000]] {
            assert!(matches!(image(content), Err(ImageError::NotAKernel(_))));
        }
        let program = fs::read("/bin/true").unwrap();
        assert!(matches!(image(&program), Err(ImageError::NotAKernel(_))));
        assert!(matches!(Image::open(Path::new("/nonexistent")), Err(ImageError::Unreadable { .. })));
    }
}
