//! A packet on its way through a path.

use std::borrow::Cow;
use std::sync::Arc;

use super::chance::mix;
use crate::wire::Segment;

/// What the conditions will do to it; settled when it enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fate {
    pub(super) lost: bool,
    pub(super) duplicated: bool,
    pub(super) reordered: bool,
}

/// How it came to be on the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Not an IP packet, or talk between neighbours: not counted, and spared.
    Neighbour,
    /// It entered, or was made of one that did.
    Entered,
    /// The path itself made it up.
    Forged,
}

/// A packet on its way. Borrowed as long as nobody has to keep or change it.
#[derive(Debug, Clone)]
pub(super) struct Packet<'a> {
    /// The whole Ethernet frame.
    pub(super) frame: Cow<'a, [u8]>,
    /// The end of the link that it comes from.
    pub(super) from: usize,
    /// Which of its direction, from 1.
    pub(super) number: u64,
    /// When it entered, on the path's clock.
    pub(super) came: u64,
    /// 0 for what entered; something else for each thing that was made of it: chance depends on it.
    pub(super) copy: u64,
    /// 0 for what entered; each copy, and each part but the first, has a number of its own in its direction.
    pub(super) part: u64,
    pub(super) fate: Fate,
    pub(super) origin: Origin,
    /// What it was when it entered, once somebody has looked.
    pub(super) entered: Option<Arc<Segment>>,
}

impl<'a> Packet<'a> {
    /// One that nothing has been made of yet.
    pub(super) fn new(frame: Cow<'a, [u8]>, from: usize, number: u64, came: u64, fate: Fate, origin: Origin) -> Self {
        Self { frame, from, number, came, copy: 0, part: 0, fate, origin, entered: None }
    }

    /// The length of the IP packet in bytes.
    pub(super) fn ip_length(&self) -> u64 {
        self.frame.len().saturating_sub(super::frame::ETHERNET) as u64
    }

    /// What it was when it entered, for the record.
    pub(super) fn as_entered(&self) -> Option<Segment> {
        match &self.entered {
            Some(segment) => Some(Segment::clone(segment)),
            None => segment_of(&self.frame),
        }
    }

    /// The `index`-th thing that is made of it, from 1, with its number. Its fate is still that of the packet.
    pub(super) fn child(&self, index: u64, part: u64, frame: Vec<u8>) -> Packet<'static> {
        let entered = self.entered.clone();
        let copy = mix(self.copy ^ mix(index));
        Packet { frame: Cow::Owned(frame), copy, part, entered, ..*self }
    }

    pub(super) fn into_owned(self) -> Packet<'static> {
        Packet { frame: Cow::Owned(self.frame.into_owned()), ..self }
    }
}

/// The TCP segment in a whole frame.
pub(super) fn segment_of(frame: &[u8]) -> Option<Segment> {
    Segment::parse(frame, u32::try_from(frame.len()).ok()?)
}
