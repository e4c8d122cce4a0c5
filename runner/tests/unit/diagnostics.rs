//! What is said about good and bad scenario files, and that the documentation of the language is true.

#![expect(clippy::panic, reason = "a helper of tests fails with a rendered diagnostic")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mptcplab::scenario::model::{Feature, Scenario};
use mptcplab::scenario::{self, Diagnostics};
use proptest::prelude::*;

/// Goes to the workspace's root, so that paths in messages are the same everywhere.
fn go_to_root() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    std::env::set_current_dir(root).expect("the workspace's root");
}

/// The files of a folder of fixtures, by name, as seen from the workspace's root.
fn fixtures(folder: &str) -> Vec<PathBuf> {
    go_to_root();
    let folder = Path::new("fixtures").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

/// Snapshots beside the fixtures.
fn snapshots_in(folder: &str) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(folder));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

fn load(path: &Path) -> Vec<Scenario> {
    scenario::load(path).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

fn refused(path: &Path) -> Diagnostics {
    match scenario::load(path) {
        Err(diagnostics) => diagnostics,
        Ok(_) => panic!("{} was accepted", path.display()),
    }
}

#[test]
fn good_files_are_read() {
    for file in fixtures("good") {
        load(&file);
    }
}

/// The keys of a record in the schema.
fn keys_of(record: &str) -> Vec<String> {
    let schema = scenario::json_schema();
    let names = ["", "_by_kernel", "_item"].map(|suffix| format!("{record}{suffix}"));
    let found = names.iter().find_map(|name| schema["$defs"][name]["properties"].as_object());
    let keys = found.expect("a record of the schema").keys();
    keys.filter(|key| *key != "when").cloned().collect()
}

/// The same with a few words for lists of all steps and all actions, which are long: a new one changes no snapshot.
fn folded(mut text: String) -> String {
    for record in ["step", "operation", "action"] {
        for end in ["`", ":`"] {
            let list: Vec<String> = keys_of(record).iter().map(|key| format!("`{key}{end}")).collect();
            text = text.replace(&list.join(", "), &format!("[each key of `{record}`]"));
        }
    }
    text
}

#[test]
fn all_steps_are_named_where_none_is_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let scenario = folder.path().join("scenario.yaml");
    let world = "links: { l: { ends: { client: {}, server: {} } } }";
    std::fs::write(&scenario, format!("title: x\nabout: x\n{world}\nsteps: [{{}}, connect]\n")).expect("a file");
    let found = refused(&scenario).to_string();
    let missing = |key: &String| !found.contains(&format!("`{key}`")) || !found.contains(&format!("`{key}:`"));
    let keys = keys_of("step");
    assert_eq!(keys.into_iter().filter(missing).collect::<Vec<_>>(), Vec::<String>::new(), "{found}");
}

#[test]
fn bad_files_are_explained() {
    let _guard = snapshots_in("bad").bind_to_scope();
    for file in fixtures("bad") {
        let name = file.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        insta::assert_snapshot!(name, folded(refused(&file).to_string()));
    }
}

#[test]
fn each_topology_makes_a_world() {
    for file in fixtures("topologies") {
        let name = file.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("topologies")).expect("a folder");
        std::fs::copy(&file, folder.path().join(format!("topologies/{name}.yaml"))).expect("a copy");
        let scenario = folder.path().join("scenario.yaml");
        std::fs::write(
            &scenario,
            format!("title: x\nabout: x\ntopology: {name}\nexpect: {{ endpoints: {{ client: [] }} }}\n"),
        )
        .expect("a file");
        let world = &load(&scenario)[0].world;
        assert!(!world.links.is_empty());
        let namespaces = match name {
            "chain" => 4,
            "multihomed" => 5,
            _ => 2,
        };
        assert_eq!(world.namespaces.len(), namespaces, "{name}");
    }
}

