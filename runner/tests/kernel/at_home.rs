//! Tests in namespaces: this process is root, or enters a user namespace before it has any thread.

use std::sync::{Arc, OnceLock};

use mptcplab::sys::privilege::{self, Privilege};
use mptcplab::testbed::BaseNamespace;

use super::Test;
use super::require::{Outcome, machine_lacks};

static HOME: OnceLock<Result<(Privilege, Arc<BaseNamespace>), String>> = OnceLock::new();

/// The body of a test at home.
pub type Body = fn(&Arc<BaseNamespace>) -> Outcome;

/// Tests at home, with their names.
macro_rules! tests {
    ($($module:ident :: $test:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($test)), $module::$test as $crate::at_home::Body)),*]
    };
}
pub(crate) use tests;

/// Enters a user namespace, unless root does this, and makes an empty network namespace to be at home in.
pub fn enter() {
    let home = privilege::enter()
        .map_err(|error| error.to_string())
        .and_then(|privilege| Ok((privilege, BaseNamespace::create().map_err(|error| error.to_string())?)));
    HOME.get_or_init(|| home);
}

/// The home of all tests, or why there is none.
pub fn home() -> Result<&'static Arc<BaseNamespace>, &'static str> {
    match HOME.get() {
        Some(Ok((_, home))) => Ok(home),
        Some(Err(reason)) => Err(reason.lines().next().unwrap_or_default()),
        None => Err("no test is at home yet"),
    }
}

/// Whether root runs the tests.
pub fn is_root() -> bool {
    matches!(HOME.get(), Some(Ok((Privilege::Root, _))))
}

/// Tests that run at home, each on its thread.
pub fn all<const N: usize>(tests: [(&'static str, Body); N]) -> Vec<Test> {
    let test = |(name, body): (&'static str, Body)| {
        Test::new(name, move || match home() {
            Ok(home) => {
                home.enter_for_good()?;
                body(home)
            }
            Err(reason) => machine_lacks(reason),
        })
    };
    tests.into_iter().map(test).collect()
}
