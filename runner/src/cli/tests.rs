use super::Exit;
use super::fake::{Fake, MIXED, mptcplab, mptcplab_with};

#[test]
fn a_folder_gives_a_line_for_each_scenario() {
    let (exit, out, err) = mptcplab(&["FOLDER"], &MIXED);
    assert_eq!((exit, err.as_str()), (Exit::Failed, ""));
    insta::assert_snapshot!(out, @r"
    PASS a_two@ipv4 (N ms)  the title of a_two
    PASS a_two@ipv6 (N ms)  the title of a_two
    FAIL b_fail (N ms)  the title of b_fail
    SKIP c_skip (needs `laminar`: the flag is not kept)  the title of c_skip
    PASS d_alone (N ms)  the title of d_alone

    FAIL b_fail (N ms)  the title of b_fail
      subflows: 2 expected, 1 observed

    5 runs in N ms: 3 passed, 1 failed, 1 skipped
    ");
}

#[test]
fn quiet_shows_failures_and_skips_only() {
    let (exit, out, _) = mptcplab(&["run", "-q", "FOLDER"], &MIXED);
    assert_eq!(exit, Exit::Failed);
    assert!(out.starts_with("SKIP c_skip (needs `laminar`") && out.lines().count() == 3, "{out}");
    assert_eq!(mptcplab(&["-q", "FOLDER"], &["a.yaml"]), (Exit::Passed, String::new(), String::new()));
}

#[test]
fn a_single_scenario_comes_with_picture_and_story() {
    let (exit, out, _) = mptcplab(&["FOLDER/a.yaml"], &["a.yaml"]);
    assert_eq!(exit, Exit::Passed);
    assert!(out.contains("┌ client") && out.contains("ms  client") && out.contains("PASS a "), "{out}");
    assert!(!out.contains("1 run "), "{out}");
}

#[test]
fn json_is_all_that_standard_output_has() {
    let (exit, out, err) = mptcplab(&["--json", "FOLDER"], &MIXED);
    assert_eq!(exit, Exit::Failed);
    let verdicts: Vec<String> = out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["verdict"].to_string())
        .collect();
    assert_eq!(verdicts, ["\"passed\"", "\"passed\"", "\"failed\"", "\"skipped\"", "\"passed\""]);
    assert!(err.contains("5 runs"), "{err}");
}