#[test]
fn a_topology_is_read_as_a_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("topologies")).expect("a folder");
    let topology = "title: [one, two]\nabout: ''\nlinks:\n  link1: { ends: { client: {}, server: {} } }\n";
    std::fs::write(folder.path().join("topologies/bad.yaml"), topology).expect("a file");
    let scenario = folder.path().join("scenario.yaml");
    let text = "title: x\nabout: x\ntopology: bad\nexpect: { endpoints: { client: [], router: [] } }\n";
    std::fs::write(&scenario, text).expect("a file");
    let found = refused(&scenario).to_string();
    let errors: Vec<&str> = found.lines().filter(|line| line.starts_with("error")).collect();
    let expected =
        ["error: there is no namespace `router`", "error: expected a single value", "error: the text is empty"];
    assert_eq!(errors, expected, "{found}");
}

/// The model in words, each place on one line.
fn model(scenario: &Scenario) -> String {
    let mut scenario = scenario.clone();
    scenario.sources.clear();
    scenario.kernel_variants.forms.clear();
    let text = format!("{scenario:#?}");
    let mut lines = Vec::new();
    let mut place: Option<Vec<&str>> = None;
    for line in text.lines() {
        let word = line.trim();
        if word.ends_with("Place {") {
            lines.push(line.trim_end_matches('{').to_owned());
            place = Some(Vec::new());
        } else if let Some(numbers) = &mut place {
            if word.starts_with('}') {
                let last = lines.last_mut().expect("the line before");
                last.push_str(&numbers.join(" "));
                last.push_str(word.trim_start_matches('}'));
                place = None;
            } else if word.starts_with("line") || word.starts_with("column") || word.starts_with("source") {
                numbers.push(word.trim_end_matches(','));
            }
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n")
}

#[test]
fn every_key_says_what_it_means() {
    go_to_root();
    let variants = load(Path::new("fixtures/good/every-key.yaml"));
    let labels: Vec<_> = variants.iter().map(Scenario::label).collect();
    let expected = ["ipv4-checksum-0", "ipv4-checksum-1", "ipv6-checksum-0", "ipv6-checksum-1"];
    assert_eq!(labels, expected.map(|label| format!("fixtures/good/every-key@{label}")));
    let _guard = snapshots_in("good").bind_to_scope();
    insta::assert_snapshot!("every-key", model(&variants[0]));
}

#[test]
fn a_recordings_sources_give_the_same_scenario() {
    for file in fixtures("good") {
        for scenario in load(&file) {
            let again = scenario::load_sources(&scenario.file, scenario.variant.as_deref(), &scenario.sources);
            let again = again.unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
            assert_eq!(format!("{scenario:?}"), format!("{again:?}"));
        }
    }
}

#[test]
fn a_scenario_has_a_form_for_each_kind_of_kernel() {
    go_to_root();
    let scenario = &load(Path::new("fixtures/good/kernels.yaml"))[0];
    let words: Vec<_> = scenario.kernel_variants.asked.iter().map(Feature::word).collect();
    assert_eq!(words, ["listener_events", "laminar", "endpoint_errnos"]);
    assert_eq!(scenario.kernel_variants.forms.len(), 7, "one for each other combination");
    let without = |word: &str| model(scenario.on_kernel(|feature| feature.word() == word).scenario());
    let full = without("");
    assert_eq!(full, model(scenario));
    let differs = |word: &str, there: &str, otherwise: &str| {
        let form = without(word);
        assert!(full.contains(there) && !form.contains(there), "without {word}: {there}");
        assert!(form.contains(otherwise) && !full.contains(otherwise), "without {word}: {otherwise}");
    };
    differs("endpoint_errnos", "\"EEXIST\"", "\"EINVAL\"");
    differs("laminar", "10.0.2.3", "range: 0..=0");
    let form = without("listener_events");
    assert!(full.contains("kind: ListenerCreated") && !form.contains("kind: ListenerCreated"), "{form}");
    let steps = |form: &Scenario| form.steps.len();
    let both =
        scenario.on_kernel(|feature| ["laminar", "endpoint_errnos"].contains(&feature.word().as_str())).scenario();
    let errnos = scenario.on_kernel(|feature| feature.word() == "endpoint_errnos").scenario();
    assert_eq!((steps(scenario), steps(both), steps(errnos)), (4, 4, 5), "both conditions of a step must hold");
}

#[test]
fn a_place_of_a_scenario_can_be_shown() {
    go_to_root();
    let scenario = &load(Path::new("fixtures/good/fullmesh.yaml"))[0];
    let place = scenario.expect.counters[1].place;
    insta::assert_snapshot!(scenario::snippet(scenario, place, "expected 4, observed 3", false), @r"
      --> fixtures/good/fullmesh.yaml:40:39
       |
    40 |     server: { MPTcpExtMPJoinSynRx: 4, MPTcpExtMPJoinAckRx: 4 }
       |                                       ^^^^^^^^^^^^^^^^^^^ expected 4, observed 3
    ");
}

#[test]
fn the_schema_is_up_to_date() {
    go_to_root();
    let written = std::fs::read_to_string("fixtures/scenario.schema.json").expect("the schema");
    let made = format!("{}\n", serde_json::to_string_pretty(&scenario::json_schema()).expect("JSON"));
    assert!(written == made, "the schema is out of date: cargo run -- schema > fixtures/scenario.schema.json");
}

/// The YAML blocks of the language reference, with the lines at which they begin.
fn examples(text: &str) -> Vec<(usize, String)> {
    let mut examples = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        match &mut open {
            None if line == "```yaml" => open = Some((index + 2, String::new())),
            None => {}
            Some(_) if line == "```" => examples.extend(open.take()),
            Some((_, block)) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    examples
}

/// Makes a whole scenario of an example that is only a part of one.
fn complete(example: &str) -> String {
    let connect = "  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }\n";
    let has = |key: &str| example.lines().any(|line| line.starts_with(key));
    if has("title:") {
        return example.to_owned();
    }
    let mut text = "title: an example\nabout: A part of the reference.\n".to_owned();
    if !has("links:") && !has("topology:") {
        text.push_str("topology: four-links\n");
    }
    if example.starts_with("- ") {
        text.push_str("steps:\n");
        if !example.contains("name: main") {
            text.push_str(connect);
        }
        text.extend(example.lines().map(|line| format!("  {line}\n")));
        return text;
    }
    if !has("steps:") {
        text.push_str("steps:\n");
        text.push_str(connect);
    }
    text + example
}

#[test]
fn the_examples_of_the_reference_are_right() {
    go_to_root();
    let reference = std::fs::read_to_string("scenarios/README.md").expect("the reference");
    let examples = examples(&reference);
    assert!(examples.len() > 12, "{}", examples.len());
    let folder = tempfile::tempdir().expect("a folder");
    let topologies = folder.path().join("topologies");
    std::fs::create_dir(&topologies).expect("a folder");
    for file in fixtures("topologies") {
        std::fs::copy(&file, topologies.join(file.file_name().expect("a name"))).expect("a copy");
    }
    for (line, example) in examples {
        let path = folder.path().join("example.yaml");
        std::fs::write(&path, complete(&example)).expect("a file");
        if let Err(diagnostics) = scenario::load(&path) {
            panic!("scenarios/README.md:{line}\n{diagnostics}");
        }
    }
}

#[test]
fn files_that_are_no_files_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let message = |path: &Path| refused(path).iter().map(|one| one.message().to_owned()).collect::<Vec<_>>().join("; ");
    assert!(message(&folder.path().join("none.yaml")).contains("No such file"));
    assert!(message(folder.path()).contains("folder"));
    assert!(message(Path::new("/dev/zero")).contains("it is a device, not a regular file"));

    let large = folder.path().join("large.yaml");
    let mut file = std::fs::File::create(&large).expect("a file");
    file.write_all(&vec![b'#'; 10 << 20]).expect("10 MiB");
    let start = Instant::now();
    assert!(message(&large).contains("10485760 bytes"));
    assert!(start.elapsed() < Duration::from_secs(1), "the file was read");
}

/// A run has its time, whatever the scenario says: what takes longer for certain is refused, at the step that is too much.
#[test]
fn quiet_periods_that_no_run_has_time_for_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("long.yaml");
    let head = "title: long\nabout: x\nnamespaces: { client: {} }\nsteps:\n";
    let diagnostics = |steps: usize| {
        std::fs::write(&path, format!("{head}{}", "  - quiet: 10 min\n".repeat(steps))).expect("a file");
        scenario::load(&path).err().map(|all| all.iter().map(|one| one.message().to_owned()).collect::<Vec<_>>())
    };
    let message = "the quiet periods up to this step take 2400 s; a run may take at most 1800 s";
    assert_eq!(diagnostics(9_000), Some(vec![message.to_owned()]));
    assert_eq!(diagnostics(3), None);
}

/// The most that can be written into a file of 1 MiB is dealt with in bounded time, and not with one line for each.
#[test]
fn many_errors_are_counted_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("many.yaml");
    let mut text = "title: many\nabout: x\nnamespaces: { client: {} }\nsteps:\n".to_owned();
    for _ in 0..9_000 {
        text.push_str("  - set_limits: { in: clinet, subflow: x }\n");
    }
    std::fs::write(&path, text).expect("a file");
    let diagnostics = refused(&path);
    let rendered = diagnostics.to_string();
    assert!(diagnostics.len() >= 1_000);
    assert!(rendered.contains("more\n"), "{}", rendered.len());
    assert!(rendered.lines().count() < 2_000);
}

/// Too many steps are refused as such.
#[test]
fn forty_thousand_steps_are_enough() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("steps.yaml");
    for (steps, accepted) in [(40_000, true), (40_001, false)] {
        let mut text = "title: steps\nabout: x\nnamespaces: { client: {} }\nsteps:\n".to_owned();
        text.push_str(&"  - quiet: 10 ms\n".repeat(steps));
        std::fs::write(&path, text).expect("a file");
        assert_eq!(scenario::load(&path).is_ok(), accepted, "{steps}");
    }
}

