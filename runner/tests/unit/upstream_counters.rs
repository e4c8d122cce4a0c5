//! Each counter that the kernel's `mptcp_join.sh` looks at is asserted by the scenarios that cover the subtest, as
//! tightly as there: `fixtures/upstream/counters-join.txt` lists them.
//!
//! A scenario asserts a counter by its expectations, at the end or in a check step, by its snapshot, or because nothing
//! mentions it: what moves unmentioned fails the run (`judge::checks::accounted`). That one also compares the counters
//! of what was sent with the wire, so for the joins that were tried the snapshot's wire section counts.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use mptcplab::judge::snapshot_path;
use mptcplab::scenario;
use mptcplab::scenario::model::{Action, Expectation, Scenario};

const JOINS: &[&str] = &["MPJoinSynRx", "MPJoinSynAckRx", "MPJoinAckRx", "MPJoinSynTx"];

/// Where the value that a scenario asserts is another one than upstream's: subtests, counters, why.
const DIFFERS: &[(&[usize], &[&str], &str)] = &[
    (&[7], JOINS, "one endpoint is bound to a device, and one is not, to compare them"),
    (&[47, 48], JOINS, "the second one of 49 and 51 is added in the same scenario"),
    (&[48], &["EchoAdd"], "the second address of 51 is added in the same scenario"),
    (&[76], &["MPPrioRx"], "the endpoint is changed back"),
    (&[92, 93, 94, 95], JOINS, "a subflow shows that joins carry no checksum bit of their own"),
    (&[107, 109], JOINS, "the endpoint is changed back"),
    (&[107, 109], &["RmSubflow", "MPPrioRx"], "the endpoint is changed back"),
    (&[30], &["EchoAddTx"], "an echo that finds the option's slot taken is dropped, and none is awaited"),
];

const FALLBACKS: [&str; 7] = [
    "MPTcpExtDSSCorruptionFallback",
    "MPTcpExtSimultConnectFallback",
    "MPTcpExtMPCapableFallbackACK",
    "MPTcpExtMPCapableFallbackSYNACK",
    "MPTcpExtMPCapableDataFallback",
    "MPTcpExtMD5SigFallback",
    "MPTcpExtDssFallback",
];

type Range = RangeInclusive<u64>;

/// What upstream wants of one counter.
#[derive(Debug, Clone)]
struct Wanted {
    sides: Vec<&'static str>,
    name: String,
    less: Option<String>,
    range: Range,
    /// In a check step, rather than at the end.
    during: bool,
}

impl Wanted {
    fn of(side: &'static str, name: &str) -> Self {
        Self { sides: vec![side], name: name.to_owned(), less: None, range: 0..=0, during: false }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn lines(name: &str) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(root().join("fixtures/upstream").join(name)).expect("a list");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (number, rest) = line.split_once(" | ").unwrap_or_else(|| panic!("{name}: `{line}`"));
            (number.parse().expect("a number in the first column"), rest.to_owned())
        })
        .collect()
}

