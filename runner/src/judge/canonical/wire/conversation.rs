//! One connection on the wire: its subflows, and what belongs to all of them. Main type: [`Conversation`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::judge::canonical::errors::data_may_be_late;
use crate::judge::canonical::order::{Item, Use, canonical_order};
use crate::judge::names::Names;
use crate::mptcp::canonical;
use crate::recording::Side;
use crate::wire::{AddAddrBody, DssMapping, MptcpOption, Segment};

use super::flow::Flow;

/// A connection as the wire shows it.
pub(super) struct Conversation<'a> {
    /// Its name; `None`: the subflows that belong to none that is known.
    pub(super) name: Option<&'a str>,
    /// It was closed by MP_FASTCLOSE.
    pub(super) fastclosed: bool,
    flows: Vec<Flow>,
    /// How many subflows have a label.
    labels: BTreeMap<String, usize>,
    sides: BTreeMap<Side, SideOptions>,
    received: BTreeMap<Side, Announcements>,
    with_checksum: bool,
    without_checksum: bool,
}

/// What one side said that belongs to the connection.
#[derive(Default)]
struct SideOptions {
    items: Vec<Item<Thing, (u8, String)>>,
    announcements: Announcements,
    last: BTreeMap<Thing, String>,
}

/// The subject of such an option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    /// An address id of the sender's.
    Own(u8),
    /// An address id of the receiver's.
    Echoed(u8),
    DataFin,
    Infinite,
    Fastclose,
}

/// What was announced and not removed since, to tell repetitions.
#[derive(Default)]
struct Announcements(BTreeMap<(bool, u8), (IpAddr, Option<u16>)>);

impl Announcements {
    /// Takes note of an option, and says whether it is a repetition.
    fn again(&mut self, option: &MptcpOption) -> bool {
        if let MptcpOption::AddAddr { echo, address_id, body } = option {
            let address = (canonical(body.address), body.port);
            return self.0.insert((*echo, *address_id), address) == Some(address);
        }
        if let MptcpOption::RemoveAddr { address_ids } = option {
            for id in address_ids {
                self.0.remove(&(false, *id));
            }
        }
        false
    }

    /// The peer took these ids back: the next echo of one is not a repetition.
    fn taken_back(&mut self, option: &MptcpOption) {
        if let MptcpOption::RemoveAddr { address_ids } = option {
            for id in address_ids {
                self.0.remove(&(true, *id));
            }
        }
    }
}

impl<'a> Conversation<'a> {
    /// One without subflows.
    pub(super) fn new(name: Option<&'a str>) -> Self {
        Self {
            name,
            fastclosed: false,
            flows: Vec::new(),
            labels: BTreeMap::new(),
            sides: BTreeMap::new(),
            received: BTreeMap::new(),
            with_checksum: false,
            without_checksum: false,
        }
    }

    /// Adds a subflow and returns its index.
    pub(super) fn open(
        &mut self,
        names: &Names<'_>,
        initiator: SocketAddr,
        acceptor: SocketAddr,
        initiator_side: Side,
    ) -> usize {
        let label = format!("{} > {}", names.socket(initiator), names.socket(acceptor));
        let number = self.labels.entry(label.clone()).or_default();
        *number += 1;
        self.flows.push(Flow::new(label, *number, initiator_side));
        self.flows.len() - 1
    }

    fn side(&self, flow: usize, from_initiator: bool) -> Side {
        let initiator = self.flows.get(flow).map_or(Side::Client, |flow| flow.initiator);
        match (initiator, from_initiator) {
            (Side::Client, true) | (Side::Server, false) => Side::Client,
            (Side::Client, false) | (Side::Server, true) => Side::Server,
        }
    }

    /// Whether an option that arrived is a repetition.
    pub(super) fn received_again(&mut self, flow: usize, from_initiator: bool, option: &MptcpOption) -> bool {
        let side = self.side(flow, from_initiator);
        self.received.entry(side.other()).or_default().taken_back(option);
        self.received.entry(side).or_default().again(option)
    }

