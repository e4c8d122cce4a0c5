//! `mptcplab judge`: gives stored recordings the verdicts of live runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::judge::{Judged, Measures, Snapshots, Verdict, kernel_remark};
use crate::recording::{self, Recording};
use crate::report::{Printer, RunReport, Totals, transfer_rates};
use crate::scenario::model::Scenario;
use crate::text;

use super::args::JudgeArgs;
use super::backend::Backend;
use super::present::{Length, show_json, show_story, show_verdict};
use super::update::Updates;
use super::{Exit, check, complain, hint, open_recording};

/// How deep folders are searched for recordings.
const MAX_DEPTH: usize = 32;

pub(super) fn execute(args: &JudgeArgs, backend: &dyn Backend, printer: &mut Printer) -> Exit {
    let files = match find(&args.files) {
        Ok(files) => files,
        Err(message) => {
            complain(printer, &message);
            hint(printer, "`mptcplab run --record FILE` writes recordings");
            return Exit::Usage;
        }
    };
    let mended = match &args.scenario {
        Some(path) => match check::load(std::slice::from_ref(path), backend, printer) {
            Ok(scenarios) => Some(scenarios),
            Err(exit) => return exit,
        },
        None => None,
    };
    let session = Judging { args, backend, mended: mended.as_deref(), alone: files.len() == 1, begin: Instant::now() };
    session.all(&files, printer)
}

/// What holds for all recordings.
struct Judging<'a> {
    args: &'a JudgeArgs,
    backend: &'a dyn Backend,
    /// The scenarios of `--scenario`.
    mended: Option<&'a [Scenario]>,
    /// There is one recording.
    alone: bool,
    begin: Instant,
}

impl Judging<'_> {
    fn all(&self, files: &[PathBuf], printer: &mut Printer) -> Exit {
        let mut totals = Totals { without_snapshot: self.args.no_snapshot, ..Totals::default() };
        let mut updates = self.args.update.then(|| Updates::new(1));
        let mut unusable = 0;
        for (position, file) in files.iter().enumerate() {
            match self.one(position, file, updates.as_mut(), printer) {
                Some(verdict) => totals.add(&verdict),
                None => unusable += 1,
            }
        }
        for line in updates.iter().flat_map(Updates::lines) {
            if self.args.json { printer.note(&line) } else { printer.line(&line) }
        }
        // Silence would mean that everything matches the reviewed snapshots.
        let unreviewed = self.args.quiet && self.args.no_snapshot && totals.passed > 0 && !self.args.json;
        if unreviewed || !self.alone && !self.args.quiet {
            let line = totals.line(self.begin.elapsed(), printer.style());
            if self.args.json { printer.note(&line) } else { printer.line(&line) }
        }
        if unusable > 0 && !self.alone {
            let all = text::count(files.len() as u64, "recording");
            complain(printer, &format!("{unusable} of {all} can't be judged"));
        }
        match Exit::of(&totals) {
            Exit::Failed => Exit::Failed,
            _ if unusable > 0 => Exit::Usage,
            exit => exit,
        }
    }

    /// Judges one recording; `None`, after an error message, if that isn't possible.
    fn one(
        &self,
        position: usize,
        file: &Path,
        updates: Option<&mut Updates>,
        printer: &mut Printer,
    ) -> Option<Verdict> {
        let begin = Instant::now();
        let recording = match read(file) {
            Ok(recording) => recording,
            Err(message) => {
                complain(printer, &message);
                hint(printer, "`mptcplab run --record FILE` writes recordings");
                return None;
            }
        };
        let recorded = self.recorded(file, &recording, printer)?;
        let scenario = self.which(file, recorded, printer)?;
        let Judged { mut verdict, rules } = self.backend.judged(&scenario, &recording, self.measures());
        if let (Some(updates), Verdict::Passed) = (updates, &verdict) {
            updates.add(position, &self.backend.candidate(&scenario, &recording), &mut verdict);
        }
        let rates = transfer_rates(&recording);
        let remark = kernel_remark(&recording).filter(|_| verdict == Verdict::Passed);
        let run = RunReport {
            scenario: &scenario,
            verdict: &verdict,
            rules: rules.as_ref(),
            duration: begin.elapsed(),
            repetition: None,
            compared: !self.args.no_snapshot,
            rates: &rates,
            remark: remark.as_deref(),
        };
        if self.args.json {
            show_json(printer, &run);
        } else if !self.args.quiet || verdict != Verdict::Passed {
            if self.alone && !self.args.quiet {
                show_story(printer, &scenario, Some(&recording), Length::Whole);
            }
            show_verdict(printer, &run, self.args.show_snapshot);
        }
        Some(verdict)
    }

    /// Judging a recording never writes beside the scenario that it names.
    fn measures(&self) -> Measures {
        let ignored = self.args.no_snapshot || self.args.update;
        let snapshots = if ignored { Snapshots::Ignore } else { Snapshots::Compare };
        Measures { snapshots, rules: self.args.reference.rules() }
    }

    /// The scenario in the recording.
    fn recorded(&self, file: &Path, recording: &Recording, printer: &mut Printer) -> Option<Scenario> {
        recorded(file, recording, self.backend, printer)
    }

    /// The scenario to judge by, after a line that names it.
    fn which(&self, file: &Path, recorded: Scenario, printer: &mut Printer) -> Option<Scenario> {
        let Some(mended) = self.mended else {
            if !self.args.quiet {
                printer.note(&text::printable(&format!(
                    "{}: judged by the scenario in the recording; `--scenario FILE` names another one",
                    file.display()
                )));
            }
            return Some(recorded);
        };
        match choose(mended, &recorded) {
            Ok(scenario) => {
                if !self.args.quiet {
                    let (file, scenario) = (file.display(), scenario.file.display());
                    printer.note(&text::printable(&format!(
                        "{file}: judged by {scenario}, not by the scenario in the recording"
                    )));
                }
                Some(scenario.clone())
            }
            Err(message) => {
                complain(printer, &format!("`{}`: {message}", file.display()));
                None
            }
        }
    }
}