/// What one word of a line, with its numbers, says about counters.
struct Words<'a> {
    word: &'a str,
    numbers: Vec<u64>,
    flags: Vec<&'a str>,
    /// S and C.
    ends: (&'static str, &'static str),
    wanted: Vec<Wanted>,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        let mut words = text.split([' ', '/']);
        let word = words.next().expect("a word");
        let (mut numbers, mut flags) = (Vec::new(), Vec::new());
        for word in words {
            match (word, word.parse()) {
                ("*", _) => numbers.push(u64::MAX),
                (_, Ok(number)) => numbers.push(number),
                _ => flags.push(word),
            }
        }
        let ends = if flags.contains(&"invert") { ("client", "server") } else { ("server", "client") };
        Self { word, numbers, flags, ends, wanted: Vec::new() }
    }

    fn number(&self, index: usize) -> u64 {
        *self.numbers.get(index).unwrap_or_else(|| panic!("`{}` lacks a number", self.word))
    }

    fn flag(&self, name: &str, default: u64) -> u64 {
        let value = self.flags.iter().find_map(|flag| flag.strip_prefix(name)?.strip_prefix('='));
        value.map_or(default, |value| value.parse().expect("a number after ="))
    }

    fn want(&mut self, side: &'static str, name: &str, range: Range) {
        let name = format!("MPTcpExt{name}");
        self.wanted.push(Wanted { sides: vec![side], name, less: None, range, during: false });
    }

    fn exactly(&mut self, side: &'static str, name: &str, value: u64) {
        self.want(side, name, value..=value);
    }

    /// At least so often, or not at all.
    fn at_least(&mut self, side: &'static str, name: &str, value: u64) {
        self.want(side, name, value..=if value == 0 { 0 } else { u64::MAX });
    }

    fn expand(mut self) -> Vec<Wanted> {
        let (s, c) = self.ends;
        let first = self.numbers.first().copied().unwrap_or(0);
        match self.word {
            "join" => self.join(),
            "add" => {
                self.at_least(c, "AddAddr", first);
                self.exactly(s, "EchoAdd", self.number(1));
                if let Some(ports) = self.numbers.get(2).copied() {
                    self.exactly(c, "PortAdd", ports);
                    self.exactly(s, "MPJoinPortSynRx", ports);
                    self.exactly(c, "MPJoinPortSynAckRx", ports);
                    self.exactly(s, "MPJoinPortAckRx", ports);
                    self.exactly(s, "MismatchPortSynRx", 0);
                    self.exactly(s, "MismatchPortAckRx", 0);
                }
            }
            "addTx" => {
                self.at_least(s, "AddAddrTx", first);
                self.exactly(c, "EchoAddTx", self.number(1));
            }
            "rm" => self.removed(),
            "rmTx" => self.exactly(c, "RmAddrTx", first),
            "prio" => {
                self.exactly(s, "MPPrioTx", first);
                self.exactly(s, "MPPrioRx", self.number(1));
                self.exactly(s, "MPJoinSynBackupRx", self.number(2));
                self.exactly(c, "MPJoinSynAckBackupRx", self.number(3));
            }
            "rst" => {
                self.at_least(s, "MPRstTx", first);
                self.at_least(c, "MPRstRx", self.number(1));
            }
            "fclose" => {
                self.exactly(c, "MPFastcloseTx", first);
                self.exactly(s, "MPFastcloseRx", self.number(1));
            }
            "stale" => {
                self.want("client", "SubflowStale", first..=self.number(1));
                let difference = self.number(2);
                self.exactly("client", "SubflowStale", difference);
                self.wanted.last_mut().unwrap().less = Some("MPTcpExtSubflowRecover".to_owned());
            }
            "estab" => {
                let side = if self.flags.contains(&"C") { "client" } else { "server" };
                self.exactly(side, "MPCurrEstab", 1);
                self.wanted.last_mut().unwrap().during = true;
                self.exactly(side, "MPCurrEstab", 0);
            }
            "endp_attempt" => self.exactly("server", "MPCapableEndpAttempt", first),
            "infinite" => self.infinite(),
            "corrupt" => {
                self.corrupt();
                self.exactly("client", "InfiniteMapTx", 0);
                self.at_least("server", "MPRstTx", 1);
                self.at_least("client", "MPRstRx", 1);
            }
            word => panic!("`{word}` is not known"),
        }
        self.wanted
    }

    fn join(&mut self) {
        let (joins, answers, acks) = (self.number(0), self.number(1), self.number(2));
        self.exactly("server", "MPJoinSynRx", joins);
        let most = if self.flags.contains(&"cookies") { joins } else { answers };
        self.want("client", "MPJoinSynAckRx", answers..=most);
        self.exactly("server", "MPJoinAckRx", acks);
        self.exactly("client", "MPJoinSynAckHMacFailure", 0);
        self.exactly("server", "MPJoinAckHMacFailure", 0);
        self.exactly("client", "MPJoinSynTx", self.flag("syn_tx", joins));
        self.exactly("server", "MPJoinRejected", self.flag("rejected", 0));
        self.exactly("client", "MPJoinSynTxCreatSkErr", 0);
        self.exactly("client", "MPJoinSynTxBindErr", self.flag("bind_err", 0));
        self.exactly("client", "MPJoinSynTxConnectErr", self.flag("connect_err", 0));
        if self.flags.contains(&"fallback") {
            return;
        }
        for side in ["client", "server"] {
            for name in FALLBACKS.iter().chain(&["MPTcpExtInfiniteMapTx"]) {
                self.exactly(side, name.strip_prefix("MPTcpExt").unwrap(), 0);
            }
        }
    }

    fn removed(&mut self) {
        let (s, c) = self.ends;
        let (addresses, subflows) = (self.number(0), self.number(1));
        self.exactly(s, "RmAddr", addresses);
        if self.flags.contains(&"simult") {
            self.want(s, "RmSubflow", subflows..=2 * subflows);
            self.wanted.last_mut().unwrap().sides.push(c);
        } else {
            self.exactly(c, "RmSubflow", subflows);
        }
    }

    fn corrupt(&mut self) {
        self.exactly("server", "DataCsumErr", 1);
        self.exactly("client", "DataCsumErr", 0);
        self.exactly("server", "MPFailTx", 1);
        self.exactly("client", "MPFailRx", 1);
    }

    fn infinite(&mut self) {
        self.corrupt();
        self.exactly("client", "MPFailTx", 1);
        self.want("server", "MPFailRx", 0..=1);
        self.exactly("client", "InfiniteMapTx", 1);
        self.exactly("server", "InfiniteMapRx", 1);
        self.exactly("server", "DssFallback", 1);
        self.exactly("server", "MPRstTx", 0);
        self.exactly("client", "MPRstRx", 0);
    }
}

