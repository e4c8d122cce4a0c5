//! One definition of each record of the language. A field says its type, its key and what it means; from that come the
//! field of the model, the rows of the grammar (so the schema and the diagnostics), and the reader.
//!
//! A field is one of these:
//!
//! * `need TYPE = "key", "meaning"`: the key must be there.
//! * `maybe TYPE = "key", "meaning"`: an [`Option`].
//! * `or(DEFAULT) TYPE = "key", "meaning"`: the default stands for a missing key.
//! * `group TYPE`: several keys that make one value ([`Group`]).

use super::grammar::{Key, Kind, Shape};
use super::read::{At, Read};
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
        at.reader.scalar(node, S::parse)
    }
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
    fn read(at: &At<'_>) -> Read<Self::Value>;
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
    (@type group $part:ident) => { <$part as $crate::scenario::record::Group>::Value };
    (@type maybe $part:ident) => { Option<<$part as $crate::scenario::record::Part>::Value> };
    (@type $mode:ident $(($default:expr))? $part:ident) => { <$part as $crate::scenario::record::Part>::Value };
    (@keys group $part:ident) => { <$part as $crate::scenario::record::Group>::KEYS };
    (@keys need $part:ident, $key:literal, $doc:literal) => {
        &[$crate::scenario::grammar::Key::of::<$part>($key, $doc).required()]
    };
    (@keys $mode:ident $(($default:expr))? $part:ident, $key:literal, $doc:literal) => {
        &[$crate::scenario::grammar::Key::of::<$part>($key, $doc)]
    };
    (@one_of group $part:ident) => { <$part as $crate::scenario::record::Group>::ONE_OF };
    (@one_of $mode:ident $(($default:expr))? $part:ident, $key:literal) => { &[] };
    (@read $at:ident group $part:ident) => { <$part as $crate::scenario::record::Group>::read($at) };
    (@read $at:ident need $part:ident, $key:literal) => { $at.need::<$part>($key) };
    (@read $at:ident maybe $part:ident, $key:literal) => { $at.maybe::<$part>($key) };
    (@read $at:ident or($default:expr) $part:ident, $key:literal) => {
        $at.maybe::<$part>($key).map(|value| value.unwrap_or($default))
    };
}
pub(in crate::scenario) use field;

/// A record that is a struct: its fields, its keys, and how it is read.
macro_rules! record {
    (
        $(#[doc = $about:literal])+
        $name:ident {
            $( $field:ident: $mode:ident $(($default:expr))? $part:ident $(= $key:literal, $doc:literal)?; )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $(
                #[doc = concat!("`", stringify!($field), "`. ", $($doc)?)]
                pub $field: $crate::scenario::record::field!(@type $mode $(($default))? $part),
            )*
        }

        impl $crate::scenario::record::Group for $name {
            type Value = Self;
            const KEYS: &[$crate::scenario::grammar::Key] = $crate::scenario::record::keys!($(
                $crate::scenario::record::field!(@keys $mode $(($default))? $part $(, $key, $doc)?)
            ),*);

            fn read(at: &$crate::scenario::read::At<'_>) -> $crate::scenario::read::Read<Self> {
                $( let $field = $crate::scenario::record::field!(@read at $mode $(($default))? $part $(, $key)?); )*
                Ok(Self { $($field: $field?),* })
            }
        }
    };
}
pub(in crate::scenario) use record;

/// Records of which one is chosen by its word: an enum, its words as keys, and how each is read.
macro_rules! choice {
    (
        $(#[doc = $about:literal])+
        $name:ident {
            $(
                $variant:ident = $($a:ident $word:literal $meaning:literal),+;
                $( ($inner:ty) )?
                $( {
                    $( $field:ident: $mode:ident $(($default:expr))? $part:ident $(= $key:literal, $doc:literal)?; )*
                } )?
            )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone)]
        pub enum $name {
            $(
                #[doc = concat!($($meaning, " "),+)]
                $variant
                $( ($inner) )?
                $( {
                    $(
                        #[doc = concat!("`", stringify!($field), "`. ", $($doc)?)]
                        $field: $crate::scenario::record::field!(@type $mode $(($default))? $part),
                    )*
                } )?,
            )*
        }

        impl $name {
            /// Its words, each with the keys that it takes.
            pub(in crate::scenario) const KEYS: &[$crate::scenario::grammar::Key] = $crate::scenario::record::keys!($(
                $crate::scenario::record::choice!(@words [$($a $word $meaning),+]
                    $( <$inner as $crate::scenario::record::Group>::KEYS, &[] )?
                    $( $crate::scenario::record::keys!($(
                        $crate::scenario::record::field!(@keys $mode $(($default))? $part $(, $key, $doc)?)
                    ),*), $crate::scenario::record::keys!($(
                        $crate::scenario::record::field!(@one_of $mode $(($default))? $part $(, $key)?)
                    ),*) )?
                )
            ),*);

            /// Reads what that word says.
            pub(in crate::scenario) fn read(
                at: &$crate::scenario::read::At<'_>,
            ) -> $crate::scenario::read::Read<Self> {
                $( if matches!(at.word, $($word)|+) {
                    $( return <$inner as $crate::scenario::record::Group>::read(at).map(Self::$variant); )?
                    $(
                        $( let $field = $crate::scenario::record::field!(
                            @read at $mode $(($default))? $part $(, $key)?); )*
                        return Ok(Self::$variant { $($field: $field?),* });
                    )?
                } )*
                Err(at.reader.error(at.fields.place(), format!("`{}` is not an operation", at.word)))
            }
        }
    };
    (@words [$($a:ident $word:literal $meaning:literal),+] $keys:expr, $one_of:expr) => {
        &[$(
            $crate::scenario::grammar::Key::new(
                $word,
                $crate::scenario::grammar::Shape::Record({
                    static RECORD: $crate::scenario::grammar::Record = $crate::scenario::grammar::Record {
                        name: $word,
                        what: concat!(stringify!($a), " `", $word, "` step"),
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
}
pub(in crate::scenario) use choice;

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
