//! How fast transfers were: for people and programs. No verdict depends on it, and no snapshot has it. Pure.

use std::time::Duration;

use crate::recording::{Observation, Recording, Side};
use crate::scenario::model::Scenario;
use crate::text;

use super::summary::milliseconds;

/// One direction of a completed transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferRate {
    /// The connection.
    pub connection: String,
    /// The sender.
    pub sender: Side,
    /// Payload that arrived, in bytes.
    pub bytes: u64,
    /// From the first write to the last read.
    pub took: Duration,
}

impl TransferRate {
    /// Payload in bits per second; `None` if it took no time that could be measured.
    pub fn bits_per_second(&self) -> Option<f64> {
        let seconds = self.took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "nobody asks for the 53rd bit of a rate")]
        (seconds > 0.0).then(|| self.bytes as f64 * 8.0 / seconds)
    }

    /// `in 312 ms, 26.9 Mbit/s`
    pub(super) fn words(&self) -> String {
        let took = if self.took < Duration::from_millis(10) {
            format!("{:.1} ms", self.took.as_secs_f64() * 1e3)
        } else {
            milliseconds(self.took)
        };
        match self.bits_per_second() {
            Some(rate) => format!("in {took}, {}", rate_words(rate)),
            None => format!("in {took}"),
        }
    }

    /// `main, 1 MiB from the client in 312 ms, 26.9 Mbit/s`
    pub(super) fn line(&self) -> String {
        let sender = self.sender.word();
        format!("{}, {} from the {sender} {}", text::one_line(&self.connection), text::about(self.bytes), self.words())
    }
}

/// All completed transfers of a run, in the order of their ends.
pub fn transfer_rates(recording: &Recording) -> Vec<TransferRate> {
    recording.entries.iter().filter_map(|entry| transfer_rate(&entry.what)).collect()
}

pub(super) fn transfer_rate(what: &Observation) -> Option<TransferRate> {
    match what {
        Observation::Transferred { connection, sender, bytes, took: Some(took), .. } => Some(TransferRate {
            connection: connection.clone(),
            sender: *sender,
            bytes: *bytes,
            took: Duration::from_nanos(*took),
        }),
        _ => None,
    }
}

/// The largest transfer, if the scenario limits the rate of a link.
pub(super) fn telling<'a>(scenario: &Scenario, rates: &'a [TransferRate]) -> Option<&'a TransferRate> {
    let world = &scenario.world;
    let mut conditions = world.paths.iter().flat_map(|path| &path.conditions);
    let limited = world.links.iter().any(|link| link.rate.is_some()) || conditions.any(|on| on.rate.is_some());
    rates.iter().filter(|_| limited).max_by_key(|rate| rate.bytes)
}

/// With one decimal, for rates that were measured: `26.9 Mbit/s`.
fn rate_words(bits_per_second: f64) -> String {
    const UNITS: [(&str, f64); 3] = [("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)];
    match UNITS.iter().find(|(_, factor)| bits_per_second >= *factor) {
        Some((unit, factor)) => format!("{:.1} {unit}", bits_per_second / factor),
        None => format!("{bits_per_second:.0} bit/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    fn rate(bytes: u64, took: Duration) -> TransferRate {
        TransferRate { connection: "main".to_owned(), sender: Side::Server, bytes, took }
    }

    #[test]
    fn a_rate_is_payload_by_time() {
        assert_eq!(rate(1 << 20, Duration::from_millis(312)).words(), "in 312 ms, 26.9 Mbit/s");
        assert_eq!(rate(1_250_000_000, Duration::from_secs(10)).words(), "in 10.0 s, 1.0 Gbit/s");
        assert_eq!(rate(1000, Duration::from_micros(3250)).words(), "in 3.2 ms, 2.5 Mbit/s");
        assert_eq!(rate(1, Duration::from_secs(2)).words(), "in 2000 ms, 4 bit/s");
        assert_eq!(rate(1, Duration::ZERO).words(), "in 0.0 ms");
        assert!(rate(u64::MAX, Duration::from_nanos(1)).words().ends_with(" Gbit/s"));
        assert_eq!(
            rate(1536, Duration::from_millis(20)).line(),
            "main, 1.5 KiB from the server in 20 ms, 614.4 kbit/s"
        );
    }

    #[test]
    fn the_rates_are_in_the_recording() {
        let mut recording = example::recording();
        let [only] = transfer_rates(&recording).try_into().expect("one transfer");
        assert_eq!((only.bytes, only.took), (65536, Duration::from_nanos(5_242_880)));
        for entry in &mut recording.entries {
            if let Observation::Transferred { took, .. } = &mut entry.what {
                *took = None;
            }
        }
        assert_eq!(transfer_rates(&recording), [], "an older recording doesn't tell");
    }

    #[test]
    fn a_summary_tells_the_rate_where_a_link_has_one() {
        let rates = [rate(10, Duration::from_millis(1)), rate(20, Duration::from_millis(1))];
        let mut scenario = crate::plan::example::scenario();
        for link in &mut scenario.world.links {
            link.rate = None;
        }
        assert_eq!(telling(&scenario, &rates), None);
        scenario.world.links.first_mut().expect("a link").rate = Some(1000);
        assert_eq!(telling(&scenario, &rates), Some(&rates[1]), "the largest");
        assert_eq!(telling(&scenario, &[]), None);
    }
}