/// The counters of what was sent, with the option that they count. `judge::checks::accounted` compares both.
const SENT: [(&str, &str); 4] = [
    ("MPTcpExtMPJoinSynTx", "mp_join_syn"),
    ("MPTcpExtAddAddrTx", "add_addr"),
    ("MPTcpExtEchoAddTx", "add_addr_echo"),
    ("MPTcpExtRmAddrTx", "remove_addr"),
];

/// What a scenario asserts.
struct Asserted {
    scenario: Scenario,
    /// The counter sections of its snapshot, by the namespace.
    shown: BTreeMap<String, BTreeMap<String, Option<u64>>>,
    /// How often options are in the wire sections of its snapshot, by side and option.
    sent: BTreeMap<(&'static str, &'static str), u64>,
}

impl Asserted {
    fn by(scenario: Scenario) -> Self {
        let file = root().join(snapshot_path(&scenario));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut asserted = Self { scenario, shown: BTreeMap::new(), sent: BTreeMap::new() };
        let (mut section, mut side) = ("", "client");
        for line in text.lines() {
            match (line.strip_prefix("  "), line.trim()) {
                (None, title) => section = title,
                (Some("from the client:"), _) => side = "client",
                (Some("from the server:"), _) => side = "server",
                (Some(deeper), words) if section.starts_with("wire") => {
                    if deeper.starts_with(' ') {
                        asserted.add_option(side, words);
                    } else {
                        let from = words.split(' ').next().unwrap();
                        side = if from.ends_with(".1") || from.ends_with(":1") { "server" } else { "client" };
                    }
                }
                (Some(_), words) => {
                    let namespace = section.strip_prefix("counters of ").and_then(|rest| rest.strip_suffix(':'));
                    if let (Some(namespace), Some((name, value))) = (namespace, words.split_once(' ')) {
                        let shown = asserted.shown.entry(namespace.to_owned()).or_default();
                        shown.insert(name.to_owned(), value.parse().ok());
                    }
                }
            }
        }
        asserted
    }

    fn add_option(&mut self, side: &'static str, words: &str) {
        let words = words.strip_prefix("> ").unwrap_or(words).replace("mp_join syn ", "mp_join_syn ");
        let option = words.split(' ').next().unwrap();
        if let Some((_, option)) = SENT.iter().find(|(_, sent)| *sent == option) {
            *self.sent.entry((side, option)).or_default() += 1;
        }
    }

    /// All that is said about a counter. Each of it holds.
    fn of(&self, wanted: &Wanted) -> Vec<Range> {
        if wanted.during {
            let checks = self.scenario.steps.iter().filter_map(|step| match &step.action {
                Action::Check(expectation) => said(expectation, wanted),
                _ => None,
            });
            return checks.collect();
        }
        let mut ranges = Vec::from_iter(said(&self.scenario.expect, wanted));
        if wanted.less.is_none() {
            let parts = wanted.sides.iter().map(|side| self.in_snapshot(side, &wanted.name));
            ranges.extend(parts.sum::<Option<u64>>().map(|sum| sum..=sum));
        }
        if let ([side], Some((_, option))) = (&wanted.sides[..], SENT.iter().find(|(name, _)| *name == wanted.name)) {
            let wire = self.scenario.expect.wire.iter();
            let same = wire.filter(|wire| wire.pattern.option == *option && wire.pattern.sender == *side);
            ranges.extend(same.map(|wire| wire.range.clone()));
        }
        ranges
    }

