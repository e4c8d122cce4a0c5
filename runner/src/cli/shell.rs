//! `mptcplab shell`: a shell, or another program, in the world of a scenario.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::str::FromStr;
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;

use crate::engine::{Standing, Visitor, abandon_all, abandoned};
use crate::here::{self, Follower, Told};
use crate::judge::{self, Measures, Verdict};
use crate::plan;
use crate::recording::{Entry, Observation, Recording, StepOutcome};
use crate::report::{self, Printer};
use crate::scenario::model::{Action, Feature, Scenario};
use crate::session::{lacking, wanted};
use crate::testbed::visit::{Joined, Places, VisitError};
use crate::text;

use super::args::ProgramArgs;
use super::backend::{Backend, Trouble};
use super::{Exit, check, complain, hint, limits, or_environment, select};

#[derive(Debug, Args)]
pub(super) struct ShellArgs {
    /// The scenario file; with `--join`, the namespace
    #[arg(value_name = "FILE", required_unless_present = "join")]
    file: Option<PathBuf>,
    /// The namespace to begin in [default: the first one of the scenario]
    #[arg(conflicts_with = "join")]
    namespace: Option<String>,
    /// Select the variant whose label or title contains TEXT [default: the first one]
    #[arg(long, value_name = "TEXT", conflicts_with = "join")]
    filter: Option<String>,
    /// Take the first STEP steps; `0` none, `end` all [default: those before the first `close`]
    #[arg(long, value_name = "STEP", conflicts_with = "join")]
    at: Option<At>,
    /// Enter the world of another `mptcplab shell`, which prints its PID
    #[arg(long, value_name = "PID")]
    join: Option<i32>,
    /// Print the path-manager events of all namespaces with their reasons, until Ctrl-C
    #[arg(long, requires = "join", conflicts_with = "command")]
    follow: bool,
    #[command(flatten)]
    programs: ProgramArgs,
    /// A program instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// How long a program may take to end after Ctrl-C.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How many steps to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Step(usize),
    End,
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "end" => Ok(Self::End),
            number => number.parse().map(Self::Step).map_err(|_| "expected a number of steps, or `end`".to_owned()),
        }
    }
}

impl At {
    /// How many of these steps that is.
    fn steps(at: Option<Self>, scenario: &Scenario) -> Result<usize, String> {
        let all = scenario.steps.len();
        match at {
            Some(Self::Step(step)) if step > all => {
                Err(format!("the scenario has {}, not {step}", text::count(all as u64, "step")))
            }
            Some(Self::Step(step)) => Ok(step),
            Some(Self::End) => Ok(all),
            None => {
                let close = scenario.steps.iter().position(|step| matches!(step.action, Action::Close { .. }));
                Ok(close.unwrap_or(all))
            }
        }
    }
}

pub(super) fn execute(args: &ShellArgs, backend: &dyn Backend, printer: &mut Printer) -> Exit {
    let done = match args.join {
        Some(pid) if args.follow => follow(pid, printer),
        Some(pid) => join(pid, args, printer),
        None => stand(args, backend, printer),
    };
    done.unwrap_or_else(|exit| exit)
}

/// Builds the world, lets the user in, and takes it down.
fn stand(args: &ShellArgs, backend: &dyn Backend, printer: &mut Printer) -> Result<Exit, Exit> {
    let visit = Visit::of(args, backend, printer)?;
    or_environment(backend.hold_interruptions().and_then(|()| backend.enter()), printer)?;
    or_environment(limits::check_run(), printer)?;
    // The world is taken down in order: an endpoint with a port would hold its namespace for ever.
    or_environment(backend.watch_interruptions(Box::new(|| _ = abandon_all())), printer)?;
    backend.permit_programs(args.programs.permission());
    let asked = wanted(&visit.scenario).into_iter().chain([Feature::Mptcp]).collect();
    let features = or_environment(backend.probe(&asked), printer)?;
    if let Some(reason) = lacking(&visit.scenario, &features) {
        complain(printer, &format!("this kernel can't run it: {reason}"));
        return Err(Exit::Skipped);
    }
    let scenario = visit.scenario.clone();
    let (tell, told) = mpsc::channel();
    let visitor = move |standing: Standing| {
        // The receiver waits for the run, and so for this.
        let _ = tell.send(visit.receive(&standing));
    };
    let run = backend.visited(&scenario, Box::new(visitor));
    if abandoned() {
        // A program that handles Ctrl-C may still have something to say. Then it is killed.
        let _ = told.recv_timeout(LAST_WORDS);
        return Err(Exit::Interrupted);
    }
    let run = or_environment(run, printer)?;
    if let Ok(ended) = told.try_recv() {
        return finished(ended, args, printer);
    }
    let mut messages = run.recording.entries.iter().rev().filter_map(|entry| set_up_failed(&entry.what));
    complain(printer, messages.next().unwrap_or("the world could not be built"));
    Err(Exit::Environment)
}

