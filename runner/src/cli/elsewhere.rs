//! Results of scenarios on any kernel: cached ones where nothing has changed, new ones for the rest.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::files::digest::Digest;
use crate::files::{self, Folder};
use crate::report::Printer;
use crate::results::{self, KernelIdentity, Outcome, Results, Ruling, Store, snapshot_digest, sources_digest};
use crate::scenario::model::{Machine, Scenario, WhichKernel};
use crate::text;
use crate::vm::image::Image;
use crate::vm::modules::Tree;

use super::Exit;
use super::args::{CacheArgs, MachineArgs};
use super::backend::{Backend, Trouble};
use super::program::Launcher;
use super::scratch::Scratch;

/// Where results are cached, and whether cached ones may be used.
pub(super) struct Cache {
    root: PathBuf,
    fresh: bool,
    machine: MachineArgs,
}

/// Results, and how many of them are new.
pub(super) struct Obtained {
    pub(super) results: Results,
    pub(super) ran: usize,
    pub(super) reused: usize,
}

/// Why there are no results.
pub(super) enum Missing {
    /// Something went wrong with this kernel.
    Trouble(Trouble),
    /// The program was interrupted.
    Interrupted,
}

impl From<Trouble> for Missing {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Cache {
    pub(super) fn new(args: &CacheArgs, machine: &MachineArgs) -> Self {
        let root = args.cache.clone().unwrap_or_else(|| {
            let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
            let home = || folder("HOME").map(|home| home.join(".cache"));
            let cache = folder("XDG_CACHE_HOME").or_else(home).unwrap_or_else(|| PathBuf::from("target"));
            cache.join("mptcplab")
        });
        Self { root, fresh: args.fresh, machine: machine.clone() }
    }

    /// Results of these scenarios on a kernel, in their order. `key`: the kernel's.
    pub(super) fn obtain(
        &self,
        kernel: &WhichKernel,
        key: &str,
        scenarios: &[Scenario],
        launcher: &dyn Launcher,
        printer: &mut Printer,
    ) -> Result<Obtained, Missing> {
        let folder = self.root.join(key);
        let known = if self.fresh { None } else { stored(&folder, printer) };
        let usable = |scenario: &Scenario| -> Option<Outcome> {
            let outcome = known.as_ref()?.scenarios.iter().find(|outcome| outcome.label == scenario.label())?;
            is_current(kernel, scenario, outcome).then(|| outcome.clone())
        };
        let mut outcomes: BTreeMap<String, Outcome> =
            scenarios.iter().filter_map(usable).map(|outcome| (outcome.label.clone(), outcome)).collect();
        let stale: Vec<&Scenario> =
            scenarios.iter().filter(|scenario| !outcomes.contains_key(&scenario.label())).collect();
        let reused_by_label = |label: &str| outcomes.contains_key(label);
        let mut base = if let (Some(known), []) = (&known, stale.as_slice()) {
            known.clone()
        } else {
            let scratch = self.scratch()?;
            run(&scratch.path().join("run"), &self.arguments(kernel), &stale, launcher)?
        };
        let lacking = stale.iter().map(|scenario| scenario.label());
        let lacking = lacking.filter(|label| base.scenarios.iter().all(|outcome| outcome.label != *label));
        if let Some(label) = lacking.into_iter().next() {
            return Err(Trouble::new(format!("the run stored no result for `{}`", text::one_line(&label))).into());
        }
        let (reused, ran) =
            (scenarios.iter().filter(|scenario| reused_by_label(&scenario.label())).count(), stale.len());
        if ran > 0 {
            for outcome in std::mem::take(&mut base.scenarios) {
                outcomes.entry(outcome.label.clone()).or_insert(outcome);
            }
            self.keep(&folder, known, &mut base, &outcomes)?;
        }
        base.scenarios = scenarios.iter().filter_map(|scenario| outcomes.remove(&scenario.label())).collect();
        Ok(Obtained { results: base, ran, reused })
    }

