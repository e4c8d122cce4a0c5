//! How the frames of a path are taken from the kernel, and for how many there is room: [`Rings`]. Pure.

use crate::scenario::model::{Action, Conditions, PathPlan, Scenario, Step};

/// How large the frames are that a path takes whole, in bytes, Ethernet header included (`gso_max_size`). Four of them,
/// each with the kernel's header, fit into a block of 64 KiB.
pub const GSO_MAX_SIZE: u32 = 16 * 1024 - 80;

/// The MTU of a link that nobody gave one (`ETH_DATA_LEN`).
const DEFAULT_MTU: u32 = 1500;
/// The Ethernet header.
const ETHERNET: usize = 14;
/// Maximum number of frames. A sender may have more in flight than the thread has had time for: the
/// receive buffer of a connection, 6 MiB (`net.ipv4.tcp_rmem`), in segments of 1448 bytes.
const MOST_SLOTS: usize = 4608;
/// Frames that are longer than on Ethernet take more room each; of those, fewer are in flight.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// The same where frames are taken whole: the same buffer twice, and then some for acknowledgments.
const MOST_BYTES_WHOLE: usize = 16 * 1024 * 1024;
/// Minimum number of frames: for handshakes, path managers, keepalives and retransmissions.
const LEAST_SLOTS: usize = 512;
/// The fewest that there are of the longest frames.
const LEAST_LONG_SLOTS: usize = 256;
/// What a segment of a transfer carries at least, in bytes: half of what it may. So what comes twice finds room, too.
const SEGMENT: u64 = 700;

/// How the frames of one path are taken from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rings {
    /// What they look like.
    pub frames: Frames,
    /// The longest frame, in bytes, Ethernet header included.
    pub longest: usize,
    /// For how many there is room on each side.
    pub slots: usize,
}

/// What the frames of a link look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// As on a wire: no longer than the MTU, with complete checksums.
    Real,
    /// As on a plain veth pair: several segments in one frame, which nobody has cut yet (generic segmentation offload), and
    /// checksums that nobody has completed.
    Whole,
}

/// How the frames of this path are taken. Whole, if the path is open in both directions in the whole run: then nobody can
/// tell the difference but by the time that it takes.
pub(super) fn rings(scenario: &Scenario, path: &PathPlan) -> Rings {
    let link = scenario.world.links.iter().find(|link| link.name == path.link);
    let mtu = link.and_then(|link| link.mtu).unwrap_or(DEFAULT_MTU);
    let real = size(mtu).saturating_add(ETHERNET);
    let (frames, longest, most) = if stays_open(scenario, path) {
        let longest = real.max(size(GSO_MAX_SIZE));
        (Frames::Whole, longest, MOST_BYTES_WHOLE / longest)
    } else {
        (Frames::Real, real, MOST_BYTES / real)
    };
    let needed =
        usize::try_from(transferred(&scenario.steps) / SEGMENT.min(u64::from(mtu / 2)).max(1)).unwrap_or(usize::MAX);
    let slots = LEAST_SLOTS.saturating_add(needed).min(most.clamp(LEAST_LONG_SLOTS, MOST_SLOTS));
    Rings { frames, longest, slots }
}

/// Nothing ever happens to a packet there.
fn stays_open(scenario: &Scenario, path: &PathPlan) -> bool {
    let changes = |action: &Action| match action {
        Action::SetPath(change) => change.link == path.link,
        Action::AddRule { link, .. } => *link == path.link,
        Action::Listen(_)
        | Action::StopListening { .. }
        | Action::Connect(_)
        | Action::Transfer(_)
        | Action::FinishTransfer { .. }
        | Action::Wait { .. }
        | Action::Quiet { .. }
        | Action::Close { .. }
        | Action::SetOptions { .. }
        | Action::GetOption(_)
        | Action::Accept { .. }
        | Action::Shutdown { .. }
        | Action::Write { .. }
        | Action::Read { .. }
        | Action::Check(_)
        | Action::Start(_)
        | Action::Run(_)
        | Action::Signal { .. }
        | Action::FinishProgram { .. }
        | Action::Stop { .. }
        | Action::RemoveRule { .. }
        | Action::Release { .. }
        | Action::Do(_)
        | Action::ExpectError { .. } => false,
    };
    path.conditions.iter().all(Conditions::is_open)
        && path.rules.is_empty()
        && !scenario.steps.iter().any(|step| changes(&step.action))
}

