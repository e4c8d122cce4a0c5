//! The messages between guest and host: [`Frame`]s over a byte stream, each with its kind, length, and content.
//!
//! The kind is one byte, the length four bytes in little-endian order. Nothing separates frames: the stream is a virtio
//! port or a serial line that nobody else writes to.

use std::io::{self, Write};

/// Maximum length of a frame. If one seems longer, the stream is broken.
const LONGEST: usize = 256 << 20;

/// Kind and length.
const HEADER: usize = 5;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The guest's init has started; the kernel's release.
    Hello(String),
    /// Lines of the guest's kernel log.
    Log(String),
    /// The guest can't do something, and continues without it.
    Trouble(String),
    /// The guest is alive.
    Beat,
    /// The host asks something: a [`Question`](super::talk::Question), with a number.
    Ask(u32, Vec<u8>),
    /// The guest answers the question of this number.
    Answer(u32, Vec<u8>),
    /// The guest has read this many bytes. A serial line has no other way to announce room for more.
    Got(u32),
}

impl Frame {
    fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => 1,
            Self::Log(_) => 2,
            Self::Trouble(_) => 3,
            Self::Beat => 4,
            Self::Ask(..) => 5,
            Self::Answer(..) => 6,
            Self::Got(_) => 7,
        }
    }

    fn content(&self) -> Vec<u8> {
        match self {
            Self::Hello(text) | Self::Log(text) | Self::Trouble(text) => text.clone().into_bytes(),
            Self::Beat => Vec::new(),
            Self::Got(count) => count.to_le_bytes().to_vec(),
            Self::Ask(number, bytes) | Self::Answer(number, bytes) => {
                [&number.to_le_bytes(), bytes.as_slice()].concat()
            }
        }
    }

    fn from_parts(kind: u8, content: &[u8]) -> Option<Self> {
        let text = || String::from_utf8_lossy(content).into_owned();
        let numbered =
            || content.split_first_chunk().map(|(number, rest)| (u32::from_le_bytes(*number), rest.to_vec()));
        Some(match kind {
            1 => Self::Hello(text()),
            2 => Self::Log(text()),
            3 => Self::Trouble(text()),
            4 => Self::Beat,
            5 => numbered().map(|(number, bytes)| Self::Ask(number, bytes))?,
            6 => numbered().map(|(number, bytes)| Self::Answer(number, bytes))?,
            7 => Self::Got(u32::from_le_bytes(content.try_into().ok()?)),
            _ => return None,
        })
    }

    /// Writes it with one call.
    ///
    /// # Errors
    ///
    /// Writing failed, or the content is too long for a frame.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let content = self.content();
        let length = u32::try_from(content.len()).ok().filter(|length| *length as usize <= LONGEST);
        let length = length
            .ok_or_else(|| io::Error::other(format!("a frame of {} bytes is too long to send", content.len())))?;
        out.write_all(&[&[self.kind()], length.to_le_bytes().as_slice(), &content].concat())
    }
}

/// Assembles frames from incoming bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

/// The stream contains an invalid frame.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guest sent an invalid frame (kind {kind}, {length} bytes)")]
pub struct Garbled {
    kind: u8,
    length: usize,
}

impl Decoder {
    /// Takes in bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, if it is complete.
    pub fn take(&mut self) -> Result<Option<Frame>, Garbled> {
        let Some(&[kind, a, b, c, d]) = self.bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let garbled = Garbled { kind, length };
        if length > LONGEST {
            return Err(garbled);
        }
        let Some(content) = self.bytes.get(HEADER..HEADER + length) else { return Ok(None) };
        let frame = Frame::from_parts(kind, content).ok_or(garbled)?;
        self.bytes.drain(..HEADER + length);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all() -> Vec<Frame> {
        vec![
            Frame::Hello("6.12.0".to_owned()),
            Frame::Log("[    1.000000] x\n".to_owned()),
            Frame::Trouble("no veth".to_owned()),
            Frame::Beat,
            Frame::Ask(7, b"{}".to_vec()),
            Frame::Answer(u32::MAX, vec![0, 255]),
            Frame::Got(1024),
        ]
    }

    #[test]
    fn frames_survive_the_way_however_they_are_cut() {
        let mut stream = Vec::new();
        for frame in all() {
            frame.write(&mut stream).unwrap();
        }
        for size in [1, 2, 7, 1000] {
            let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
            for bytes in stream.chunks(size) {
                decoder.push(bytes);
                while let Some(frame) = decoder.take().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, all());
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for bytes in [&[99, 0, 0, 0, 0][..], &[3, 255, 255, 255, 255], &[6, 1, 0, 0, 0, 1]] {
            let mut decoder = Decoder::default();
            decoder.push(bytes);
            assert!(decoder.take().is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.take() {}
        }
    }
}