/// Nothing is written out before it is known how much it becomes.
#[test]
fn a_small_file_that_becomes_large_is_refused_at_once() {
    go_to_root();
    let begin = Instant::now();
    let diagnostics = refused(Path::new("fixtures/bad/written-out.yaml"));
    assert!(diagnostics.to_string().contains("more than 500000 values"), "{diagnostics}");
    assert!(begin.elapsed() < Duration::from_secs(5), "it was written out");
}

/// Each event is tried with each branch.
#[test]
fn an_any_order_has_a_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("any.yaml");
    for (branches, accepted) in [(1_000, true), (1_001, false)] {
        let text = format!(
            "title: any\nabout: x\nnamespaces: {{ client: {{}} }}\nexpect: {{ events: {{ client: [any_order: [{}]] }} }}\n",
            "created, ".repeat(branches)
        );
        std::fs::write(&path, text).expect("a file");
        assert_eq!(scenario::load(&path).is_ok(), accepted, "{branches}");
    }
}

/// A text with some of its parts removed, doubled or replaced.
fn mutated(text: &'static str) -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0_usize..40, prop::option::of("[ -~\n]{0,8}"), any::<bool>());
    prop::collection::vec(edit, 1..6).prop_map(move |edits| {
        let mut text: Vec<char> = text.chars().collect();
        for (at, length, insert, double) in edits {
            let at = at.index(text.len().max(1));
            let end = (at + length).min(text.len());
            let cut: Vec<char> = text.drain(at..end).collect();
            let mut replacement: Vec<char> = insert.unwrap_or_default().chars().collect();
            if double {
                replacement.extend(cut.repeat(2));
            }
            text.splice(at..at, replacement);
        }
        text.into_iter().collect()
    })
}