/// What all transfers of the scenario send, in bytes, in both directions: no more can be in flight. Nobody knows what
/// programs send.
pub(super) fn transferred(steps: &[Step]) -> u64 {
    if steps.iter().any(|step| step.action.program().is_some()) {
        return u64::MAX;
    }
    let transfers = steps.iter().filter_map(|step| {
        pick!(&step.action, Action::Transfer(transfer)
            => transfer.from_client.saturating_add(transfer.from_server))
    });
    transfers.fold(0, u64::saturating_add)
}

fn size(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::example;
    use crate::scenario::model::{PacketPattern, PathChange, PathRule, Place, Queue, RuleAction};

    fn path() -> PathPlan {
        let conditions = Default::default();
        PathPlan { link: "cellular".into(), place: Place::default(), seed: 1, conditions, rules: Vec::new() }
    }

    fn rule() -> PathRule {
        PathRule {
            name: "rule".into(),
            place: Place::default(),
            matching: PacketPattern::default(),
            action: RuleAction::Drop,
            may_be_unused: false,
        }
    }

    fn change(link: &str) -> Action {
        Action::SetPath(PathChange { link: link.into(), from: None, conditions: [Some(Conditions::default()), None] })
    }

    fn with_step(action: Action) -> Scenario {
        let mut scenario = example::scenario();
        scenario.steps.push(example::step(action));
        scenario
    }

    #[test]
    fn frames_are_taken_whole_where_nothing_ever_happens_to_them() {
        let scenario = example::scenario();
        let frames = |scenario: &Scenario, path: &PathPlan| rings(scenario, path).frames;
        assert_eq!(frames(&scenario, &path()), Frames::Whole);
        assert_eq!(frames(&with_step(change("wifi")), &path()), Frames::Whole, "that is another link");
        let unused = Conditions { queue: Queue { packets: Some(1), bytes: None }, ..Conditions::default() };
        assert_eq!(
            frames(&scenario, &PathPlan { conditions: [unused, Conditions::default()], ..path() }),
            Frames::Whole
        );
        let late = Conditions { delay: Duration::from_nanos(1), ..Conditions::default() };
        for changed in [
            PathPlan { conditions: [Conditions::default(), late.clone()], ..path() },
            PathPlan { conditions: [late, Conditions::default()], ..path() },
            PathPlan { rules: vec![rule()], ..path() },
        ] {
            assert_eq!(frames(&scenario, &changed), Frames::Real);
        }
        for action in [change("cellular"), Action::AddRule { link: "cellular".into(), rule: rule() }] {
            assert_eq!(frames(&with_step(action), &path()), Frames::Real);
        }
    }

    #[test]
    fn there_is_room_for_what_the_scenario_sends() {
        let transfer = |bytes| {
            let mut scenario = with_step(change("cellular"));
            for step in &mut scenario.steps {
                if let Action::Transfer(transfer) = &mut step.action {
                    (transfer.from_client, transfer.from_server) = (bytes, 0);
                }
            }
            scenario
        };
        let slots = |bytes| rings(&transfer(bytes), &path()).slots;
        assert_eq!([0, 700, 1_000_000, u64::MAX].map(slots), [512, 513, 1940, MOST_SLOTS]);
        let mut jumbo = transfer(u64::MAX);
        jumbo.world.links[1].mtu = Some(65_535);
        let jumbo = rings(&jumbo, &path());
        assert_eq!((jumbo.longest, jumbo.slots), (65_549, LEAST_LONG_SLOTS));
    }
}
