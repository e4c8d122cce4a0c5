use std::fs;

use super::Exit;
use super::fake::{Fake, mptcplab, mptcplab_with};

/// Behaves alike everywhere; differs on a new kernel; fails on a new kernel; needs a new kernel.
const FILES: [&str; 4] = ["a_two.yaml", "b_differ.yaml", "c_regress.yaml", "d_skip.yaml"];

/// A folder to work in, with kernels and a list of them.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Self { folder };
        for name in ["old", "new", "dead", "interrupted"] {
            fs::write(place.path(name), name).unwrap();
        }
        fs::create_dir_all(place.path("modules/6.1/kernel")).unwrap();
        fs::write(place.path("modules/6.1/kernel/veth.ko"), "x").unwrap();
        fs::create_dir(place.path("scenarios")).unwrap();
        for file in FILES {
            fs::write(place.path("scenarios").join(file), "").unwrap();
        }
        place.list("[running, { name: old, image: old }, { name: new, image: new, modules: modules/6.1, append: quiet, load: [a, b], memory: 512, cpus: 1, kvm: false }]");
        place
    }

    fn list(&self, kernels: &str) {
        fs::write(self.path("kernels.yaml"), format!("paths: [scenarios]\nkernels: {kernels}\n")).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// Names in capitals are paths below the folder.
    fn arguments(&self, arguments: &[&str]) -> Vec<String> {
        let cache = ["--cache".to_owned(), self.path("cache").display().to_string()];
        let path = |word: &&str| match word.strip_prefix('@') {
            Some(name) => self.path(name).display().to_string(),
            None => (*word).to_owned(),
        };
        let kernels = matches!(arguments, ["compare" | "matrix", ..]);
        arguments.iter().map(path).chain(cache.into_iter().filter(|_| kernels)).collect()
    }

    fn call_with(&self, backend: &Fake, arguments: &[&str]) -> (Exit, String, String) {
        let arguments = self.arguments(arguments);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (exit, out, err) = mptcplab_with(backend, &arguments, &[]);
        let root = self.path("").display().to_string();
        let shown = |text: String| {
            let text = text.replace(&root, "");
            // Where and when the test runs.
            let lines = text.lines().map(|line| match (line.find(", Linux "), line.find(": Linux ")) {
                (Some(at), _) | (_, Some(at)) => format!(
                    "{}, LINUX{}",
                    &line[..at],
                    line.rfind("), ").filter(|_| !line.contains("run at")).map_or("", |at| &line[at + 1..])
                ),
                _ => line.to_owned(),
            });
            lines.map(|line| line + "\n").collect::<String>()
        };
        (exit, shown(out), shown(err))
    }

    fn call(&self, arguments: &[&str]) -> (Exit, String, String) {
        self.call_with(&self.backend(), arguments)
    }

    fn backend(&self) -> Fake {
        Fake { scenarios: self.path("scenarios"), ..Fake::default() }
    }

    /// Stores the results of these scenarios on a kernel.
    fn store(&self, image: &str, results: &str, paths: &[&str]) {
        let backend = Fake { image: image.to_owned(), ..Fake::default() };
        self.call_with(&backend, &[&["run", "--results", results], paths].concat());
    }
}

fn programs(backend: &Fake, place: &Place) -> Vec<String> {
    let root = place.path("").display().to_string();
    let programs = std::mem::take(&mut *backend.programs.lock().unwrap());
    let shown = |program: String| {
        let words: Vec<String> = program.replace(&root, "").split(' ').map(str::to_owned).collect();
        let temporary = |word: String| if word.starts_with("cache/") { "RESULTS".to_owned() } else { word };
        words.into_iter().map(temporary).collect::<Vec<_>>().join(" ")
    };
    programs.into_iter().map(shown).collect()
}

