//! Frames that outlive the ring they were captured in: [`FrameCopies`].

use serde::{Deserialize, Serialize};

use super::CapturedFrame;
use crate::recording::Direction;

/// Maximum number of bytes kept per namespace. A frame has about 100: this is for the packets of a connection's life,
/// not for bulk data.
const MOST_BYTES: usize = 2 * 1024 * 1024;

/// Frames of one namespace, copied out of the ring, oldest first. When it is full, further frames are only counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FrameCopies {
    #[serde(with = "hex")]
    bytes: Vec<u8>,
    frames: Vec<FrameCopy>,
    left_out: u64,
}

/// A frame without its bytes, and where they end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct FrameCopy {
    at_ns: u64,
    ifindex: u32,
    direction: Direction,
    original_length: u32,
    end: usize,
}

impl FrameCopies {
    /// Keeps a copy of the frame, if there is room.
    pub fn keep(&mut self, frame: &CapturedFrame<'_>) {
        let end = self.bytes.len() + frame.bytes.len();
        if end > MOST_BYTES {
            self.left_out += 1;
            return;
        }
        self.bytes.extend_from_slice(frame.bytes);
        let CapturedFrame { at_ns, ifindex, direction, original_length, .. } = *frame;
        self.frames.push(FrameCopy { at_ns, ifindex, direction, original_length, end });
    }

    /// The frames that were kept.
    pub fn iter(&self) -> impl Iterator<Item = CapturedFrame<'_>> {
        self.frames.iter().scan(0, |start, kept| {
            let bytes = self.bytes.get(*start..kept.end).unwrap_or_default();
            *start = kept.end;
            let FrameCopy { at_ns, ifindex, direction, original_length, .. } = *kept;
            Some(CapturedFrame { at_ns, ifindex, direction, original_length, bytes })
        })
    }

    /// The number of frames for which there was no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// As hexadecimal text: a list of numbers would be twice as long.
mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::wire::{from_hex, to_hex};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_hex(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text).ok_or_else(|| D::Error::custom("not hexadecimal"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(at_ns: u64, bytes: &[u8]) -> CapturedFrame<'_> {
        CapturedFrame { at_ns, ifindex: 2, direction: Direction::Out, original_length: 1500, bytes }
    }

    #[test]
    fn frames_come_back_as_they_were() {
        let frames = [frame(1, b"first"), frame(2, b""), frame(3, b"third")];
        let mut kept = FrameCopies::default();
        for frame in &frames {
            kept.keep(frame);
        }
        assert_eq!(kept.iter().collect::<Vec<_>>(), frames);
        assert_eq!(kept.left_out(), 0);
    }

    #[test]
    fn the_room_is_bounded() {
        let large = vec![0; MOST_BYTES / 2 + 1];
        let mut kept = FrameCopies::default();
        for at in 0..3 {
            kept.keep(&frame(at, &large));
        }
        assert_eq!((kept.iter().count(), kept.left_out()), (1, 2));
    }
}
