//! The program for the guest: mptcplab itself, with its libraries: [`Program`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use super::elf::Elf;
use crate::files;

/// A program with all files that it needs to run.
#[derive(Debug)]
pub struct Program {
    /// The program itself, without the parts that are never loaded.
    pub content: Vec<u8>,
    /// Its loader and libraries, each with path and content. Empty for a static program.
    pub libraries: Vec<(PathBuf, Vec<u8>)>,
}

/// Why there is no program for the guest.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// A file can't be read.
    #[error("can't read `{path}` for the guest: {source}")]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It isn't a program.
    #[error("`{0}` can't run in the guest: not a 64-bit ELF program")]
    NotAProgram(PathBuf),
    /// The loader doesn't list its libraries.
    #[error(
        "can't list the libraries of `{program}`: {reason}; build it statically, and name it with `--runner`: \
         RUSTFLAGS=\"-C target-feature=+crt-static\" cargo build --release --target x86_64-unknown-linux-gnu"
    )]
    Libraries {
        /// The program.
        program: PathBuf,
        /// The loader's answer.
        reason: String,
    },
}

impl Program {
    /// The program in this file, or the running one.
    pub fn open(path: Option<&Path>) -> Result<Self, ProgramError> {
        let path = path.unwrap_or(Path::new("/proc/self/exe"));
        let bytes = read(path)?;
        let elf = Elf::parse(&bytes).ok_or_else(|| ProgramError::NotAProgram(path.to_owned()))?;
        let libraries = match elf.interpreter() {
            None => Vec::new(),
            Some(loader) => libraries(path, &loader)?,
        };
        Ok(Self { content: elf.without_sections(), libraries })
    }
}

/// The loader itself lists the libraries that it would load, and their paths: `ld.so --list PROGRAM`, with glibc and
/// with musl.
fn libraries(program: &Path, loader: &str) -> Result<Vec<(PathBuf, Vec<u8>)>, ProgramError> {
    let refuse = |reason: String| ProgramError::Libraries { program: program.to_owned(), reason };
    let resolved = fs::canonicalize(program).map_err(|error| refuse(error.to_string()))?;
    let listed = Command::new(loader)
        .arg("--list")
        .arg(resolved)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| refuse(format!("`{loader}`: {error}")))?;
    if !listed.status.success() {
        return Err(refuse(String::from_utf8_lossy(&listed.stderr).trim().to_owned()));
    }
    let mut paths = vec![PathBuf::from(loader)];
    paths.extend(parse_list(&String::from_utf8_lossy(&listed.stdout)));
    paths.dedup();
    paths
        .into_iter()
        .map(|path| {
            let bytes = read(&path)?;
            let content = Elf::parse(&bytes).map_or_else(|| bytes.clone(), |elf| elf.without_sections());
            Ok((path, content))
        })
        .collect()
}

/// From lines like `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f…)`.
fn parse_list(text: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let (_, rest) = line.split_once(" => ")?;
        let path = rest.rsplit_once(" (0x").map_or(rest, |(path, _)| path).trim();
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    text.lines().filter_map(path).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, ProgramError> {
    files::read(path, files::PROGRAM).map_err(|source| ProgramError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_list_is_read() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x0000)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x0000)\n\t/lib64/ld-linux-x86-64.so.2 (0x0000)\n";
        let expected = ["/lib/x86_64-linux-gnu/libgcc_s.so.1", "/lib/x86_64-linux-gnu/libc.so.6"].map(PathBuf::from);
        assert_eq!(parse_list(text), expected);
    }

    #[test]
    fn this_program_comes_with_its_loader() {
        let program = Program::open(None).unwrap();
        let bytes = fs::read("/proc/self/exe").unwrap();
        let loader = Elf::parse(&bytes).unwrap().interpreter().map(PathBuf::from);
        assert_eq!(program.libraries.first().map(|(path, _)| path.clone()), loader);
    }

    #[test]
    fn a_script_is_no_program() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("script");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        assert!(matches!(Program::open(Some(&path)), Err(ProgramError::NotAProgram(_))));
    }
}
