//! The artifact directory: it has a folder for each failed run.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use nix::unistd::mkdtemp;
use thiserror::Error;

use super::{Case, packets, texts};
use crate::files::Folder;
use crate::recording;
use crate::text;

/// Maximum number of folders with the same name.
const MOST_ALIKE: usize = 10_000;

/// Why evidence could not be written.
#[derive(Debug, Error)]
pub enum EvidenceError {
    /// A folder could not be created.
    #[error("can't create the folder `{path}` for evidence: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("can't write the evidence `{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Where evidence goes. The folder is created with the first evidence.
#[derive(Debug)]
pub struct ArtifactDir {
    target: Option<PathBuf>,
    made: Option<PathBuf>,
}

impl ArtifactDir {
    /// Evidence goes to `target`, or without one to a new temporary folder.
    pub fn new(target: Option<PathBuf>) -> Self {
        Self { target, made: None }
    }

    /// The folder, if there is any evidence.
    pub fn folder(&self) -> Option<&Path> {
        self.made.as_deref()
    }

    /// Writes the evidence of a run. Returns its folder.
    pub fn keep(&mut self, case: &Case<'_>) -> Result<PathBuf, EvidenceError> {
        let folder = new_folder(&self.root()?, &folder_name(case))?;
        for (name, content) in texts::files(case) {
            write(&folder, name, |out| out.write_all(content.as_bytes()))?;
        }
        if let Some(run) = case.run {
            write(&folder, "recording.jsonl", |out| recording::write(&run.recording, out).map_err(io::Error::other))?;
            for frames in &run.frames {
                let name = format!("{}.pcapng", text::file_name(&frames.namespace));
                write(&folder, &name, |out| packets::write(frames, out))?;
                let name = format!("{}.monitor", text::file_name(&frames.namespace));
                let events = texts::monitor(&run.recording, &frames.namespace);
                write(&folder, &name, |out| out.write_all(events.as_bytes()))?;
            }
        }
        Ok(folder.path().to_owned())
    }

    fn root(&mut self) -> Result<PathBuf, EvidenceError> {
        if let Some(made) = &self.made {
            return Ok(made.clone());
        }
        let refused = |path: &Path, source| EvidenceError::Folder { path: path.to_owned(), source };
        let made = if let Some(target) = &self.target {
            Folder::create(target).map_err(|error| refused(target, error))?;
            target.clone()
        } else {
            let template = std::env::temp_dir().join("mptcplab-XXXXXX");
            mkdtemp(&template).map_err(|errno| refused(&template, errno.into()))?
        };
        self.made = Some(made.clone());
        Ok(made)
    }
}

fn folder_name(case: &Case<'_>) -> String {
    let label = text::file_name(&case.scenario.label());
    match case.repetition {
        Some((run, _)) => format!("{label}-run-{run}"),
        None => label,
    }
}

/// Creates a new folder: evidence of earlier runs is never touched.
fn new_folder(root: &Path, name: &str) -> Result<Folder, EvidenceError> {
    let refused = |source| EvidenceError::Folder { path: root.join(name), source };
    let folder = Folder::open(root).map_err(refused)?;
    let numbered = (2..MOST_ALIKE).map(|number| format!("{name}-{number}"));
    for name in std::iter::once(name.to_owned()).chain(numbered) {
        match folder.make_new(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map_err(refused),
        }
    }
    Err(refused(io::ErrorKind::AlreadyExists.into()))
}

fn write(
    folder: &Folder,
    name: &str,
    content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), EvidenceError> {
    folder.write(name, content).map_err(|source| EvidenceError::File { path: folder.path().join(name), source })
}