    /// Stores new results with the cached ones. Nothing is stored if the kernel reported a problem that belongs to no
    /// scenario.
    fn keep(
        &self,
        folder: &Path,
        known: Option<Results>,
        base: &mut Results,
        outcomes: &BTreeMap<String, Outcome>,
    ) -> Result<(), Trouble> {
        let mut features = known.as_ref().map(|known| known.features.clone()).unwrap_or_default();
        features.extend(base.features.clone());
        base.features = features;
        if !base.late_trouble.is_empty() {
            return Ok(());
        }
        let others = known.into_iter().flat_map(|known| known.scenarios);
        let others = others.filter(|outcome| !outcomes.contains_key(&outcome.label));
        let all: Vec<Outcome> = outcomes.values().cloned().chain(others).collect();
        let scratch = self.scratch()?;
        let new = scratch.path().join("new");
        let kept = write(&new, base.kernel.clone(), base.features.clone(), &all)
            .map_err(|error| error.to_string())
            .and_then(|()| replace(folder, &new));
        kept.map_err(not_kept)
    }

    /// A place for incomplete results, beside the cached ones.
    fn scratch(&self) -> Result<Scratch, Trouble> {
        let refused = |error| not_kept(format!("can't create a folder in `{}`: {error}", self.root.display()));
        Scratch::new(&self.root).map_err(refused)
    }

    /// A name for everything that results depend on, except scenarios: mptcplab here and in the guest, the kernel, the
    /// machine, and the programs that scenarios may start.
    pub(super) fn key(&self, kernel: &WhichKernel, launcher: &dyn Launcher) -> Result<String, Trouble> {
        let digest = Digest::new().part(launcher.digest()?.as_bytes());
        let digest = match self.machine.programs.option() {
            Some(option) => digest.part(option.as_encoded_bytes()),
            None => digest,
        };
        let digest = match kernel {
            WhichKernel::Running => {
                let KernelIdentity { release, version, machine } = KernelIdentity::running();
                [release, version, machine].iter().fold(digest, |digest, part| digest.part(part.as_bytes()))
            }
            WhichKernel::Image(machine) => {
                let digest = match &self.machine.runner {
                    Some(runner) => {
                        digest.file(runner, files::PROGRAM).map_err(|error| Trouble::new(unreadable(runner, &error)))?
                    }
                    None => digest,
                };
                machine_digest(digest, machine).map_err(Trouble::new)?
            }
        };
        Ok(digest.hex())
    }

