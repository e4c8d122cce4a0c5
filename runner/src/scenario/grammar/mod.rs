//! The grammar of the language as tables: which keys there are, what they take, what they mean. The reader checks
//! keys against these tables, and the JSON schema and the reference are made from them. The main type is [`Shape`].

mod expect;
mod fields;
mod path;
mod step;
mod world;

pub use expect::{
    EVENT, EVENT_ITEM, EVENT_KEYS, FILTER_OPTIONS, SIDE_ENDPOINTS, SIDE_INFO, SIDE_SUBFLOWS, SUBFLOW, SUBFLOW_KEYS,
    WIRE_OPTIONS,
};
pub use path::{RULE_OPTION, TOTALS};
pub use step::{CONDITIONS_OF_WAIT, REPEAT, STEP};
pub use world::SCENARIO;

use super::model::KernelList;
use super::read::world::TopologyKeys;
use super::record::Part;

/// What stands at some place of a file.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A scalar.
    Scalar(Kind),
    /// A list of things of one shape.
    List(&'static Shape),
    /// A map with fixed keys.
    Record(&'static Record),
    /// A list that has something in it.
    Some(&'static Shape),
    /// A map whose keys are names: what a key names, how such a name is spelt, and the shape of the values.
    Table(&'static str, Kind, &'static Shape),
    /// One of these.
    Either(&'static [Shape]),
}

/// A map with fixed keys.
#[derive(Debug)]
pub struct Record {
    /// Its name in the JSON schema; unique.
    pub name: &'static str,
    /// What it is in messages: "a `connect` step".
    pub what: &'static str,
    /// Keys that may stand together.
    pub keys: &'static [Key],
    /// Keys of which exactly one must be there; empty: there is no such choice.
    pub one_of: &'static [Key],
    /// Keys that similar records have but this one never: they get a message of their own.
    pub never: &'static [Key],
}

impl Record {
    /// A record without a choice.
    const fn plain(name: &'static str, what: &'static str, keys: &'static [Key]) -> Self {
        Self { name, what, keys, one_of: &[], never: &[] }
    }

    /// All keys that may occur.
    pub fn all_keys(&self) -> impl Iterator<Item = &'static Key> + Clone + use<> {
        self.keys.iter().chain(self.one_of)
    }

    /// The key of that name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.all_keys().find(|key| key.name == name)
    }

    /// The record that is the value of the key of that name.
    pub fn chosen(&self, name: &str) -> Option<&'static Record> {
        self.key(name).and_then(Key::record)
    }
}

/// A key of a [`Record`].
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its word.
    pub name: &'static str,
    /// What it takes.
    pub shape: Shape,
    /// Must be there.
    pub required: bool,
    /// What it means, in one or two sentences.
    pub doc: &'static str,
}

impl Key {
    /// No key; room for one.
    pub const NONE: Self = Self::new("", Shape::Scalar(Kind::Line), "");

    pub const fn new(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self { name, shape, required: false, doc }
    }

    /// The record that is its value.
    pub fn record(&self) -> Option<&'static Record> {
        match self.shape {
            Shape::Record(record) => Some(record),
            Shape::Scalar(_) | Shape::List(_) | Shape::Some(_) | Shape::Table(..) | Shape::Either(_) => None,
        }
    }

    /// A key that takes such a value.
    pub const fn of<P: Part>(name: &'static str, doc: &'static str) -> Self {
        Self::new(name, P::SHAPE, doc)
    }

    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }
}

