//! One definition of each record of the language. A field says its type, its key and what it means; from that come the
//! field of the model, the rows of the grammar (so the schema and the diagnostics), and the reader.
//!
//! A field is one of these:
//!
//! * `need TYPE = "key", "meaning"`: the key must be there.
//! * `maybe TYPE = "key", "meaning"`: an [`Option`].
//! * `or(DEFAULT) TYPE = "key", "meaning"`: the default stands for a missing key.
//! * `group TYPE`: several keys that make one value ([`Group`]).
//! * `later TYPE`: no key; its default, until a check fills it in.
//!
//! A new kind of value is a row of `scalars!`, or a `part!`. Checks that need more than one record stay by hand.

use std::marker::PhantomData;

use super::grammar::{Key, Kind, Shape};
use super::model::Place;
use super::read::{At, Read, all};
use super::scalar::Parsed;
use super::yaml::Node;

/// A scalar: how it is spelt, for schema and documentation, and how it is read.
pub trait Scalar {
    /// What it becomes.
    type Value;
    /// What it may be.
    const KIND: Kind;
    /// Reads it.
    fn parse(text: &str) -> Parsed<Self::Value>;
}

/// The value of one key.
pub trait Part {
    /// What it becomes.
    type Value;
    /// What may stand there.
    const SHAPE: Shape;
    /// Reads it.
    fn read(at: &At<'_>, node: &Node) -> Read<Self::Value>;
}

impl<S: Scalar> Part for S {
    type Value = S::Value;
    const SHAPE: Shape = Shape::Scalar(S::KIND);

    fn read(at: &At<'_>, node: &Node) -> Read<S::Value> {
        at.reader.scalar(node, |text| S::parse(text).map_err(|problem| problem.of(at.key_of(node))))
    }
}

/// A list of such values.
#[derive(Debug)]
pub struct List<P>(PhantomData<P>);

impl<P: Part> Part for List<P> {
    type Value = Vec<P::Value>;
    const SHAPE: Shape = Shape::List(&P::SHAPE);

    fn read(at: &At<'_>, node: &Node) -> Read<Vec<P::Value>> {
        all(at.list(node)?.iter().map(|item| P::read(at, item)))
    }
}

/// A value with its place.
#[derive(Debug)]
pub struct Placed<P>(PhantomData<P>);

impl<P: Part> Part for Placed<P> {
    type Value = (P::Value, Place);
    const SHAPE: Shape = P::SHAPE;

    fn read(at: &At<'_>, node: &Node) -> Read<(P::Value, Place)> {
        Ok((P::read(at, node)?, node.place))
    }
}

/// A value that is read later, when what it depends on is known.
#[derive(Debug)]
pub struct Unread<P>(PhantomData<P>);

impl<P: Part> Part for Unread<P> {
    type Value = Node;
    const SHAPE: Shape = P::SHAPE;

