//! Patterns: the fields of what is observed, and what a scenario asks of them.
//!
//! Each field has one row in a table ([`EVENT_FIELDS`], [`SUBFLOW_FIELDS`], [`OPTION_FIELDS`]). From that row come its
//! keys in the language and the schema, the reader, matching, differences, the words of patterns and of observed
//! values, and snapshots. The main type is [`Pattern`].

mod event;
mod option;
mod subflow;

pub use event::{EVENT_FIELDS, EventPattern, event_kinds};
pub use option::{OPTION_FIELDS, WirePattern, option_bit};
pub use subflow::{SUBFLOW, SUBFLOW_FIELDS, SubflowPattern};

use std::fmt;
use std::net::IpAddr;

use serde_json::{Map, json};

use crate::errno::errno_symbol;
use crate::mptcp::canonical;
use crate::text;
use crate::wire::Segment;

/// A kind of thing that has fields.
pub trait Table: Sized + 'static {
    /// Its fields.
    fn fields() -> &'static [Field<Self>];
}

/// What is observed, with what else is known of it.
#[derive(Debug)]
pub struct Seen<'a, T> {
    /// The thing.
    pub what: &'a T,
    /// The connection that it belongs to.
    pub connection: Option<&'a str>,
    /// The segment that carries it.
    pub segment: Option<&'a Segment>,
}

impl<T> Clone for Seen<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Seen<'_, T> {}

impl<'a, T> From<&'a T> for Seen<'a, T> {
    fn from(what: &'a T) -> Self {
        Self { what, connection: None, segment: None }
    }
}

/// One field: a row of a table.
pub struct Field<T: Table> {
    /// What it is called where no key says otherwise.
    pub word: &'static str,
    /// What may be asked of it.
    pub form: Form,
    /// Its keys in the language. Of several keys that the same thing has, the first is shown.
    pub keys: &'static [FieldKey],
    /// The value that was observed.
    pub get: for<'a> fn(Seen<'a, T>) -> Option<Value<'a>>,
    /// How it stands in a snapshot.
    pub snapshot: Snapshot,
    /// In a story: `{}` is the value; empty if the story has words of its own for it.
    pub story: &'static str,
}

/// A key of a field.
#[derive(Debug)]
pub struct FieldKey {
    /// Which things have it, as bits; what a bit means is the table's business.
    pub on: u32,
    /// The key.
    pub word: &'static str,
    /// What it means, in a sentence.
    pub doc: &'static str,
}

/// What may be asked of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The name of a connection.
    Connection,
    /// An address; the v4-mapped form is the same.
    Address,
    /// An address; the v4-mapped form is another one.
    ExactAddress,
    /// A TCP port.
    Port,
    /// A number up to 255.
    Octet,
    /// An octet of flags, shown in hexadecimal; what is 0 isn't shown.
    Flags,
    /// Whether something is so; what isn't so isn't shown.
    Switch,
    /// The name of an interface.
    Device,
    /// An errno, `none` or `any`.
    Error,
}

/// How a field stands in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snapshot {
    /// Not as a field: it is told in words of its own, or not at all.
    Apart,
    /// As it was observed.
    Shown,
    /// The local address ID, as far as it is the same in each run.
    LocalId,
    /// The remote address ID, likewise.
    RemoteId,
    /// Unless it is what a RST in the middle of a transfer leaves by chance.
    UnlessRacing,
}

/// What was observed of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// An address, without the v4-mapped prefix where that doesn't matter.
    Address(IpAddr),
    /// A number.
    Number(u64),
    /// Several numbers.
    Octets(&'a [u8]),
    /// Whether it is so.
    Switch(bool),
    /// A name.
    Text(&'a str),
    /// An errno, if there is an error.
    Error(Option<u8>),
}

/// What a scenario asks of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// This address.
    Address(IpAddr),
    /// This number.
    Number(u64),
    /// Whether it must be so.
    Switch(bool),
    /// This name.
    Text(String),
    /// This error, any or none.
    Error(ErrorPattern),
}

/// What the error of an event must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorPattern {
    /// No error.
    None,
    /// Any error.
    Any,
    /// This one, with its number.
    Errno(String, i32),
}