    /// Takes in an option that was sent, and says whether it is a repetition.
    pub(super) fn add(
        &mut self,
        names: &Names<'_>,
        flow: usize,
        from_initiator: bool,
        segment: &Segment,
        option: &MptcpOption,
        interval: usize,
    ) -> bool {
        let side = self.side(flow, from_initiator);
        match option {
            MptcpOption::Dss { data_fin, mapping, .. } => {
                self.add_dss(side, interval, *data_fin, mapping.as_ref());
                false
            }
            MptcpOption::AddAddr { echo, address_id, body } => {
                self.announce(side, interval, *echo, *address_id, body);
                self.sides.entry(side).or_default().announcements.again(option)
            }
            MptcpOption::RemoveAddr { address_ids } => {
                self.remove(side, interval, address_ids);
                self.sides.entry(side).or_default().announcements.again(option);
                self.sides.entry(side.other()).or_default().announcements.taken_back(option);
                false
            }
            MptcpOption::MpFastclose { .. } => {
                self.fastclosed = true;
                self.say(side, interval, 4, Thing::Fastclose, "mp_fastclose".to_owned());
                false
            }
            // Each side resets what is left, and who does so first is a matter of luck.
            MptcpOption::MpTcprst { .. } if self.fastclosed => false,
            MptcpOption::MpTcprst { reason: 0, .. } if data_may_be_late(names, self.name) => false,
            MptcpOption::MpCapable { .. }
            | MptcpOption::MpJoinSyn { .. }
            | MptcpOption::MpJoinSynAck { .. }
            | MptcpOption::MpJoinAck { .. }
            | MptcpOption::MpPrio { .. }
            | MptcpOption::MpFail { .. }
            | MptcpOption::MpTcprst { .. }
            | MptcpOption::Malformed { .. } => {
                if let Some(flow) = self.flows.get_mut(flow) {
                    flow.add(names, from_initiator, segment, option);
                }
                false
            }
        }
    }

    fn add_dss(&mut self, side: Side, interval: usize, data_fin: bool, mapping: Option<&DssMapping>) {
        let infinite = mapping.is_some_and(|mapping| mapping.length == 0);
        if let Some(mapping) = mapping.filter(|mapping| mapping.length > 0) {
            self.with_checksum |= mapping.checksum.is_some();
            self.without_checksum |= mapping.checksum.is_none();
        }
        if infinite {
            self.say(side, interval, 2, Thing::Infinite, "infinite_mapping".to_owned());
        }
        if data_fin {
            self.say(side, interval, 3, Thing::DataFin, "data_fin".to_owned());
        }
    }

    fn announce(&mut self, side: Side, interval: usize, echo: bool, address_id: u8, body: &AddAddrBody) {
        // Not in canonical form: an IPv4 address takes 4 bytes, its v4-mapped form 16.
        let address = match body.port {
            Some(port) => SocketAddr::new(body.address, port).to_string(),
            None => body.address.to_string(),
        };
        let (thing, word) =
            if echo { (Thing::Echoed(address_id), "add_addr_echo") } else { (Thing::Own(address_id), "add_addr") };
        self.say(side, interval, u8::from(echo), thing, format!("{word} id {address_id} {address}"));
    }

    /// One thing that a side says; once, if it says the same again.
    fn say(&mut self, side: Side, interval: usize, rank: u8, thing: Thing, text: String) {
        let talk = self.sides.entry(side).or_default();
        if talk.last.get(&thing) != Some(&text) {
            talk.last.insert(thing.clone(), text.clone());
            talk.items.push(Item { interval, key: (rank, text), uses: vec![(thing, Use::Write)] });
        }
    }

    fn remove(&mut self, side: Side, interval: usize, ids: &[u8]) {
        let words: Vec<String> = ids.iter().map(u8::to_string).collect();
        let text = format!("remove_addr id {}", words.join(" "));
        let talk = self.sides.entry(side).or_default();
        let again = !ids.is_empty() && ids.iter().all(|id| talk.last.get(&Thing::Own(*id)) == Some(&text));
        if !again {
            let mut uses = Vec::new();
            for id in ids {
                talk.last.insert(Thing::Own(*id), text.clone());
                uses.push((Thing::Own(*id), Use::Write));
            }
            talk.items.push(Item { interval, key: (1, text), uses });
        }
        // The address may be announced and echoed anew.
        let answer = self.sides.entry(side.other()).or_default();
        for id in ids {
            answer.last.remove(&Thing::Echoed(*id));
        }
    }

    /// The whole conversation.
    pub(super) fn text(&self) -> String {
        let mut text = format!("wire of {}", self.name.unwrap_or("no known connection"));
        text.push_str(match (self.with_checksum, self.without_checksum) {
            (true, true) => ", checksums in a part",
            (true, false) => ", with checksums",
            (false, true) => ", without checksums",
            (false, false) => "",
        });
        text.push_str(":\n");
        let mut flows: Vec<&Flow> = self.flows.iter().collect();
        flows.sort_by_key(|flow| (!flow.is_first, &flow.label, flow.number));
        for flow in flows {
            flow.write(&mut text);
        }
        for (side, talk) in &self.sides {
            if talk.items.is_empty() {
                continue;
            }
            _ = writeln!(text, "  from the {}:", side.word());
            for item in canonical_order(&talk.items).into_iter().filter_map(|index| talk.items.get(index)) {
                _ = writeln!(text, "    {}", item.key.1);
            }
        }
        text
    }
}
