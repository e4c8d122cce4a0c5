//! Whatever stands in a file that mptcplab reads, it neither panics nor takes more time or memory than it may: inputs
//! are made of the files of the repository by damaging them, with structure (lines, words, numbers, nesting) and without
//! (bytes).
//!
//! `MPTCPLAB_FUZZ=100000` sets how many inputs of each kind are tried, `MPTCPLAB_FUZZ_SEED=1` where the sequence begins.
//! An input that fails is left in `target/tmp`, and its number is told.

#![expect(clippy::unwrap_used, reason = "a test may fail like this")]
#![allow(unsafe_code, reason = "an allocator that counts is the one way to see how much is allocated")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mptcplab::recording::Recording;
use mptcplab::report::Style;
use mptcplab::scenario::SourceText;
use mptcplab::{import, judge, recording, reference, report, results, scenario};
use nix::time::{ClockId, clock_gettime};

/// The most time of the processor that an input may take. The slowest of them, with debug assertions, take a tenth of it.
const MOST_TIME: Duration = Duration::from_secs(5);
/// The most memory that an input may take on top of what was there.
const MOST_BYTES: usize = 300 << 20;
/// No damaged file is longer: files of 1 MiB have tests of their own.
const LONGEST: usize = 256 << 10;
/// How many inputs of each kind are tried, unless the environment says otherwise.
const USUAL: u64 = 60;

/// Counts what the calling thread has allocated.
struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// Beyond this the allocator refuses, and the test ends: before the machine does.
const ALL_BOUNDS: usize = 2 << 30;

/// Counts, and says how much it is by now.
fn allocated(bytes: usize) -> usize {
    // The storage of a thread that ends is gone; nothing is measured there.
    let now = NOW.try_with(|now| now.replace(now.get().wrapping_add(bytes)).wrapping_add(bytes)).unwrap_or(0);
    let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now)));
    now
}

fn freed(bytes: usize) {
    let _ = NOW.try_with(|now| now.set(now.get().saturating_sub(bytes)));
}

