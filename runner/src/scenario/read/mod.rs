//! From the YAML tree to the model: everything that is wrong is found in one pass. The main type is [`Reader`].
//!
//! A function that can't make its part of the model gives [`Reported`], which only the reader makes, and only when it
//! has noted an error: nothing can be dropped in silence.

pub mod choice;
pub mod connection;
pub mod device;
mod event;
pub mod expect;
mod gate;
pub mod kernels;
pub mod operation;
pub mod option;
pub mod part;
pub mod path;
pub mod program;
pub mod repeat;
pub mod routing;
mod scope;
pub mod snapshot;
pub mod step;
mod vacuous;
pub mod wait;
pub mod world;

pub use gate::{PARTS, asked, settled};
pub use kernels::kernels;
pub use vacuous::{check as check_that_it_says_something, check_whole};

use std::cell::{OnceCell, RefCell};

use super::diagnostic::Diagnostic;
use super::grammar::{self, Key, Kind, Record, Shape};
use super::model::{DeviceKind, Expectation, Feature, LeftOut, Place, ProgramConnection, Range, Step, World};
use super::nearest::{nearest, suggestion};
use super::record::{Group as _, List, Part, part, record};
use super::scalar::{self, Line, Parsed, Problem, Switch, Text};
use super::yaml::{Entry, Node, Value};
use crate::mptcp::{INFO_FIELDS, MptcpInfo};
use expect::Expected;
use path::KnownPath;
use scope::{KnownConnection, Scope};

/// The most steps of a scenario.
const MOST_STEPS: usize = 40_000;
/// The most errors that are kept.
const MOST_ERRORS: usize = 1_000;

/// An error has been noted.
#[derive(Debug, Clone, Copy)]
pub struct Reported(());

/// A part of the model, or an error that has been noted.
pub type Read<T> = Result<T, Reported>;

/// Collects what is wrong while nodes are turned into values.
#[derive(Debug, Default)]
pub struct Reader {
    /// The matrix has errors, so variables may be left in the text.
    unresolved: bool,
    found: RefCell<Vec<Diagnostic>>,
}

impl Reader {
    /// A reader that has found nothing yet. `unresolved`: the matrix has errors, so variables may be left in the text.
    pub fn new(unresolved: bool) -> Self {
        Self { unresolved, ..Self::default() }
    }

    /// What was wrong.
    pub fn into_found(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }

    /// Notes an error.
    fn report(&self, diagnostic: Diagnostic) -> Reported {
        let mut found = self.found.borrow_mut();
        if found.len() < MOST_ERRORS {
            found.push(diagnostic);
        }
        Reported(())
    }

    /// So many errors have been noted that no more are kept.
    fn is_full(&self) -> bool {
        self.found.borrow().len() >= MOST_ERRORS
    }

    /// Notes an error with nothing but a message.
    pub fn error(&self, place: Place, message: impl Into<String>) -> Reported {
        self.report(Diagnostic::new(place, message))
    }

    fn problem(&self, place: Place, problem: Problem) -> Reported {
        self.report(Diagnostic::new(place, problem.message).maybe_help(problem.help))
    }

