//! The program as its users call it: help, exit codes, and what goes to which stream.

use std::process::{Command, Output, Stdio};

fn mptcplab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mptcplab"))
        .args(arguments)
        // Other tests go elsewhere.
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        // The width that help is wrapped to.
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8 on standard output")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8 on standard error")
}

#[test]
fn help() {
    let output = mptcplab(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(stdout(&output));
}

#[test]
fn help_of_run() {
    insta::assert_snapshot!(stdout(&mptcplab(&["run", "--help"])));
}

#[test]
fn help_of_judge() {
    insta::assert_snapshot!(stdout(&mptcplab(&["judge", "--help"])));
}

#[test]
fn help_of_import() {
    insta::assert_snapshot!(stdout(&mptcplab(&["import", "--help"])));
}

#[test]
fn a_draft_goes_to_standard_output_or_to_a_new_file() {
    let report = "../fixtures/import/monitor-client.txt";
    let output = mptcplab(&["import", report]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("# A draft of a scenario") && stdout(&output).ends_with("}\n"));
    let said = stderr(&output);
    assert!(said.contains("1 connection with 4 additional subflows\nnot determined by the report:\n  "), "{said}");

    let folder = tempfile::tempdir().expect("a folder");
    let draft = folder.path().join("draft.yaml");
    let draft = draft.to_str().expect("UTF-8");
    let written = mptcplab(&["import", report, "-o", draft]);
    assert_eq!((written.status.code(), stdout(&written)), (Some(0), String::new()));
    assert_eq!(std::fs::read_to_string(draft).expect("the draft"), stdout(&output));
    let again = mptcplab(&["import", report, "-o", draft]);
    assert_eq!(again.status.code(), Some(3));
    assert!(stderr(&again).contains("it exists already"), "{}", stderr(&again));
    assert_eq!(mptcplab(&["check", draft]).status.code(), Some(0));
}

#[test]
fn a_report_that_can_only_be_read_in_part_has_exit_code_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report");
    let whole = std::fs::read("../fixtures/import/monitor.json").expect("a fixture");
    std::fs::write(&report, &whole[..700]).expect("a file");
    let output = mptcplab(&["import", report.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("not read: reading ended at byte 6"), "{}", stderr(&output));
    let nothing = mptcplab(&["import", "src/lib.rs"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(stderr(&nothing).contains("hint: expected a capture"), "{}", stderr(&nothing));
}

#[test]
fn help_of_compare() {
    insta::assert_snapshot!(stdout(&mptcplab(&["compare", "--help"])));
}

#[test]
fn help_of_matrix() {
    insta::assert_snapshot!(stdout(&mptcplab(&["matrix", "--help"])));
}

#[test]
fn without_arguments_there_is_help_and_exit_code_2() {
    let output = mptcplab(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("Usage:"));
}

#[test]
fn wrong_usage_has_exit_code_2() {
    for arguments in [
        ["--warp", "9"],
        ["compare", "/nonexistent"],
        ["matrix", "/nonexistent"],
        ["judge", "/nonexistent"],
        ["check", "/nonexistent.yaml"],
        ["import", "/nonexistent"],
        ["completions", "ed"],
    ] {
        let output = mptcplab(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).starts_with("error: "), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_bad_scenario_has_exit_code_2_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.yaml");
    std::fs::write(&file, "titel: a typing error\n").unwrap();
    for command in ["check", "run"] {
        let output = mptcplab(&[command, file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("bad.yaml"), "{}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
}

/// Everything that isn't a regular file is refused at once: a pipe would wait for a writer, a device has no end.
#[test]
fn only_regular_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    nix::unistd::mkfifo(path("pipe.yaml").as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path("socket.yaml")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("zeros.yaml")).unwrap();
    let hole = std::fs::File::create(path("hole.yaml")).unwrap();
    hole.set_len(1 << 40).unwrap();
    std::fs::create_dir(path("folder.yaml")).unwrap();
    std::fs::write(path("scenario.yaml"), "title: x\nabout: x\ntopology: pipe\nsteps: []\n").unwrap();
    std::fs::create_dir(path("topologies")).unwrap();
    nix::unistd::mkfifo(path("topologies/pipe.yaml").as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let said = |arguments: &[&str]| {
        let output = mptcplab(arguments);
        assert!(matches!(output.status.code(), Some(2 | 3)), "{arguments:?}: {:?}", output.status);
        stderr(&output)
    };
    let kinds = [
        ("pipe", "it is a pipe, not a regular file; write its content to a file first"),
        ("socket", "it is a socket, not a regular file"),
        ("zeros", "it is a device, not a regular file"),
        ("hole", "the file is too large: 1099511627776 bytes or more"),
    ];
    for (name, expected) in kinds {
        let file = path(&format!("{name}.yaml"));
        for command in ["check", "run", "judge", "matrix"] {
            let err = said(&[command, &file]);
            assert!(err.contains(expected), "{command}: {err}");
        }
        let err = said(&["vm", "--kernel", &file, "scenarios/fullmesh.yaml"]);
        // It is only looked at once the scenarios have been read.
        assert!(err.contains(expected) || err.contains("scenarios/fullmesh.yaml"), "{err}");
    }
    // A folder stands for the recordings in it.
    assert!(said(&["judge", &path("folder.yaml")]).contains("no recording (`*.jsonl`) in"));
    // A topology is looked for among regular files.
    assert!(said(&["check", &path("scenario.yaml")]).contains("pipe"));
}

/// Each side is looked at before a scenario is run on the other one; folders of modules are searched for regular files.
#[test]
fn only_regular_files_are_kernels_and_modules() {
    type Make = fn(&str);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir(path("modules")).unwrap();
    // As the boot protocol of x86 has it: magic, and where the version is.
    let mut image = vec![0; 0x400];
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x20e..0x210].copy_from_slice(&0x80_u16.to_le_bytes());
    image[0x280..0x28a].copy_from_slice(b"9.9.9-none");
    std::fs::write(path("image"), image).unwrap();
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/fullmesh.yaml");
    let module = path("modules/veth.ko");
    let make: [(&str, Make); 4] = [
        ("it is a pipe, not a regular file", |name| nix::unistd::mkfifo(name, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("it is a socket, not a regular file", |name| drop(std::os::unix::net::UnixListener::bind(name).unwrap())),
        ("it is a device, not a regular file", |name| std::os::unix::fs::symlink("/dev/zero", name).unwrap()),
        ("the file is too large", |name| std::fs::File::create(name).unwrap().set_len(1 << 40).unwrap()),
    ];
    for (expected, make) in make {
        let kernel = path("kernel");
        make(&kernel);
        make(&module);
        let (image, modules) = (path("image"), path("modules"));
        let cases = [
            vec!["compare", &kernel, "running", scenario],
            vec!["compare", "running", &kernel, scenario],
            vec!["compare", &kernel, &kernel, scenario],
            vec!["vm", "--kernel", &kernel, scenario],
            vec!["vm", "--kernel", &image, "--no-modules", "--runner", &kernel, scenario],
            vec!["vm", "--kernel", &image, "--modules", &modules, "--load", "veth", scenario],
        ];
        for arguments in cases {
            let output = mptcplab(&arguments);
            let err = stderr(&output);
            assert_eq!(output.status.code(), Some(3), "{arguments:?}: {err}");
            assert!(err.contains(expected), "{arguments:?}: {err}");
            assert!(!err.contains("run, "), "{arguments:?}: a kernel has been run: {err}");
        }
        let not_a_folder = mptcplab(&["vm", "--kernel", &image, "--modules", &kernel, scenario]);
        assert_eq!(not_a_folder.status.code(), Some(3), "{}", stderr(&not_a_folder));
        std::fs::remove_file(&kernel).unwrap();
        std::fs::remove_file(&module).unwrap();
    }
    // A folder is one of results.
    let output = mptcplab(&["compare", "running", &path("modules"), scenario]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(
        stderr(&output).starts_with("error: ") && stderr(&output).contains("has no `results.json`"),
        "{}",
        stderr(&output)
    );
}

/// Below what the program's image takes, the kernel ends it while it loads it (SIGSEGV: `bprm_execve`, fs/exec.c), then
/// its loader can't map a library (exit code 127), then Rust's runtime can't make its stack for signals. From `main` on,
/// it is said.
#[test]
fn too_little_memory_is_said_by_kernel_loader_or_program() {
    let mut answers = std::collections::BTreeMap::new();
    for kib in (4..80).map(|mib| mib << 10) {
        answers.entry(answer_with(kib)).or_insert(Vec::new()).push(kib);
    }
    let [program, passed] = ["program", "passed"].map(|answer| answers.remove(answer).unwrap_or_default());
    assert!(
        program.len() > 20 && !passed.is_empty() && program.iter().max() < passed.first(),
        "{program:?} {passed:?}"
    );
    // The stack may still find no room to grow in where `main` has just begun.
    let begins = program[0] + 1024;
    assert!(answers.values().flatten().all(|kib| *kib <= begins), "{answers:?} {program:?}");
    // Where `main` begins, any allocation would abort.
    for kib in (program[0] - 1024..begins).step_by(16) {
        answer_with(kib);
    }
}

/// Who says that there is too little memory, with so many KiB of address space.
#[expect(clippy::panic, reason = "a test may fail like this")]
fn answer_with(kib: u64) -> &'static str {
    use std::os::unix::process::ExitStatusExt as _;
    let program = env!("CARGO_BIN_EXE_mptcplab");
    let command = format!("ulimit -v {kib}; exec {program} schema");
    let output = Command::new("sh").args(["-c", &command]).output().expect("a shell starts");
    let err = stderr(&output);
    match (output.status.code(), output.status.signal()) {
        (None, Some(nix::libc::SIGSEGV)) if err.is_empty() => "kernel",
        (Some(127), None) if err.contains("error while loading shared libraries") => "loader",
        // Before `main`, too.
        (None, Some(nix::libc::SIGABRT)) if err.contains("failed to allocate an alternative stack") => "runtime",
        (Some(3), None) if err.contains("(RLIMIT_AS)") => "program",
        (Some(0), None) => "passed",
        _ => panic!("{kib} KiB: {:?} {err}", output.status),
    }
}

/// A file that isn't taken is named: nobody shall believe that it was checked.
#[test]
fn what_is_left_out_of_a_folder_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("more")).unwrap();
    std::os::unix::fs::symlink(path("more"), path("link")).unwrap();
    std::fs::write(path(".draft.yaml"), "").unwrap();
    let output = mptcplab(&["check", folder.path().to_str().unwrap()]);
    let err = stderr(&output);
    assert_eq!(output.status.code(), Some(2));
    assert!(err.contains(".draft.yaml: hidden\n") && err.contains("link: a symbolic link to a folder\n"), "{err}");
}

#[test]
fn address_space_that_is_too_small_is_said() {
    let program = env!("CARGO_BIN_EXE_mptcplab");
    let output = Command::new("sh").args(["-c", &format!("ulimit -v 50000; exec {program} schema")]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let err = stderr(&output);
    assert!(err.starts_with("error: mptcplab needs 64 MiB of address space, but the limit is "), "{err}");
    assert!(err.contains("hint: lift the limit with `ulimit -v unlimited`"), "{err}");
}

/// Before there are scenarios that run, there is nothing to tidy up, but an exit code to give.
#[test]
fn a_signal_before_the_first_run_gives_exit_code_130() {
    use nix::sys::signal::{Signal, kill};
    use std::io::Read as _;
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        // Signals that are ignored where the tests run, as in the background of a shell, would stay ignored.
        let mut command = Command::new("env");
        command.args(["--default-signal", env!("CARGO_BIN_EXE_mptcplab"), "schema"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // The schema is larger than a pipe takes: when the first byte is here, the program waits for us.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        kill(nix::unistd::Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
    }
}

#[test]
fn completions_are_made_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = mptcplab(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("dry-run"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mptcplab"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "");
}

#[test]
fn colours_only_where_they_are_wanted() {
    assert!(!stderr(&mptcplab(&["check", "/nonexistent.yaml"])).contains('\u{1b}'));
    let forced = Command::new(env!("CARGO_BIN_EXE_mptcplab"))
        .args(["check", "/nonexistent.yaml"])
        .env("CLICOLOR_FORCE", "1")
        .env_remove("NO_COLOR")
        .output()
        .unwrap();
    assert!(stderr(&forced).contains('\u{1b}'));
}

#[test]
fn wrong_usage_never_looks_bad_to_git_bisect() {
    for arguments in
        [["run", "--bisect"].as_slice(), &["--bisect", "--warp", "x.yaml"], &["run", "--bisect", "--update", "x.yaml"]]
    {
        let output = mptcplab(arguments);
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        assert!(stderr(&output).starts_with("error: "), "{arguments:?}");
    }
    assert_eq!(mptcplab(&["run", "--bisect", "--help"]).status.code(), Some(0));
}

/// `ci/bisect-step` with a stand-in for make and for mptcplab, which say how they were called.
#[test]
fn a_step_of_a_bisection_builds_and_runs() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let program = |name: &str, script: &str| {
        std::fs::write(path(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    std::fs::create_dir(path("bin")).unwrap();
    std::fs::write(path("config"), "CONFIG_MPTCP=y\n").unwrap();
    program(
        "bin/make",
        "echo make \"$@\" >>calls; case \"$*\" in *\" -j \"*) exit \"${MAKE_ENDS:-0}\" ;; esac; mkdir -p build",
    );
    let step = |program: &str, environment: &[(&str, &str)], scenarios: &[&str]| {
        let _ = std::fs::remove_file(path("calls"));
        let bin = path("bin").display().to_string();
        let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../ci/bisect-step"))
            .args(scenarios)
            .current_dir(folder.path())
            .env("PATH", format!("{bin}:/usr/sbin:/usr/bin:/sbin:/bin"))
            .envs([("BUILD", "build"), ("MPTCPLAB", program), ("CONFIG", "config")])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.code(), std::fs::read_to_string(path("calls")).unwrap_or_default())
    };
    for code in [0, 1, 125] {
        program("bin/lab", &format!("echo lab \"$@\" >>calls; exit {code}"));
        let (exit, calls) = step("lab", &[], &["a.yaml", "b c.yaml"]);
        assert_eq!(exit, Some(code));
        let lab = "lab vm --kernel build/linux --bisect --no-evidence --quiet a.yaml b c.yaml\n";
        assert!(calls.starts_with("make -s ARCH=um O=build defconfig\n") && calls.ends_with(lab), "{calls}");
    }
    assert!(std::fs::read_to_string(path("build/.config")).unwrap().contains("CONFIG_MPTCP=y"));
    let (exit, calls) = step("lab", &[("MAKE_ENDS", "2")], &["a.yaml"]);
    assert_eq!(exit, Some(125));
    assert!(!calls.contains("lab"), "{calls}");
    // What each commit would fail for ends the bisection.
    assert_eq!(step("no-such-program", &[], &["a.yaml"]), (Some(255), String::new()));
    assert_eq!(step("lab", &[("CONFIG", "no-such-file")], &["a.yaml"]), (Some(255), String::new()));
    assert_eq!(step("lab", &[], &[]), (Some(255), String::new()));
}

#[test]
fn check_fix_rewrites_old_words_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let old = "title: t\nabout: a\nlinks: { l: { ends: { a: {}, b: {} } } } # on: here\nalone:  on\nexpect: { endpoints: { a: [] } }\n";
    let topologies = at("topologies");
    std::fs::create_dir(&topologies).unwrap();
    std::fs::write(topologies.join("t.yaml"), "namespaces: { a: { forwarding: on } }\n").unwrap();
    std::fs::write(at("a.yaml"), old).unwrap();
    std::os::unix::fs::symlink(at("a.yaml"), at("link.yaml")).unwrap();
    let variable = old.replace("alone:  on", "matrix: { v: [on, \"off\"] }\nexclusive: $v");
    std::fs::write(at("v.yaml"), &variable).unwrap();
    let run = |names: &[&str]| {
        let paths: Vec<String> = names.iter().map(|name| at(name).display().to_string()).collect();
        let arguments: Vec<&str> = ["check", "--fix"].into_iter().chain(paths.iter().map(String::as_str)).collect();
        let output = mptcplab(&arguments);
        let replace = |text: String| text.replace(&folder.path().display().to_string(), "FOLDER");
        (output.status.code(), replace(stdout(&output)), replace(stderr(&output)))
    };

    let (code, _, said) = run(&["link.yaml"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("can't rewrite `FOLDER/link.yaml`: `FOLDER/link.yaml` is a symbolic link"), "{said}");
    assert_eq!(std::fs::read_to_string(at("a.yaml")).unwrap(), old);

    let rewritten = "rewrote FOLDER/a.yaml: 2 words\nrewrote FOLDER/topologies/t.yaml: 1 word\n";
    let (code, out, said) = run(&["a.yaml", "topologies/t.yaml"]);
    assert_eq!((code, out.as_str()), (Some(0), format!("{rewritten}1 scenario without errors\n").as_str()), "{said}");
    assert_eq!(std::fs::read_to_string(at("a.yaml")).unwrap(), old.replace("alone:  on", "exclusive:  true"));
    assert_eq!(std::fs::read_to_string(at("topologies/t.yaml")).unwrap(), "namespaces: { a: { forwarding: true } }\n");
    assert_eq!(run(&["a.yaml", "topologies/t.yaml"]).1, "1 scenario without errors\n");

    let (code, out, said) = run(&["v.yaml"]);
    assert_eq!((code, out.as_str()), (Some(2), "rewrote FOLDER/v.yaml: 1 word\n"), "{said}");
    assert!(said.contains("rewrites it, unless it is the value of a variable"), "{said}");
    assert_eq!(std::fs::read_to_string(at("v.yaml")).unwrap(), variable.replace("[on,", "[\"on\","));
}
