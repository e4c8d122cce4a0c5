//! Quoting for the shell and for nft: scenarios are data, and what they say must never become a command.

use std::fmt::Write as _;

/// One word of a POSIX shell that stands for exactly this text.
///
/// Control characters are written as `$'\x1b'` (POSIX 2024, and bash before it): they would act on the terminal that
/// shows the commands.
pub(super) fn quote(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "_@%+=:,./-".contains(character);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    if text.chars().any(char::is_control) {
        let mut quoted = String::from("$'");
        for character in text.chars() {
            match character {
                '\\' | '\'' => quoted.extend(['\\', character]),
                character if character.is_control() => {
                    let mut bytes = [0; 4];
                    for byte in character.encode_utf8(&mut bytes).bytes() {
                        // Writing to a String can't fail.
                        let _ = write!(quoted, "\\{byte:03o}");
                    }
                }
                character => quoted.push(character),
            }
        }
        quoted.push('\'');
        return quoted;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A name in nft's own language, which is parsed once more after the shell: anything but a plain identifier loses what
/// is not allowed there.
pub(super) fn nft_name(text: &str) -> String {
    let safe: String = text
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() || "_-.".contains(character) { character } else { '_' })
        .collect();
    if safe.starts_with(|first: char| first.is_ascii_alphabetic()) { safe } else { format!("filter_{safe}") }
}

/// A string in nft's language. It has no escapes: a quote in it can't be said.
pub(super) fn nft_string(text: &str) -> String {
    let safe: String = text.chars().map(|character| if character == '"' { '_' } else { character }).collect();
    format!("\"{safe}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const NASTY: [&str; 9] =
        ["", "a b", "$(reboot)", "`reboot`", "it's", "'; reboot; '", "back\\slash\\", "--flag=\"x\"", "*?[a]~#!&|<>"];

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for text in NASTY {
            let script = format!("printf %s {}", quote(text));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{script}");
        }
    }

    #[test]
    fn plain_words_stay_plain() {
        assert_eq!(quote("10.0.1.2/24"), "10.0.1.2/24");
        assert_eq!(quote("net.mptcp.enabled=1"), "net.mptcp.enabled=1");
    }

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(quote("a\n'\u{1b}[2J"), r"$'a\012\'\033[2J'");
    }

    #[test]
    fn nft_names_are_identifiers() {
        assert_eq!(nft_name("no-join"), "no-join");
        assert_eq!(nft_name("x { } ; delete table inet y"), "x_______delete_table_inet_y");
        assert_eq!(nft_name("1st"), "filter_1st");
        assert_eq!(nft_string("eth\" drop"), "\"eth_ drop\"");
    }
}