    /// A map with fixed keys. Unknown, missing and contradictory keys are noted; what is there can be read all the same.
    fn record<'a>(&'a self, node: &'a Node, record: &'static Record) -> Read<Fields<'a>> {
        let Value::Map(entries) = &node.value else {
            let keys: Vec<_> = record.all_keys().map(|key| format!("`{}:`", key.name)).take(64).collect();
            let diagnostic = wrong_type(node, &format!("{} must be a map", record.what));
            return Err(self.report(diagnostic.help(format!("its keys are {}", keys.join(", ")))));
        };
        let mut meant = Vec::new();
        for entry in entries {
            match record.key(&entry.key) {
                None => meant.extend(self.unknown_key(entry, record)),
                Some(_) if entry.value.is_absent() => {
                    self.error(entry.place, format!("`{}:` has no value", entry.key));
                }
                Some(_) => {}
            }
        }
        // A key that is only misspelled is not missed, too.
        let missed = |key: &&Key| key.required && node.get(key.name).is_none() && !meant.contains(&key.name);
        for key in record.keys.iter().filter(missed) {
            self.report(Diagnostic::new(node.place, format!("{} needs `{}:`", record.what, key.name)).help(format!(
                "`{}:` {}",
                key.name,
                in_passing(key.doc)
            )));
        }
        Ok(Fields { reader: self, node, record })
    }

    /// Notes an unknown key; gives the known one that is likely meant.
    fn unknown_key(&self, entry: &Entry, record: &'static Record) -> Option<&'static str> {
        if self.is_full() {
            return None;
        }
        let Entry { key, place, .. } = entry;
        if record.never.iter().any(|never| never.name == key) {
            let known: Vec<_> = record.keys.iter().map(|key| format!("`{}`", key.name)).collect();
            self.report(
                Diagnostic::new(*place, format!("{} never carries `{key}`", record.what))
                    .help(format!("it has {}", known.join(", "))),
            );
            return None;
        }
        let names = record.all_keys().map(|key| key.name);
        let message = format!("{} has no key `{key}`", record.what);
        if let Some(help) = instead(record.name, key) {
            scope::unknown(self, *place, message, Some(help));
            return None;
        }
        scope::unknown(self, *place, message, suggestion(key, names.clone()));
        nearest(key, names)
    }

    /// The one entry of a record's choice. None, or several, is an error.
    pub fn choice<'a>(&self, fields: &Fields<'a>) -> Read<&'a Entry> {
        let record = fields.record;
        let is_choice = |entry: &&Entry| record.one_of.iter().any(|key| key.name == entry.key);
        let mut chosen = fields.node.entries().iter().filter(is_choice);
        match (chosen.next(), chosen.next()) {
            (Some(one), None) if one.value.is_absent() => Err(Reported(())),
            (Some(one), None) => Ok(one),
            (Some(one), Some(other)) => Err(self.report(
                Diagnostic::new(
                    other.place,
                    format!("{} takes either `{}` or `{}`, not both", record.what, one.key, other.key),
                )
                .context(one.place, "the other one"),
            )),
            (None, _) => {
                let unknown = |entry: &Entry| record.key(&entry.key).is_none();
                if fields.node.entries().iter().any(unknown) {
                    return Err(Reported(()));
                }
                let words: Vec<_> = record.one_of.iter().map(|key| format!("`{}`", key.name)).collect();
                Err(self.report(
                    Diagnostic::new(fields.node.place, format!("{} needs one of its keys", record.what))
                        .help(format!("one of {}", words.join(", "))),
                ))
            }
        }
    }

    /// A list.
    fn list<'a>(&self, node: &'a Node, what: &str) -> Read<&'a [Node]> {
        match &node.value {
            Value::List(items) => Ok(items),
            _ => Err(self.report(wrong_type(node, &format!("{what} must be a list")))),
        }
    }

    /// A map whose keys are names.
    fn table<'a>(&self, node: &'a Node, what: &str) -> Read<&'a [Entry]> {
        match &node.value {
            Value::Map(entries) => Ok(entries),
            _ => Err(self.report(wrong_type(node, &format!("{what} must be a map")))),
        }
    }

    /// A scalar.
    pub fn scalar<T>(&self, node: &Node, parse: impl Fn(&str) -> Parsed<T>) -> Read<T> {
        match &node.value {
            _ if node.is_absent() => Err(self.error(node.place, "a value is missing")),
            // Noted when the matrix was checked.
            Value::Scalar { text, .. } if self.unresolved && text.contains('$') => Err(Reported(())),
            Value::Scalar { text, .. } => parse(text).map_err(|problem| self.problem(node.place, problem)),
            Value::List(_) | Value::Map(_) => Err(self.report(wrong_type(node, "expected a single value"))),
        }
    }

    /// A range of a value from 0 to `most` that is not all of it.
    fn range(&self, node: &Node, most: u64) -> Read<Range> {
        let range = self.scalar(node, scalar::count)?;
        if *range.start() == 0 && *range.end() >= most {
            let diagnostic = Diagnostic::new(node.place, "this range contains every number, so it can't fail");
            return Err(self.report(match most {
                u64::MAX => diagnostic,
                most => diagnostic.help(format!("the value is never greater than {most}")),
            }));
        }
        Ok(range)
    }

    /// The name that a key of a table is.
    fn key<T>(&self, entry: &Entry, parse: impl Fn(&str) -> Parsed<T>) -> Read<T> {
        parse(&entry.key).map_err(|problem| self.problem(entry.place, problem))
    }
}