impl Value<'_> {
    /// Whether there is something to show: what isn't so, is no error and no flag has nothing.
    fn says_something(self, form: Form) -> bool {
        !matches!((self, form), (Self::Switch(false) | Self::Error(None), _) | (Self::Number(0), Form::Flags))
    }

    fn text(self, form: Form) -> String {
        match self {
            Self::Address(address) => address.to_string(),
            Self::Number(number) if form == Form::Flags => format!("{number:#04x}"),
            Self::Number(number) => number.to_string(),
            Self::Octets(numbers) => numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(" "),
            Self::Switch(on) => on.to_string(),
            Self::Text(name) => name.to_owned(),
            Self::Error(error) => error.map_or_else(|| "none".to_owned(), |error| errno_symbol(error.into())),
        }
    }

    fn json(self, form: Form) -> serde_json::Value {
        match self {
            Self::Number(number) => json!(number),
            Self::Octets(numbers) => json!(numbers),
            Self::Switch(on) => json!(on),
            Self::Address(_) | Self::Text(_) | Self::Error(_) => json!(self.text(form)),
        }
    }
}

impl Wanted {
    fn accepts(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Address(wanted), Value::Address(address)) => *wanted == address,
            (Self::Number(wanted), Value::Number(number)) => *wanted == number,
            (Self::Number(wanted), Value::Octets(numbers)) => {
                numbers.iter().any(|number| u64::from(*number) == *wanted)
            }
            (Self::Switch(wanted), Value::Switch(on)) => *wanted == on,
            (Self::Text(wanted), Value::Text(name)) => wanted == name,
            (Self::Error(ErrorPattern::None), Value::Error(error)) => error.is_none(),
            (Self::Error(ErrorPattern::Any), Value::Error(error)) => error.is_some(),
            (Self::Error(ErrorPattern::Errno(_, wanted)), Value::Error(error)) => error.map(i32::from) == Some(*wanted),
            _ => false,
        }
    }

    fn text(&self, form: Form) -> String {
        match self {
            Self::Address(address) => Value::Address(*address).text(form),
            Self::Number(number) => Value::Number(*number).text(form),
            Self::Switch(on) => on.to_string(),
            Self::Text(name) | Self::Error(ErrorPattern::Errno(name, _)) => name.clone(),
            Self::Error(ErrorPattern::None) => "none".to_owned(),
            Self::Error(ErrorPattern::Any) => "any".to_owned(),
        }
    }

    fn json(&self, form: Form) -> serde_json::Value {
        match self {
            Self::Number(number) => json!(number),
            Self::Switch(on) => json!(on),
            Self::Address(_) | Self::Text(_) | Self::Error(_) => json!(self.text(form)),
        }
    }
}

impl From<IpAddr> for Wanted {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

impl From<u16> for Wanted {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u8> for Wanted {
    fn from(number: u8) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Wanted {
    fn from(on: bool) -> Self {
        Self::Switch(on)
    }
}

impl From<String> for Wanted {
    fn from(name: String) -> Self {
        Self::Text(name)
    }
}

impl From<ErrorPattern> for Wanted {
    fn from(error: ErrorPattern) -> Self {
        Self::Error(error)
    }
}

fn address<'a>(address: IpAddr) -> Value<'a> {
    Value::Address(canonical(address))
}

fn number<'a>(number: impl Into<u64>) -> Value<'a> {
    Value::Number(number.into())
}

impl<T: Table> Field<T> {
    /// The keys that things with that bit have.
    pub fn keys_of(&self, on: u32) -> impl Iterator<Item = &'static FieldKey> + use<T> {
        self.keys.iter().filter(move |key| key.on & on != 0)
    }

    /// What it is called in things with that bit.
    fn shown(&self, on: u32) -> &'static str {
        self.keys_of(on).next().map_or(self.word, |key| key.word)
    }

    /// What was observed, as ` word value`; empty if there is nothing to show.
    pub fn words(&self, on: u32, seen: Seen<'_, T>) -> String {
        match (self.get)(seen).filter(|value| value.says_something(self.form)) {
            None => String::new(),
            Some(Value::Switch(_)) => format!(" {}", self.shown(on)),
            Some(value) => format!(" {} {}", self.shown(on), value.text(self.form)),
        }
    }

    /// What was observed in a sentence of a story.
    pub fn told(&self, seen: Seen<'_, T>) -> Option<String> {
        let value = (self.get)(seen).filter(|value| !self.story.is_empty() && value.says_something(self.form))?;
        Some(self.story.replace("{}", &text::one_line(&value.text(self.form))))
    }
}

impl<T: Table> fmt::Debug for Field<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word)
    }
}