#[test]
fn the_list_names_every_variant() {
    let (exit, out, _) = mptcplab(&["--list", "FOLDER"], &["a_two.yaml", "b_fail.yaml"]);
    assert_eq!(exit, Exit::Passed);
    insta::assert_snapshot!(out, @r"
    a_two@ipv4  the title of a_two
    a_two@ipv6  the title of a_two
    b_fail      the title of b_fail
    ");
}

#[test]
fn the_list_goes_by_folders() {
    let backend = Fake { folders: true, ..Fake::default() };
    let (_, out, _) = mptcplab_with(&backend, &["--list", "FOLDER"], &["a_two.yaml", "b_fail.yaml", "c.yaml"]);
    insta::assert_snapshot!(out, @r"
    scenarios/a/
      a_two@ipv4  the title of a_two
      a_two@ipv6  the title of a_two
    scenarios/b/
      b_fail  the title of b_fail
    scenarios/c/
      c  the title of c
    ");
}

#[test]
fn a_dry_run_needs_no_privileges() {
    let (exit, out, _) =
        mptcplab_with(&Fake { forbidden: true, ..Fake::default() }, &["--dry-run", "FOLDER"], &["a.yaml"]);
    assert_eq!(exit, Exit::Passed);
    assert!(out.starts_with("# a\n# the title of a\n\n# Needs a root shell, and:\n"), "{out}");
    assert!(out.contains("# Set up\nip netns add client\n"), "{out}");
}

#[test]
fn filters_look_at_labels_and_titles() {
    let (_, out, _) = mptcplab(&["--list", "--filter", "IPV6", "FOLDER"], &MIXED);
    assert_eq!(out, "a_two@ipv6  the title of a_two\n");
    let (_, out, _) = mptcplab(&["--list", "--filter", "*@IPV4", "--filter", "?_alone", "FOLDER"], &MIXED);
    assert_eq!(out, "a_two@ipv4  the title of a_two\nd_alone     the title of d_alone\n");
    let (exit, _, err) = mptcplab(&["--filter", "zebra", "FOLDER"], &MIXED);
    assert_eq!(exit, Exit::Usage);
    assert!(err.starts_with("error: none of 5 scenarios has a label or title that matches `zebra`"), "{err}");
}

#[test]
fn all_bad_files_are_reported_and_nothing_runs() {
    for command in ["run", "check"] {
        let (exit, out, err) = mptcplab(&[command, "FOLDER"], &["a.yaml", "bad1.yaml", "bad2.yaml"]);
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
        insta::allow_duplicates! {
            insta::assert_snapshot!(err, @r"
            error: bad1 has an unknown key
            error: bad2 has an unknown key
            error: 2 of 3 scenario files can't be used
            ");
        }
    }
}

#[test]
fn good_files_run_where_that_is_asked_for() {
    let files = ["a.yaml", "bad1.yaml"];
    let (exit, out, err) = mptcplab(&["run", "--keep-going", "FOLDER"], &files);
    assert_eq!(exit, Exit::Usage);
    assert!(out.contains("PASS a "), "{out}");
    assert!(err.starts_with("error: bad1 has an unknown key\nerror: 1 of 2 scenario files can't be used\n"), "{err}");
    assert!(err.ends_with("error: 1 scenario file can't be used\n"), "{err}");
    // What has failed has failed.
    assert_eq!(mptcplab(&["run", "--keep-going", "FOLDER"], &["a_fail.yaml", "bad1.yaml"]).0, Exit::Failed);
    assert_eq!(mptcplab(&["run", "--keep-going", "FOLDER"], &["bad1.yaml"]).0, Exit::Usage);
}

#[test]
fn check_counts_what_is_good() {
    let (exit, out, _) = mptcplab(&["check", "FOLDER"], &["a_two.yaml"]);
    assert_eq!((exit, out.as_str()), (Exit::Passed, "2 scenarios without errors\n"));
}

#[test]
fn a_missing_file_is_wrong_usage() {
    let (exit, _, err) = mptcplab(&["chekc"], &[]);
    assert_eq!(exit, Exit::Usage);
    insta::assert_snapshot!(err, @r"
    error: can't read `chekc`: No such file or directory (os error 2)
    hint: `mptcplab --help` lists the commands; anything else is taken as a file or folder to run
    ");
}

#[test]
fn skipping_everything_has_an_exit_code_of_its_own() {
    assert_eq!(mptcplab(&["FOLDER"], &["c_skip.yaml"]).0, Exit::Skipped);
}

#[test]
fn a_feature_that_newer_ones_follow_is_not_just_missing() {
    let fake = Fake { newest: "net.mptcp.add_addr_v6_port_drop_ts", ..Fake::default() };
    let (exit, out, _) = mptcplab_with(&fake, &["FOLDER"], &["c_skip.yaml", "a.yaml"]);
    assert_eq!(exit, Exit::Failed);
    assert!(out.contains("FAIL c_skip"), "{out}");
    let why = "feature: this kernel lacks `laminar`, and has `sysctl:net.mptcp.add_addr_v6_port_drop_ts`, which is \
               newer: a regression? the flag is not kept";
    assert!(out.contains(why), "{out}");
    let (exit, out, err) = mptcplab_with(&fake, &["doctor"], &[]);
    assert_eq!(exit, Exit::Passed);
    assert!(out.contains("no   laminar            endpoints with the laminar flag (the flag is not kept)"), "{out}");
    assert!(err.contains("hint: laminar: this kernel lacks `laminar`, and has"), "{err}");
}

#[test]
fn required_features_make_a_skip_an_error() {
    let (exit, out, _) = mptcplab(&["--require", "all", "FOLDER"], &["c_skip.yaml", "a.yaml"]);
    assert_eq!(exit, Exit::Environment);
    assert!(out.contains("ERROR c_skip"), "{out}");
    let (exit, out, err) = mptcplab(&["--require", "laminar", "FOLDER"], &["a.yaml"]);
    assert_eq!((exit, out.as_str()), (Exit::Environment, ""));
    assert!(err.starts_with("error: this kernel lacks `laminar`: the flag is not kept\n"), "{err}");
}

#[test]
fn without_privileges_or_mptcp_nothing_runs() {
    let (exit, _, err) = mptcplab_with(&Fake { forbidden: true, ..Fake::default() }, &["FOLDER"], &["a.yaml"]);
    assert_eq!(exit, Exit::Environment);
    insta::assert_snapshot!(err, @r"
    error: user namespaces are forbidden
    hint: run it as root
    ");
    let (exit, _, err) = mptcplab_with(&Fake { no_mptcp: true, ..Fake::default() }, &["FOLDER"], &["a.yaml"]);
    assert_eq!(exit, Exit::Environment);
    assert!(err.starts_with("error: this kernel lacks `mptcp`: EPROTONOSUPPORT\n"), "{err}");
}

#[test]
fn fail_fast_counts_what_it_leaves_out() {
    let files = ["a_fail.yaml", "b.yaml", "c.yaml"];
    let (exit, out, _) = mptcplab(&["--fail-fast", "-j", "1", "FOLDER"], &files);
    assert_eq!(exit, Exit::Failed);
    assert!(out.contains("1 run in N ms: 1 failed, 2 not run after the first failure"), "{out}");
}

#[test]
fn repetitions_are_summed_up() {
    let (exit, out, _) = mptcplab(&["--repeat", "2", "FOLDER"], &["a.yaml"]);
    assert_eq!(exit, Exit::Passed);
    insta::assert_snapshot!(out.replace("N ms to N ms", "N ms"), @r"
    PASS a (2 of 2 runs passed, N ms)  the title of a
    2 runs in N ms: 2 passed
    ");
}

#[test]
fn trouble_and_defects_are_errors_of_one_scenario_only() {
    let (exit, out, _) = mptcplab(&["FOLDER"], &["a_trouble.yaml", "b_panic.yaml", "c.yaml"]);
    assert_eq!(exit, Exit::Environment);
    assert!(out.contains("set-up: no namespace\n    details\n    hint: try\n"), "{out}");
    assert!(out.contains("this is a bug in mptcplab"), "{out}");
    assert!(out.contains("PASS c "), "{out}");
}

#[test]
fn recordings_are_written_and_judged_again() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().display().to_string();
    let (exit, _, err) = mptcplab(&["--record", &target, "FOLDER"], &["a_two.yaml", "b_fail.yaml"]);
    assert_eq!((exit, err.as_str()), (Exit::Failed, ""));
    let recording = |name: &str| folder.path().join(name).display().to_string();
    assert!(folder.path().join("a_two@ipv6.jsonl").exists());
    let (exit, out, _) = mptcplab(&["judge", &recording("b_fail.jsonl")], &[]);
    assert_eq!(exit, Exit::Failed);
    assert!(out.contains("subflows: 2 expected, 1 observed"), "{out}");
}

#[test]
fn several_recordings_need_a_folder() {
    let (exit, _, err) = mptcplab(&["--record", "FOLDER/x.jsonl", "FOLDER"], &["a_two.yaml", "x.jsonl"]);
    assert_eq!(exit, Exit::Usage);
    assert!(err.contains("the recordings of 2 scenarios need a folder, but this is a file"), "{err}");
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("new/one/");
    mptcplab(&["--record", &format!("{}/", target.display()), "FOLDER"], &["a.yaml"]);
    assert!(target.join("a.jsonl").exists());
}

#[test]
fn what_is_no_recording_is_refused() {
    let (exit, _, err) = mptcplab(&["judge", "FOLDER/a.yaml"], &["a.yaml"]);
    assert_eq!(exit, Exit::Usage);
    insta::assert_snapshot!(err, @r"
    error: `FOLDER/a.yaml` is not a valid recording: the file is empty: a recording begins with a header line
    hint: `mptcplab run --record FILE` writes recordings
    ");
}

#[test]
fn the_doctor_tells_what_is_missing() {
    let (exit, out, err) = mptcplab(&["doctor"], &[]);
    assert_eq!(exit, Exit::Passed);
    let (_, rows) = out.split_once('\n').unwrap();
    insta::assert_snapshot!(rows, @r"
      yes  privileges         root
      yes  mptcp              Multipath TCP
      yes  listener_events    events of listening sockets
      no   laminar            endpoints with the laminar flag (the flag is not kept)
      yes  token_dump         endpoints of a single connection, dumped by token
      yes  mixed_families     IPv4 and IPv6 subflows in one connection
      yes  family_rules       the families of both addresses decide about a subflow
      yes  fullmesh_once      a fullmesh endpoint opens one subflow to each address
      yes  subflow_device     a subflow is bound to the device of its address
      yes  endpoint_errnos    the errno tells why an endpoint is refused
      yes  no_event_listener  no other process listens to path-manager events now
      yes  nftables           packet filters, for scenarios with a middlebox
      yes  nat                connection tracking and address translation
      yes  tbf                rate limits on links
      yes  routing_rules      routing tables and rules, as for source routing
      yes  programs           programs in scenarios, closed in
      yes  forced_mptcp       TCP sockets of programs become MPTCP sockets
      no   kernel log         watched while scenarios run: a kernel warning fails them (EPERM)
    ");
    insta::assert_snapshot!(err, @r"
    hint: laminar: use Linux 6.18 or newer
    hint: kernel log: run as root, or let all users read it with `sysctl kernel.dmesg_restrict=0`
    ");
    assert_eq!(mptcplab_with(&Fake { no_mptcp: true, ..Fake::default() }, &["doctor"], &[]).0, Exit::Environment);
    assert_eq!(mptcplab_with(&Fake { forbidden: true, ..Fake::default() }, &["doctor"], &[]).0, Exit::Environment);
}

#[test]
fn the_schema_is_json() {
    let (exit, out, _) = mptcplab(&["schema"], &[]);
    assert_eq!(exit, Exit::Passed);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["title"], "mptcplab scenario");
}
