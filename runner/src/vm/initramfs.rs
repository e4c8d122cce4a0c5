//! The guest's initial and only file system: [`build`] packs the program and the kernel's modules.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, BufWriter, Seek as _, Write};
use std::path::Path;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::cpio::Archive;
use super::modules::Module;
use super::places::{LINE, MODULES, PROGRAM};
use super::program::Program;

/// The console, which the kernel opens for its first process.
const CONSOLE: (u32, u32) = (5, 1);

const NAME: &CStr = c"mptcplab-initramfs";

/// What goes into the guest.
#[derive(Debug)]
pub struct Contents<'a> {
    /// Its init.
    pub program: &'a Program,
    /// In the order of loading.
    pub modules: &'a [Module],
    /// The serial line that leads to the host: `ttyS1`.
    pub line: &'a str,
}

/// Packs it into memory, so that no file is ever left. The file position is at its beginning.
pub fn build(contents: &Contents<'_>) -> io::Result<File> {
    let memory = File::from(memfd_create(NAME, MFdFlags::MFD_CLOEXEC)?);
    let mut memory =
        pack(contents, BufWriter::new(memory))?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    memory.rewind()?;
    Ok(memory)
}

fn pack<W: Write>(contents: &Contents<'_>, out: W) -> io::Result<W> {
    let mut archive = Archive::new(out);
    archive.character_device(Path::new("/dev/console"), CONSOLE)?;
    archive.file(Path::new(PROGRAM), &contents.program.content, true)?;
    for (path, content) in &contents.program.libraries {
        archive.file(path, content, true)?;
    }
    for (number, module) in contents.modules.iter().enumerate() {
        let path = Path::new(MODULES).join(format!("{number:03}-{}.ko", module.name));
        archive.file(&path, &module.content, false)?;
    }
    archive.file(Path::new(LINE), contents.line.as_bytes(), false)?;
    archive.folder(Path::new("/tmp"))?;
    archive.finish()
}
