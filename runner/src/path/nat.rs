//! Network address translation: what a router does that hides hosts behind an address of its own.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use etherparse::{EtherType, Icmpv4Slice, Icmpv6Slice, IpNumber};

use super::frame::{ETHERNET, Layout, address_at, array_at, ether_type, put, repair_ipv4, u16_at};

/// The bindings of one rule.
#[derive(Debug)]
pub(super) struct Nat {
    /// What the far side sees.
    address: IpAddr,
    /// The first port to take.
    port: Option<u16>,
    bindings: Vec<Binding>,
    /// From the inner source and the peer.
    onward: HashMap<(SocketAddr, SocketAddr), usize>,
    /// From the peer and the outer port.
    back: HashMap<(SocketAddr, u16), usize>,
}

/// One connection.
#[derive(Debug, Clone, Copy)]
struct Binding {
    /// The end of the link where the inner host is.
    from: usize,
    inner: SocketAddr,
    outer: SocketAddr,
    /// The inner host's MAC address.
    hardware: [u8; 6],
}

impl Nat {
    pub(super) fn new(address: IpAddr, port: Option<u16>) -> Self {
        Self { address, port, bindings: Vec::new(), onward: HashMap::new(), back: HashMap::new() }
    }

    /// Opens a binding for the connection of this segment. `None` if there is one, or if there can't be: addresses of
    /// different families, no port left.
    pub(super) fn open(&mut self, from: usize, frame: &[u8]) -> Option<()> {
        let layout = Layout::of(frame)?;
        let (inner, peer) = (layout.source(frame), layout.destination(frame));
        if inner.is_ipv4() != self.address.is_ipv4() || self.onward.contains_key(&(inner, peer)) {
            return None;
        }
        let opened = u16::try_from(self.bindings.len()).unwrap_or(u16::MAX);
        let first = self.port.map_or(inner.port(), |port| port.wrapping_add(opened));
        let port = (0..=u16::MAX)
            .map(|more| first.wrapping_add(more))
            .find(|port| *port != 0 && !self.back.contains_key(&(peer, *port)))?;
        let index = self.bindings.len();
        let outer = SocketAddr::new(self.address, port);
        self.bindings.push(Binding { from, inner, outer, hardware: array_at(frame, 6) });
        self.onward.insert((inner, peer), index);
        self.back.insert((peer, port), index);
        Some(())
    }

    /// Whether anything is to be translated in packets that come from there.
    pub(super) fn is_idle(&self) -> bool {
        self.bindings.is_empty()
    }

    /// Translates a frame, if it belongs to a connection that has a binding: source or destination of a segment, or an
    /// ICMP error about one. Tells whether it did.
    pub(super) fn translate(&self, from: usize, frame: &mut [u8]) -> bool {
        match Layout::of(frame) {
            Some(layout) => self.translate_segment(from, frame, &layout),
            None => self.translate_error(from, frame).is_some(),
        }
    }

    /// Whether [`Nat::translate`] would do something to a segment with these ends.
    pub(super) fn knows(&self, from: usize, source: SocketAddr, destination: SocketAddr) -> bool {
        self.onward(from, source, destination).or_else(|| self.back(from, source, destination)).is_some()
    }

    fn onward(&self, from: usize, source: SocketAddr, destination: SocketAddr) -> Option<&Binding> {
        let index = self.onward.get(&(source, destination))?;
        self.bindings.get(*index).filter(|binding| binding.from == from)
    }

    fn back(&self, from: usize, source: SocketAddr, destination: SocketAddr) -> Option<&Binding> {
        let index = self.back.get(&(source, destination.port()))?;
        self.bindings.get(*index).filter(|binding| binding.from != from && binding.outer == destination)
    }

    fn translate_segment(&self, from: usize, frame: &mut [u8], layout: &Layout) -> bool {
        let (source, destination) = (layout.source(frame), layout.destination(frame));
        if let Some(binding) = self.onward(from, source, destination) {
            layout.set_source(frame, binding.outer);
        } else if let Some(binding) = self.back(from, source, destination) {
            layout.set_destination(frame, binding.inner);
        } else {
            return false;
        }
        layout.repair(frame);
        true
    }

