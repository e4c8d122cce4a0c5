//! Quoting for the shell and for nft: scenarios are data, and what they say must never become a command.

/// One word that stands for exactly this text, in bash, dash, zsh and fish.
///
/// They agree on single quotes, but for the backslash, which fish takes for the beginning of an escape there: so it stands
/// outside, as the single quote does. What acts on a terminal, or looks like something else on it, is written as the
/// octal numbers of printf(1). A line feed at the very end can't be written so; no name has one.
pub(super) fn quote(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "_@%+:,./-".contains(character);
    // zsh takes a word that begins with `=` for the path of a command.
    let is_plain = text.chars().all(|character| plain(character) || character == '=') && !text.starts_with('=');
    if !text.is_empty() && is_plain {
        return text.to_owned();
    }
    if text.chars().any(is_unfit) {
        let octal = |byte: u8| {
            if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("\\{byte:03o}") }
        };
        let bytes: String = text.bytes().map(octal).collect();
        return format!("\"$(printf '{bytes}')\"");
    }
    let mut quoted = String::from("'");
    for character in text.chars() {
        match character {
            '\'' => quoted.push_str(r"'\''"),
            '\\' => quoted.push_str(r"'\\'"),
            character => quoted.push(character),
        }
    }
    quoted.push('\'');
    quoted
}

/// What doesn't belong into a line: control characters, line and paragraph separators, and what reorders text.
fn is_unfit(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A comment that does nothing in any shell. An interactive zsh runs it: there `#` is a command that isn't found, and the
/// rest are its arguments. So it is quoted, unless it has only characters that mean nothing.
pub(super) fn comment(text: &str) -> String {
    let fit: String = text.chars().map(|character| if is_unfit(character) { ' ' } else { character }).collect();
    let harmless = |character: char| character.is_ascii_alphanumeric() || " _@+:,./-".contains(character);
    if fit.chars().all(harmless) { format!("# {fit}") } else { format!("# {}", quote(&fit)) }
}

/// A name in nft's own language, which is parsed once more after the shell: what isn't allowed there becomes `_`. The
/// beginning is always the same, since a word of the language (`reset`, `counter`, …) can't be a name.
pub(super) fn nft_name(text: &str) -> String {
    let safe: String = text
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() || "_-.".contains(character) { character } else { '_' })
        .collect();
    format!("filter_{safe}")
}

/// A string in nft's language. It has no escapes: a quote in it can't be said.
pub(super) fn nft_string(text: &str) -> String {
    let safe: String = text.chars().map(|character| if character == '"' { '_' } else { character }).collect();
    format!("\"{safe}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    const NASTY: [&str; 17] = [
        "",
        "a b",
        "$(reboot)",
        "`reboot`",
        "it's",
        "'; reboot; '",
        "back\\slash\\",
        "back\\'slash",
        "--flag=\"x\"",
        "*?[a]~#!&|<>{}^",
        "=ls",
        "a\nb",
        "\u{1b}[2J",
        "line\u{2028}separator",
        "next\u{85}line",
        "100%s\r\\n",
        "-n\u{7}",
    ];

    /// The shells that people paste into. The third zsh is one that people type into: it has no comments.
    const SHELLS: [&[&str]; 5] = [&["bash"], &["dash"], &["zsh", "-f"], &["zsh", "-f", "-i"], &["fish", "--no-config"]];

    /// The output of a shell for a script; `None` if it isn't installed, which the test says.
    /// `MPTCPLAB_REQUIRE` says that all must be there.
    fn output(shell: &[&str], script: &str) -> Option<String> {
        let (program, options) = shell.split_first().unwrap();
        let mut command = Command::new(program);
        let pipes = || Stdio::piped();
        match command.args(options).stdin(pipes()).stdout(pipes()).stderr(Stdio::null()).spawn() {
            Ok(mut child) => {
                child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
                Some(String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned())
            }
            Err(error) => {
                assert!(
                    std::env::var_os("MPTCPLAB_REQUIRE").is_none_or(|value| value.is_empty()),
                    "{program}: {error}"
                );
                #[expect(clippy::print_stderr, reason = "a test says what it leaves out")]
                {
                    eprintln!("{program} is not tested: {error}");
                }
                None
            }
        }
    }

    #[test]
    fn each_shell_reads_back_what_was_quoted() {
        for text in NASTY {
            let script = format!("printf '[%s]' {}\n", quote(text));
            for shell in SHELLS {
                if let Some(output) = output(shell, &script) {
                    // zsh shows what is typed, too.
                    assert!(
                        output.ends_with(&format!("[{text}]")) || shell.contains(&"-i"),
                        "{shell:?}: {script} {output}"
                    );
                    assert!(output.contains(&format!("[{text}]")), "{shell:?}: {script} {output}");
                }
            }
        }
    }

    #[test]
    fn a_comment_does_nothing_in_any_shell() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        for separator in ["; ", "\n", "\r", "\u{85}", "\u{2028}", "\u{2029}", "' ", "\\' ", "| ", "& ", "`", "$("] {
            let text = format!("a title{separator}touch {} ) `", mark.display());
            let script = format!("{}\nprintf on\n", comment(&text));
            for shell in SHELLS {
                if let Some(output) = output(shell, &script) {
                    assert!(output.contains("on"), "{shell:?}: {script}");
                }
                assert!(!mark.exists(), "{shell:?}: {script}");
            }
        }
    }

    #[test]
    fn plain_words_stay_plain() {
        assert_eq!(quote("10.0.1.2/24"), "10.0.1.2/24");
        assert_eq!(quote("net.mptcp.enabled=1"), "net.mptcp.enabled=1");
    }

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(quote("a\n'\u{1b}[2J"), r#""$(printf 'a\012\047\033\1332J')""#);
    }

    #[test]
    fn nft_names_are_identifiers() {
        assert_eq!(nft_name("no-join"), "filter_no-join");
        assert_eq!(nft_name("reset"), "filter_reset");
        assert_eq!(nft_name("x { } ; delete table inet y"), "filter_x_______delete_table_inet_y");
        assert_eq!(nft_name("1st"), "filter_1st");
        assert_eq!(nft_string("eth\" drop"), "\"eth_ drop\"");
    }
}
