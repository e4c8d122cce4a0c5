//! ICMP errors as lines of the story, each once, on its way over all routers.

use std::time::Duration;

use crate::flight::Fate;
use crate::recording::{Direction, Entry, Observation};
use crate::text;
use crate::wire::IcmpError;

use super::arrow::Arrow;

/// An error on its way.
struct Way<'a> {
    entry: usize,
    at: u64,
    error: &'a IcmpError,
    from: &'a str,
    /// Where it arrived, in this order.
    arrived: Vec<&'a str>,
    /// It left the last of them again.
    goes_on: bool,
}

/// The errors, with the indices of their first entries.
pub(super) fn arrows(entries: &[Entry]) -> Vec<(usize, Arrow<'_>)> {
    let mut ways: Vec<Way<'_>> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let Observation::Icmp { namespace, direction, error, .. } = &entry.what else { continue };
        let namespace: &str = namespace;
        let mut known = ways.iter_mut().rev().filter(|way| way.error == &**error);
        let way = match direction {
            // A router sends on what came to it.
            Direction::Out => known.find(|way| !way.goes_on && way.arrived.last() == Some(&namespace)),
            Direction::In => known.find(|way| way.goes_on),
        };
        let sent = *direction == Direction::Out;
        if let Some(way) = way {
            way.goes_on = sent;
            way.arrived.extend((!sent).then_some(namespace));
        } else {
            // Paths answer for routers that nobody sees: then it begins where it arrives.
            let arrived = if sent { Vec::new() } else { vec![namespace] };
            ways.push(Way { entry: index, at: entry.at, error, from: namespace, arrived, goes_on: sent });
        }
    }
    ways.into_iter().map(|way| (way.entry, way.arrow())).collect()
}

impl<'a> Way<'a> {
    fn arrow(self) -> Arrow<'a> {
        let IcmpError { source, destination, about, .. } = self.error;
        let about = about
            .map(|(source, destination)| format!(", about {} → {}", text::socket(source), text::socket(destination)));
        let lost = self.goes_on;
        let mut through = self.arrived;
        let to = if lost { through.last().copied() } else { through.pop() };
        Arrow {
            at: self.at,
            from: self.from,
            through: through.into_iter().filter(|namespace| *namespace != self.from).collect(),
            to,
            toward: None,
            fate: if lost { Fate::Lost } else { Fate::Arrived },
            words: self.error.words(),
            path: format!("{source} → {destination}{}", about.unwrap_or_default()),
            times: 1,
            over: Duration::ZERO,
        }
    }
}