/// What a scalar may be. How each is read is in [`super::scalar`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One line of text.
    Line,
    /// Any text.
    Text,
    /// `true` or `false`.
    Switch,
    /// A whole number in this range.
    Integer(u64, u64),
    /// A TCP port, 1 to 65535.
    Port,
    /// An IPv4 or IPv6 address.
    Address,
    /// An address, a link-local one with its interface.
    ScopedAddress,
    /// An address with a prefix length.
    AddressPrefix,
    /// `default`, or an address with a prefix length.
    Destination,
    /// An address, perhaps with a prefix length.
    Selector,
    /// The name of a namespace, link, connection or filter.
    Name,
    /// Names of namespaces, joined with `+`.
    Names,
    /// The name of an interface.
    Device,
    /// `50 ms`
    Duration,
    /// `64 KiB`
    Size,
    /// `20 Mbit/s`
    Rate,
    /// `0.5 %`
    Percent,
    /// `3`, `"1..3"`, `">=1"` or `"<=3"`
    Count,
    /// The symbol of an errno.
    Errno,
    /// `mptcp`, `tcp` or an errno.
    Outcome,
    /// `none`, `any` or an errno.
    ErrorPattern,
    /// An endpoint flag, or `raw 0x40`.
    Flag,
    /// The name of a counter, as nstat has it.
    Counter,
    /// The same, or the difference of two, or `others`.
    Counters,
    /// The name of a sysctl.
    Sysctl,
    /// A feature word of `requires:`.
    Feature,
    /// The same without `mptcp`, which decides nothing.
    Deciding,
    /// The name of a variable.
    Variable,
    /// The name of a rule of the reference.
    Rule,
    /// `client`, `server`, or one of the connection's namespaces.
    Side,
    /// Any text, also none: an argument of a program, or the contents of a file.
    Argument,
    /// The name of a program.
    Command,
    /// The name of an environment variable.
    EnvironmentName,
    /// The relative name of a file.
    FileName,
    /// The name of a signal: `SIGTERM`.
    SignalName,
    /// An exit status, or the name of a signal.
    EndStatus,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// The key of that name, which must be there.
pub const fn key_of(keys: &[Key], name: &str) -> Key {
    let mut index = 0;
    while index + 1 < keys.len() && !fields::same(keys[index].name, name) {
        index += 1;
    }
    keys[index]
}

/// A topology file.
pub static TOPOLOGY: &Record = TopologyKeys::RECORD;

/// The words of these keys.
pub const fn names<const N: usize>(keys: &[Key]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut index = 0;
    while index < N {
        names[index] = keys[index].name;
        index += 1;
    }
    names
}

/// A file with a list of kernels.
pub static KERNELS: &Record = KernelList::RECORD;

/// The words for `kvm:`.
pub const KVM: [&str; 3] = ["auto", "true", "false"];

pub const fn scalar(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key::new(name, Shape::Scalar(kind), doc)
}

// Keys that occur in several places.
pub const IN: Key = scalar("in", Kind::Name, "The namespace.").required();
pub const PORT: Key = scalar("port", Kind::Port, "The port.");
pub const ADDRESS: Key = scalar("address", Kind::Address, "The address.");
const COUNT: Key = scalar("count", Kind::Count, "How many; 1 by default.");

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Calls `visit` with each record that can be reached.
    fn walk(shape: &Shape, seen: &mut BTreeMap<&'static str, *const Record>) {
        match shape {
            Shape::Scalar(_) => {}
            Shape::List(inner) | Shape::Some(inner) | Shape::Table(_, _, inner) => walk(inner, seen),
            Shape::Either(shapes) => shapes.iter().for_each(|shape| walk(shape, seen)),
            Shape::Record(record) => {
                let pointer: *const Record = *record;
                if let Some(other) = seen.insert(record.name, pointer) {
                    assert!(std::ptr::eq(other, pointer), "two records are called {}", record.name);
                    return;
                }
                let mut names = std::collections::BTreeSet::new();
                for key in record.all_keys() {
                    assert!(names.insert(key.name), "{} has {} twice", record.name, key.name);
                    assert!(!key.doc.is_empty(), "{}.{} says nothing", record.name, key.name);
                    walk(&key.shape, seen);
                }
                assert!(record.never.iter().all(|key| !names.contains(key.name)), "{}", record.name);
            }
        }
    }

    #[test]
    fn the_tables_are_sound() {
        let mut seen = BTreeMap::new();
        walk(&Shape::Record(&SCENARIO), &mut seen);
        walk(&Shape::Record(TOPOLOGY), &mut seen);
        walk(&Shape::Record(KERNELS), &mut seen);
        assert!(seen.len() > 50, "{}", seen.len());
    }
}