/// Says what stands at a place instead of what should.
fn wrong_type(node: &Node, message: &str) -> Diagnostic {
    let is = match &node.value {
        Value::Scalar { .. } if node.is_absent() => "nothing is here",
        Value::Scalar { .. } => "this is a single value",
        Value::List(_) => "this is a list",
        Value::Map(_) => "this is a map",
    };
    Diagnostic::new(node.place, message).label(is)
}

/// The map of a [`Record`].
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    reader: &'a Reader,
    node: &'a Node,
    record: &'static Record,
}

impl<'a> Fields<'a> {
    /// Those of a record that has been looked at.
    fn again(reader: &'a Reader, node: &'a Node, record: &'static Record) -> Self {
        Self { reader, node, record }
    }

    pub fn place(&self) -> Place {
        self.node.place
    }

    /// The value of a key, if the record has one.
    fn get(&self, key: &str) -> Option<&'a Node> {
        self.record.key(key)?;
        self.node.get(key).filter(|value| !value.is_absent())
    }

    /// Where the value of a key is, or else the whole record.
    fn place_of(&self, key: &str) -> Place {
        self.get(key).map_or(self.node.place, |value| value.place)
    }

    /// The value of a key that must be there.
    fn need_node(&self, key: &str) -> Read<&'a Node> {
        let present = self.node.entries().iter().any(|entry| entry.key == key);
        let noted = present || self.record.key(key).is_some_and(|key| key.required);
        match self.get(key) {
            Some(node) => Ok(node),
            None if noted => Err(Reported(())),
            None => Err(self.reader.error(self.node.place, format!("{} needs `{key}:`", self.record.what))),
        }
    }
}

/// A record that is read, by its declaration (see [`super::record`]).
pub struct At<'a> {
    pub reader: &'a Reader,
    pub fields: &'a Fields<'a>,
    pub scope: &'a Scope,
    /// The word that chose the record.
    pub word: &'a str,
    /// The kernel is expected to refuse it.
    pub refusal: bool,
    /// What `in` says, once it has been looked at.
    namespace: OnceCell<Read<String>>,
    /// What `connection` says, likewise.
    connection: OnceCell<Read<&'a KnownConnection>>,
    /// What `link` says, likewise.
    path: OnceCell<Read<&'a KnownPath>>,
}

impl<'a> At<'a> {
    fn new(fields: &'a Fields<'a>, scope: &'a Scope) -> Self {
        let (namespace, connection, path) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let word = fields.record.name;
        Self { reader: fields.reader, fields, scope, word, refusal: false, namespace, connection, path }
    }

    /// A record in it. What is said of a namespace or a path, is said of all that is in it.
    fn within<'b>(&'b self, fields: &'b Fields<'b>, word: &'b str) -> At<'b> {
        let path = self.path.get().map_or_else(OnceCell::new, |path| OnceCell::from(*path));
        At { word, refusal: self.refusal, namespace: self.namespace.clone(), path, ..At::new(fields, self.scope) }
    }

    /// The namespace that `in` names.
    pub fn namespace(&self) -> &Read<String> {
        let namespace = || self.fields.need_node("in").and_then(|node| self.scope.namespace(self.reader, node));
        self.namespace.get_or_init(namespace)
    }