// SAFETY: each call goes to the system's allocator as it is; counting touches nothing but two thread-local numbers, which
// don't allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if allocated(layout.size()) > ALL_BOUNDS {
            freed(layout.size());
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        freed(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A sequence of numbers that a seed decides (splitmix64).
struct Chance(u64);

impl Chance {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.number() % u64::try_from(most.max(1)).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Words that mean something to a reader of YAML, of JSON, or of the language.
const WORDS: [&str; 44] = [
    "&a",
    "*a",
    "<<:",
    "!!str",
    "!x",
    "---",
    "...",
    "|",
    ">",
    "{",
    "}",
    "[",
    "]",
    "{}",
    "[]",
    ": ",
    "- ",
    "#",
    "\"",
    "'",
    "\\",
    "\\u0000",
    "$",
    "$$",
    "$n",
    "${n}",
    "null",
    "~",
    "true",
    "when: laminar",
    "is:",
    "else:",
    "repeat:",
    "any_order:",
    "matrix:",
    "\t",
    "\r\n",
    "\u{feff}",
    "\u{2028}",
    "\u{85}",
    "\u{1b}[31m",
    "\u{202e}",
    "é",
    "𐍈",
];

/// Numbers at the edges.
const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "255",
    "256",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "1e308",
    "0x7fffffff",
    ">=0",
    "0.1",
];

/// A file with some damage.
fn damaged(chance: &mut Chance, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = chance.pick(corpus).clone();
    for _ in 0..=chance.below(6) {
        damage(chance, corpus, &mut bytes);
        // Each time: lines that are multiplied several times over would take all memory before the file is ready.
        bytes.truncate(LONGEST);
    }
    bytes
}

fn damage(chance: &mut Chance, corpus: &[Vec<u8>], bytes: &mut Vec<u8>) {
    let at = chance.below(bytes.len() + 1);
    let end = (at + chance.below(40)).min(bytes.len());
    match chance.below(12) {
        0 => bytes.truncate(at),
        1 => _ = bytes.drain(at..end),
        2 => bytes.splice(at..end, (0..chance.below(8)).map(|_| 0).collect::<Vec<u8>>()).for_each(drop),
        3 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
        }
        4 => insert(bytes, at, chance.pick(&WORDS).as_bytes()),
        5 => replace_number(chance, bytes, at),
        6 => {
            let open = *chance.pick(&["[", "{", "[{a: ", "- ", "{\"a\":", "\n  "]);
            insert(bytes, at, open.repeat(1 + chance.below(2_000)).as_bytes());
        }
        7 => {
            let part = bytes[at..end].to_vec();
            insert(bytes, at, &part.repeat(1 + chance.below(500)));
        }
        8 => lines(chance, bytes),
        9 => {
            let other = chance.pick(corpus);
            let from = chance.below(other.len() + 1);
            let to = (from + chance.below(400)).min(other.len());
            insert(bytes, at, &other[from..to]);
        }
        10 => {
            let noise: Vec<u8> = (0..chance.below(16)).map(|_| chance.number().to_le_bytes()[0]).collect();
            insert(bytes, at, &noise);
        }
        _ => insert(bytes, at, "long ".repeat(chance.below(10_000)).as_bytes()),
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    bytes.splice(at..at, new.iter().copied()).for_each(drop);
}

/// The next number in the text becomes another one.
fn replace_number(chance: &mut Chance, bytes: &mut Vec<u8>, at: usize) {
    let Some(start) = bytes.iter().skip(at).position(u8::is_ascii_digit).map(|offset| at + offset) else { return };
    let length = bytes.iter().skip(start).take_while(|byte| byte.is_ascii_digit()).count();
    let number = chance.pick(&NUMBERS).as_bytes().to_vec();
    bytes.splice(start..start + length, number).for_each(drop);
}

/// A line goes elsewhere, is left out, or comes many times.
fn lines(chance: &mut Chance, bytes: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if lines.is_empty() {
        return;
    }
    let (from, to) = (chance.below(lines.len()), chance.below(lines.len()));
    match chance.below(3) {
        0 => lines.swap(from, to),
        1 => _ = lines.remove(from),
        _ => {
            let many = vec![lines[from].clone(); 1 + chance.below(300)];
            lines.splice(to..to, many).for_each(drop);
        }
    }
    *bytes = lines.concat();
}

/// All files with that ending below some folders of the repository.
fn corpus(folders: &[&str], ending: &str) -> Vec<Vec<u8>> {
    fn collect(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, ending, found);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders {
        collect(&root().join(folder), ending, &mut found);
    }
    found.sort();
    assert!(!found.is_empty(), "{folders:?}");
    found.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

/// Says which input it was if a panic ends the test, and leaves it for another look.
struct Witness<'a> {
    kind: &'a str,
    seed: u64,
    input: &'a [u8],
}

impl Witness<'_> {
    fn keep(&self) -> PathBuf {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}-{}", self.kind, self.seed));
        fs::write(&path, self.input).unwrap();
        path
    }
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = self.keep();
            #[expect(clippy::print_stderr, reason = "a test tells why it failed")]
            {
                eprintln!("the input is {}: MPTCPLAB_FUZZ=1 MPTCPLAB_FUZZ_SEED={}", path.display(), self.seed);
            }
        }
    }
}

/// The time of the processor that this thread has taken: what others do on the machine doesn't count.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// Tries as many damaged files as were asked for.
fn fuzz(kind: &str, corpus: &[Vec<u8>], mut survives: impl FnMut(&[u8])) {
    let (count, first) = (environment("MPTCPLAB_FUZZ", USUAL), environment("MPTCPLAB_FUZZ_SEED", 0));
    let (mut slowest, mut largest) = (Duration::ZERO, 0);
    for seed in first..first + count {
        let input = damaged(&mut Chance(seed), corpus);
        let witness = Witness { kind, seed, input: &input };
        let (began, before) = (processor_time(), NOW.get());
        PEAK.set(before);
        survives(&input);
        let (took, peak) = (processor_time().saturating_sub(began), PEAK.get() - before);
        assert!(took < MOST_TIME, "{kind} {seed} took {took:?}");
        assert!(peak < MOST_BYTES, "{kind} {seed} took {peak} bytes");
        (slowest, largest) = (slowest.max(took), largest.max(peak));
        drop(witness);
    }
    #[expect(clippy::print_stderr, reason = "shown with --nocapture")]
    {
        eprintln!("{kind}: {count} inputs, at most {slowest:?} and {} KiB", largest >> 10);
    }
}

/// A folder with the topologies of the repository, for scenarios.
fn workshop() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let topologies = folder.path().join("topologies");
    fs::create_dir(&topologies).unwrap();
    for entry in fs::read_dir(root().join("fixtures/topologies")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, topologies.join(path.file_name().unwrap())).unwrap();
    }
    folder
}

