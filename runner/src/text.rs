//! Numbers and foreign text in words: sizes, rates, durations as scenarios spell them, and text that is safe to print.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::nanos;

/// Bytes with the largest unit that leaves no remainder: `64 KiB`, `1500 B`.
pub(crate) fn size(bytes: u64) -> String {
    scaled(bytes, 1024, &["B", "KiB", "MiB", "GiB"])
}

/// Bytes with at most one decimal, for amounts that were measured: `127.9 KiB`.
pub(crate) fn about(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let Some((unit, factor)) = UNITS.iter().find(|(_, factor)| bytes >= *factor) else {
        return format!("{bytes} B");
    };
    // Tenths, rounded to the nearest; in 128 bits, where nothing overflows.
    let tenths = (u128::from(bytes) * 10 + u128::from(factor / 2)) / u128::from(*factor);
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        rest => format!("{}.{rest} {unit}", tenths / 10),
    }
}

/// Bits per second: `20 Mbit/s`.
pub(crate) fn rate(bits_per_second: u64) -> String {
    scaled(bits_per_second, 1000, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s"])
}

fn scaled(number: u64, step: u64, units: &[&str]) -> String {
    let (mut number, mut unit) = (number, units.first().copied().unwrap_or_default());
    for larger in units.iter().skip(1) {
        if number == 0 || !number.is_multiple_of(step) {
            break;
        }
        (number, unit) = (number / step, larger);
    }
    format!("{number} {unit}")
}

/// A duration of a scenario: `50 ms`, `5 s`.
pub(crate) fn duration(duration: Duration) -> String {
    scaled(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), 1000, &["us", "ms", "s"])
}

/// A measured time of so many nanoseconds: `41 ms`, `1.31 s`.
pub(crate) fn seconds(nanoseconds: u64) -> String {
    let milliseconds = nanoseconds / 1_000_000;
    if milliseconds < 1000 {
        format!("{milliseconds} ms")
    } else {
        format!("{}.{:02} s", milliseconds / 1000, milliseconds % 1000 / 10)
    }
}

/// A measured time: `41 ms`, `1.31 s`.
pub(crate) fn measured(duration: Duration) -> String {
    seconds(nanos::of(duration))
}

/// A count with its noun: `1 subflow`, `3 subflows`.
pub(crate) fn count(number: impl Into<u64>, noun: &str) -> String {
    match number.into() {
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    }
}

/// `a`, `a and b`, `a, b and c`
pub(crate) fn list(words: &[&str]) -> String {
    match words {
        [first @ .., before, last] if !first.is_empty() => format!("{}, {before} and {last}", first.join(", ")),
        words => words.join(" and "),
    }
}

/// A MAC address: `02:00:00:00:01:01`.
pub(crate) fn mac(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
}

/// A socket address without the v4-mapped prefix: `10.0.1.1:8080`, `[dead:beef:1::1]:8080`.
pub(crate) fn socket(socket: SocketAddr) -> SocketAddr {
    SocketAddr::new(socket.ip().to_canonical(), socket.port())
}

/// A scenario's label as a file name: nothing in it leads out of a folder, and two labels never have the same name. A
/// slash becomes `__`; what could be mistaken for one, or isn't fit for a name, its bytes as `%20`.
pub(crate) fn file_name(label: &str) -> String {
    let mut name = String::with_capacity(label.len());
    let mut before = None;
    let mut letters = label.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_separator = |other: Option<char>| matches!(other, Some('/' | '_'));
        match letter {
            '/' => name.push_str("__"),
            '_' if !is_separator(before) && !is_separator(letters.peek().copied()) => name.push('_'),
            '.' if before.is_some() => name.push('.'),
            '-' | '@' => name.push(letter),
            letter if letter.is_alphanumeric() => name.push(letter),
            other => {
                for byte in other.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a String can't fail.
                    _ = write!(name, "%{byte:02x}");
                }
            }
        }
        before = Some(letter);
    }
    name
}

/// Text from outside, fit for a terminal: control characters (escape sequences among them) are spelled out. Line feeds
/// stay.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(dangerous) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => safe.push_str("    "),
            character if dangerous(character) => safe.extend(character.escape_default()),
            character => safe.push(character),
        }
    }
    Cow::Owned(safe)
}

/// Like [`printable`], and line feeds become blanks.
pub(crate) fn one_line(text: &str) -> String {
    printable(&text.replace(['\n', '\r'], " ")).into_owned()
}

/// Control characters, and those that reorder text: they let a file show as something else than it is.
fn dangerous(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_rates_and_durations_are_spelled_as_in_scenarios() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1000), "1000 B");
        assert_eq!(size(64 * 1024), "64 KiB");
        assert_eq!(size(1 << 30), "1 GiB");
        assert_eq!(rate(20_000_000), "20 Mbit/s");
        assert_eq!(rate(1500), "1500 bit/s");
        assert_eq!(duration(Duration::from_millis(50)), "50 ms");
        assert_eq!(duration(Duration::from_secs(5)), "5 s");
        assert_eq!(duration(Duration::from_micros(1500)), "1500 us");
    }

    #[test]
    fn measured_sizes_are_rounded() {
        assert_eq!(about(1023), "1023 B");
        assert_eq!(about(131_000), "127.9 KiB");
        assert_eq!(about(1 << 20), "1 MiB");
        assert_eq!(about(u64::MAX), "17179869184 GiB");
    }

    #[test]
    fn a_label_is_a_file_name() {
        assert_eq!(file_name("scenarios/signal/port@ipv6"), "scenarios__signal__port@ipv6");
        assert_eq!(file_name("../../etc/pass wd"), "%2e.__..__etc__pass%20wd");
        assert_eq!(file_name("/tmp/a/../b"), "__tmp__a__..__b");
    }

    #[test]
    fn no_two_labels_are_one_file_name() {
        // All labels of up to five of these letters.
        let letters = ['/', '_', '-', '.', 'a', ' ', '%', '5', 'f'];
        let mut labels = vec![String::new()];
        for _ in 0..5 {
            let longer = labels.iter().flat_map(|label| letters.map(|letter| format!("{label}{letter}")));
            labels = [String::new()].into_iter().chain(longer).collect();
        }
        let names: std::collections::HashSet<String> = labels.iter().map(|label| file_name(label)).collect();
        assert_eq!(names.len(), labels.len());
        assert!(names.iter().all(|name| !name.contains('/') && !name.starts_with('.')));
    }

    #[test]
    fn terminal_escapes_do_not_get_through() {
        assert_eq!(printable("\u{1b}[31mred\nnext"), "\\u{1b}[31mred\nnext");
        assert_eq!(one_line("a\nb\u{202e}"), "a b\\u{202e}");
    }
}
