//! Colours and characters: what the place that the text goes to can show.

use std::fmt::Display;

use anstyle::{AnsiColor, Effects};

/// What a text may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// ANSI colours.
    pub colour: bool,
    /// Box-drawing characters, arrows and typographic quotes; ASCII otherwise.
    pub unicode: bool,
}

/// What a piece of text means; how it looks follows from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A success.
    Good,
    /// A failure.
    Bad,
    /// Something to be careful with: skipped, in error.
    Warning,
    /// A heading.
    Heading,
    /// An event of the path manager.
    Event,
    /// Signalling on the wire.
    Signal,
    /// Secondary information.
    Faint,
}

impl Style {
    /// The text in the looks of its role. Readable without, too: no meaning is in the colour alone.
    pub(crate) fn paint(self, role: Role, text: impl Display) -> String {
        if !self.colour {
            return text.to_string();
        }
        let style = match role {
            Role::Good => AnsiColor::Green.on_default() | Effects::BOLD,
            Role::Bad => AnsiColor::Red.on_default() | Effects::BOLD,
            Role::Warning => AnsiColor::Yellow.on_default() | Effects::BOLD,
            Role::Heading => anstyle::Style::new() | Effects::BOLD,
            Role::Event => AnsiColor::Cyan.on_default(),
            Role::Signal => AnsiColor::Magenta.on_default(),
            Role::Faint => anstyle::Style::new() | Effects::DIMMED,
        };
        format!("{style}{text}{style:#}")
    }

    /// Replaces the characters that renderings use beyond ASCII, where they can't be shown. Those that stand in columns
    /// have a replacement of the same width.
    pub(crate) fn finish(self, text: String) -> String {
        if self.unicode {
            return text;
        }
        let mut ascii = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                '─' => ascii.push('-'),
                '━' => ascii.push('='),
                '│' => ascii.push('|'),
                '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┼' => ascii.push('+'),
                '▶' => ascii.push('>'),
                '◀' | '≤' => ascii.push('<'),
                '●' => ascii.push('*'),
                '○' => ascii.push('o'),
                '┊' => ascii.push(':'),
                '✗' | '×' => ascii.push('x'),
                '→' => ascii.push_str("->"),
                '…' => ascii.push_str("..."),
                '“' | '”' => ascii.push('"'),
                other => ascii.push(other),
            }
        }
        ascii
    }
}

/// Whether the locale of these variables uses UTF-8. The first one that is set and not empty decides (POSIX, "Locale").
pub(crate) fn locale_is_utf8(lc_all: Option<&str>, lc_ctype: Option<&str>, lang: Option<&str>) -> bool {
    let locale = [lc_all, lc_ctype, lang].into_iter().flatten().find(|value| !value.is_empty()).unwrap_or("C");
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides() {
        assert!(locale_is_utf8(None, None, Some("en_GB.UTF-8")));
        assert!(locale_is_utf8(Some(""), Some("C.utf8"), Some("C")));
        assert!(!locale_is_utf8(Some("C"), None, Some("en_GB.UTF-8")));
        assert!(!locale_is_utf8(None, None, None));
    }

    #[test]
    fn without_colour_there_is_no_escape_sequence() {
        assert_eq!(Style::default().paint(Role::Bad, "FAIL"), "FAIL");
        assert!(Style { colour: true, unicode: true }.paint(Role::Bad, "FAIL").contains("\u{1b}["));
    }
}
