//! Frames of several segments that nobody has cut yet: how many these are.

use etherparse::{LaxSlicedPacket, TransportSlice};

use super::frame::ETHERNET;
use crate::wire::offset_in;

/// The length of a UDP header.
const UDP: usize = 8;

/// What a frame would be on a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segments {
    pub(super) count: u64,
    /// Of all their IP packets.
    pub(super) bytes: u64,
}

/// Cut after each `gso_size` bytes of payload. `None` if it is neither TCP nor UDP.
pub(super) fn segments(frame: &[u8], gso_size: u16) -> Option<Segments> {
    let packet = LaxSlicedPacket::from_ethernet(frame).ok()?;
    // The lengths in the headers may be anything; those of the slices are not used.
    let (transport, header) = match packet.transport.as_ref()? {
        TransportSlice::Tcp(tcp) => (tcp.slice(), tcp.header_len()),
        TransportSlice::Udp(udp) => (udp.slice(), UDP),
        _ => return None,
    };
    let headers = usize::try_from(offset_in(frame, transport)?).ok()? + header;
    let payload = frame.len().checked_sub(headers)?;
    let count = payload.div_ceil(usize::from(gso_size.max(1))).max(1);
    let of_each = headers.checked_sub(ETHERNET)?;
    Some(Segments { count: count as u64, bytes: (payload + count * of_each) as u64 })
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::super::frame::Layout;
    use super::super::segmenting::split;
    use super::*;

    fn tcp(ipv6: bool, options: &[u8], payload: usize) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let ip =
            if ipv6 { ethernet.ipv6([1; 16], [2; 16], 64) } else { ethernet.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64) };
        let mut frame = Vec::new();
        let builder = ip.tcp(1, 2, 3, 4).ack(5).options_raw(options).unwrap();
        builder.write(&mut frame, &vec![7; payload]).unwrap();
        frame
    }

    #[test]
    fn they_are_as_many_as_if_they_had_been_cut() {
        for ipv6 in [false, true] {
            for options in [&[][..], &[1; 12], &[1; 40]] {
                for payload in [1, 1447, 1448, 1449, 2896, 16_000] {
                    let frame = tcp(ipv6, options, payload);
                    let parts = split(&frame, &Layout::of(&frame).unwrap(), 1448);
                    let bytes = parts.iter().map(|part| (part.len() - ETHERNET) as u64).sum();
                    let expected = Segments { count: parts.len() as u64, bytes };
                    assert_eq!(segments(&frame, 1448), Some(expected), "{ipv6} {options:?} {payload}");
                }
            }
        }
    }

    #[test]
    fn datagrams_are_cut_as_well() {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(1, 2);
        builder.write(&mut frame, &[7; 2500]).unwrap();
        assert_eq!(segments(&frame, 1000), Some(Segments { count: 3, bytes: 2500 + 3 * 28 }));
    }

    #[test]
    fn nothing_upsets_it() {
        let frame = tcp(true, &[1; 12], 100);
        for end in 0..frame.len() {
            let _ = segments(&frame[..end], 0);
        }
        assert_eq!(segments(&[], 1448), None);
        assert_eq!(segments(&[0; 100], 1448), None);
    }
}