fn set_up_failed(what: &Observation) -> Option<&str> {
    pick!(what, Observation::SetupFailed { message } => message.as_str())
}

/// A visitor that opens a shell if the run has failed by then.
pub(super) fn on_failure(scenario: &Scenario, measures: Measures) -> Visitor {
    let namespace = scenario.world.namespaces.first().map(|namespace| namespace.name.clone()).unwrap_or_default();
    let visit = Visit { scenario: scenario.clone(), steps: scenario.steps.len(), namespace, command: Vec::new() };
    Box::new(move |standing| {
        let mut recording = standing.recording.clone();
        let at = recording.entries.last().map_or(0, |entry| entry.at);
        recording.entries.push(Entry { at, what: Observation::Ended });
        let findings = match judge::verdict(&visit.scenario, &recording, measures) {
            Verdict::Failed(findings) | Verdict::Error(findings) => findings,
            Verdict::Passed | Verdict::Skipped { .. } => return,
        };
        let mut printer = Printer::standard();
        for finding in &findings {
            let text = report::failure(&visit.scenario, finding, printer.error_style());
            printer.note(&text);
        }
        if let Err(error) = visit.receive(&standing) {
            refused(&error, &mut printer);
        }
    })
}

/// What the user wants to see.
struct Visit {
    /// With the steps to take.
    scenario: Scenario,
    /// How many it has in all.
    steps: usize,
    namespace: String,
    command: Vec<OsString>,
}

impl Visit {
    fn of(args: &ShellArgs, backend: &dyn Backend, printer: &mut Printer) -> Result<Self, Exit> {
        let files: Vec<PathBuf> = args.file.iter().cloned().collect();
        let mut scenarios = check::load(&files, backend, printer)?.into_iter();
        let chosen =
            scenarios.find(|scenario| args.filter.as_deref().is_none_or(|filter| select::matches(scenario, filter)));
        let usage = |printer: &mut Printer, message: &str| {
            complain(printer, message);
            Exit::Usage
        };
        let mut scenario = chosen.ok_or_else(|| usage(printer, "no variant has a label or title that matches"))?;
        let (steps, taken) = (scenario.steps.len(), At::steps(args.at, &scenario));
        scenario.steps.truncate(taken.map_err(|message| usage(printer, &message))?);
        let names: Vec<&str> = scenario.world.namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
        let namespace = match &args.namespace {
            Some(name) if !names.contains(&name.as_str()) => {
                let message = format!("there is no namespace `{name}`; the scenario has {}", names.join(", "));
                return Err(usage(printer, &message));
            }
            Some(name) => name.clone(),
            None => names.first().copied().unwrap_or_default().to_owned(),
        };
        Ok(Self { scenario, steps, namespace, command: args.command.clone() })
    }

    /// Opens the shell in the standing world, and waits for its end.
    fn receive(&self, standing: &Standing) -> Result<ExitStatus, VisitError> {
        let mut command = program(&self.command, &self.namespace);
        if self.command.is_empty() {
            Printer::standard().note(&self.guide(&standing.places, &standing.recording));
        }
        standing.places.run(&self.namespace, &mut command)
    }

    /// Where the user is, and what there is to do.
    fn guide(&self, places: &Places, recording: &Recording) -> String {
        let taken = self.scenario.steps.len();
        let failed = recording.entries.iter().find_map(|entry| failed_step(&entry.what));
        let when = match failed.and_then(|step| Some((step, self.scenario.steps.get(step)?))) {
            Some((step, action)) => {
                let text = plan::describe(&action.action);
                format!("step {} failed: {}. The world is as it was then", step + 1, text::one_line(&text))
            }
            None => format!("{taken} of {} were taken", text::count(self.steps as u64, "step")),
        };
        let others: Vec<&str> = places.names().filter(|name| *name != self.namespace).collect();
        let others = match others.first() {
            Some(other) => format!(
                "\nOther namespaces: {}. `ip netns exec {other} COMMAND` runs a command in one.",
                others.join(", ")
            ),
            None => String::new(),
        };
        format!(
            "This is the namespace `{}` of {}: {when}.{others}\n`exit` ends the world.\n\
             Elsewhere, `mptcplab shell --join {} NAMESPACE` opens a second shell; `--follow` prints events.\n",
            self.namespace,
            text::one_line(&self.scenario.label()),
            std::process::id(),
        )
    }
}

