//! The transferred bytes: a sequence that can be computed at any offset, so that the receiver knows each byte in
//! advance, and notices a swapped, lost or repeated stretch as surely as a flipped bit.

use crate::mptcp::Side;

/// The byte sequence of one direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    seed: u64,
}

/// The result of comparing received bytes with the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Comparison {
    /// The offset in the stream of the first wrong byte.
    pub first: Option<u64>,
    /// How many bytes are wrong.
    pub wrong: u64,
}

impl Comparison {
    /// Adds the result for another stretch.
    pub fn add(&mut self, other: Self) {
        self.first = self.first.or(other.first);
        self.wrong += other.wrong;
    }
}

impl Payload {
    /// The sequence that this side of the connection of that name sends.
    pub fn of(connection: &str, sender: Side) -> Self {
        // FNV-1a: any spread of names over seeds will do.
        let mut seed = 0xcbf2_9ce4_8422_2325_u64;
        for byte in connection.bytes().chain([sender.of(b'c', b's')]) {
            seed = (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self { seed }
    }

    /// The eight bytes at `8 * index` (`SplitMix64`).
    fn word(self, index: u64) -> [u8; 8] {
        let mut z = self.seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    }

    /// Fills the buffer with the bytes from `offset` on.
    pub fn fill(self, offset: u64, buffer: &mut [u8]) {
        let mut position = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let word = self.word(position / 8);
            let from = usize::try_from(position % 8).unwrap_or(0);
            let take = rest.len().min(8 - from);
            let (now, later) = rest.split_at_mut(take);
            now.copy_from_slice(&word[from..from + take]);
            position += take as u64;
            rest = later;
        }
    }

    /// Compares received bytes with those from `offset` on.
    pub fn compare(self, offset: u64, received: &[u8]) -> Comparison {
        let mut expected = [0_u8; 4096];
        let mut result = Comparison::default();
        let mut position = offset;
        for chunk in received.chunks(expected.len()) {
            let expected = &mut expected[..chunk.len()];
            self.fill(position, expected);
            if expected != chunk {
                for (index, (want, got)) in expected.iter().zip(chunk).enumerate() {
                    if want != got {
                        result.add(Comparison { first: Some(position + index as u64), wrong: 1 });
                    }
                }
            }
            position += chunk.len() as u64;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_same_bytes() {
        let payload = Payload::of("main", Side::Client);
        let mut whole = [0; 100];
        payload.fill(3, &mut whole);
        for cut in 0..100 {
            let mut parts = [0; 100];
            payload.fill(3, &mut parts[..cut]);
            payload.fill(3 + cut as u64, &mut parts[cut..]);
            assert_eq!(whole, parts);
        }
    }

    #[test]
    fn one_flipped_bit_is_found_where_it_is() {
        let payload = Payload::of("main", Side::Server);
        let mut bytes = vec![0; 10_000];
        payload.fill(0, &mut bytes);
        assert_eq!(payload.compare(0, &bytes), Comparison::default());
        bytes[7_777] ^= 0x10;
        assert_eq!(payload.compare(0, &bytes), Comparison { first: Some(7_777), wrong: 1 });
    }

    #[test]
    fn directions_and_connections_differ() {
        let mut seen = std::collections::HashSet::new();
        for (name, side) in [("a", Side::Client), ("a", Side::Server), ("b", Side::Client)] {
            let mut bytes = [0; 16];
            Payload::of(name, side).fill(0, &mut bytes);
            assert!(seen.insert(bytes));
        }
    }
}