#[test]
fn scenarios() {
    let folder = workshop();
    let path = folder.path().join("any.yaml");
    fuzz("scenario", &corpus(&["scenarios", "fixtures/good", "fixtures/bad"], ".yaml"), |input| {
        fs::write(&path, input).unwrap();
        match scenario::load(&path) {
            Ok(scenarios) => assert!(!scenarios.is_empty()),
            Err(diagnostics) => assert!(!diagnostics.render(true).is_empty()),
        }
    });
}

/// Judges a recording by the scenario in it, as `judge` does, and tells its story.
fn judged(recording: &Recording) {
    let Ok(scenario) = recording.header.scenario() else { return };
    judge::judge(&scenario, recording);
    judge::canonical(&scenario, recording);
    let decided = reference::consult(&scenario, recording);
    report::explanation(&scenario, recording, &decided, report::Style::default());
    report::story(&scenario, recording, Style::default());
}

#[test]
fn recordings() {
    fuzz("recording", &corpus(&["fixtures/fuzz"], ".jsonl"), |input| {
        if let Ok(read) = recording::read(input) {
            judged(&read);
            let mut written = Vec::new();
            recording::write(&read, &mut written).unwrap();
            assert_eq!(recording::read(written.as_slice()).unwrap(), read);
        }
    });
}

/// Most damaged recordings can't be read. Those of which whole lines are missing, double or in another order can.
#[test]
fn recordings_of_damaged_lines() {
    let text = corpus(&["fixtures/fuzz"], ".jsonl").concat();
    let whole: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    fuzz("lines", &[Vec::new()], |input| {
        let seed = input.iter().fold(input.len() as u64, |seed, byte| seed.rotate_left(8) ^ u64::from(*byte));
        let mut chance = Chance(seed);
        let mut lines = whole.clone();
        for _ in 0..=chance.below(20) {
            let (from, to) = (1 + chance.below(lines.len() - 1), 1 + chance.below(lines.len() - 1));
            match chance.below(3) {
                0 => lines.swap(from, to),
                1 if lines.len() > 2 => _ = lines.remove(from),
                _ => lines.insert(to, lines[from]),
            }
        }
        judged(&recording::read(lines.concat().as_slice()).unwrap());
    });
}

#[test]
fn stored_results() {
    let folder = tempfile::tempdir().unwrap();
    let texts = folder.path().join("scenarios");
    fs::create_dir(&texts).unwrap();
    let stored = root().join("fixtures/fuzz/results/scenarios");
    for entry in fs::read_dir(stored).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, texts.join(path.file_name().unwrap())).unwrap();
    }
    let index = corpus(&["fixtures/fuzz/results"], ".json");
    fs::write(folder.path().join("results.json"), &index[0]).unwrap();
    assert_eq!(results::read(folder.path()).unwrap().scenarios.len(), 2);
    fuzz("results", &index, |input| {
        fs::write(folder.path().join("results.json"), input).unwrap();
        if let Err(error) = results::read(folder.path()) {
            assert!(!error.to_string().is_empty());
        }
    });
}

#[test]
fn kernels_lists() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernels.yaml");
    fuzz("kernels", &corpus(&["fixtures"], "kernels.yaml"), |input| {
        fs::write(&path, input).unwrap();
        if let Err(diagnostics) = scenario::load_kernels(&path) {
            assert!(!diagnostics.render(false).is_empty());
        }
    });
}

#[test]
fn snapshots() {
    let folder = workshop();
    let path = folder.path().join("any.yaml");
    let text = "title: t\nabout: a\ntopology: two-links\nexpect: { endpoints: { client: [] } }\n";
    fs::write(&path, text).unwrap();
    let scenario = &scenario::load(&path).unwrap()[0];
    let snapshot = judge::snapshot_path(scenario);
    fs::create_dir(snapshot.parent().unwrap()).unwrap();
    let corpus = corpus(&["scenarios"], ".snap");
    fuzz("snapshot", &corpus, |input| {
        fs::write(&snapshot, input).unwrap();
        let observed = String::from_utf8_lossy(&corpus[input.len() % corpus.len()]).into_owned();
        judge::snapshot_difference(scenario, &observed);
    });
}

/// Whatever is read of a report, the draft is a scenario without errors.
#[test]
fn reports() {
    fuzz("report", &corpus(&["fixtures/import"], ""), |input| {
        let drafted = import::import(input, input.len().is_multiple_of(2));
        match drafted {
            Ok(draft) => {
                let source = SourceText { name: "draft".to_owned(), text: draft.yaml.clone() };
                if let Err(diagnostics) = scenario::load_sources(Path::new("draft.yaml"), None, &[source]) {
                    panic!("{}\n{}", diagnostics.render(false), draft.yaml);
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
}
