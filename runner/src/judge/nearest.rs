//! Nearest misses: what looks almost like what was expected, and in which fields it differs.

use std::fmt::Display;

use crate::mptcp::{Endpoint, canonical};
use crate::pattern::WirePattern;
use crate::wire::Segment;

/// Fields that differ, in words: `id 2 instead of 1`.
pub(super) type Differences = Vec<String>;

fn compare<T: PartialEq + Display>(differences: &mut Differences, field: &str, wanted: Option<T>, observed: Option<T>) {
    match (wanted, observed) {
        (Some(wanted), Some(observed)) if wanted != observed => {
            differences.push(format!("{field} {observed} instead of {wanted}"));
        }
        (Some(wanted), None) => differences.push(format!("no {field} instead of {wanted}")),
        _ => {}
    }
}

/// In which fields a dumped endpoint differs from an expected one.
pub(super) fn of_endpoint(expected: &Endpoint, dumped: &Endpoint) -> Differences {
    let mut differences = Vec::new();
    let found = &mut differences;
    compare(found, "address", Some(canonical(expected.address)), Some(canonical(dumped.address)));
    // A port, a device and flags that are not expected differ as well.
    let port = |port: Option<u16>| Some(port.map_or_else(|| "none".to_owned(), |port| port.to_string()));
    compare(found, "port", port(expected.port), port(dumped.port));
    compare(found, "id", expected.id, dumped.id);
    let flags =
        |endpoint: &Endpoint| if endpoint.flags.is_empty() { "none".to_owned() } else { endpoint.flags.to_string() };
    compare(found, "flags", Some(flags(expected)), Some(flags(dumped)));
    let dev = |endpoint: &Endpoint| Some(endpoint.dev.clone().unwrap_or_else(|| "none".to_owned()));
    compare(found, "dev", dev(expected), dev(dumped));
    differences
}

/// In which fields the option of a segment that `sender` sent differs from a pattern; `None` if the segment carries no
/// such option.
pub(super) fn of_segment(pattern: &WirePattern, sender: &str, segment: &Segment) -> Option<Differences> {
    let mut differences = Vec::new();
    compare(&mut differences, "sender", Some(pattern.sender.as_str()), Some(sender));
    differences.extend(pattern.differences(segment)?);
    Some(differences)
}

/// What stands behind a missing one: `; nearest: X (id 2 instead of 1)`, and `: id 2 instead of 1` for a summary. `None` if
/// there is nothing to compare it with.
pub(super) fn miss<T>(
    all: impl Iterator<Item = (T, Differences)>,
    name: impl Fn(T) -> String,
) -> Option<(String, String)> {
    let (one, differences) = nearest(all)?;
    let differences = differences.join(", ");
    Some((format!("; nearest: {} ({differences})", name(one)), format!(": {differences}")))
}

/// The one with the fewest differences; the first of several.
fn nearest<T>(all: impl Iterator<Item = (T, Differences)>) -> Option<(T, Differences)> {
    all.min_by_key(|(_, differences)| differences.len())
}
