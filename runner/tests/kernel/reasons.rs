//! A run that fails says why, as far as the kernel says it: the reason is among the first ten lines. Where this kernel or
//! user can't run scenarios, the tests are reported as ignored, with the reason.

use std::path::Path;

use libtest_mimic::Failed;

use super::Test;
use super::program::{self, has_code, mptcplab, text};

/// What a failing scenario says first.
const LINES: usize = 10;

/// The tests of this suite.
pub fn tests() -> Vec<Test> {
    program::tests(&[
        ("a_link_local_address", None, false, || says("link-local", "MPTcpExtMPJoinSynTxConnectErr 1: connect()")),
        ("a_link_local_address_needs_a_device", None, false, || says("link-local", "needs a `laminar` or `fullmesh`")),
        ("an_endpoint_before_its_address", None, false, || says("before-address", "its address in step 3")),
        ("a_bind_error", None, false, || says("before-address", "MPTcpExtMPJoinSynTxBindErr 1: bind()")),
        ("a_subflow_in_syn_sent", None, false, || says("before-route", "10.8.1.1:8080 of `main` is in SYN-SENT")),
        ("an_endpoint_with_fullmesh_alone", None, false, || says("fullmesh-only", "`fullmesh` without `subflow`")),
        ("an_announcement_over_the_limit", None, false, || says("no-accept-limit", "limit `add_addr_accepted` is 0")),
        ("endpoints_and_a_userspace_path_manager", None, false, || says("userspace", "(net.mptcp.pm_type 1)")),
        ("a_subflow_in_fin_wait", None, false, || says("cut", "10.0.1.1:8080 of `main` is in FIN-WAIT-1")),
        ("an_announcement_that_is_not_kept", None, false, || {
            says("forgotten-address", "does not remember announcements")
        }),
        ("a_limit_in_use", None, false, || says("limit", "server: `main` has 1 of at most 1 additional subflows")),
        ("another_device", None, false, || says("other-device", "left through wlan0, not wlan1")),
        ("a_rule_that_has_not_matched", None, false, || says("unused-rule", "rule `strip-it` has not matched")),
        ("a_filter_that_has_not_matched", None, false, || says("unused-rule", "filter `wrong` has not matched")),
    ])
}

/// The scenario fails, and says so.
fn says(scenario: &str, reason: &str) -> Result<(), Failed> {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/reasons");
    let output = mptcplab(&scenarios, &["run", "-q", "--no-evidence", &format!("{scenario}.yaml")]).output()?;
    has_code(&output, 1)?;
    let said = text(&output.stdout);
    let first: Vec<&str> = said.lines().take(LINES).collect();
    if first.iter().any(|line| line.contains(reason)) {
        Ok(())
    } else {
        Err(format!("no `{reason}` in\n{said}").into())
    }
}
