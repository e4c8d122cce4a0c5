//! The command line: arguments, exit codes, and one module for each command.
//!
//! [`main`] is the whole program. What the commands need from the rest of mptcplab goes through [`Backend`], so that tests
//! of the command line need neither a kernel nor privileges. Results go to standard output, everything else to
//! standard error; the [`Printer`] alone writes.

mod args;
mod backend;
mod bisect;
mod check;
mod collector;
mod compare;
mod doctor;
mod elsewhere;
mod exit;
mod explain;
mod fix;
mod here;
mod import;
mod interrupt;
mod judge;
mod limits;
mod matrix;
mod orphans;
mod pool;
mod present;
mod program;
mod reports;
mod run;
mod schedule;
mod scratch;
mod select;
mod shell;
mod suspects;
mod update;
mod vm;
mod work;

use std::io::{BufRead, BufReader, Read as _};

use clap::CommandFactory as _;

use crate::report::Printer;
use crate::report::Role;
use crate::scenario;

use args::{Cli, Command};
pub use backend::{Availability, Backend, Kernel, Trouble};
pub use exit::Exit;
use program::{Launcher, Program};

/// The program. Returns the code to exit with; usage errors and `--help` exit by themselves.
pub fn main() -> std::process::ExitCode {
    if crate::vm::guest::is_init() {
        crate::vm::guest::main();
    }
    if limits::check_program().is_err() {
        return if limits::is_bisection() { Exit::Undecided } else { Exit::Environment }.into();
    }
    // Errors before the arguments are parsed count, too.
    let bisecting = std::env::args_os().any(|argument| argument == "--bisect");
    program::end_with_parent();
    interrupt::end_by_signal();
    if bisecting {
        interrupt::end_with(Exit::Undecided);
    }
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) if bisecting && error.use_stderr() => {
            // There is no other place to report an error of this write.
            let _ = error.print();
            return Exit::Undecided.into();
        }
        Err(error) => error.exit(),
    };
    let mut printer = Printer::standard();
    if bisecting {
        bisect::guarded(cli, &mut printer)
    } else {
        execute(cli, &Kernel::default(), &Program::default(), &mut printer)
    }
    .into()
}

/// Executes one command, and writes all of its output.
fn execute(cli: Cli, backend: &dyn Backend, launcher: &dyn Launcher, printer: &mut Printer) -> Exit {
    let exit = match cli.command {
        None => run::execute(&cli.run, backend, printer),
        Some(Command::Run(args)) => run::execute(&args, backend, printer),
        Some(Command::Vm(args)) => vm::execute(*args, printer),
        Some(Command::Compare(args)) => compare::execute(&args, backend, launcher, printer),
        Some(Command::Matrix(args)) => matrix::execute(&args, backend, launcher, printer),
        Some(Command::Check(args)) => check::execute(&args, backend, printer),
        Some(Command::Explain(args)) if args.here => here::execute(&args, printer),
        Some(Command::Explain(args)) => explain::execute(&args, backend, printer),
        Some(Command::Shell(args)) => shell::execute(&args, backend, printer),
        Some(Command::Import(args)) => import::execute(&args, printer),
        Some(Command::Judge(args)) => judge::execute(&args, backend, printer),
        Some(Command::Doctor) => doctor::execute(backend, printer),
        Some(Command::Schema) => schema(printer),
        Some(Command::Completions { shell }) => completions(shell, printer),
    };
    match printer.finish() {
        Ok(()) => exit,
        // The interruption may have closed the other end of the pipe.
        Err(_) if exit == Exit::Interrupted => exit,
        Err(error) => {
            complain(printer, &format!("the results could not be written to standard output: {error}"));
            Exit::Environment
        }
    }
}

fn schema(printer: &mut Printer) -> Exit {
    // Pretty printing of a value that is JSON already doesn't fail.
    match serde_json::to_string_pretty(&scenario::json_schema()) {
        Ok(text) => {
            printer.line(&text);
            Exit::Passed
        }
        Err(error) => {
            complain(printer, &format!("the schema could not be written as JSON: {error}"));
            Exit::Environment
        }
    }
}

fn completions(shell: clap_complete::Shell, printer: &mut Printer) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "mptcplab", &mut script);
    printer.out(&String::from_utf8_lossy(&script));
    Exit::Passed
}

/// `error: …` on standard error.
fn complain(printer: &mut Printer, message: &str) {
    let word = printer.error_style().paint(Role::Bad, "error:");
    printer.note(&format!("{word} {}", crate::text::printable(message)));
}

/// `hint: …` on standard error.
fn hint(printer: &mut Printer, message: &str) {
    let word = printer.error_style().paint(Role::Event, "hint:");
    printer.note(&format!("{word} {}", crate::text::printable(message)));
}

/// What came of it, or the exit code after an error message.
fn or_environment<T>(result: Result<T, Trouble>, printer: &mut Printer) -> Result<T, Exit> {
    result.map_err(|trouble| {
        report_trouble(printer, &trouble);
        Exit::Environment
    })
}

/// An error with what to do about it.
fn report_trouble(printer: &mut Printer, trouble: &Trouble) {
    complain(printer, &trouble.message);
    for advice in &trouble.hints {
        hint(printer, advice);
    }
}

/// Opens a recording for reading, with buffering.
fn open_recording(path: &std::path::Path) -> std::io::Result<impl BufRead + use<>> {
    crate::files::open(path, crate::files::RECORDING).map(|file| BufReader::new(file.take(crate::files::RECORDING)))
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_bisect;
#[cfg(test)]
mod tests_of_judge;
#[cfg(test)]
mod tests_of_kernels;
#[cfg(test)]
mod tests_of_many;
#[cfg(test)]
mod tests_of_snapshots;
#[cfg(test)]
mod tests_of_warnings;
