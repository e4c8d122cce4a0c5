//! Reading the files: scenario and topology, untrusted until their text is known to be UTF-8 of a sane size.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostic;
use super::nearest::suggestion;
use crate::files;
use crate::scenario::SourceText;

/// Reads a file whole.
pub fn read(path: &Path) -> Result<SourceText, Diagnostic> {
    let bytes = files::read(path, files::SCENARIO).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => Diagnostic::of_file(error.to_string()),
        _ => Diagnostic::of_file(format!("the file can't be read: {error}")),
    })?;
    let text =
        String::from_utf8(bytes).map_err(|error| not_utf8(error.as_bytes(), error.utf8_error().valid_up_to()))?;
    Ok(SourceText { name: path.display().to_string(), text })
}

/// Says where the first byte is that no UTF-8 text has.
fn not_utf8(bytes: &[u8], offset: usize) -> Diagnostic {
    let (before, from) = bytes.split_at(offset.min(bytes.len()));
    let before = String::from_utf8_lossy(before);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let byte = from.first().copied().unwrap_or_default();
    let message =
        format!("the file is not UTF-8 text: byte {byte:#04x} at line {line}, column {column} (offset {offset})");
    Diagnostic::of_file(message).help("store it as UTF-8")
}

/// Finds the topology of that name for a scenario file: in `topologies` beside the file, then in
/// `fixtures/topologies` of each folder above it. If there is none: what may be meant.
pub fn find_topology(scenario: &Path, name: &str) -> Result<PathBuf, Option<String>> {
    let folder = match scenario.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mut folders = vec![folder.join("topologies")];
    folders.extend(folder.ancestors().map(|ancestor| ancestor.join("fixtures/topologies")));
    for folder in &folders {
        let path = folder.join(format!("{name}.yaml"));
        if path.is_file() {
            return Ok(relative(&path));
        }
    }
    let known: Vec<String> = folders.iter().flat_map(|folder| names(folder)).collect();
    Err(suggestion(name, known.iter().map(String::as_str)))
}

/// The names of the topologies in a folder.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_suffix(".yaml").map(str::to_owned)
        })
        .take(1000)
        .collect();
    names.sort();
    names
}

/// The path as seen from the current folder, if it is below it.
fn relative(path: &Path) -> PathBuf {
    let here = std::env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok()).map_or_else(|| path.to_owned(), Path::to_owned)
}
