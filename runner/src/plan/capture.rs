//! How much room the capture of a namespace needs. Pure.

use crate::scenario::model::Step;

use super::rings::transferred;
use super::{Frames, PathSetup, connects};

/// The ring of a capture where nothing asks for more: room for 4096 frames. It is memory of this process, in full, from the
/// start.
pub const DEFAULT_RING_BYTES: usize = 1024 * 1024;

/// Frames that each of many connections may send at once, without anybody reading the ring meanwhile: the end of a
/// subflow with its answers, and an announcement.
const FRAMES_AT_ONCE: usize = 8;

/// The most bytes of a ring.
const LARGEST_RING: usize = 24 * DEFAULT_RING_BYTES;

/// How much room the capture of a namespace needs. Where frames are real, what would be one of 64 KiB elsewhere is many:
/// a frame of the ring, 256 bytes, for each 250 bytes that are sent is more than enough.
pub(super) fn capture_bytes(steps: &[Step], paths: &[PathSetup], namespace: &str) -> usize {
    let real = paths.iter().filter(|path| path.rings.frames == Frames::Real);
    let has_one = real.flat_map(|path| &path.ends).any(|end| end.namespace == namespace);
    let programs = steps.iter().any(|step| step.action.program().is_some());
    let more = if has_one || programs { usize::try_from(transferred(steps)).unwrap_or(usize::MAX) } else { 0 };
    let at_once = connects(steps).saturating_mul(FRAMES_AT_ONCE * 256).min(LARGEST_RING);
    DEFAULT_RING_BYTES.saturating_add(more).min(4 * DEFAULT_RING_BYTES).max(at_once)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Rings, example};
    use crate::scenario::model::{Action, PathPlan, Place};

    #[test]
    fn the_ring_has_room_for_what_real_frames_and_many_connections_bring() {
        let mut steps = example::scenario().steps;
        for step in &mut steps {
            if let Action::Transfer(transfer) = &mut step.action {
                (transfer.from_client, transfer.from_server) = (1_000_000, 500_000);
            }
        }
        let links = example::scenario().world.links;
        let path = |frames| PathSetup {
            path: PathPlan {
                link: "wifi".into(),
                place: Place::default(),
                seed: 1,
                conditions: Default::default(),
                rules: Vec::new(),
            },
            ends: links[0].ends.clone(),
            mtu: None,
            rings: Rings { frames, longest: 1514, slots: 512 },
        };
        assert_eq!(capture_bytes(&steps, &[], "client"), DEFAULT_RING_BYTES);
        assert_eq!(capture_bytes(&steps, &[path(Frames::Whole)], "client"), DEFAULT_RING_BYTES);
        let real = [path(Frames::Real)];
        assert_eq!(capture_bytes(&steps, &real, "client"), DEFAULT_RING_BYTES + 1_500_000);
        assert_eq!(capture_bytes(&steps, &real, "router"), DEFAULT_RING_BYTES, "no end of the path is there");
        let connect = steps[0].clone();
        assert_eq!(capture_bytes(&vec![connect.clone(); 2000], &[], "client"), 2000 * FRAMES_AT_ONCE * 256);
        assert_eq!(capture_bytes(&vec![connect; 100_000], &[], "client"), LARGEST_RING);
    }
}