    /// The connection that `connection` names.
    fn connection(&self) -> Read<&'a KnownConnection> {
        let connection =
            || self.fields.need_node("connection").and_then(|node| self.scope.connection(self.reader, node));
        *self.connection.get_or_init(connection)
    }

    /// The path that `link` names.
    fn path(&self) -> Read<&'a KnownPath> {
        *self.path.get_or_init(|| path::path_of(self.fields, self.scope))
    }

    /// The value of a key that must be there.
    pub fn need<P: Part>(&self, key: &str) -> Read<P::Value> {
        P::read(self, self.fields.need_node(key)?)
    }

    /// The value of a key, if it has one.
    pub fn maybe<P: Part>(&self, key: &str) -> Read<Option<P::Value>> {
        self.fields.get(key).map(|node| P::read(self, node)).transpose()
    }

    /// A value that is a list.
    pub fn list<'n>(&self, node: &'n Node) -> Read<&'n [Node]> {
        self.reader.list(node, &self.named(node))
    }

    /// A value that is a map from names.
    pub fn table<T>(&self, node: &Node, read: impl FnMut(&Entry) -> Read<T>) -> Read<Vec<T>> {
        all(self.reader.table(node, &self.named(node))?.iter().map(read))
    }

    /// The key that has this value.
    pub fn key_of(&self, node: &Node) -> Option<&str> {
        let entry = self.fields.node.entries().iter().find(|entry| std::ptr::eq(&raw const entry.value, node));
        entry.map(|entry| entry.key.as_str())
    }

    /// A value in messages, by its key.
    fn named(&self, node: &Node) -> String {
        format!("`{}`", self.key_of(node).unwrap_or(self.word))
    }

    /// A value that is a record.
    pub fn record<T>(&self, node: &Node, record: &'static Record, read: impl Fn(&At<'_>) -> Read<T>) -> Read<T> {
        let fields = self.reader.record(node, record)?;
        read(&self.within(&fields, record.name))
    }

    /// A value that is the record of that word.
    pub fn chosen<T>(
        &self,
        keys: &'static [Key],
        word: &str,
        node: &Node,
        read: impl Fn(&At<'_>) -> Read<T>,
    ) -> Read<T> {
        let Some(record) = keys.iter().find(|key| key.name == word).and_then(Key::record) else {
            return Err(self.reader.error(node.place, format!("unknown key `{word}`")));
        };
        let fields = self.reader.record(node, record)?;
        read(&self.within(&fields, word))
    }
}

/// A sentence of the grammar's tables as a part of another one.
fn in_passing(doc: &str) -> String {
    let mut rest = doc.trim_end_matches('.').chars();
    let first = rest.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(rest).collect()
}

/// Everything of a list or table that could be read; an error if anything could not.
pub fn all<T>(parts: impl IntoIterator<Item = Read<T>>) -> Read<Vec<T>> {
    let mut good = Vec::new();
    let mut bad = None;
    for part in parts {
        match part {
            Ok(part) => good.push(part),
            Err(reported) => bad = Some(reported),
        }
    }
    bad.map_or(Ok(good), Err)
}

record! {
    /// What a scenario is, and what it needs.
    Frame {
        title: need Line = "title", "What happens, in one line.";
        about: need Text = "about", "The lesson: what happens, and why.";
        see: or(Vec::new()) List<Line> = "see", "Further reading: man pages, RFC sections.";
        requires: or(Vec::new()) List<FeatureWord> = "requires",
            "Required features; the scenario is skipped if the kernel lacks one. Each is probed.";
        snapshot_by: or(Vec::new()) List<DecidingFeature> = "snapshot_by",
            "Features whose absence changes the snapshot only: kernels without one have their own snapshot, \
             `NAME~no-FEATURE.snap`.";
        left_out: maybe LeftOut = "snapshot", "What the snapshot leaves out, and why.";
        exclusive: or(false) Switch = "exclusive",
            "true: no other scenario runs at the same time. This one measures time, or others would change what the kernel does.";
    }
}

part! {
    /// Something that can be probed.
    FeatureWord: Feature = Shape::Scalar(Kind::Feature), |at, node| at.reader.scalar(node, feature)
}

part! {
    /// The same, of what decides something.
    DecidingFeature: Feature = Shape::Scalar(Kind::Deciding), |at, node| at.reader.scalar(node, feature)
}

/// What a scenario file says, sources and names apart.
#[derive(Debug)]
pub struct Parts {
    pub frame: Frame,
    pub world: World,
    pub connections: Vec<ProgramConnection>,
    pub steps: Vec<Step>,
    pub expect: Expectation,
}

