//! A backend without a kernel, to test the command line with.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};

use clap::Parser as _;

use super::args::Cli;
use super::program::Launcher;
use super::{Availability, Backend, Exit, Trouble, execute};
use crate::engine::Run;
use crate::judge::{self, Candidate, Finding, FindingKind, Judged, Measures, Verdict};
use crate::mptcp::Limits;
use crate::plan::example;
use crate::recording::{Entry, Header, Moment, Observation, Recording, SourceText, StepOutcome, Timeout};
use crate::report::{Printer, Style};
use crate::scenario::model::{Feature, KernelVariants, Scenario};

/// A backend without a kernel: what a scenario comes to is said by its file name.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) forbidden: bool,
    pub(super) no_mptcp: bool,
    /// A sysctl that is newer than the other features.
    pub(super) newest: &'static str,
    /// What the kernel says when all is over.
    pub(super) late_trouble: Vec<String>,
    /// How many runs there were.
    pub(super) runs: AtomicUsize,
    /// The image of the kernel that it stands for; nothing for the one that runs here.
    pub(super) image: String,
    /// What the kernels of images say when all is over.
    pub(super) late_trouble_elsewhere: Vec<String>,
    /// The text of the scenario of this name has changed.
    pub(super) changed: String,
    /// Where the files of scenarios are.
    pub(super) scenarios: PathBuf,
    /// mptcplab itself was called like this.
    pub(super) programs: Mutex<Vec<String>>,
    /// Changes with the program.
    pub(super) digest: String,
    /// Where snapshots go.
    pub(super) snapshots: PathBuf,
    /// What Ctrl-C does. A scenario called `interrupt` presses it.
    pub(super) interrupted: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// Scenarios are in a folder by their first letter.
    pub(super) folders: bool,
    /// Where the first runs of all scenarios called `warns` or `beside` meet: they are on at the same time.
    pub(super) together: Option<Barrier>,
    /// The scenarios that have met.
    pub(super) met: Mutex<BTreeSet<String>>,
}

impl Backend for Fake {
    fn load(&self, file: &Path, _colour: bool) -> Result<Vec<Scenario>, String> {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if name.contains("bad") {
            return Err(format!("error: {name} has an unknown key\n"));
        }
        let variants = if name.contains("two") { vec![Some("ipv4"), Some("ipv6")] } else { vec![None] };
        Ok(variants
            .into_iter()
            .map(|variant| Scenario {
                file: if self.folders { format!("scenarios/{}/{name}", &name[..1]) } else { name.clone() }.into(),
                variant: variant.map(str::to_owned),
                title: format!("the title of {name}"),
                requires: if name.contains("skip") { vec![Feature::Laminar] } else { Vec::new() },
                kernel_variants: KernelVariants::default(),
                exclusive: name.contains("alone"),
                steps: if name.contains("stepless") { Vec::new() } else { example::scenario().steps },
                sources: vec![SourceText { name: name.clone(), text: format!("{}", name == self.changed) }],
                ..example::scenario()
            })
            .collect())
    }

    fn load_recorded(&self, header: &Header, colour: bool) -> Result<Scenario, String> {
        let scenarios = self.load(Path::new(&header.file), colour)?;
        Ok(scenarios.into_iter().find(|scenario| scenario.variant == header.variant).unwrap())
    }

    fn enter(&self) -> Result<String, Trouble> {
        if self.forbidden {
            let message = "user namespaces are forbidden".to_owned();
            return Err(Trouble { message, hints: vec!["run it as root".to_owned()], kernel: false });
        }
        Ok("root".to_owned())
    }

    fn probe(&self, features: &BTreeSet<Feature>) -> Result<BTreeMap<Feature, Availability>, Trouble> {
        let availability = |feature: &Feature| match feature {
            Feature::Laminar if self.is_new() => Availability::Yes,
            Feature::Laminar => Availability::No("the flag is not kept".to_owned()),
            Feature::Sysctl(name) if name.contains("v6_port_drop") && name != self.newest => {
                Availability::No("ENOENT".to_owned())
            }
            Feature::Mptcp if self.no_mptcp => Availability::No("EPROTONOSUPPORT".to_owned()),
            _ => Availability::Yes,
        };
        Ok(features.iter().map(|feature| (feature.clone(), availability(feature))).collect())
    }