    /// What the snapshot says: repetitions that were seen on the wire don't count. What it doesn't show has not moved.
    fn in_snapshot(&self, side: &'static str, name: &str) -> Option<u64> {
        match (self.shown.get(side).and_then(|shown| shown.get(name)), SENT.iter().find(|(sent, _)| *sent == name)) {
            (Some(value), _) => *value,
            (None, Some((_, option))) => Some(self.sent.get(&(side, option)).copied().unwrap_or(0)),
            (None, None) => match said(&self.scenario.expect, &Wanted::of(side, name)) {
                Some(range) if range.start() == range.end() => Some(*range.start()),
                Some(_) => None,
                None => Some(0),
            },
        }
    }
}

fn said(expectation: &Expectation, wanted: &Wanted) -> Option<Range> {
    let same = expectation.counters.iter().find(|counter| {
        counter.name == wanted.name
            && counter.less == wanted.less
            && counter.namespaces.len() == wanted.sides.len()
            && wanted.sides.iter().all(|side| counter.namespaces.iter().any(|namespace| namespace == side))
    });
    same.map(|counter| counter.range.clone())
}

/// What upstream wants and no scenario of the subtest asserts.
fn faults() -> Vec<String> {
    let mut covering: BTreeMap<usize, Vec<Asserted>> = BTreeMap::new();
    for (number, rest) in lines("join.txt") {
        let files = rest.rsplit(" | ").next().unwrap().split(", ");
        let scenarios = files.flat_map(|file| {
            let (file, variant) = file.split_once('@').map_or((file, None), |(file, variant)| (file, Some(variant)));
            let all = scenario::load(&root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            all.into_iter().filter(move |scenario| variant.is_none() || scenario.variant.as_deref() == variant)
        });
        covering.insert(number, scenarios.map(Asserted::by).collect());
    }
    let mut found = Vec::new();
    for (number, rest) in lines("counters-join.txt") {
        for wanted in rest.split("; ").flat_map(|words| Words::of(words).expand()) {
            let ours: Vec<Range> = covering[&number].iter().flat_map(|scenario| scenario.of(&wanted)).collect();
            let enough = |range: &Range| wanted.range.contains(range.start()) && wanted.range.contains(range.end());
            let differs = DIFFERS.iter().any(|(of, names, _)| {
                of.contains(&number) && names.iter().any(|name| wanted.name.strip_prefix("MPTcpExt") == Some(name))
            });
            if !ours.iter().any(|range| differs || enough(range)) {
                let less = wanted.less.as_ref().map(|less| format!(" - {less}")).unwrap_or_default();
                let (sides, name, range) = (wanted.sides.join("+"), &wanted.name, &wanted.range);
                found.push(format!("{number}: {name}{less} of {sides}: {range:?}, ours {ours:?}"));
            }
        }
    }
    found
}

#[test]
fn what_is_asserted_less_tightly_is_noticed() {
    let good = scenario::load(&root().join("scenarios/subflows/endpoint.yaml")).unwrap().remove(0);
    let asserted = Asserted::by(good);
    let wanted = |text| Words::of(text).expand();
    let enough = |wanted: &Wanted| {
        asserted
            .of(wanted)
            .iter()
            .any(|range| wanted.range.contains(range.start()) && wanted.range.contains(range.end()))
    };
    assert!(wanted("join 1/1/1").iter().all(enough));
    for lie in
        ["join 2/1/1", "join 1/2/1", "join 1/1/2", "join 1/1/1 rejected=1", "join 1/1/1 syn_tx=2", "rm 1 0", "estab C"]
    {
        assert!(!wanted(lie).iter().all(enough), "{lie}");
    }
}

#[test]
fn each_counter_that_upstream_looks_at_is_asserted() {
    assert_eq!(faults(), Vec::<String>::new());
}
