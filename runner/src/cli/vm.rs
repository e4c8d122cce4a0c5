//! `mptcplab vm`: scenarios on another kernel. [`Remote`] is the [`Backend`] of a virtual machine: the guest does what
//! touches a kernel, everything else is done here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::OnceLock;

use crate::engine::Run;
use crate::files;
use crate::report::Printer;
use crate::results::KernelIdentity;
use crate::scenario::model::{Feature, Scenario};
use crate::session::Permission;
use crate::vm::image::{Image, Kind};
use crate::vm::loss::Loss;
use crate::vm::machine::Build;
use crate::vm::modules::{Module, ModulesError, Tree};
use crate::vm::program::Program;
use crate::vm::talk::{Answer, Question};
use crate::vm::{Guest, Kvm, Request, initramfs};

use super::args::{KvmArg, VmArgs};
use super::backend::{Availability, Backend, Trouble};
use super::{Exit, complain, run};

/// Scenarios per processor of the guest. A scenario mostly waits, but under emulation its processor is slow.
const JOBS_FOR_A_PROCESSOR: usize = 4;

/// The default timeout scale. An emulated processor is ten times slower, and the machine itself is a load.
const DEFAULT_TIMEOUT_SCALE: NonZeroU32 = NonZeroU32::new(4).unwrap();

pub(super) fn execute(args: VmArgs, printer: &mut Printer) -> Exit {
    if args.run.pause.is_some() {
        complain(printer, "`--pause` opens a shell on this machine, but the worlds are in a virtual machine");
        return Exit::Usage;
    }
    let remote = Remote {
        guest: OnceLock::new(),
        log: OnceLock::new(),
        identity: OnceLock::new(),
        processors: OnceLock::new(),
        args,
    };
    run::execute(&remote.args.run, &remote, printer)
}

/// A kernel in a virtual machine.
struct Remote {
    args: VmArgs,
    guest: OnceLock<Guest>,
    /// Whether the guest's kernel log is watched, as reported by the guest.
    log: OnceLock<Availability>,
    /// The guest's kernel, as reported by the guest.
    identity: OnceLock<KernelIdentity>,
    /// The number of the guest's processors, as reported by the guest.
    processors: OnceLock<NonZeroU32>,
}

impl Remote {
    /// Packs everything for a guest, without starting it.
    fn prepare(&self) -> Result<Guest, Trouble> {
        let args = &self.args;
        let image = Image::open(&args.kernel).map_err(Trouble::new)?;
        let program = Program::open(args.runner.as_deref()).map_err(Trouble::new)?;
        let modules = modules(args, &image)?;
        let contents = initramfs::Contents { program: &program, modules: &modules, line: image.kind.line() };
        let initramfs = initramfs::build(&contents)
            .map_err(|error| Trouble::new(format!("can't build the guest's initramfs: {error}")))?;
        let log = args.kernel_log.as_deref().map(create).transpose()?;
        let build =
            Build { qemu: args.qemu.clone(), memory: args.memory, cpus: args.cpus, append: args.append.clone() };
        let kvm = match args.kvm {
            KvmArg::Auto => Kvm::Auto,
            KvmArg::On => Kvm::On,
            KvmArg::Off => Kvm::Off,
        };
        let limit = Some(args.time_limit);
        Guest::new(Request { image, initramfs, build, kvm, limit, log })
            .map_err(|error| Trouble::new(format!("can't start a thread for the machine: {error}")))
    }

    fn ask(&self, question: &Question) -> Result<Answer, Trouble> {
        let guest = self.guest.get().ok_or_else(|| Trouble::new("no machine was started"))?;
        match guest.ask(question) {
            Ok(Answer::Trouble(message)) => Err(Trouble::new(message)),
            Ok(answer) => Ok(answer),
            Err(loss) => Err(lost(&loss)),
        }
    }
}

fn lost(loss: &Loss) -> Trouble {
    Trouble { message: loss.to_string(), hints: Vec::new(), kernel: loss.is_the_kernels() }
}

fn create(path: &Path) -> Result<File, Trouble> {
    files::create_named(path)
        .map_err(|error| Trouble::new(format!("can't write the kernel log to `{}`: {error}", path.display())))
}

