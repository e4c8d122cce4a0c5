//! Segments that nobody sent: RST, FIN and ADD_ADDR that the receiver takes for the other end's.

use std::net::SocketAddr;

use etherparse::{IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, PacketBuilder, TcpHeader};

use super::flow::{Flows, end_of, later};
use super::frame::{Layout, array_at, put, u16_at, u32_at};
use crate::scenario::model::Injected;
use crate::wire::{AddAddrBody, MptcpOption, Segment, TcpFlags};

/// The timestamps option (RFC 7323 section 3).
const TCPOPT_TIMESTAMP: u8 = 8;
const TCPOPT_NOP: u8 = 1;
/// All options of a header together.
const OPTIONS_MAX: usize = 40;

/// Where a forged segment goes: as whose, and with which numbers.
struct Numbers {
    sequence: u32,
    /// `None`: no ACK.
    acknowledgment: Option<u32>,
    window: u16,
}

/// Forges a segment besides the one in `frame`: on to its receiver, or (`forward` is false) back to its sender.
///
/// `None` if that isn't a whole segment.
pub(super) fn forge(frame: &[u8], segment: &Segment, what: &Injected, forward: bool, flows: &Flows) -> Option<Vec<u8>> {
    let layout = Layout::of(frame)?;
    let numbers =
        if forward { onward(frame, &layout, segment, flows) } else { backward(&layout, frame, segment, what, flows) };
    let mut tcp = TcpHeader { sequence_number: numbers.sequence, window_size: numbers.window, ..TcpHeader::default() };
    let ends = (segment.source, segment.destination);
    let (source, destination) = if forward { ends } else { (ends.1, ends.0) };
    (tcp.source_port, tcp.destination_port) = (source.port(), destination.port());
    if let Some(acknowledgment) = numbers.acknowledgment {
        (tcp.ack, tcp.acknowledgment_number) = (true, acknowledgment);
    }
    let option = match what {
        Injected::Reset => {
            tcp.rst = true;
            Vec::new()
        }
        Injected::Fin => {
            tcp.fin = true;
            Vec::new()
        }
        Injected::AddAddr { id, address, port } => {
            // Whatever the key is: nobody's HMAC is 0.
            let body = AddAddrBody { address: *address, port: *port, hmac: Some(0) };
            MptcpOption::AddAddr { echo: false, address_id: *id, body }.encode()
        }
    };
    tcp.set_options_raw(&options(frame, &layout, forward, &option)).ok()?;
    assemble(frame, source, destination, tcp, forward)
}

/// What the receiver of the segment expects behind it.
fn onward(frame: &[u8], layout: &Layout, segment: &Segment, flows: &Flows) -> Numbers {
    let sent = flows.sent(segment.source, segment.destination);
    Numbers {
        sequence: sent.map_or(end_of(segment), |sent| later(sent.next_sequence, end_of(segment))),
        acknowledgment: segment.flags.contains(TcpFlags::ACK).then_some(segment.acknowledgment),
        window: layout.window(frame),
    }
}

/// What the sender of the segment expects from its receiver.
fn backward(layout: &Layout, frame: &[u8], segment: &Segment, what: &Injected, flows: &Flows) -> Numbers {
    let sent = flows.sent(segment.destination, segment.source);
    let window = sent.map_or(layout.window(frame), |sent| sent.window);
    if !segment.flags.contains(TcpFlags::ACK) {
        // The answer to a SYN (RFC 9293 section 3.10.7.1).
        return Numbers { sequence: 0, acknowledgment: Some(end_of(segment)), window };
    }
    let sequence = sent.map_or(segment.acknowledgment, |sent| later(sent.next_sequence, segment.acknowledgment));
    // No more than what its receiver has acknowledged, or it would take data for delivered that may be lost.
    let acknowledgment = sent.map_or(segment.sequence, |sent| sent.acknowledgment);
    Numbers { sequence, acknowledgment: (*what != Injected::Reset).then_some(acknowledgment), window }
}

/// The timestamps that the receiver expects (RFC 7323 section 5: without, it may drop the segment) and the option. Where
/// there is no room for both, as for an ADD_ADDR with an IPv6 address and a port, timestamps are left out.
fn options(frame: &[u8], layout: &Layout, forward: bool, option: &[u8]) -> Vec<u8> {
    let mut options = Vec::new();
    let timestamps =
        layout.each_option(frame).into_iter().find(|place| frame.get(place.start) == Some(&TCPOPT_TIMESTAMP));
    if let Some(place) = timestamps.filter(|place| place.len() == 10 && 12 + option.len() <= OPTIONS_MAX) {
        let [value, echo] = [u32_at(frame, place.start + 2), u32_at(frame, place.start + 6)];
        let [value, echo] = if forward { [value, echo] } else { [echo, value] };
        options.extend([TCPOPT_NOP, TCPOPT_NOP, TCPOPT_TIMESTAMP, 10]);
        options.extend(value.to_be_bytes());
        options.extend(echo.to_be_bytes());
    }
    options.extend(option);
    options.resize(options.len().next_multiple_of(4), TCPOPT_NOP);
    options
}

/// Puts Ethernet and IP headers before it, like those of the segment, with all checksums.
fn assemble(
    frame: &[u8],
    source: SocketAddr,
    destination: SocketAddr,
    tcp: TcpHeader,
    forward: bool,
) -> Option<Vec<u8>> {
    let [to, from] = [array_at::<6>(frame, 0), array_at::<6>(frame, 6)];
    let ethernet = if forward { PacketBuilder::ethernet2(from, to) } else { PacketBuilder::ethernet2(to, from) };
    let mut forged = Vec::new();
    match (source, destination) {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
            let time_to_live = frame.get(22).copied().unwrap_or(64);
            let mut ip =
                Ipv4Header::new(0, time_to_live, IpNumber::TCP, source.ip().octets(), destination.ip().octets())
                    .ok()?;
            ip.identification = u16_at(frame, 18).wrapping_add(1);
            ip.dont_fragment = true;
            ethernet.ip(etherparse::IpHeaders::Ipv4(ip, etherparse::Ipv4Extensions::default()))
        }
        (SocketAddr::V6(source), SocketAddr::V6(destination)) => {
            let ip = Ipv6Header {
                flow_label: Ipv6FlowLabel::ZERO,
                hop_limit: frame.get(21).copied().unwrap_or(64),
                next_header: IpNumber::TCP,
                source: source.ip().octets(),
                destination: destination.ip().octets(),
                ..Ipv6Header::default()
            };
            ethernet.ip(etherparse::IpHeaders::Ipv6(ip, etherparse::Ipv6Extensions::default()))
        }
        _ => return None,
    }
    .tcp_header(tcp)
    .write(&mut forged, &[])
    .ok()?;
    put(&mut forged, 12, array_at::<2>(frame, 12));
    Some(forged)
}