/// The step, if it didn't end as it should.
fn failed_step(what: &Observation) -> Option<usize> {
    let (step, outcome) = pick!(what, Observation::StepFinished { step, outcome } => (*step, outcome))?;
    (!matches!(outcome, StepOutcome::Done | StepOutcome::Refused { .. })).then_some(step)
}

/// Sets the prompt of bash, and of a bash in the shell, to the namespace that it is in.
const PROMPT: &str = r#"for n in /run/netns/*; do [ "$n" -ef /proc/self/ns/net ] && PS1="[${n##*/}] \w\$ "; done"#;

/// The user's shell, or the program that was asked for.
fn program(command: &[OsString], namespace: &str) -> Command {
    if let [program, arguments @ ..] = command {
        let mut command = Command::new(program);
        command.args(arguments);
        return command;
    }
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
    let mut command = Command::new(shell);
    command.env("PS1", format!("[{namespace}] $ ")).env("PROMPT_COMMAND", PROMPT);
    command
}

/// A program that ended with something else than 0 is a failure only if it was asked for: a shell ends with what its last
/// command did.
fn finished(ended: Result<ExitStatus, VisitError>, args: &ShellArgs, printer: &mut Printer) -> Result<Exit, Exit> {
    let status = ended.map_err(|error| refused(&error, printer))?;
    if status.success() || args.command.is_empty() {
        return Ok(Exit::Passed);
    }
    printer.note(&format!("the program ended with {status}"));
    Ok(Exit::Failed)
}

fn refused(error: &VisitError, printer: &mut Printer) -> Exit {
    complain(printer, &error.to_string());
    match error {
        VisitError::NoNamespace { .. } => Exit::Usage,
        VisitError::Refused { .. } | VisitError::Program { .. } => Exit::Environment,
    }
}

/// Enters the world of another process.
fn joined(pid: i32, printer: &mut Printer) -> Result<Joined, Exit> {
    Joined::of(pid).map_err(|error| {
        let exit = refused(&error, printer);
        hint(printer, "`mptcplab shell FILE` prints the PID to join; it can be joined by the same user");
        exit
    })
}

fn join(pid: i32, args: &ShellArgs, printer: &mut Printer) -> Result<Exit, Exit> {
    let world = joined(pid, printer)?;
    let namespace = args.file.as_ref().map(|name| name.to_string_lossy().into_owned());
    let mut command = program(&args.command, namespace.as_deref().unwrap_or("mptcplab"));
    finished(world.run(namespace.as_deref(), &mut command), args, printer)
}

/// Prints the events of all namespaces of a world until a signal ends the process.
fn follow(pid: i32, printer: &mut Printer) -> Result<Exit, Exit> {
    let world = joined(pid, printer)?;
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        for name in world.places().names() {
            let (tell, places) = (tell.clone(), world.places());
            scope.spawn(move || {
                let heard = |told: Told| tell.send(Heard::Event(name.to_owned(), Box::new(told))).is_ok();
                if let Err(error) = listen(places, name, heard) {
                    let _ = tell.send(Heard::Trouble(format!("in {name}: {}", error.message)));
                }
            });
        }
        scope.spawn(|| {
            let ended = world.wait_for_end().map_or_else(|error| Heard::Trouble(error.to_string()), |()| Heard::End);
            let _ = tell.send(ended);
        });
        let exit = print_heard(&told, printer);
        // Threads that listen hear nothing any more, and wait.
        let _ = printer.finish();
        std::process::exit(exit as i32)
    })
}

/// What comes from a world that is followed.
enum Heard {
    Event(String, Box<Told>),
    Trouble(String),
    End,
}

fn print_heard(heard: &mpsc::Receiver<Heard>, printer: &mut Printer) -> Exit {
    for heard in heard {
        match heard {
            Heard::Event(name, told) => {
                let line = here::told_text(&told, printer.style());
                printer.line(&format!("{name}  {line}"));
                if printer.flush().is_err() {
                    break;
                }
            }
            Heard::Trouble(trouble) => {
                complain(printer, &trouble);
                break;
            }
            Heard::End => return Exit::Passed,
        }
    }
    Exit::Environment
}

/// Listens in a namespace until nobody hears any more.
fn listen(places: &Places, name: &str, heard: impl Fn(Told) -> bool) -> Result<(), Trouble> {
    places.enter_for_good(name).map_err(Trouble::new)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Trouble::new)?;
    runtime.block_on(async {
        let mut follower = Follower::open().map_err(Trouble::new)?;
        while heard(follower.next().await.map_err(Trouble::new)?) {}
        Ok(())
    })
}