/// The modules for the guest.
fn modules(args: &VmArgs, image: &Image) -> Result<Vec<Module>, Trouble> {
    let one_piece = args.no_modules || (image.kind == Kind::UserMode && args.load.is_empty());
    let tree = match (&args.modules, &image.release) {
        (Some(folder), _) => Tree::open(folder),
        // User-Mode Linux usually has everything built in.
        (None, _) if one_piece => return Ok(Vec::new()),
        (None, Some(release)) => Tree::beside(&image.path, release),
        (None, None) => {
            let message = format!("found no version in the kernel image `{}`", image.path.display());
            return Err(Trouble {
                hints: vec!["name its modules folder with `--modules FOLDER`".to_owned()],
                ..Trouble::new(message)
            });
        }
    };
    match tree.and_then(|tree| tree.needed(&args.load)) {
        Ok(modules) => Ok(modules),
        Err(error @ ModulesError::NotFound { .. }) => Err(Trouble {
            hints: vec!["if the kernel has everything built in, use `--no-modules`".to_owned()],
            ..Trouble::new(error)
        }),
        Err(error) => Err(Trouble::new(error)),
    }
}

/// The guest's answer doesn't fit the question.
fn confused() -> Trouble {
    Trouble::new("the guest gave an unexpected answer: its mptcplab (`--runner`) is another version")
}

impl Backend for Remote {
    fn enter(&self) -> Result<String, Trouble> {
        let guest = self.prepare()?;
        // A second call finds the guest of the first one, which serves as well.
        let _ = self.guest.set(guest);
        let Answer::Entered { log, kernel, processors } = self.ask(&Question::Enter {
            timeout_scale: self.args.run.timeout_scale.unwrap_or(DEFAULT_TIMEOUT_SCALE),
            programs: self.args.run.programs.permission(),
        })?
        else {
            return Err(confused());
        };
        let _ = self.identity.set(kernel);
        let _ = self.processors.set(processors);
        let _ = self.log.set(log.map_or(Availability::Yes, Availability::No));
        Ok("root in a machine of its own".to_owned())
    }

    fn probe(&self, features: &BTreeSet<Feature>) -> Result<BTreeMap<Feature, Availability>, Trouble> {
        let found = match self.ask(&Question::probe(features)) {
            Ok(Answer::Probed(found)) => found,
            Ok(_) => return Err(confused()),
            Err(trouble) => return Err(trouble),
        };
        let availability = |missing: Option<String>| missing.map_or(Availability::Yes, Availability::No);
        let told = found.into_iter().filter_map(|(word, missing)| {
            let feature = Feature::from_word(&word)?;
            let permitted = self.args.run.programs.permission() != Permission::Nothing;
            let missing = match feature {
                Feature::Program(_) if permitted => missing.map(|why| format!("in the virtual machine, {why}")),
                _ => missing,
            };
            Some((feature, availability(missing)))
        });
        Ok(told.collect())
    }

    fn jobs(&self) -> Option<usize> {
        self.processors.get().map(|processors| processors.get() as usize * JOBS_FOR_A_PROCESSOR)
    }

    fn run(&self, scenario: &Scenario) -> Result<Run, Trouble> {
        let crash = self.args.crash.as_ref().is_some_and(|text| scenario.label().contains(text));
        match self.ask(&if crash { Question::Crash } else { Question::run(scenario) })? {
            Answer::Ran(ran) => Ok((*ran).into()),
            _ => Err(confused()),
        }
    }

    fn kernel_log(&self) -> Availability {
        let unknown = || Availability::No("no machine was started".to_owned());
        self.log.get().cloned().unwrap_or_else(unknown)
    }

    fn late_trouble(&self) -> Vec<String> {
        match self.ask(&Question::LateTrouble) {
            Ok(Answer::LateTrouble(lines)) => lines,
            // Lost runs report it themselves; only a kernel that fails after the last run is news.
            Err(Trouble { message, kernel: true, .. }) => message.lines().take(1).map(str::to_owned).collect(),
            Ok(_) | Err(_) => Vec::new(),
        }
    }

    fn kernel(&self) -> KernelIdentity {
        self.identity.get().cloned().unwrap_or_default()
    }

    fn notes(&self) -> Vec<String> {
        self.guest.get().map(Guest::notes).unwrap_or_default()
    }
}