    fn run(&self, scenario: &Scenario) -> Result<Run, Trouble> {
        let earlier = self.runs.fetch_add(1, Ordering::Relaxed);
        if scenario.title.contains("interrupt")
            && let Some(interrupted) = self.interrupted.lock().unwrap().take()
        {
            interrupted();
        }
        if scenario.title.contains("trouble") {
            return Err(Trouble {
                message: "no namespace\ndetails".to_owned(),
                hints: vec!["try".to_owned()],
                kernel: false,
            });
        }
        assert!(!scenario.title.contains("panic"), "a defect");
        let warning = self.kernel_warning(scenario);
        let header = Header {
            format: crate::recording::FORMAT,
            mptcplab: String::new(),
            kernel: String::new(),
            title: scenario.title.clone(),
            file: scenario.file.display().to_string(),
            variant: scenario.variant.clone(),
            sources: Vec::new(),
            features: Vec::new(),
            lacks: Vec::new(),
        };
        let mut entries = vec![Entry { at: 0, what: Observation::Ended }];
        entries.insert(
            0,
            Entry {
                at: 0,
                what: limits(
                    (scenario.title.contains("differ") && self.is_new())
                        || (scenario.title.contains("unlike") && earlier == 2),
                ),
            },
        );
        if scenario.title.contains("flaky") && earlier == 2 {
            entries.insert(0, Entry { at: 0, what: timed_out() });
        } else {
            let outcome = StepOutcome::Done;
            entries.insert(0, Entry { at: 0, what: Observation::StepFinished { step: 0, outcome } });
        }
        entries.splice(0..0, warning.map(|line| Entry { at: 0, what: Observation::KernelLog { line } }));
        Ok(Run { recording: Recording { header, entries }, frames: Vec::new(), kernel_log: Err("EPERM".to_owned()) })
    }

    fn kernel_log(&self) -> Availability {
        Availability::No("EPERM".to_owned())
    }

    fn late_trouble(&self) -> Vec<String> {
        self.late_trouble.clone()
    }

    fn hold_interruptions(&self) -> Result<(), Trouble> {
        Ok(())
    }

    fn watch_interruptions(&self, interrupted: Box<dyn FnOnce() + Send>) -> Result<(), Trouble> {
        *self.interrupted.lock().unwrap() = Some(interrupted);
        Ok(())
    }

    fn judged(&self, scenario: &Scenario, recording: &Recording, _measures: Measures) -> Judged {
        if let Some(finding) = judge::kernel_finding(recording) {
            return Verdict::Failed(vec![finding]).into();
        }
        let flaked = recording.entries.iter().any(|entry| entry.what == timed_out());
        let is_new = scenario.title.contains("c_new");
        let regressed = scenario.title.contains("regress") && self.is_new();
        let last = scenario.title.contains("last") && scenario.variant.as_deref() == Some("ipv6");
        if !flaked && !regressed && !last && !scenario.title.contains("fail") && !is_new {
            return Verdict::Passed.into();
        }
        let detail = if is_new { "the text of it\n".to_owned() } else { String::new() };
        let summary = "2 expected, 1 observed".to_owned();
        let kind = if is_new { FindingKind::SnapshotNew } else { FindingKind::Subflows };
        Verdict::Failed(vec![Finding {
            kind,
            place: None,
            summary,
            detail,
            at: None,
            reasons: Vec::new(),
            values: None,
        }])
        .into()
    }

    fn candidate(&self, scenario: &Scenario, recording: &Recording) -> Candidate {
        let scenario = Scenario { file: self.snapshots.join(&scenario.file), ..scenario.clone() };
        Candidate::of(&scenario, recording)
    }
}

impl Launcher for Fake {
    fn launch(&self, arguments: &[OsString]) -> Result<Option<u8>, Trouble> {
        let arguments: Vec<String> = arguments.iter().map(|word| word.to_str().unwrap().to_owned()).collect();
        self.programs.lock().unwrap().push(arguments.join(" "));
        let is_vm = arguments[0] == "vm";
        let image = if is_vm { arguments[2].clone() } else { String::new() };
        if image.ends_with("dead") {
            return Ok(Some(3));
        }
        if image.ends_with("interrupted") {
            return Ok(None);
        }
        let options = arguments.iter().position(|word| word == "--no-evidence").unwrap();
        let end = arguments.iter().position(|word| word == "--").unwrap() + 1;
        // Scenarios are known by their bare names.
        let file = |name: &String| self.scenarios.join(name).with_extension("yaml").display().to_string();
        let words = ["mptcplab", "run"].into_iter().map(str::to_owned);
        let words = words.chain(arguments[options..end].iter().cloned()).chain(arguments[end..].iter().map(file));
        let cli = Cli::try_parse_from(words).unwrap();
        let late_trouble = if is_vm { self.late_trouble_elsewhere.clone() } else { Vec::new() };
        let guest = Self { image, late_trouble, changed: self.changed.clone(), ..Self::default() };
        let mut printer = Printer::new(Box::new(io::sink()), Box::new(io::sink()), Style::default());
        Ok(Some(execute(cli, &guest, &guest, &mut printer) as u8))
    }

