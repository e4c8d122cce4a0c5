//! Tests against the real kernel, each at home on a thread of its own: as root, or as anyone who may have a user
//! namespace. Where neither is possible, they are reported as ignored, with the reason.

use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Conclusion, Failed, Trial};
use mptcplab::sys::privilege;
use mptcplab::testbed::Home;

/// A test.
pub type Body = fn(&Arc<Home>) -> Result<Completion, Failed>;

/// The tests with their names.
macro_rules! tests {
    ($($module:ident :: $test:ident),* $(,)?) => {
        [$((stringify!($test), $module::$test as $crate::at_home::Body)),*]
    };
}
pub(crate) use tests;

/// Runs them. Before there is any thread: a user namespace can't be entered later.
pub fn run_tests<const N: usize>(tests: [(&'static str, Body); N]) -> Conclusion {
    let home = match privilege::enter() {
        Ok(_) => Home::create().map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let trials = tests.into_iter().map(|(name, body)| {
        let home = home.clone();
        Trial::ignorable_test(name, move || match home {
            Ok(home) => {
                home.enter_for_good()?;
                body(&home)
            }
            Err(reason) => Ok(Completion::ignored_with(reason.lines().next().unwrap_or_default())),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect())
}
