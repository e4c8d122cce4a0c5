//! How much each subflow of a connection carried. Main type: [`Traffic`].

use std::net::SocketAddr;

use crate::recording::{Direction, Recording, Side};
use crate::scenario::model::Scenario;

use super::view::View;

/// The segments of a recording, by connections.
pub struct Traffic<'a>(View<'a>);

/// The payload that one subflow carried in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried<'a> {
    /// The sender's end.
    pub local: SocketAddr,
    /// The receiver's end.
    pub remote: SocketAddr,
    /// The device that the segments left by; the last one, if they left by several.
    pub device: &'a str,
    /// Bytes of payload, retransmissions included.
    pub bytes: u64,
}

impl<'a> Traffic<'a> {
    /// Sorts a recording.
    pub fn of(scenario: &'a Scenario, recording: &'a Recording) -> Self {
        Self(View::new(scenario, recording))
    }

    /// What each subflow of a connection carried from that side in a period, in nanoseconds since the start of the run:
    /// in the order in which the subflows began, without those that carried nothing.
    pub fn carried(&self, connection: &str, sender: Side, from: u64, to: u64) -> Vec<Carried<'a>> {
        let Some(half) = self.0.halves().find(|half| half.name == connection && half.side == sender) else {
            return Vec::new();
        };
        let mut carried: Vec<Option<Carried<'a>>> = vec![None; half.flows.len()];
        let period =
            self.0.segments(half).filter(|one| one.at >= from && one.at <= to && one.direction == Direction::Out);
        for one in period.filter(|one| one.segment.payload > 0) {
            let (Some(place), Some(flow)) = (carried.get_mut(one.flow), half.flows.get(one.flow)) else { continue };
            let none = Carried { local: flow.local, remote: flow.remote, device: one.device, bytes: 0 };
            let sum = place.get_or_insert(none);
            sum.bytes += u64::from(one.segment.payload);
            sum.device = one.device;
        }
        carried.into_iter().flatten().collect()
    }
}