    /// The mptcplab command and its options for a kernel.
    fn arguments(&self, kernel: &WhichKernel) -> Vec<OsString> {
        let programs = self.machine.programs.option();
        let WhichKernel::Image(machine) = kernel else { return ["run".into()].into_iter().chain(programs).collect() };
        let mut arguments: Vec<OsString> = vec!["vm".into(), "--kernel".into(), machine.image.clone().into_os_string()];
        let mut option = |name: &str, value: Option<OsString>| {
            arguments.extend(value.into_iter().flat_map(|value| [name.into(), value]));
        };
        option("--modules", machine.modules.clone().map(PathBuf::into_os_string));
        option("--load", (!machine.load.is_empty()).then(|| machine.load.join(",").into()));
        option("--append", machine.append.clone().map(OsString::from));
        option("--memory", machine.memory.map(|memory| memory.to_string().into()));
        option("--cpus", machine.cpus.map(|cpus| cpus.to_string().into()));
        option("--kvm", machine.kvm.map(OsString::from));
        option("--time-limit", self.machine.time_limit.map(|limit| limit.as_secs().to_string().into()));
        option("--qemu", self.machine.qemu.clone().map(PathBuf::into_os_string));
        option("--runner", self.machine.runner.clone().map(PathBuf::into_os_string));
        arguments.extend(programs);
        arguments
    }
}

fn not_kept(message: String) -> Trouble {
    Trouble {
        message,
        hints: vec!["choose another folder for results with `--cache FOLDER`".to_owned()],
        kernel: false,
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("can't read `{}`: {error}", path.display())
}

fn write(
    folder: &Path,
    kernel: KernelIdentity,
    features: indexmap::IndexMap<String, results::Found>,
    outcomes: &[Outcome],
) -> Result<(), results::WriteError> {
    let mut store = Store::begin(folder, kernel, features)?;
    for (position, outcome) in outcomes.iter().enumerate() {
        store.add_stored(position, outcome)?;
    }
    store.finish(SystemTime::now(), Vec::new()).map(drop)
}

fn replace(folder: &Path, new: &Path) -> Result<(), String> {
    let replaced = || {
        let split = |path: &Path| Some((path.parent()?.to_owned(), path.file_name()?.to_str()?.to_owned()));
        let ((root, name), (source, its_name)) =
            split(folder).zip(split(new)).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        let root = Folder::open(&root)?;
        // Only marked folders, that is, results.
        root.remove_tree(&name)?;
        root.take(&name, &Folder::open(&source)?, &its_name)
    };
    replaced().map_err(|error| format!("can't replace the results in `{}`: {error}", folder.display()))
}

/// Cached results. Damaged ones are reported and ignored.
fn stored(folder: &Path, printer: &mut Printer) -> Option<Results> {
    if !folder.exists() {
        return None;
    }
    results::read(folder)
        .map_err(|error| super::hint(printer, &format!("cached results are not re-used: {error}")))
        .ok()
}

/// Whether scenario and snapshot are unchanged, and the result depends on the kernel, not on the moment.
fn is_current(kernel: &WhichKernel, scenario: &Scenario, outcome: &Outcome) -> bool {
    let of_the_kernel = match outcome.verdict {
        // A kernel that crashed left no observation, and another run may have crashed it.
        Ruling::Passed | Ruling::Failed => outcome.observation.is_some(),
        // A feature of the running kernel may appear: a module, or the end of another event listener.
        Ruling::Skipped => *kernel != WhichKernel::Running,
        Ruling::Error => false,
    };
    of_the_kernel && outcome.sources == sources_digest(scenario) && outcome.snapshot == snapshot_digest(scenario)
}

fn machine_digest(digest: Digest, machine: &Machine) -> Result<Digest, String> {
    let Machine { image, modules, load, append, memory, cpus, kvm } = machine;
    let mut digest = digest.file(image, files::KERNEL).map_err(|error| unreadable(image, &error))?;
    if let Some(folder) = modules.clone().or_else(|| found_beside(image)) {
        for (path, length, modified) in listing(&folder).map_err(|error| unreadable(&folder, &error))? {
            digest = digest.part(path.as_os_str().as_encoded_bytes()).part(&length.to_le_bytes());
            digest = digest.part(format!("{modified:?}").as_bytes());
        }
    }
    let options = format!("{load:?} {append:?} {memory:?} {cpus:?} {kvm:?}");
    Ok(digest.part(options.as_bytes()))
}

/// The folder with modules that `mptcplab vm` finds by itself.
fn found_beside(image: &Path) -> Option<PathBuf> {
    let image = Image::open(image).ok()?;
    Tree::beside(&image.path, image.release.as_deref()?).ok().map(|tree| tree.folder().to_owned())
}

/// All files below a folder, with length and time of modification, sorted.
fn listing(folder: &Path) -> std::io::Result<Vec<(PathBuf, u64, Option<SystemTime>)>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            // Links aren't followed: `build` and `source` lead to other trees.
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                files.push((entry.path(), metadata.len(), metadata.modified().ok()));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Runs scenarios on a kernel, and stores the results in this folder.
fn run(
    folder: &Path,
    command: &[OsString],
    scenarios: &[&Scenario],
    launcher: &dyn Launcher,
) -> Result<Results, Missing> {
    let outcome = launcher.launch(&[command, &arguments(folder, scenarios)].concat());
    let read = results::read(folder);
    match (outcome?, read) {
        (None, _) => Err(Missing::Interrupted),
        // The results say what became of each scenario.
        (Some(_), Ok(results)) => Ok(results),
        (Some(code), Err(error)) => {
            let message = format!("the run ended with exit code {code}, and stored no results: {error}");
            Err(Trouble { message, hints: vec!["see its messages above".to_owned()], kernel: false }.into())
        }
    }
}

/// The arguments after the command and its options: where to store the results, and the scenarios.
fn arguments(folder: &Path, scenarios: &[&Scenario]) -> Vec<OsString> {
    // Nobody reviews another kernel's observations.
    let options = ["--no-evidence", "--no-pending", "--results"].into_iter().map(OsString::from);
    let mut arguments: Vec<OsString> = options.chain([folder.as_os_str().to_owned(), "--".into()]).collect();
    let mut files: Vec<&PathBuf> = Vec::new();
    for scenario in scenarios {
        if !files.contains(&&scenario.file) {
            files.push(&scenario.file);
        }
    }
    arguments.extend(files.into_iter().map(|file| file.clone().into_os_string()));
    arguments
}

/// Lets Ctrl-C end the run on a kernel, and then the whole.
pub(super) fn handle_interruptions(
    backend: &dyn Backend,
    launcher: &dyn Launcher,
    printer: &mut Printer,
) -> Result<(), Exit> {
    backend.hold_interruptions().and_then(|()| backend.watch_interruptions(launcher.interrupter())).map_err(|trouble| {
        super::report_trouble(printer, &trouble);
        Exit::Environment
    })
}
