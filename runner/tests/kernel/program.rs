//! The program as its users call it, with real scenarios. Where this kernel or user can't run scenarios, the tests are
//! reported as ignored, with the reason.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use libtest_mimic::{Completion, Failed};

use super::Test;
use super::require::machine_lacks;

/// A test.
pub type Body = fn() -> Result<(), Failed>;

/// Why the program can run no scenario here, by `mptcplab doctor`.
static OBSTACLE: LazyLock<Option<String>> = LazyLock::new(|| {
    let doctor = mptcplab(Path::new("."), &["doctor"]).output().unwrap();
    let reason = String::from_utf8_lossy(&doctor.stderr).lines().next().unwrap_or_default().to_owned();
    (!doctor.status.success()).then_some(reason)
});

/// Why the program can run no scenario here.
pub fn obstacle() -> Option<String> {
    OBSTACLE.clone()
}

/// Tests of the program: name, what it lacks besides what `mptcplab doctor` finds, whether it is only run on demand, body.
pub fn tests(tests: &[(&'static str, Option<&'static str>, bool, Body)]) -> Vec<Test> {
    let test = |(name, lack, on_demand, body): &(&'static str, Option<&'static str>, bool, Body)| {
        let (lack, body) = (*lack, *body);
        let test = Test::new(*name, move || match OBSTACLE.as_deref().or(lack) {
            None => body().map(|()| Completion::Completed),
            Some(reason) => machine_lacks(reason),
        });
        if *on_demand { test.on_demand() } else { test }
    };
    tests.iter().map(test).collect()
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