/// Loads, and renders what is said about it.
fn survives(text: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("any.yaml");
    std::fs::write(&path, text).expect("a file");
    if let Err(diagnostics) = scenario::load(&path) {
        assert!(!diagnostics.is_empty());
        diagnostics.render(true);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survives(&bytes);
    }

    #[test]
    fn any_text_is_survived(text in "[a-z:{}\\[\\],\"'&*!|>#$\n -]{0,200}") {
        survives(text.as_bytes());
    }

    #[test]
    fn mutated_scenarios_are_survived(text in mutated(include_str!("../../../fixtures/good/every-key.yaml"))) {
        survives(text.as_bytes());
        let topology = include_str!("../../../fixtures/topologies/two-links.yaml");
        let sources = [("any.yaml", text.as_str()), ("two-links.yaml", topology)]
            .map(|(name, text)| mptcplab::recording::SourceText { name: name.to_owned(), text: text.to_owned() });
        if let Err(diagnostics) = scenario::load_sources(Path::new("any.yaml"), None, &sources) {
            diagnostics.render(false);
        }
    }
}

/// All YAML files of the repository.
fn all_files() -> Vec<(PathBuf, String)> {
    go_to_root();
    let mut folders = vec![PathBuf::from(".")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() && !path.is_symlink() {
                let skipped = ["./target", "./.git"].iter().any(|other| path == Path::new(other));
                folders.extend((!skipped).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
                // One fixture is no text.
                files.extend(std::fs::read_to_string(&path).ok().map(|text| (path, text)));
            }
        }
    }
    files.sort();
    assert!(files.len() > 300, "{}", files.len());
    files
}

