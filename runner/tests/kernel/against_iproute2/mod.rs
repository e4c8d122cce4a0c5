//! mptcplab's view of the path manager against that of ip(8), which is somebody else's work: both listen to the same
//! namespaces at the same time, and must have seen and decoded the same, event by event and field by field.
//!
//! Versions of iproute2 differ in what they print: a column that it doesn't have isn't compared, one that it has must
//! be right.

mod configuration;
mod events;
mod shown;
mod world;

use std::process::Command;
use std::sync::{Arc, LazyLock};

use libtest_mimic::{Completion, Failed};
use mptcplab::scenario::model::Feature;
use mptcplab::testbed::BaseNamespace;
use mptcplab::testbed::probe::{Availability, probe};
use tokio::runtime::{Builder, Runtime};

use super::at_home;
use super::require::machine_lacks;

/// The body of a test at home.
type Body = fn(&Arc<BaseNamespace>) -> Result<(), Failed>;

/// Where both look, or why nothing can be compared here.
static HOME: LazyLock<Result<Arc<BaseNamespace>, String>> = LazyLock::new(|| {
    let home = at_home::home().map_err(str::to_owned)?;
    obstacle(home).map_or_else(|| Ok(Arc::clone(home)), Err)
});

/// The tests of this suite.
pub fn tests() -> Vec<super::Test> {
    let tests: [(&str, Body); 4] = [
        ("events_are_the_same", |home| within(home, events::are_the_same)),
        ("endpoints_are_the_same", |home| within(home, configuration::endpoints_are_the_same)),
        ("endpoints_of_ip_are_the_same", |home| within(home, configuration::endpoints_of_ip_are_the_same)),
        ("limits_are_the_same", |home| within(home, configuration::limits_are_the_same)),
    ];
    let test = |(name, body): (&'static str, Body)| {
        super::Test::new(name, move || match &*HOME {
            Ok(home) => body(home).map(|()| Completion::Completed),
            Err(obstacle) => machine_lacks(obstacle.lines().next().unwrap_or_default()),
        })
    };
    let shown = super::Test::new("lines_of_all_versions_are_read", shown::lines_of_all_versions_are_read);
    tests.into_iter().map(test).chain([shown]).collect()
}

/// Why nothing can be compared here.
fn obstacle(home: &Arc<BaseNamespace>) -> Option<String> {
    match Command::new("ip").args(["mptcp", "help"]).output() {
        Err(error) => return Some(format!("ip(8) of iproute2 can't be run: {error}")),
        Ok(output) if !String::from_utf8_lossy(&output.stderr).contains("monitor") => {
            return Some("ip(8) has no `ip mptcp monitor` (iproute2 5.13)".to_owned());
        }
        Ok(_) => {}
    }
    // By listener events it is found out that the monitor listens.
    let wanted = [Feature::Mptcp, Feature::ListenerEvents].into();
    let home = Arc::clone(home);
    let features = std::thread::spawn(move || {
        home.enter_for_good().map_err(|error| error.to_string())?;
        runtime().block_on(probe(&home, &wanted)).map_err(|error| error.to_string())
    });
    match features.join().unwrap() {
        Err(error) => Some(error),
        Ok(features) => features.into_iter().find_map(|(feature, availability)| match availability {
            Availability::Yes => None,
            Availability::No(reason) => Some(format!("needs `{}`: {reason}", feature.word())),
        }),
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs a test at home, on the thread that it has for itself.
fn within(
    home: &Arc<BaseNamespace>,
    test: impl AsyncFnOnce(&Arc<BaseNamespace>) -> Result<(), Failed>,
) -> Result<(), Failed> {
    home.enter_for_good()?;
    runtime().block_on(test(home))
}