    fn interrupter(&self) -> Box<dyn FnOnce() + Send> {
        Box::new(|| {})
    }

    fn digest(&self) -> Result<String, Trouble> {
        Ok(self.digest.clone())
    }
}

impl Fake {
    /// What the kernel says during a run. Of a scenario called `warns` it complains each time, of one called `once` the first
    /// time; one called `beside` is on when it complains of the others.
    fn kernel_warning(&self, scenario: &Scenario) -> Option<String> {
        let is = |word| scenario.title.contains(word);
        let barrier = self.together.as_ref().filter(|_| is("warns") || is("once") || is("beside"))?;
        let first = self.met.lock().unwrap().insert(scenario.label());
        if first {
            barrier.wait();
        }
        // Each time it is printed on another processor.
        let processor = self.runs.load(Ordering::Relaxed);
        (first || is("warns"))
            .then(|| format!("WARNING: CPU: {processor} PID: 7 at net/mptcp/protocol.c:9 mptcp_close+0x1/0x2"))
    }

    fn is_new(&self) -> bool {
        self.image.contains("new")
    }
}

/// What each kernel has, or what only a new one has.
fn limits(new: bool) -> Observation {
    let limits = Limits { subflows: if new { 4 } else { 3 }, ..Limits::default() };
    Observation::Limits { namespace: "client".to_owned(), moment: Moment::End, limits }
}

#[derive(Clone, Default)]
struct Buffer(Rc<RefCell<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    /// What was written, with an N for each number of milliseconds.
    fn text(&self) -> String {
        let text = String::from_utf8(self.0.borrow().clone()).unwrap();
        let mut pieces: Vec<&str> = text.split(" ms").collect();
        let last = pieces.pop().unwrap_or_default();
        let blotted = |piece: &str| match piece.trim_end_matches(|digit: char| digit.is_ascii_digit()) {
            number_removed if number_removed.len() < piece.len() => format!("{number_removed}N ms"),
            whole => format!("{whole} ms"),
        };
        pieces.into_iter().map(blotted).collect::<String>() + last
    }
}

fn timed_out() -> Observation {
    Observation::StepFinished { step: 0, outcome: StepOutcome::TimedOut(Timeout::in_words("2 subflows", "1")) }
}

/// A scenario of two variants, one that fails, one that is skipped, and one that wants to be alone.
pub(super) const MIXED: [&str; 4] = ["a_two.yaml", "b_fail.yaml", "c_skip.yaml", "d_alone.yaml"];

/// Runs a command in a folder with these files; returns exit code, standard output and standard error. Unless the command
/// says where, there is no evidence.
pub(super) fn mptcplab_with(backend: &Fake, arguments: &[&str], files: &[&str]) -> (Exit, String, String) {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        std::fs::write(folder.path().join(file), "").unwrap();
    }
    let folder = folder.path().display().to_string();
    let says_where = arguments.contains(&"--evidence")
        || matches!(arguments, ["check" | "judge" | "explain" | "doctor" | "schema" | "compare" | "matrix", ..]);
    let arguments = arguments.iter().map(|argument| argument.replace("FOLDER", &folder));
    let arguments = arguments.chain((!says_where).then(|| "--no-evidence".to_owned()));
    let cli = Cli::try_parse_from(std::iter::once("mptcplab".to_owned()).chain(arguments)).unwrap();
    let (out, err) = (Buffer::default(), Buffer::default());
    let style = Style { colour: false, unicode: true };
    let mut printer = Printer::new(Box::new(out.clone()), Box::new(err.clone()), style);
    let exit = execute(cli, backend, backend, &mut printer);
    (exit, out.text().replace(&folder, "FOLDER"), err.text().replace(&folder, "FOLDER"))
}

pub(super) fn mptcplab(arguments: &[&str], files: &[&str]) -> (Exit, String, String) {
    mptcplab_with(&Fake::default(), arguments, files)
}