/// Is about old words.
fn has_old_words(path: &Path) -> bool {
    path.ends_with("fixtures/bad/old-words.yaml") || path.ends_with("fixtures/bad/old-words-in-variables.yaml")
}

/// `ci/yaml-1.1` says the same with a reader of YAML 1.1.
#[test]
fn readers_of_yaml_1_1_and_1_2_read_the_same_in_each_file() {
    for (path, text) in all_files() {
        let rewritten = scenario::fix(&path, &text);
        assert_eq!(rewritten.changes > 0, has_old_words(&path), "{}", path.display());
        if rewritten.changes == 0 {
            assert_eq!(rewritten.text, text, "{}", path.display());
        }
    }
}

/// The text with those of its words in their old spelling for which `old` says so, and how many these are.
fn old_spelling(text: &str, mut old: impl FnMut() -> bool) -> (String, usize) {
    const WORDS: [(&str, &str, &str); 5] = [
        ("", "connection: ", "on: "),
        ("", "timeout: ", "deadline: "),
        ("", "exclusive: ", "alone: "),
        (": ", "true", "on"),
        (": ", "false", "off"),
    ];
    let (mut spelled, mut count, mut apart) = (String::new(), 0, false);
    for line in text.split_inclusive('\n') {
        let mut at = 0;
        // Prose, and values of variables.
        let begins = line.starts_with("matrix:") || line.starts_with("about:");
        apart = begins || (apart && (line.starts_with(' ') || line.trim().is_empty()));
        while let Some(rest) = line.get(at..).filter(|rest| !rest.is_empty()) {
            let before = &line[..at];
            let ends_a_key = before.ends_with(": ") && !before.ends_with("all: ") && !before.contains('#');
            let begins_a_key = before.ends_with("{ ") || before.ends_with(", ") || before.trim().is_empty();
            let found = WORDS.iter().find(|(place, word, _)| {
                let after = rest.get(word.len()..).unwrap_or_default();
                let whole = place.is_empty() || after.starts_with([' ', ',', '\n']);
                rest.starts_with(word) && whole && if place.is_empty() { begins_a_key } else { ends_a_key }
            });
            match found {
                Some((_, word, other)) if !apart && old() => {
                    spelled.push_str(other);
                    at += word.len();
                    count += 1;
                }
                _ => {
                    let next = rest.chars().next().map_or(1, char::len_utf8);
                    spelled.push_str(&rest[..next]);
                    at += next;
                }
            }
        }
    }
    (spelled, count)
}

