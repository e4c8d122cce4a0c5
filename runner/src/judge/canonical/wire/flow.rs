//! One subflow on the wire. Main type: [`Flow`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use crate::judge::canonical::order::{Item, Use, canonical_order};
use crate::judge::names::Names;
use crate::judge::render::push;
use crate::recording::Side;
use crate::wire::{MptcpOption, Segment};

/// A subflow with the options that belong to it.
pub(super) struct Flow {
    /// Both ends, the initiator first.
    pub(super) label: String,
    /// 2 for the second one between the same ends.
    pub(super) number: usize,
    /// The side that opened it.
    pub(super) initiator: Side,
    /// The initial subflow of its connection.
    pub(super) is_first: bool,
    items: Vec<Item<Stream, Key>>,
    last: BTreeMap<Stream, String>,
}

/// Options of one sort in one direction keep their order.
type Stream = (u8, bool);

/// The sort, the direction (what the initiator says comes first), the text.
type Key = (u8, bool, String);

impl Flow {
    /// One without options.
    pub(super) fn new(label: String, number: usize, initiator: Side) -> Self {
        Self { label, number, initiator, is_first: false, items: Vec::new(), last: BTreeMap::new() }
    }

    /// Takes in an option.
    pub(super) fn add(&mut self, names: &Names<'_>, from_initiator: bool, segment: &Segment, option: &MptcpOption) {
        let Some((sort, text)) = line(names, segment, option) else { return };
        self.is_first |= matches!(option, MptcpOption::MpCapable { .. });
        let stream = (sort, !from_initiator);
        if self.last.get(&stream) == Some(&text) {
            return;
        }
        self.last.insert(stream, text.clone());
        // A subflow is short-lived and its handshake has one order: barriers would add nothing.
        self.items.push(Item { interval: 0, key: (sort, !from_initiator, text), uses: vec![(stream, Use::Write)] });
    }

    /// Writes the subflow's lines.
    pub(super) fn write(&self, text: &mut String) {
        _ = write!(text, "  {}", self.label);
        if self.number > 1 {
            _ = write!(text, " #{}", self.number);
        }
        text.push('\n');
        for item in canonical_order(&self.items).into_iter().filter_map(|index| self.items.get(index)) {
            let (_, from_acceptor, line) = &item.key;
            _ = writeln!(text, "    {} {line}", if *from_acceptor { '<' } else { '>' });
        }
    }
}

/// The sort of an option in the order of a subflow's life, and its text.
fn line(names: &Names<'_>, segment: &Segment, option: &MptcpOption) -> Option<(u8, String)> {
    let id = |id: u8| {
        let source: IpAddr = segment.source.ip();
        names.address_id(names.owner(source), Some(source), id)
    };
    let join = |word: &str, address_id: u8, backup: bool| {
        format!("mp_join {word} id {}{}", id(address_id), if backup { " backup" } else { "" })
    };
    Some(match option {
        MptcpOption::MpCapable { version, flags, sender_key, receiver_key, .. } => {
            let (sort, word) = match (sender_key, receiver_key) {
                (None, _) => (0, "syn"),
                (Some(_), None) => (1, "synack"),
                // Its data, if it has any, is a matter of luck.
                (Some(_), Some(_)) => (2, "ack"),
            };
            (sort, format!("mp_capable {word}{}", capable_facts(*version, *flags)))
        }
        MptcpOption::MpJoinSyn { backup, address_id, .. } => (0, join("syn", *address_id, *backup)),
        MptcpOption::MpJoinSynAck { backup, address_id, .. } => (1, join("synack", *address_id, *backup)),
        MptcpOption::MpJoinAck { .. } => (2, "mp_join ack".to_owned()),
        MptcpOption::MpPrio { backup } => (3, format!("mp_prio {}", if *backup { "backup" } else { "no backup" })),
        MptcpOption::MpFail { .. } => (4, "mp_fail".to_owned()),
        MptcpOption::MpTcprst { flags, reason } => {
            let mut text = format!("mp_tcprst reason {reason}");
            push(&mut text, "flags", (*flags != 0).then(|| format!("{flags:#x}")));
            (5, text)
        }
        MptcpOption::Malformed { subtype, .. } => {
            let mut text = "malformed option".to_owned();
            push(&mut text, "subtype", *subtype);
            (6, text)
        }
        MptcpOption::Dss { .. }
        | MptcpOption::AddAddr { .. }
        | MptcpOption::RemoveAddr { .. }
        | MptcpOption::MpFastclose { .. } => return None,
    })
}

/// What a handshake with version 1 and HMAC-SHA256, and nothing else, does not say (RFC 8684 section 3.1).
fn capable_facts(version: u8, flags: u8) -> String {
    let mut text = String::new();
    if flags & 0x80 != 0 {
        text.push_str(" checksum");
    }
    if flags & 0x20 != 0 {
        text.push_str(" deny_join_id0");
    }
    let rest = flags & !0xa0;
    push(&mut text, "flags", (rest != 1).then(|| format!("{flags:#04x}")));
    push(&mut text, "version", (version != 1).then_some(version));
    text
}