#[test]
fn stored_results_are_compared() {
    let place = Place::new();
    place.store("old", "@r/old", &["@scenarios"]);
    place.store("new", "@r/new", &["@scenarios"]);
    let (exit, out, err) = place.call(&["compare", "@r/old", "@r/new"]);
    assert_eq!((exit, err.as_str()), (Exit::Failed, ""));
    insta::assert_snapshot!(out);
    let (exit, out, _) = place.call(&["compare", "@r/old", "@r/old"]);
    assert_eq!(exit, Exit::Passed);
    assert!(out.ends_with("5 scenarios: 4 same, 1 skipped on both\n"), "{out}");
    let (exit, out, _) = place.call(&["compare", "@r/old", "@r/new", "--json"]);
    assert_eq!(exit, Exit::Failed);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["totals"]["differ"], 2);
    let (exit, out, _) = place.call(&["compare", "@r/old", "@r/new", "--markdown"]);
    assert_eq!(exit, Exit::Failed);
    assert!(out.contains("```diff\n--- "), "{out}");
}

#[test]
fn paths_narrow_a_comparison() {
    let place = Place::new();
    place.store("old", "@r/old", &["@scenarios"]);
    place.store("new", "@r/new", &["@scenarios"]);
    // The labels of the fake backend are the bare names of the files.
    let compared = |paths: &[&str]| place.call(&[&["compare", "@r/old", "@r/new"], paths].concat());
    let (exit, out, _) = compared(&["a_two.yaml"]);
    assert_eq!(exit, Exit::Passed);
    assert!(out.ends_with("\n2 scenarios: 2 same\n"), "{out}");
    let (exit, _, err) = compared(&["elsewhere"]);
    assert_eq!(exit, Exit::Usage);
    assert!(err.starts_with("error: nothing to compare: A has 0 scenarios of these paths, B has 0"), "{err}");
}

