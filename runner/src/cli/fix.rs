//! `mptcplab check --fix`: rewrites renamed keys and values in place.

use std::io;
use std::path::{Path, PathBuf};

use crate::files;
use crate::report::Printer;
use crate::scenario::{self, FileKind, Found, Rewritten};
use crate::text;

use super::{Exit, check, complain};

/// Rewrites the files of these paths. Returns the paths that contain scenarios, for `check`. A file that can't be
/// rewritten is an error, but doesn't stop the others.
pub(super) fn rewrite(paths: &[PathBuf], quiet: bool, printer: &mut Printer) -> Result<Vec<PathBuf>, Exit> {
    let Found { files, .. } = check::find(paths, printer)?;
    let mut others = Vec::new();
    let mut failed = false;
    for file in &files {
        let shown = text::one_line(&file.display().to_string());
        match in_place(file) {
            Ok(Rewritten { changes, kind, .. }) => {
                if kind != FileKind::Scenario {
                    others.push(file.clone());
                }
                if changes > 0 && !quiet {
                    printer.line(&format!("rewrote {shown}: {}", text::count(changes as u64, "word")));
                }
            }
            Err(error) => {
                failed = true;
                complain(printer, &format!("can't rewrite `{shown}`: {error}"));
            }
        }
    }
    if failed {
        return Err(Exit::Usage);
    }
    let is_scenario = |path: &&PathBuf| !scenario::normal(path).is_ok_and(|path| others.contains(&path));
    Ok(paths.iter().filter(is_scenario).cloned().collect())
}

fn in_place(file: &Path) -> io::Result<Rewritten> {
    let mut rewritten = Rewritten::default();
    files::rewrite_named(file, files::SCENARIO, |text| {
        rewritten = scenario::fix(file, text);
        (rewritten.changes > 0).then(|| rewritten.text.clone())
    })?;
    Ok(rewritten)
}
