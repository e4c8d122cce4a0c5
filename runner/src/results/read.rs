//! Reading stored results: all of them, or an error.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::folder::SCENARIOS;
use super::{FORMAT, INDEX, Results, Ruling};
use crate::files::digest::Digest;
use crate::files::{self, Folder};

/// Why results can't be read from a folder.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The folder doesn't exist, or can't be read.
    #[error("can't read `{path}`: {source}")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no index.
    #[error(
        "`{0}` has no `results.json`: either the run hasn't ended, or `mptcplab run --results` didn't write this folder"
    )]
    Unfinished(PathBuf),
    /// The index is not JSON, or has an unexpected structure.
    #[error("`{path}` is damaged: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, and what.
        source: serde_json::Error,
    },
    /// A format from the future.
    #[error(
        "`{path}` has format {format}, but this mptcplab reads format {FORMAT}: use the mptcplab that wrote it, or run the scenarios again"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u64,
    },
    /// Something in the folder doesn't match the index.
    #[error("the results in `{path}` are damaged: {what}")]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// Reads the results of a folder.
pub fn read(folder: &Path) -> Result<Results, ReadError> {
    let index = folder.join(INDEX);
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| ReadError::Unreadable { path, source }
    };
    let opened = Folder::open(folder).map_err(unreadable(folder))?;
    let text = match opened.read_text(INDEX, files::INDEX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ReadError::Unfinished(folder.to_owned()));
        }
        text => text.map_err(unreadable(&index))?,
    };
    let malformed = |source| ReadError::Malformed { path: index.clone(), source };
    // The format comes first: the rest depends on it.
    let value: serde_json::Value = serde_json::from_str(&text).map_err(malformed)?;
    if let Some(format) = value.get("format").and_then(serde_json::Value::as_u64)
        && format != u64::from(FORMAT)
    {
        return Err(ReadError::Format { path: index, format });
    }
    let mut results: Results = serde_json::from_value(value).map_err(malformed)?;
    complete(&opened, &mut results)
        .map_err(|what| ReadError::Damaged { path: folder.to_owned(), what })
        .map(|()| results)
}

/// Reads the observations, and checks that they match the index.
fn complete(folder: &Folder, results: &mut Results) -> Result<(), String> {
    let texts = folder.beneath(Path::new(SCENARIOS));
    let mut labels = BTreeSet::new();
    for outcome in &mut results.scenarios {
        let label = &outcome.label;
        if !labels.insert(label.clone()) {
            return Err(format!("`{label}` occurs twice"));
        }
        let Some(digest) = &outcome.observation else {
            // A kernel that crashes leaves nothing but the verdict that it failed.
            if outcome.verdict == Ruling::Passed {
                return Err(format!("`{label}` passed, but has no observation"));
            }
            continue;
        };
        if outcome.file.is_empty() || outcome.file.contains('/') || outcome.file.starts_with('.') {
            return Err(format!("`{label}` has an invalid file name, `{}`", outcome.file));
        }
        let name = format!("{}.txt", outcome.file);
        let file = format!("{SCENARIOS}/{name}");
        let text = match &texts {
            Ok(folder) => folder.read_text(&name, files::SNAPSHOT).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let text = text.map_err(|error| format!("can't read `{file}`: {error}"))?;
        if Digest::new().bytes(text.as_bytes()).hex() != *digest {
            return Err(format!("`{file}` has changed since it was written"));
        }
        outcome.canonical = Some(text);
    }
    Ok(())
}
