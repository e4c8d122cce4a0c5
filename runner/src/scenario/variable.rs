//! Variables in the text of a scenario: their names, where they stand, and what is filled in for them.

use std::ops::Range;

use super::scalar::{Parsed, Problem};

/// What the name of a variable may be.
pub(super) const VARIABLE_NAME: &str = "a small letter, then small letters, digits or `_`; at most 32 in all";

/// A text with the value in the place of each `$name`.
pub(super) fn with_value(text: &str, name: &str, value: &str) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut copied = 0;
    for reference in references(text).iter().filter(|reference| reference.name == Some(name)) {
        filled.push_str(text.get(copied..reference.range.start).unwrap_or_default());
        filled.push_str(value);
        copied = reference.range.end;
    }
    filled.push_str(text.get(copied..).unwrap_or_default());
    filled
}

/// The name of a variable.
pub(super) fn variable_name(text: &str) -> Parsed<String> {
    if is_variable_name(text) {
        return Ok(text.to_owned());
    }
    Err(Problem { message: format!("`{text}` can't be the name of a variable"), help: Some(VARIABLE_NAME.to_owned()) })
}

/// A `$name` or `$$` in a text.
pub(super) struct Reference<'a> {
    pub(super) range: Range<usize>,
    /// `None`: it is `$$`.
    pub(super) name: Option<&'a str>,
}

/// All references in a text. A dollar sign before anything else is just that.
pub(super) fn references(text: &str) -> Vec<Reference<'_>> {
    let mut references = Vec::new();
    let mut at = 0;
    while let Some(dollar) = text.get(at..).and_then(|rest| rest.find('$')).map(|found| at + found) {
        let after = text.get(dollar + 1..).unwrap_or_default();
        let length = after.find(|c: char| !is_name(c)).unwrap_or(after.len());
        if after.starts_with('$') {
            references.push(Reference { range: dollar..dollar + 2, name: None });
            at = dollar + 2;
        } else if after.starts_with(|c: char| c.is_ascii_lowercase()) {
            let end = dollar + 1 + length;
            references.push(Reference { range: dollar..end, name: text.get(dollar + 1..end) });
            at = end;
        } else {
            at = dollar + 1;
        }
    }
    references
}

pub(super) fn is_variable_name(name: &str) -> bool {
    name.len() <= 32 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_name)
}

pub(super) fn is_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_that_variable_is_filled_in() {
        assert_eq!(with_value("10.0.$n.$name/$n", "n", "7"), "10.0.7.$name/7");
        assert_eq!(with_value("$$n costs $5, $n$", "n", "7"), "$$n costs $5, 7$");
    }
}