impl<T: Table> PartialEq for Field<T> {
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word
    }
}

impl<T: Table> Eq for Field<T> {}

/// What a scenario asks of the fields of a thing. A field that it doesn't name is not looked at; a field that it names
/// and that the thing doesn't have is no match.
pub struct Pattern<T: Table>(Vec<(&'static Field<T>, Wanted)>);

impl<T: Table> Pattern<T> {
    /// A pattern of these fields.
    pub fn new(wanted: Vec<(&'static Field<T>, Wanted)>) -> Self {
        Self(wanted)
    }

    /// The same, and this is asked of the field of that word, too. `None`: there is no such field.
    #[must_use]
    pub fn and(mut self, word: &str, wanted: Wanted) -> Option<Self> {
        let field = T::fields().iter().find(|field| field.word == word)?;
        self.0.retain(|(known, _)| *known != field);
        self.0.push((field, wanted));
        Some(self)
    }

    /// What is asked of the field of that word.
    pub fn wanted(&self, word: &str) -> Option<&Wanted> {
        self.0.iter().find(|(field, _)| field.word == word).map(|(_, wanted)| wanted)
    }

    /// Whether the switch of that word must be on, or must be off.
    pub fn switch(&self, word: &str) -> Option<bool> {
        match self.wanted(word) {
            Some(Wanted::Switch(on)) => Some(*on),
            _ => None,
        }
    }

    /// The first field that things with that bit never have.
    fn foreign(&self, on: u32) -> Option<&'static str> {
        self.0.iter().find(|(field, _)| field.keys_of(on).next().is_none()).map(|(field, _)| field.word)
    }

    /// Whether a thing is like that.
    pub fn matches(&self, seen: Seen<'_, T>) -> bool {
        self.0.iter().all(|(field, wanted)| (field.get)(seen).is_some_and(|value| wanted.accepts(value)))
    }

    /// In which fields a thing differs: `id 2 instead of 1`. `on` is its bit.
    pub fn differences(&self, on: u32, seen: Seen<'_, T>) -> Vec<String> {
        let difference = |(field, wanted): &(&'static Field<T>, Wanted)| {
            let (word, asked) = (field.shown(on), wanted.text(field.form));
            match (field.get)(seen) {
                Some(value) if wanted.accepts(value) => None,
                Some(Value::Error(None)) if *wanted == Wanted::Error(ErrorPattern::Any) => {
                    Some(format!("no {word} instead of {asked}"))
                }
                Some(value) => Some(format!("{word} {} instead of {asked}", value.text(field.form))),
                None => Some(format!("no {word} instead of {asked}")),
            }
        };
        self.0.iter().filter_map(difference).collect()
    }

    /// The pattern in words, ` word value` for each field. `on` is the bit of what it is about.
    pub fn words(&self, on: u32) -> String {
        let words = |(field, wanted): &(&'static Field<T>, Wanted)| match wanted {
            Wanted::Switch(true) => format!(" {}", field.shown(on)),
            Wanted::Switch(false) => format!(" {}: no", field.shown(on)),
            other => format!(" {} {}", field.shown(on), other.text(field.form)),
        };
        self.0.iter().map(words).collect()
    }

    /// The pattern as JSON: the wanted values by their keys. `on` is the bit of what it is about.
    pub fn json(&self, on: u32) -> Map<String, serde_json::Value> {
        let pair =
            |(field, wanted): &(&'static Field<T>, Wanted)| (field.shown(on).to_owned(), wanted.json(field.form));
        self.0.iter().map(pair).collect()
    }
}

/// What was observed as JSON: the values by their keys, as in [`Pattern::json`]. `on` is the bit of the thing.
pub fn observed_json<T: Table>(on: u32, seen: Seen<'_, T>) -> Map<String, serde_json::Value> {
    let own = T::fields().iter().filter(|field| field.keys_of(on).next().is_some());
    own.filter_map(|field| Some((field.shown(on).to_owned(), (field.get)(seen)?.json(field.form)))).collect()
}

impl<T: Table> fmt::Debug for Pattern<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(field, wanted)| (field, wanted))).finish()
    }
}

impl<T: Table> Default for Pattern<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Table> Clone for Pattern<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Table> PartialEq for Pattern<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Table> Eq for Pattern<T> {}