    /// An ICMP error that comes back quotes the segment as it was sent on; the inner host knows only what it sent itself
    /// (RFC 5508 section 4.2).
    fn translate_error(&self, from: usize, frame: &mut [u8]) -> Option<()> {
        let quote = quoted(frame)?;
        let ipv6 = quote.ipv6;
        let peer = SocketAddr::new(quote.address(frame, true), u16_at(frame, quote.tcp + 2));
        let outer = SocketAddr::new(quote.address(frame, false), u16_at(frame, quote.tcp));
        let binding = self.back(from, peer, outer)?;
        (address_at(frame, ipv6, true) == binding.outer.ip()).then_some(())?;
        match binding.inner.ip() {
            IpAddr::V4(inner) => {
                put(frame, ETHERNET + 16, inner.octets());
                put(frame, quote.ip + 12, inner.octets());
                repair_ipv4(frame, quote.ip..quote.tcp);
                repair_ipv4(frame, ETHERNET..quote.icmp);
            }
            IpAddr::V6(inner) => {
                put(frame, ETHERNET + 24, inner.octets());
                put(frame, quote.ip + 8, inner.octets());
            }
        }
        put(frame, quote.tcp, binding.inner.port().to_be_bytes());
        quote.repair(frame)
    }

    /// The answer to somebody on the link who asks for the outer address; `from` is where the question comes from.
    pub(super) fn answer_for_address(&self, from: usize, frame: &[u8]) -> Option<Vec<u8>> {
        let binding = self.bindings.last().filter(|binding| binding.from != from)?;
        super::proxy::answer(frame, self.address, binding.hardware)
    }
}

/// Where things are in an ICMP error about a TCP segment.
struct Quote {
    ipv6: bool,
    icmp: usize,
    /// The quoted IP header.
    ip: usize,
    /// The quoted TCP header, of which there are at least 8 bytes.
    tcp: usize,
    end: usize,
}

fn quoted(frame: &[u8]) -> Option<Quote> {
    let byte = |at: usize| frame.get(at).copied().unwrap_or_default();
    let header = |at: usize| usize::from(byte(at) & 0x0f) * 4;
    let ipv6 = ether_type(frame) == EtherType::IPV6;
    let (icmp, error, length) = if ipv6 {
        let kind = byte(ETHERNET + 40);
        let error = byte(ETHERNET + 6) == IpNumber::IPV6_ICMP.0 && kind < 128;
        (ETHERNET + 40, error, 40 + usize::from(u16_at(frame, ETHERNET + 4)))
    } else {
        let icmp = ETHERNET + header(ETHERNET);
        let error = byte(ETHERNET + 9) == IpNumber::ICMP.0 && matches!(byte(icmp), 3 | 4 | 5 | 11 | 12);
        (icmp, error && ether_type(frame) == EtherType::IPV4, usize::from(u16_at(frame, ETHERNET + 2)))
    };
    let ip = icmp + 8;
    let (tcp, protocol) = if ipv6 { (ip + 40, byte(ip + 6)) } else { (ip + header(ip), byte(ip + 9)) };
    let end = ETHERNET + length;
    let whole = error && protocol == IpNumber::TCP.0 && tcp + 8 <= end && end <= frame.len();
    whole.then_some(Quote { ipv6, icmp, ip, tcp, end })
}

impl Quote {
    fn address(&self, frame: &[u8], destination: bool) -> IpAddr {
        // As if the quoted packet had an Ethernet header before it.
        address_at(frame.get(self.ip - ETHERNET..).unwrap_or_default(), self.ipv6, destination)
    }

    /// Repairs the checksum of the ICMP message.
    fn repair(&self, frame: &mut [u8]) -> Option<()> {
        let message = frame.get(self.icmp..self.end)?;
        let (start, payload) = (Icmpv4Slice::from_slice(message).ok()?, message.get(8..)?);
        let checksum = if self.ipv6 {
            let [source, destination] = [8, 24].map(|at| array_at::<16>(frame, ETHERNET + at));
            let kind = Icmpv6Slice::from_slice(message).ok()?.icmp_type();
            kind.calc_checksum(source, destination, payload).ok()?
        } else {
            start.icmp_type().calc_checksum(payload)
        };
        put(frame, self.icmp + 2, checksum.to_be_bytes());
        Some(())
    }
}