/// Reads a scenario with its topology. `topology_missing`: it names one that could not be read; that is an error that
/// was noted elsewhere, and what would be in it is not missed again.
pub fn scenario(reader: &Reader, root: &Node, topology: Option<&Node>, topology_missing: bool) -> Read<Parts> {
    let fields = reader.record(root, &grammar::SCENARIO)?;
    let frame = Frame::from_keys(&At::new(&fields, &Scope::default()));
    if fields.get("topology").is_some_and(|node| node.text().is_none()) {
        reader.error(fields.place_of("topology"), "`topology` is the name of a topology");
    }
    let (world, mut scope) = world::read(reader, &fields, topology, topology_missing);
    let connections = match fields.get("connections") {
        Some(node) => program::connections(&fields, node, &mut scope),
        None => Ok(Vec::new()),
    };
    let steps = match fields.get("steps") {
        Some(node) => read_steps(reader, node, &mut scope),
        None => Ok(Vec::new()),
    };
    let makers = match (&connections, &steps) {
        (Ok(connections), Ok(steps)) => program::check_makers(reader, connections, steps),
        _ => Ok(()),
    };
    let expect = match fields.get("expect") {
        Some(node) => Expected::read(&At::new(&fields, &scope.at_the_end()), node),
        None => Ok(Expectation::default()),
    };
    makers.and(Ok(Parts { frame: frame?, world: world?, connections: connections?, steps: steps?, expect: expect? }))
}

fn read_steps(reader: &Reader, node: &Node, scope: &mut scope::Scope) -> Read<Vec<Step>> {
    let items = reader.list(node, "`steps`")?;
    if items.len() > MOST_STEPS {
        let message = format!("the scenario has too many steps: {}, at most {MOST_STEPS} are allowed", items.len());
        return Err(reader.error(node.place, message));
    }
    scope.foresee(items);
    let mut room = MOST_STEPS;
    let steps = repeat::steps(reader, items, scope, &mut room)?;
    connection::check_finished(reader, scope)?;
    Ok(steps)
}

/// What to write instead of a key that is no slip of the pen.
fn instead(record: &str, key: &str) -> Option<String> {
    if record == "step" && matches!(key, "sleep" | "delay" | "pause" | "usleep" | "timeout") {
        let help = "`wait` waits for a condition, `quiet` until nothing moves for a while: a fixed time is too short \
                    on a busy machine";
        return Some(help.to_owned());
    }
    if record == "alternative" && key == "either" {
        return Some("an alternative has no choices itself: make each combination an alternative".to_owned());
    }
    None
}

/// Names that `include/uapi/linux/mptcp.h` gives to fields besides their first ones (Linux 6.18).
const OTHER_NAMES: [(&str, &str); 5] = [
    ("extra_subflows", "subflows"),
    ("limit_extra_subflows", "subflows_max"),
    ("endp_signal_max", "add_addr_signal_max"),
    ("limit_add_addr_accepted", "add_addr_accepted_max"),
    ("endp_subflow_max", "local_addr_max"),
];

/// A field of `struct mptcp_info`.
fn info_field(text: &str) -> Parsed<String> {
    if MptcpInfo::described(text).is_some() {
        return Ok(text.to_owned());
    }
    let other = OTHER_NAMES.iter().find(|(name, _)| *name == text);
    let near = || suggestion(text, INFO_FIELDS.iter().map(|(name, ..)| *name));
    let help = other.map(|(_, name)| format!("it is called `{name}` here")).or_else(near);
    Err(Problem { message: format!("`info` has no field `{text}`"), help })
}

/// A word of `requires:`.
fn feature(text: &str) -> Parsed<Feature> {
    match Feature::from_word(text) {
        Some(Feature::Counter(name)) => scalar::counter(&name).map(Feature::Counter),
        Some(Feature::Sysctl(name)) => scalar::sysctl(&name).map(Feature::Sysctl),
        Some(Feature::Info(name)) => info_field(&name).map(Feature::Info),
        Some(Feature::Option(name)) => option::answer_word(&name).map(|word| Feature::Option(word.to_owned())),
        Some(Feature::Device(kind)) => {
            scalar::word(&DeviceKind::WORDS)(&kind).map(|kind| Feature::Device(kind.to_owned()))
        }
        Some(Feature::Program(name)) => scalar::program::command(&name).map(Feature::Program),
        Some(plain) => Ok(plain),
        None => {
            let words = Feature::PLAIN.iter().map(|(word, _)| *word).chain([
                "counter:NAME",
                "sysctl:NAME",
                "info:FIELD",
                "option:WORD",
                "program:NAME",
                "device:KIND",
            ]);
            let help = suggestion(text, words);
            Err(Problem { message: format!("unknown feature `{text}`"), help })
        }
    }
}