    fn read(at: &At<'_>, node: &Node) -> Read<Node> {
        unread(at, node)
    }
}

/// A value that is read later, by its node.
#[expect(clippy::unnecessary_wraps, reason = "it stands where other readers do")]
pub fn unread(_: &At<'_>, node: &Node) -> Read<Node> {
    Ok(node.clone())
}

/// Several keys that make one value. What they say together is checked where it is read.
pub trait Group {
    /// What they become.
    type Value;
    /// The keys that may stand together.
    const KEYS: &[Key];
    /// Keys of which exactly one must be there.
    const ONE_OF: &[Key] = &[];
    /// Reads them.
    fn from_keys(at: &At<'_>) -> Read<Self::Value>;
}

/// How many keys these are.
pub const fn count(parts: &[&[Key]]) -> usize {
    let (mut sum, mut index) = (0, 0);
    while index < parts.len() {
        sum += parts[index].len();
        index += 1;
    }
    sum
}

/// All of these keys.
pub const fn joined<const N: usize>(parts: &[&[Key]]) -> [Key; N] {
    let mut keys = [Key::NONE; N];
    let (mut at, mut index) = (0, 0);
    while index < parts.len() {
        let mut own = 0;
        while own < parts[index].len() {
            keys[at] = parts[index][own];
            own += 1;
            at += 1;
        }
        index += 1;
    }
    keys
}

/// The keys of several lists as one static list.
macro_rules! keys {
    ($($part:expr),* $(,)?) => {{
        const PARTS: &[&[$crate::scenario::grammar::Key]] = &[$($part),*];
        static KEYS: [$crate::scenario::grammar::Key; $crate::scenario::record::count(PARTS)] =
            $crate::scenario::record::joined(PARTS);
        &KEYS
    }};
}
pub(in crate::scenario) use keys;

/// One field of a record.
macro_rules! field {
    (@type group $part:path) => { <$part as $crate::scenario::record::Group>::Value };
    (@type later $type:path) => { $type };
    (@type maybe $part:path) => { Option<<$part as $crate::scenario::record::Part>::Value> };
    (@type $mode:ident $(($default:expr))? $part:path) => { <$part as $crate::scenario::record::Part>::Value };
    (@keys group $part:path) => { <$part as $crate::scenario::record::Group>::KEYS };
    (@keys later $type:path) => { &[] };
    (@keys need $part:path, $key:literal, $doc:literal) => {
        &[$crate::scenario::grammar::Key::of::<$part>($key, $doc).required()]
    };
    (@keys $mode:ident $(($default:expr))? $part:path, $key:literal, $doc:literal) => {
        &[$crate::scenario::grammar::Key::of::<$part>($key, $doc)]
    };
    (@one_of group $part:path) => { <$part as $crate::scenario::record::Group>::ONE_OF };
    (@one_of $mode:ident $(($default:expr))? $part:path $(, $key:literal)?) => { &[] };
    (@read $at:ident group $part:path) => { <$part as $crate::scenario::record::Group>::from_keys($at) };
    (@read $at:ident later $type:path) => { Ok::<$type, $crate::scenario::read::Reported>(<$type>::default()) };
    (@read $at:ident need $part:path, $key:literal) => { $at.need::<$part>($key) };
    (@read $at:ident maybe $part:path, $key:literal) => { $at.maybe::<$part>($key) };
    (@read $at:ident or($default:expr) $part:path, $key:literal) => {
        $at.maybe::<$part>($key).map(|value| value.unwrap_or($default))
    };
}
pub(in crate::scenario) use field;

/// A record that is a struct: its fields, its keys, and how it is read.
///
/// * `NAME as "schema_name", "what it is"` can be the value of a key ([`Part`]); without, it is a [`Group`] of keys.
/// * `then CHECK` is a function that has the last word.
/// * `for TYPE` reads into a struct that is declared elsewhere.
macro_rules! record {
    (@read $name:ident, $model:ident, [$($word:literal, $what:literal)?], [$($check:ident)?],
        $( $field:ident: $mode:ident $(($default:expr))? $part:path $(= $key:literal, $doc:literal)?; )*
    ) => {
        impl $crate::scenario::record::Group for $name {
            type Value = $model;
            const KEYS: &[$crate::scenario::grammar::Key] = $crate::scenario::record::keys!($(
                $crate::scenario::record::field!(@keys $mode $(($default))? $part $(, $key, $doc)?)
            ),*);
            const ONE_OF: &[$crate::scenario::grammar::Key] = $crate::scenario::record::keys!($(
                $crate::scenario::record::field!(@one_of $mode $(($default))? $part $(, $key)?)
            ),*);

            fn from_keys(at: &$crate::scenario::read::At<'_>) -> $crate::scenario::read::Read<$model> {
                $( let $field = $crate::scenario::record::field!(@read at $mode $(($default))? $part $(, $key)?); )*
                Ok($model { $($field: $field?),* })$(.and_then(|value| $check(at, value)))?
            }
        }

        $(
            impl $name {
                pub(in crate::scenario) const RECORD: &'static $crate::scenario::grammar::Record = {
                    static RECORD: $crate::scenario::grammar::Record = $crate::scenario::grammar::Record {
                        name: $word,
                        what: $what,
                        keys: <$name as $crate::scenario::record::Group>::KEYS,
                        one_of: <$name as $crate::scenario::record::Group>::ONE_OF,
                        never: &[],
                    };
                    &RECORD
                };
            }

            impl $crate::scenario::record::Part for $name {
                type Value = $model;
                const SHAPE: $crate::scenario::grammar::Shape = $crate::scenario::grammar::Shape::Record(Self::RECORD);

                fn read(
                    at: &$crate::scenario::read::At<'_>,
                    node: &$crate::scenario::yaml::Node,
                ) -> $crate::scenario::read::Read<$model> {
                    at.record(node, Self::RECORD, <Self as $crate::scenario::record::Group>::from_keys)
                }
            }
        )?
    };
    (
        $(#[$about:meta])+
        $name:ident $(as $word:literal, $what:literal)? $(then $check:ident)? for $model:ident {
            $( $field:ident: $mode:ident $(($default:expr))? $part:path $(= $key:literal, $doc:literal)?; )*
        }
    ) => {
        $(#[$about])+
        pub enum $name {}

        $crate::scenario::record::record! {
            @read $name, $model, [$($word, $what)?], [$($check)?],
            $( $field: $mode $(($default))? $part $(= $key, $doc)?; )*
        }
    };
    (
        $(#[$about:meta])+
        $name:ident $(as $word:literal, $what:literal)? $(then $check:ident)? {
            $(
                $(#[doc = $more:literal])*
                $field:ident: $mode:ident $(($default:expr))? $part:path $(= $key:literal, $doc:literal)?;
            )*
        }
    ) => {
        $(#[$about])+
        #[derive(Debug, Clone)]
        pub struct $name {
            $(
                #[doc = concat!("`", stringify!($field), "`. ", $($doc)?)]
                $(#[doc = $more])*
                pub $field: $crate::scenario::record::field!(@type $mode $(($default))? $part),
            )*
        }

        $crate::scenario::record::record! {
            @read $name, $name, [$($word, $what)?], [$($check)?],
            $( $field: $mode $(($default))? $part $(= $key, $doc)?; )*
        }
    };
}
pub(in crate::scenario) use record;

/// Values of which one is chosen by its word: an enum, its words as keys, and how each is read. After its words, a
/// variant has its fields, or `(RECORD)`; or `=> PART;` if its value is no record. With none of these, the word alone is
/// the value. What stands behind `and` has no words.
macro_rules! choice {
    (
        $(#[$about:meta])+
        $name:ident $(as $own:literal, $what_it_is:literal)? {
            $(
                $(#[doc = $more:literal])*
                $variant:ident = $($a:ident $word:literal $meaning:literal $(as $record:literal, $what:literal)?),+;
                $( => $value:path; )?
                $( ($inner:path) )?
                $( {
                    $( $field:ident: $mode:ident $(($default:expr))? $part:path $(= $key:literal, $doc:literal)?; )*
                } )?
            )*
        }
        $( and { $($other:tt)* } )?
    ) => {
        $(#[$about])+
        #[derive(Debug, Clone)]
        pub enum $name {
            $(
                #[doc = concat!($($meaning, " "),+)]
                $(#[doc = $more])*
                $variant
                $( (<$value as $crate::scenario::record::Part>::Value) )?
                $( ($inner) )?
                $( {
                    $(
                        #[doc = concat!("`", stringify!($field), "`. ", $($doc)?)]
                        $field: $crate::scenario::record::field!(@type $mode $(($default))? $part),
                    )*
                } )?,
            )*
            $( $($other)* )?
        }

        impl $name {
            /// Its words, each with the keys that it takes.
            pub(in crate::scenario) const KEYS: &[$crate::scenario::grammar::Key] = $crate::scenario::record::keys!($(
                $crate::scenario::record::choice!(@words [$($a $word $meaning [$($record $what)?]),+]
                    $( $value )?
                    $( <$inner as $crate::scenario::record::Group>::KEYS,
                        <$inner as $crate::scenario::record::Group>::ONE_OF )?
                    $( $crate::scenario::record::keys!($(
                        $crate::scenario::record::field!(@keys $mode $(($default))? $part $(, $key, $doc)?)
                    ),*), $crate::scenario::record::keys!($(
                        $crate::scenario::record::field!(@one_of $mode $(($default))? $part $(, $key)?)
                    ),*) )?
                )
            ),*);

            /// Words that are values by themselves.
            #[allow(dead_code, reason = "not each choice has some")]
            pub(in crate::scenario) const PLAIN: &[$crate::scenario::grammar::Key] = $crate::scenario::record::keys!($(
                $crate::scenario::record::choice!(@plain [$($word $meaning),+]
                    [$($value)?] [$($inner)?] [$($($field)*)?])
            ),*);

            /// What that word is by itself.
            #[allow(dead_code, unused_variables, reason = "not each choice has such words")]
            pub(in crate::scenario) fn plain(word: &str) -> Option<Self> {
                $( $crate::scenario::record::choice!(@made word, $name::$variant, [$($word),+]
                    [$($value)?] [$($inner)?] [$($($field)*)?]); )*
                None
            }

            /// Its word, or the first of them; empty if it has none.
            #[allow(unreachable_patterns, reason = "some choices have values without words")]
            #[allow(dead_code, reason = "not each choice is asked")]
            pub fn word(&self) -> &'static str {
                match self {
                    $( Self::$variant { .. } => $crate::scenario::record::choice!(@first $($word),+), )*
                    _ => "",
                }
            }

            /// Reads what that word says.
            pub(in crate::scenario) fn chosen(
                at: &$crate::scenario::read::At<'_>,
                word: &str,
                node: &$crate::scenario::yaml::Node,
            ) -> $crate::scenario::read::Read<Self> {
                $( if matches!(word, $($word)|+) {
                    $( return <$value as $crate::scenario::record::Part>::read(at, node).map(Self::$variant); )?
                    $( return at.chosen(Self::KEYS, word, node, |at| {
                        <$inner as $crate::scenario::record::Group>::from_keys(at).map(Self::$variant)
                    }); )?
                    $( return at.chosen(Self::KEYS, word, node, |at| {
                        $( let $field = $crate::scenario::record::field!(
                            @read at $mode $(($default))? $part $(, $key)?); )*
                        Ok(Self::$variant { $($field: $field?),* })
                    }); )?
                } )*
                Err(at.reader.error(node.place, format!("unknown key `{word}`")))
            }
        }

        $(
            impl $name {
                pub(in crate::scenario) const RECORD: &'static $crate::scenario::grammar::Record = {
                    static RECORD: $crate::scenario::grammar::Record = $crate::scenario::grammar::Record {
                        name: $own,
                        what: $what_it_is,
                        keys: &[],
                        one_of: $name::KEYS,
                        never: &[],
                    };
                    &RECORD
                };
            }

            impl $crate::scenario::record::Part for $name {
                type Value = Self;
                const SHAPE: $crate::scenario::grammar::Shape = $crate::scenario::grammar::Shape::Record(Self::RECORD);

                fn read(
                    at: &$crate::scenario::read::At<'_>,
                    node: &$crate::scenario::yaml::Node,
                ) -> $crate::scenario::read::Read<Self> {
                    at.record(node, Self::RECORD, |at| {
                        let chosen = at.reader.choice(at.fields)?;
                        $name::chosen(at, &chosen.key, &chosen.value)
                    })
                }
            }
        )?
    };
    (@words [$($a:ident $word:literal $meaning:literal []),+] $value:path) => {
        &[$( $crate::scenario::grammar::Key::of::<$value>($word, $meaning) ),+]
    };
    (@words [$($a:ident $word:literal $meaning:literal [$($name:literal $what:literal)?]),+] $keys:expr, $one_of:expr) => {
        &[$(
            $crate::scenario::grammar::Key::new(
                $word,
                $crate::scenario::grammar::Shape::Record({
                    static RECORD: $crate::scenario::grammar::Record = $crate::scenario::grammar::Record {
                        name: $crate::scenario::record::choice!(@or $word $(, $name)?),
                        what: $crate::scenario::record::choice!(
                            @or (concat!(stringify!($a), " `", $word, "` step")) $(, $what)?),
                        keys: $keys,
                        one_of: $one_of,
                        never: &[],
                    };
                    &RECORD
                }),
                $meaning,
            )
        ),+]
    };
    (@words [$($plain:tt)*]) => { &[] };
    (@plain [$($word:literal $meaning:literal),+] [] [] []) => {
        &[$( $crate::scenario::grammar::scalar($word, $crate::scenario::grammar::Kind::Line, $meaning) ),+]
    };
    (@plain $($other:tt)*) => { &[] };
    (@made $text:ident, $made:expr, [$($word:literal),+] [] [] []) => {
        if matches!($text, $($word)|+) {
            return Some($made);
        }
    };
    (@made $($other:tt)*) => {};
    (@first $first:literal $(, $other:literal)*) => { $first };
    (@or $usual:expr) => { $usual };
    (@or $usual:expr, $other:literal) => { $other };
}
pub(in crate::scenario) use choice;

/// The value of one key, with its shape and its reader.
macro_rules! part {
    ($(#[doc = $doc:literal])+ $name:ident: $value:ty = $shape:expr, $read:expr) => {
        $(#[doc = $doc])+
        pub enum $name {}

        impl $crate::scenario::record::Part for $name {
            type Value = $value;
            const SHAPE: $crate::scenario::grammar::Shape = $shape;

            fn read(
                at: &$crate::scenario::read::At<'_>,
                node: &$crate::scenario::yaml::Node,
            ) -> $crate::scenario::read::Read<$value> {
                type Reader = fn(
                    &$crate::scenario::read::At<'_>,
                    &$crate::scenario::yaml::Node,
                ) -> $crate::scenario::read::Read<$value>;
                let read: Reader = $read;
                read(at, node)
            }
        }
    };
}
pub(in crate::scenario) use part;

/// Several keys that make one value, with their reader.
macro_rules! group {
    ($(#[doc = $doc:literal])+ $name:ident: $value:ty = $keys:expr $(; one of $one_of:expr)?, $read:expr) => {
        $(#[doc = $doc])+
        pub enum $name {}

        impl $crate::scenario::record::Group for $name {
            type Value = $value;
            const KEYS: &[$crate::scenario::grammar::Key] = $keys;
            $(const ONE_OF: &[$crate::scenario::grammar::Key] = $one_of;)?

            fn from_keys(at: &$crate::scenario::read::At<'_>) -> $crate::scenario::read::Read<$value> {
                let read: fn(&$crate::scenario::read::At<'_>) -> $crate::scenario::read::Read<$value> = $read;
                read(at)
            }
        }
    };
}
pub(in crate::scenario) use group;

/// An enum of words: each variant once, with its word.
macro_rules! words {
    (
        $(#[$about:meta])+
        $name:ident { $( #[doc = $doc:literal] $(#[$attribute:meta])? $variant:ident = $word:literal, )+ }
    ) => {
        $(#[$about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $( #[doc = $doc] $(#[$attribute])? $variant, )+
        }

        impl $name {
            /// Its word.
            #[allow(dead_code, reason = "not each is asked")]
            pub fn word(self) -> &'static str {
                match self {
                    $( Self::$variant => $word, )+
                }
            }
        }

        impl $crate::scenario::record::Scalar for $name {
            type Value = Self;
            const KIND: $crate::scenario::grammar::Kind = $crate::scenario::grammar::Kind::Word(&[$($word),+]);

            fn parse(text: &str) -> $crate::scenario::scalar::Parsed<Self> {
                match text {
                    $( $word => Ok(Self::$variant), )+
                    _ => Err($crate::scenario::scalar::unknown_word(text, &[$($word),+])),
                }
            }
        }
    };
}
pub(in crate::scenario) use words;