/// The scenario in a recording; `None`, after an error message, if it can't be used.
pub(super) fn recorded(
    file: &Path,
    recording: &Recording,
    backend: &dyn Backend,
    printer: &mut Printer,
) -> Option<Scenario> {
    let loaded = backend.load_recorded(&recording.header, printer.error_style().colour);
    loaded
        .map_err(|diagnostics| {
            printer.note(diagnostics.trim_end_matches('\n'));
            complain(printer, &format!("the scenario in `{}` can't be used", file.display()));
        })
        .ok()
}

/// The scenario that replaces the recording's own: the same variant, and the same file if there are several. The steps
/// must be the same; the expectations may differ.
fn choose<'a>(mended: &'a [Scenario], recorded: &Scenario) -> Result<&'a Scenario, String> {
    let mut fitting: Vec<&Scenario> = mended.iter().filter(|scenario| scenario.variant == recorded.variant).collect();
    if fitting.len() > 1 {
        fitting.retain(|scenario| scenario.file.file_name() == recorded.file.file_name());
    }
    if fitting.len() > 1 {
        fitting.retain(|scenario| scenario.file == recorded.file);
    }
    let label = text::one_line(&recorded.label());
    let [scenario] = fitting.as_slice() else {
        return Err(format!("`--scenario` contains no scenario that matches the recorded `{label}`"));
    };
    if course(scenario) == course(recorded) {
        Ok(scenario)
    } else {
        let file = scenario.file.display();
        Err(format!("`{file}` doesn't do what was recorded of `{label}`: run it again"))
    }
}

/// What a scenario does: its commands, and the number of its steps.
fn course(scenario: &Scenario) -> (String, usize) {
    (crate::plan::shell("", "", &crate::plan::plan(scenario)), scenario.steps.len())
}

/// The recordings of these paths: a folder stands for all `*.jsonl` files below it.
fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in paths {
        let refused = |error: io::Error| format!("can't read `{}`: {error}", path.display());
        if !fs::metadata(path).map_err(refused)?.is_dir() {
            files.push(path.clone());
            continue;
        }
        let before = files.len();
        in_folder(path, 0, &mut files).map_err(refused)?;
        if files.len() == before {
            return Err(format!("no recording (`*.jsonl`) in `{}`", path.display()));
        }
    }
    Ok(files)
}

fn in_folder(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!("folders are nested more than {MAX_DEPTH} levels deep")));
    }
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        // Links to folders aren't followed: they may form a cycle.
        if entry.file_type()?.is_dir() {
            in_folder(&entry.path(), depth + 1, files)?;
        } else if entry.path().extension().is_some_and(|extension| extension == "jsonl") {
            files.push(entry.path());
        }
    }
    Ok(())
}

pub(super) fn read(file: &Path) -> Result<Recording, String> {
    let input = open_recording(file).map_err(|error| format!("can't read `{}`: {error}", file.display()))?;
    recording::read(input).map_err(|error| format!("`{}` is not a valid recording: {error}", file.display()))
}
