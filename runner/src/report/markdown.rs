//! Foreign text in Markdown.

use crate::text;

/// Text that stands in a table or a line: on one line, and nothing in it is markup.
pub(super) fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text::one_line(text).chars() {
        match character {
            '<' => safe.push_str("&lt;"),
            '|' | '*' | '\\' | '[' | ']' => safe.extend(['\\', character]),
            character => safe.push(character),
        }
    }
    safe
}

/// A block that shows as it is, with a fence that is longer than any in it.
pub(super) fn fenced(language: &str, text: &str) -> String {
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}{language}\n{}\n{fence}\n", text::printable(text.trim_end()))
}
