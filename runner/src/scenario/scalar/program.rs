//! What a program is given, and how it ends.

use std::str::FromStr as _;

use nix::sys::signal::Signal;

use super::super::model::EndStatus;
use super::super::nearest::nearest;
use super::{Parsed, Problem};

/// The longest argument or value of an environment variable.
const LONGEST: usize = 16 << 10;
/// The longest file.
const LONGEST_FILE: usize = 256 << 10;

/// An argument, or the value of an environment variable.
pub fn argument(text: &str) -> Parsed<String> {
    limited(text, LONGEST)
}

/// The contents of a file.
pub fn contents(text: &str) -> Parsed<String> {
    limited(text, LONGEST_FILE)
}

fn limited(text: &str, most: usize) -> Parsed<String> {
    if text.contains('\0') {
        return Err(Problem::new("the text has a NUL character, which ends each text that a program is given"));
    }
    if text.len() > most {
        return Err(Problem::new(format!("the text has {} bytes; at most {most} are allowed", text.len())));
    }
    Ok(text.to_owned())
}

/// The name of a program, without a folder: where a program is found doesn't depend on the scenario.
pub fn command(text: &str) -> Parsed<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.+-".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if text.len() <= 64 && begins && text.chars().all(good) {
        return Ok(text.to_owned());
    }
    Err(Problem::not(text, "the name of a program")
        .help("its name in `/usr/bin` or `/usr/sbin`, without a folder, like `curl`"))
}

/// The name of an environment variable.
pub fn environment_name(text: &str) -> Parsed<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.len() <= 64 && text.chars().all(good) && !text.starts_with(|c: char| c.is_ascii_digit()) && !text.is_empty()
    {
        return Ok(text.to_owned());
    }
    Err(Problem::not(text, "the name of an environment variable").help("letters, digits and `_`, like `LC_ALL`"))
}

/// The name of a file below the working directory.
pub fn file_name(text: &str) -> Parsed<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.+-".contains(c);
    let part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.chars().all(good);
    if text.len() <= 200 && text.split('/').all(part) {
        return Ok(text.to_owned());
    }
    Err(Problem::not(text, "the relative name of a file")
        .help("letters, digits, `_`, `.`, `+`, `-` and `/`, like `www/index.html`; without `..`"))
}

/// The name of a signal.
pub fn signal(text: &str) -> Parsed<String> {
    Signal::from_str(text).map(|signal| signal.as_str().to_owned()).map_err(|_| {
        let whole = Signal::from_str(&format!("SIG{}", text.to_uppercase()));
        let meant = whole.map(Signal::as_str).ok().or_else(|| nearest(text, Signal::iterator().map(Signal::as_str)));
        let help =
            meant.map_or_else(|| "like SIGTERM; see signal(7)".to_owned(), |name| format!("did you mean `{name}`?"));
        Problem::not(text, "the name of a signal").help(help)
    })
}

/// An exit status, or the name of a signal.
pub fn end_status(text: &str) -> Parsed<EndStatus> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return super::octet(text).map(EndStatus::Exit);
    }
    signal(text).map(EndStatus::Signal).map_err(|problem| Problem {
        message: format!("`{text}` is neither an exit status nor the name of a signal"),
        ..problem
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        for name in ["index.html", "www/a-b_c.txt", ".profile", "a/b/c"] {
            assert!(file_name(name).is_ok(), "{name}");
        }
        for name in ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/.", "a/", "..", "a b", "a\0b", "~root"] {
            assert!(file_name(name).is_err(), "{name:?}");
        }
        for name in ["curl", "mptcpd", "g++", "python3.11"] {
            assert!(command(name).is_ok(), "{name}");
        }
        for name in ["", "/bin/sh", "./sh", "../sh", "..", "-x", "a b", "sh\n", "a;b"] {
            assert!(command(name).is_err(), "{name:?}");
        }
        assert!(
            environment_name("LD_PRELOAD").is_ok()
                && environment_name("A=B").is_err()
                && environment_name("1A").is_err()
        );
    }

    #[test]
    fn ends() {
        assert_eq!(end_status("0"), Ok(EndStatus::Exit(0)));
        assert_eq!(end_status("SIGTERM"), Ok(EndStatus::Signal("SIGTERM".to_owned())));
        assert!(end_status("256").is_err() && end_status("TERM").is_err() && end_status("-1").is_err());
        assert!(signal("SIGTREM").unwrap_err().help.unwrap().contains("SIGTERM"));
    }
}