#[test]
fn what_is_on_one_side_only_is_no_same() {
    let place = Place::new();
    place.store("old", "@r/a", &["@scenarios/a_two.yaml"]);
    place.store("old", "@r/ab", &["@scenarios/a_two.yaml", "@scenarios/b_differ.yaml"]);
    place.store("old", "@r/b", &["@scenarios/b_differ.yaml"]);
    place.store("old", "@r/d", &["@scenarios/d_skip.yaml"]);
    assert_eq!(place.call(&["compare", "@r/a", "@r/ab"]).0, Exit::Failed);
    assert_eq!(place.call(&["compare", "@r/ab", "@r/a"]).0, Exit::Failed);
    assert_eq!(place.call(&["compare", "@r/d", "@r/d"]).0, Exit::Skipped);
    let (exit, out, err) = place.call(&["compare", "@r/a", "@r/b"]);
    assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
    insta::assert_snapshot!(err, @r"
    error: nothing to compare: A has 2 scenarios, B has 1 scenario, and none is in both
    hint: scenarios are identified by their paths: run both sides from the same folder
    ");
}

#[test]
fn what_went_wrong_can_not_be_compared() {
    let place = Place::new();
    fs::write(place.path("scenarios/e_trouble.yaml"), "").unwrap();
    place.store("old", "@r/old", &["@scenarios/a_two.yaml", "@scenarios/e_trouble.yaml"]);
    let (exit, out, _) = place.call(&["compare", "@r/old", "@r/old"]);
    assert_eq!(exit, Exit::Environment);
    assert!(out.contains("CAN'T TELL e_trouble (in error on A: no namespace)"), "{out}");
}

#[test]
fn damaged_and_missing_results_are_refused() {
    let place = Place::new();
    place.store("old", "@r/old", &["@scenarios"]);
    place.store("old", "@r/cut", &["@scenarios"]);
    fs::remove_file(place.path("r/cut/results.json")).unwrap();
    place.store("old", "@r/bad", &["@scenarios"]);
    fs::write(place.path("r/bad/scenarios/b_differ.txt"), "").unwrap();
    for (other, words) in [
        ("@r/cut", "`r/cut` has no `results.json`: either"),
        ("@r/bad", "`scenarios/b_differ.txt` has changed since it was written"),
        ("@r/nothing", "can't read `r/nothing`: No such file"),
        ("@scenarios", "`scenarios` has no `results.json`: either"),
    ] {
        for sides in [["compare", "@r/old", other], ["compare", other, "@r/old"]] {
            let (exit, out, err) = place.call(&sides);
            assert_eq!((exit, out.as_str()), (Exit::Usage, ""), "{other}");
            assert!(err.contains(words), "{err}");
        }
    }
}

#[test]
fn an_unfinished_run_stores_no_results() {
    let place = Place::new();
    for (options, file) in [(["--fail-fast", "-j1"], "a_fail.yaml"), (["-v", "-j1"], "a_interrupt.yaml")] {
        fs::write(place.path("scenarios").join(file), "").unwrap();
        place.store("old", "@r", &["@scenarios/b_differ.yaml"]);
        let arguments = [&["run", "--results", "@r", "@scenarios"], options.as_slice()].concat();
        let (_, _, err) = place.call(&arguments);
        assert!(err.contains("error: no results were stored: the run is not complete"), "{err}");
        assert!(!place.path("r/results.json").exists());
        fs::remove_file(place.path("scenarios").join(file)).unwrap();
    }
}

#[test]
fn results_that_can_not_be_written_are_an_error() {
    let (exit, _, err) = mptcplab(&["--results", "/proc/nonexistent", "FOLDER"], &["a.yaml"]);
    assert_eq!(exit, Exit::Environment);
    assert!(err.starts_with("error: can't write the results `/proc/nonexistent`: "), "{err}");
}

#[test]
fn kernels_are_run_to_be_compared() {
    let place = Place::new();
    let backend = place.backend();
    let arguments = ["compare", "@old", "@new", "@scenarios", "--modules-b", "@modules/6.1"];
    let (exit, out, err) = place.call_with(&backend, &arguments);
    assert_eq!(exit, Exit::Failed);
    assert!(out.contains("5 scenarios: 2 same, 2 differ, 1 skipped on one\n"), "{out}");
    assert!(err.contains("new: 5 run, 0 re-used\n"), "{err}");
    let files = FILES.join(" ").replace(".yaml", "");
    assert_eq!(
        programs(&backend, &place),
        [
            format!("vm --kernel old --no-evidence --no-pending --results RESULTS -- {files}"),
            format!("vm --kernel new --modules modules/6.1 --no-evidence --no-pending --results RESULTS -- {files}"),
        ]
    );
}

#[test]
fn a_stored_folder_is_compared_with_a_kernel() {
    let place = Place::new();
    place.store("new", "@r/new", &["@scenarios"]);
    let (exit, out, _) = place.call(&["compare", "@new", "@r/new", "@scenarios/a_two.yaml"]);
    assert_eq!(exit, Exit::Passed);
    assert!(out.ends_with("\n2 scenarios: 2 same\n"), "{out}");
    let (exit, _, err) = place.call(&["compare", "@new", "@r/new"]);
    assert_eq!(exit, Exit::Usage);
    assert!(err.starts_with("error: no scenarios to run on the kernels\n"), "{err}");
    let (exit, _, err) = place.call(&["compare", "@r/new", "@r/new", "--modules-a", "@modules"]);
    assert_eq!(exit, Exit::Usage);
    assert!(
        err.starts_with("error: `r/new` is not a kernel image, so `--modules-a` and `--modules-b` don't apply to it"),
        "{err}"
    );
}

#[test]
fn kernels_of_a_list_are_compared_by_their_names() {
    let place = Place::new();
    let backend = place.backend();
    let (exit, out, _) = place.call_with(&backend, &["compare", "running", "new", "--kernels", "@kernels.yaml"]);
    assert_eq!(exit, Exit::Failed);
    assert!(out.starts_with("A: running, LINUX\nB: new, LINUX\n"), "{out}");
    let files = FILES.join(" ").replace(".yaml", "");
    let options =
        "--modules modules/6.1 --load a,b --append quiet --memory 512 --cpus 1 --kvm off --no-evidence --no-pending";
    assert_eq!(
        programs(&backend, &place),
        [
            format!("run --no-evidence --no-pending --results RESULTS -- {files}"),
            format!("vm --kernel new {options} --results RESULTS -- {files}"),
        ]
    );
}

#[test]
fn options_of_machines_are_handed_on() {
    let place = Place::new();
    place.list("[running, { name: old, image: old }]");
    let backend = place.backend();
    let matrix = [
        "matrix",
        "@kernels.yaml",
        "--qemu",
        "my-qemu",
        "--time-limit",
        "5m",
        "--runner",
        "@new",
        "@scenarios/a_two.yaml",
    ];
    let ran = || {
        let (exit, ..) = place.call_with(&backend, &matrix);
        assert_eq!(exit, Exit::Passed);
        programs(&backend, &place)
    };
    assert_eq!(
        ran(),
        [
            "run --no-evidence --no-pending --results RESULTS -- a_two",
            "vm --kernel old --time-limit 300 --qemu my-qemu --runner new --no-evidence --no-pending --results RESULTS -- a_two",
        ]
    );
    // Results in the guest are those of the mptcplab there.
    assert!(ran().is_empty());
    fs::write(place.path("new"), "another").unwrap();
    assert_eq!(ran().len(), 1);
}

/// Also to this kernel. Without them, results are others.
#[test]
fn permitted_programs_are_handed_on() {
    let place = Place::new();
    place.list("[running, { name: old, image: old }]");
    let backend = place.backend();
    for (option, expected) in [
        ("--allow-programs", Some("--allow-programs ")),
        ("--allow-programs=curl,nginx", Some("--allow-programs=curl,nginx ")),
        ("--quiet", Some("")),
        ("--quiet", None),
    ] {
        place.call_with(&backend, &["matrix", "@kernels.yaml", option, "@scenarios/a_two.yaml"]);
        let rest = "--no-evidence --no-pending --results RESULTS -- a_two";
        let ran = expected.map(|with| [format!("run {with}{rest}"), format!("vm --kernel old {with}{rest}")]);
        assert_eq!(programs(&backend, &place), ran.map(Vec::from).unwrap_or_default(), "{option}");
    }
}

#[test]
fn a_kernel_that_does_not_run_is_no_difference() {
    let place = Place::new();
    for sides in [["compare", "@old", "@dead"], ["compare", "@dead", "@old"]] {
        let (exit, out, err) = place.call(&[&sides[..], &["@scenarios"]].concat());
        assert_eq!((exit, out.as_str()), (Exit::Environment, ""));
        assert!(
            err.contains("error: dead: the run ended with exit code 3, and stored no results: can't read"),
            "{err}"
        );
    }
    let (exit, out, _) = place.call(&["compare", "@old", "@interrupted", "@scenarios"]);
    assert_eq!((exit, out.as_str()), (Exit::Interrupted, ""));
    // Nothing temporary is left.
    let left = fs::read_dir(place.path("cache")).unwrap().count();
    assert_eq!(left, 1, "the results of `old`");
}

#[test]
fn a_matrix_has_a_column_for_each_kernel() {
    let place = Place::new();
    let (exit, out, err) = place.call(&["matrix", "@kernels.yaml"]);
    assert_eq!(exit, Exit::Failed);
    insta::assert_snapshot!(out);
    insta::assert_snapshot!(err, @r"
    running: 5 scenarios
    running: 5 run, 0 re-used
    old: 5 scenarios
    old: 5 run, 0 re-used
    new: 5 scenarios
    new: 5 run, 0 re-used
    ");
    let (exit, out, _) = place.call(&["matrix", "@kernels.yaml", "@scenarios/a_two.yaml", "--json"]);
    assert_eq!(exit, Exit::Passed);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["scenarios"][1]["kernels"]["new"]["verdict"], "passed");
    assert_eq!(value["kernels"][2]["reused"], 2);
    let (_, out, _) = place.call(&["matrix", "@kernels.yaml", "--markdown", "-q"]);
    assert!(out.contains("| d_skip | skip laminar | skip laminar | pass |\n") && !out.contains("a_two"), "{out}");
}

#[test]
fn one_dead_kernel_does_not_stop_a_matrix() {
    let place = Place::new();
    place.list("[{ name: gone, image: dead }, { name: old, image: old }]");
    let (exit, out, err) = place.call(&["matrix", "@kernels.yaml"]);
    assert_eq!(exit, Exit::Environment);
    assert!(out.starts_with("gone: no results: the run ended with exit code 3"), "{out}");
    assert!(out.contains("a_two@ipv4  ?     pass\n"), "{out}");
    assert!(err.contains("error: gone: the run ended with exit code 3"), "{err}");
    place.list("[{ name: x, image: interrupted }, { name: old, image: old }]");
    let (exit, out, _) = place.call(&["matrix", "@kernels.yaml"]);
    assert_eq!((exit, out.as_str()), (Exit::Interrupted, ""));
    let (exit, _, err) = place.call(&["matrix", "@scenarios/a_two.yaml"]);
    assert_eq!(exit, Exit::Usage);
    assert!(err.contains("error: the list of kernels `scenarios/a_two.yaml` can't be used"), "{err}");
}

#[test]
fn a_kernels_own_trouble_fails_the_matrix() {
    let place = Place::new();
    place.list("[{ name: old, image: old }]");
    let backend = Fake { late_trouble_elsewhere: vec!["BUG: x".to_owned()], ..place.backend() };
    for _ in 0..2 {
        let (exit, out, _) = place.call_with(&backend, &["matrix", "@kernels.yaml"]);
        assert_eq!(exit, Exit::Failed);
        assert!(out.contains("\n   the kernel said: BUG: x\n"), "{out}");
    }
    // Such a run is never re-used.
    assert_eq!(programs(&backend, &place).len(), 2);
}

/// What the second of two runs of a matrix starts.
fn again(place: &Place, between: impl FnOnce(&mut Fake)) -> Vec<String> {
    place.list("[{ name: old, image: old, modules: modules/6.1 }]");
    let mut backend = place.backend();
    place.call_with(&backend, &["matrix", "@kernels.yaml"]);
    assert_eq!(programs(&backend, place).len(), 1);
    between(&mut backend);
    let (exit, ..) = place.call_with(&backend, &["matrix", "@kernels.yaml"]);
    assert_eq!(exit, Exit::Passed);
    programs(&backend, place)
}

#[test]
fn nothing_is_run_twice() {
    let place = Place::new();
    assert!(again(&place, |_| ()).is_empty());
    let (exit, out, err) = place.call(&["matrix", "@kernels.yaml"]);
    assert_eq!(exit, Exit::Passed);
    assert!(out.contains("all 5 re-used"), "{out}");
    assert!(err.ends_with("old: 0 run, 5 re-used\n"), "{err}");
    let backend = place.backend();
    place.call_with(&backend, &["matrix", "@kernels.yaml", "--fresh"]);
    assert_eq!(programs(&backend, &place).len(), 1);
}

#[test]
fn what_changed_is_run_again() {
    let all = FILES.join(" ").replace(".yaml", "");
    let runs_all = |between: &dyn Fn(&Place, &mut Fake)| {
        let place = Place::new();
        let again = again(&place, |backend| between(&place, backend));
        assert_eq!(again.len(), 1);
        assert!(again[0].ends_with(&format!("-- {all}")), "{again:?}");
    };
    runs_all(&|place, _| fs::write(place.path("old"), "rebuilt").unwrap());
    runs_all(&|place, _| fs::write(place.path("modules/6.1/kernel/veth.ko"), "longer").unwrap());
    runs_all(&|place, _| fs::write(place.path("modules/6.1/kernel/new.ko"), "").unwrap());
    runs_all(&|_, backend| backend.digest = "other".to_owned());
    // Damage is told, and costs no more than another run.
    runs_all(&|place, _| {
        let results = fs::read_dir(place.path("cache")).unwrap().next().unwrap().unwrap().path();
        fs::write(results.join("results.json"), "{").unwrap();
    });
    // Only what has changed.
    let place = Place::new();
    let changed = again(&place, |backend| backend.changed = "c_regress".to_owned());
    assert!(changed[0].ends_with("-- c_regress") && changed.len() == 1, "{changed:?}");
}

#[test]
fn errors_are_run_again_and_so_is_what_this_machine_lacked() {
    let place = Place::new();
    fs::write(place.path("scenarios/e_trouble.yaml"), "").unwrap();
    place.list("[running, { name: old, image: old }]");
    let backend = place.backend();
    for (first, second) in [
        ("a_two b_differ c_regress d_skip e_trouble", "a_two b_differ c_regress d_skip e_trouble"),
        ("d_skip e_trouble", "e_trouble"),
    ] {
        let (exit, ..) = place.call_with(&backend, &["matrix", "@kernels.yaml"]);
        assert_eq!(exit, Exit::Environment);
        let programs = programs(&backend, &place);
        assert!(programs[0].ends_with(&format!("-- {first}")), "{programs:?}");
        assert!(programs[1].ends_with(&format!("-- {second}")), "{programs:?}");
    }
}
