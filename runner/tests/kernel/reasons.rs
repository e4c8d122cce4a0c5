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
        ("a_table_that_no_rule_selects", None, false, || {
            says("table-without-rule", "no route from 10.8.2.2 to 10.8.1.1 by wwan0")
        }),
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
        ("a_filter_of_the_peer", None, false, || says("filtered", "whose filter `no-joins` kept it from TCP")),
        ("a_listener_that_is_gone", None, false, || says("listener-gone", "no MPTCP socket listens on 10.0.2.1:8080")),
        ("a_device_that_is_down", None, false, || says("link-down", "eth2 is down at that time: connect() fails")),
        ("a_lost_announcement", None, false, || {
            says("lost-announcement", "add_addr_timeout 0 switches retransmission off")
        }),
        ("a_filter_that_has_not_matched", None, false, || says("unused-rule", "filter `wrong` has not matched")),
        ("explained", None, false, explained),
    ])
}

/// Scenarios, each with the rule that explains what is missing, and its words. Without a rule, an observation does.
const EXPLAINED: [(&str, Option<&str>, &str); 15] = [
    ("link-local", Some("accept-announcements"), "needs a `laminar` or `fullmesh` endpoint with a `dev`"),
    ("before-address", Some("subflow-from-each-endpoint"), "client does not have the address 10.8.2.2 at that time"),
    ("before-route", Some("subflow-from-each-endpoint"), "no route from 10.8.2.2 to 10.8.1.1 by wwan0 at that time"),
    ("before-route", None, "10.8.1.1:8080 of `main` is in SYN-SENT: no SYN left the namespace"),
    (
        "no-accept-limit",
        Some("accept-announcements"),
        "add_addr_accepted 0: the announcement is echoed and then ignored",
    ),
    ("fullmesh-only", Some("subflow-from-each-endpoint"), "`fullmesh` without `subflow` is a source towards announced"),
    ("cut", None, "10.0.1.1:8080 of `main` is in FIN-WAIT-1"),
    ("userspace", Some("subflow-from-each-endpoint"), "the kernel does not use endpoints"),
    ("other-device", Some("answer-to-a-join"), "leave by wlan0, though 10.8.5.51 is an address of wlan1"),
    (
        "limit",
        Some("answer-to-a-join"),
        "the peer refused it by a RST after the third ACK: additional subflows 1 of limit 1",
    ),
    ("forgotten-address", None, "the kernel does not remember announcements"),
    ("filtered", Some("answer-to-a-join"), "it arrived at server, whose filter `no-joins` kept it from TCP"),
    ("listener-gone", Some("answer-to-a-join"), "answered by a RST: no MPTCP socket listens on 10.0.2.1:8080"),
    ("link-down", Some("subflow-from-each-endpoint"), "eth2 is down at that time: connect() fails (ENETUNREACH)"),
    ("lost-announcement", Some("retransmit-announcements"), "no echo came (the rule `eats it` of the path link1"),
];

/// `explain` gives the reason in its first lines, and as data.
fn explained() -> Result<(), Failed> {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/reasons");
    for (scenario, rule, reason) in EXPLAINED {
        let file = format!("{scenario}.yaml");
        let output = mptcplab(&scenarios, &["explain", &file]).output()?;
        has_code(&output, 0)?;
        let said = text(&output.stdout);
        let is_it = |line: &&str| line.contains(reason) && rule.is_none_or(|rule| line.contains(&format!("[{rule}]")));
        if said.lines().take(LINES + 5).find(is_it).is_none() {
            return Err(format!("no `{reason}` in\n{said}").into());
        }
        let output = mptcplab(&scenarios, &["explain", "--json", &file]).output()?;
        has_code(&output, 0)?;
        let json: serde_json::Value = serde_json::from_str(&text(&output.stdout))?;
        let has = |text: &serde_json::Value| text.as_str().is_some_and(|text| text.contains(reason));
        let all = |key: &str| json[key].as_array().into_iter().flatten();
        let found = match rule {
            Some(rule) => all("decisions").any(|one| one["rule"] == rule && has(&one["because"])),
            None => all("observed").any(has),
        };
        if !found {
            return Err(format!("no `{reason}` in\n{json}").into());
        }
    }
    Ok(())
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