#[test]
fn a_fix_of_each_file_in_its_old_spelling_is_the_file() {
    let mut all = 0;
    for (path, text) in all_files() {
        if path.starts_with("./fixtures/bad") || path.starts_with("./.github") {
            continue;
        }
        let (old, count) = old_spelling(&text, || true);
        let rewritten = scenario::fix(&path, &old);
        assert_eq!(rewritten.text, text, "{}", path.display());
        assert_eq!(rewritten.changes, count, "{}", path.display());
        all += count;
    }
    assert!(all > 1_500, "{all}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whichever words of a file are old, whatever else is in it: comments and layout stay.
    #[test]
    fn a_fix_changes_old_words_and_nothing_else(mask: u64, comment in "[ -~é]{0,20}", windows: bool) {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/good/every-key.yaml"));
        let text = format!("# {comment}\n{}\n# {comment}", text.expect("the fixture"));
        let text = if windows { text.replace('\n', "\r\n") } else { text };
        let mut bits = mask;
        let (old, count) = old_spelling(&text, || {
            bits = bits.rotate_left(1);
            bits & 1 == 1
        });
        let rewritten = scenario::fix(Path::new("x.yaml"), &old);
        prop_assert_eq!(&rewritten.text, &text);
        prop_assert_eq!(rewritten.changes, count);
        prop_assert_eq!(scenario::fix(Path::new("x.yaml"), &text).changes, 0);
    }
}

#[test]
fn what_a_fix_can_say_it_says_and_leaves_the_rest() {
    go_to_root();
    let path = Path::new("fixtures/bad/old-words.yaml");
    let fixed = scenario::fix(path, &std::fs::read_to_string(path).expect("the fixture"));
    insta::assert_snapshot!(fixed.text, @r#"
    title: "on"
    about: Words that were renamed, and plain scalars that YAML 1.1 reads in another way.
    exclusive: true
    topology: one-link
    steps:
      - connect: { name: main, from: client, to: server, address: 10.0.1.1, handshake: false, port: "010" }
      - transfer: { connection: main, each_way: 1 KiB, timeout: 2 s } # a comment
      - transfer: { on: main, connection: main, each_way: 1 KiB }
      - repeat: { variable: "n", from: 1, to: 2, steps: [get_endpoint: { in: client, id: $n }] }
      - close: { connection: main, by: client }
    expect:
      events: { client: { partial: true, list: [created: { connection: main, server_side: false }] } }
      subflows: { "on": { client: [{ backup: { when: tbf, is: true, else: false } }] } }
    "#);
    let again = scenario::fix(path, &fixed.text);
    assert_eq!((again.changes, &again.text), (0, &fixed.text));
    let kernels = scenario::fix(Path::new("k.yaml"), "paths: [a]\nkernels: [{ name: off, image: b, kvm: off }]\n");
    assert_eq!(kernels.text, "paths: [a]\nkernels: [{ name: \"off\", image: b, kvm: false }]\n");
    assert_eq!(kernels.kind, scenario::FileKind::Kernels);
}

/// Recordings of format 1 have the words that the language had then.
#[test]
fn recordings_of_format_1_are_judged_as_those_of_today() {
    go_to_root();
    let stored = std::fs::read("fixtures/fuzz/recording.jsonl").expect("a recording");
    let mut recording = mptcplab::recording::read(stored.as_slice()).expect("a recording");
    assert_eq!(recording.header.format, 1);
    let judged = |recording: &mptcplab::recording::Recording| {
        let scenario = recording.header.scenario().unwrap_or_else(|errors| panic!("{errors}"));
        let verdict = mptcplab::judge::judge(&scenario, recording);
        format!("{verdict:?}\n{}", mptcplab::judge::canonical(&scenario, recording))
    };
    let old = judged(&recording);
    recording.header.format = mptcplab::recording::FORMAT;
    let errors = recording.header.scenario().expect_err("old words").to_string();
    assert!(errors.contains("`on` was renamed: write `connection`"), "{errors}");
    for source in &mut recording.header.sources {
        source.text = scenario::fix(Path::new("x.yaml"), &source.text).text;
    }
    assert_eq!(judged(&recording), old);
    let text = String::from_utf8(stored).expect("text").replace("\"format\":1", "\"format\":3");
    let error = mptcplab::recording::read(text.as_bytes()).expect_err("a format from the future").to_string();
    assert!(error.contains("unknown format 3") && error.ends_with("reads formats 1 to 2"), "{error}");
}
