//! The program as its users call it, with real scenarios. Where this kernel or user can't run scenarios, the tests are
//! reported as ignored, with the reason.

use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// A test.
pub type Body = fn() -> Result<(), Failed>;

/// Runs the tests: name, what it lacks besides what `mptcplab doctor` finds, whether it is only run on demand, body.
pub fn run_tests(tests: &[(&'static str, Option<&str>, bool, Body)]) -> ExitCode {
    let doctor = mptcplab(Path::new("."), &["doctor"]).output().unwrap();
    let reason = String::from_utf8_lossy(&doctor.stderr).lines().next().unwrap_or_default().to_owned();
    let obstacle = (!doctor.status.success()).then_some(reason);
    let trials = tests.iter().map(|(name, lack, on_demand, body)| {
        let (obstacle, body) = (obstacle.clone().or_else(|| lack.map(str::to_owned)), *body);
        let test = move || match obstacle {
            None => body().map(|()| Completion::Completed),
            Some(reason) => Ok(Completion::ignored_with(reason)),
        };
        Trial::ignorable_test(*name, test).with_ignored_flag(*on_demand)
    });
    let mut arguments = Arguments::from_args();
    // One at a time: set-ups beside each other wait for RTNL, and a run that is held up by it is rightly an error.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// The program in that folder, and with that folder for all that it leaves.
pub fn mptcplab(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mptcplab"));
    command.args(arguments).current_dir(folder).env("TMPDIR", folder).stdin(Stdio::null());
    // Arrows and lines as in UTF-8, wherever the tests run.
    command.env("LC_ALL", "C.UTF-8");
    command.env("XDG_CACHE_HOME", folder.join("cache"));
    command
}

/// What it says.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// An error with all that it says, unless it ended like that.
pub fn has_code(output: &Output, code: i32) -> Result<(), Failed> {
    if output.status.code() == Some(code) {
        return Ok(());
    }
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    Err(format!("{:?} instead of exit code {code}\n{out}\n{err}", output.status).into())
}
