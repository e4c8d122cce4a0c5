//! Keys from tables of fields: what a thing has, and what only similar ones have.

use super::{Key, Kind, scalar};
use crate::pattern::{Field, FieldKey, Form, Table};

/// How many keys the things with the bit `on` have or, with `never`, only others have.
pub(super) const fn count<T: Table>(fields: &[Field<T>], on: u32, never: bool) -> usize {
    let (mut count, mut field, mut key) = (0, 0, 0);
    while field < fields.len() {
        if takes(fields, field, key, on, never) {
            count += 1;
        }
        (field, key) = after(fields, field, key);
    }
    count
}

/// These keys, then others: `N` of them.
pub(super) const fn keys<T: Table, const N: usize>(
    fields: &[Field<T>],
    on: u32,
    never: bool,
    last: &[Key],
) -> [Key; N] {
    let mut keys = [Key::NONE; N];
    let mut count = 0;
    let (mut field, mut key) = (0, 0);
    while field < fields.len() {
        if takes(fields, field, key, on, never) {
            let FieldKey { word, doc, .. } = fields[field].keys[key];
            keys[count] = scalar(word, kind(fields[field].form), doc);
            count += 1;
        }
        (field, key) = after(fields, field, key);
    }
    let mut index = 0;
    while index < last.len() {
        keys[count + index] = last[index];
        index += 1;
    }
    keys
}

/// What a field takes, in the grammar's words.
const fn kind(form: Form) -> Kind {
    match form {
        Form::Connection => Kind::Name,
        Form::Address | Form::ExactAddress => Kind::Address,
        Form::Port => Kind::Port,
        Form::Octet | Form::Flags => Kind::Integer(0, 255),
        Form::Switch => Kind::Switch,
        Form::Device => Kind::Device,
        Form::Error => Kind::ErrorPattern,
    }
}

/// The place after a key.
const fn after<T: Table>(fields: &[Field<T>], field: usize, key: usize) -> (usize, usize) {
    if key + 1 < fields[field].keys.len() { (field, key + 1) } else { (field + 1, 0) }
}

/// Whether a key is one of those that are looked for. Of those that a thing never has, each word counts once.
const fn takes<T: Table>(fields: &[Field<T>], field: usize, key: usize, on: u32, never: bool) -> bool {
    let FieldKey { word, on: here, .. } = fields[field].keys[key];
    if !never {
        return here & on != 0;
    }
    let (mut other, mut other_key) = (0, 0);
    while other < fields.len() {
        let FieldKey { word: known, on: there, .. } = fields[other].keys[other_key];
        let earlier = other < field || (other == field && other_key < key);
        if same(word, known) && (there & on != 0 || earlier) {
            return false;
        }
        (other, other_key) = after(fields, other, other_key);
    }
    true
}

/// The place of a word in a list. A word that isn't in it doesn't compile.
pub(super) const fn index(words: &[&str], word: &str) -> usize {
    let mut index = 0;
    while !same(words[index], word) {
        index += 1;
    }
    index
}

pub(super) const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}
