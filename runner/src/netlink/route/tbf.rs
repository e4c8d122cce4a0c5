//! The token bucket filter, tc-tbf(8): encoding and decoding its options. Pure.

use netlink_packet_core::{DefaultNla, NLA_F_NESTED};
use netlink_packet_route::tc::TcAttribute;

use crate::netlink::attribute::{Attribute, attributes};

/// `TCA_OPTIONS` (`include/uapi/linux/rtnetlink.h`)
const TCA_OPTIONS: u16 = 2;
/// `TCA_TBF_PARMS`, `struct tc_tbf_qopt` (`include/uapi/linux/pkt_sched.h`)
const PARMS: u16 = 1;
/// `TCA_TBF_RATE64`, u64, bytes per second, for rates beyond the u32 of the `PARMS`.
const RATE64: u16 = 4;
/// `TCA_TBF_BURST`, u32, bytes. Instead of the `buffer` of the `PARMS`, which is in ticks of the packet scheduler.
const BURST: u16 = 6;
/// `TC_LINKLAYER_ETHERNET`
const ETHERNET: u8 = 1;
/// The offsets in `struct tc_tbf_qopt` of the u32 rate (bytes per second) of its first `struct tc_ratespec`, and of the
/// limit.
const RATE_AT: usize = 8;
const LIMIT_AT: usize = 24;
/// `sizeof(struct tc_tbf_qopt)`
const PARMS_LENGTH: usize = 36;
/// `ETH_HLEN`: the filter counts it on top of the MTU.
const ETHERNET_HEADER: u32 = 14;

/// The configuration of a token bucket filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    /// Bytes per second.
    rate: u64,
    /// Bytes that may be sent at once: the size of the bucket.
    burst: u32,
    /// Bytes that may wait.
    limit: u32,
}

impl TokenBucket {
    /// The name of the queueing discipline.
    pub(super) const KIND: &'static str = "tbf";

    /// A bucket for a link of that rate (bits per second) and MTU (bytes); `None` if the rate is less than a byte
    /// per second.
    ///
    /// Its size is 4 ms of traffic, at least two full segments. The queue holds 100 ms of traffic, at least 64 KiB:
    /// enough for a sender to slow down before it loses many segments.
    pub fn for_link(bits_per_second: u64, mtu: u32) -> Option<Self> {
        let rate = bits_per_second / 8;
        let clamp = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        let burst = clamp(rate / 250).max(mtu.saturating_add(ETHERNET_HEADER).saturating_mul(2));
        let limit = clamp(rate / 10).max(64 * 1024).saturating_add(burst);
        (rate > 0).then_some(Self { rate, burst, limit })
    }

    /// The rate in bits per second, of whole bytes.
    pub fn bits_per_second(self) -> u64 {
        self.rate.saturating_mul(8)
    }

    /// `TCA_OPTIONS`, which netlink-packet-route has no type for.
    pub(super) fn attribute(self) -> TcAttribute {
        let mut options = Vec::new();
        push(&mut options, PARMS, &self.parms());
        if u32::try_from(self.rate).is_err() {
            push(&mut options, RATE64, &self.rate.to_ne_bytes());
        }
        push(&mut options, BURST, &self.burst.to_ne_bytes());
        TcAttribute::Other(DefaultNla::new(TCA_OPTIONS | NLA_F_NESTED, options))
    }

    /// `struct tc_tbf_qopt`: two `struct tc_ratespec` (rate and peak rate), limit, buffer, mtu.
    fn parms(self) -> Vec<u8> {
        let rate = u32::try_from(self.rate).unwrap_or(u32::MAX); // tbf_change() prefers RATE64 then
        let mut parms = vec![0, ETHERNET];
        parms.resize(RATE_AT, 0);
        parms.extend(rate.to_ne_bytes());
        parms.resize(LIMIT_AT, 0);
        parms.extend(self.limit.to_ne_bytes());
        parms.resize(PARMS_LENGTH, 0);
        parms
    }

    /// The rate in bits per second, from the value of a `TCA_OPTIONS` that the kernel dumped.
    pub(super) fn rate_of(options: &[u8]) -> Option<u64> {
        let find =
            |kind| attributes(options).map_while(Result::ok).find(|attribute: &Attribute<'_>| attribute.kind == kind);
        let long = find(RATE64).and_then(|rate| rate.value.first_chunk::<8>().copied()).map(u64::from_ne_bytes);
        let short = || find(PARMS).and_then(|parms| parms.value.get(RATE_AT..)?.first_chunk::<4>().copied());
        let rate = long.or_else(|| short().map(u32::from_ne_bytes).map(u64::from))?;
        Some(rate.saturating_mul(8))
    }
}

/// Appends an attribute. All values here are multiples of four bytes: nothing to pad.
fn push(options: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    options.extend(length.to_ne_bytes());
    options.extend(kind.to_ne_bytes());
    options.extend(value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options(bucket: TokenBucket) -> Vec<u8> {
        use netlink_packet_core::Nla as _;
        let attribute = bucket.attribute();
        let mut bytes = vec![0; attribute.value_len()];
        attribute.emit_value(&mut bytes);
        bytes
    }

    #[test]
    fn the_structure_is_as_long_as_the_kernels() {
        let bucket = TokenBucket::for_link(1_000_000, 1500).unwrap();
        assert_eq!(bucket.parms().len(), PARMS_LENGTH);
        assert_eq!(bucket, TokenBucket { rate: 125_000, burst: 3028, limit: 65_536 + 3028 });
    }

    #[test]
    fn a_rate_below_a_byte_a_second_is_none() {
        assert_eq!(TokenBucket::for_link(7, 1500), None);
        assert_eq!(TokenBucket::for_link(15, 1500).unwrap().bits_per_second(), 8);
    }

    proptest! {
        #[test]
        fn each_rate_survives(bits in 8_u64..1 << 50, mtu: u32) {
            let bucket = TokenBucket::for_link(bits, mtu).unwrap();
            prop_assert_eq!(TokenBucket::rate_of(&options(bucket)), Some(bits / 8 * 8));
        }

        #[test]
        fn arbitrary_options_never_panic(bytes: Vec<u8>) {
            let _ = TokenBucket::rate_of(&bytes);
        }
    }
}
