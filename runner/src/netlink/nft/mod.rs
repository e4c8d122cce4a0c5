//! Packet filters and address translation, over the netlink interface of `nf_tables`.
//!
//! [`NftClient`] turns a scenario's [`Filter`](crate::scenario::model::Filter) into chains and rules, reads them back,
//! and counts how often they acted. It speaks `NETLINK_NETFILTER` itself, without the `nft` program or a C library.
//! Names are length-prefixed attributes, so that none can be mistaken for something else.
//!
//! Each filter has two chains in the table `inet mptcplab`:
//!
//! * `match/NAME`, a base chain at the hook of the filter. Its rules are alternatives: each says one way in which a
//!   segment can match, and goes to the other chain.
//! * `action/NAME`, with a single rule: count to n if the filter is for the n-th segment, act, and count. Its counter
//!   has therefore seen exactly those segments on which the filter acted.
//!
//! A filter that translates addresses has a base chain of the type `nat`, which the kernel calls for the first packet of
//! a connection only (`nf_nat_inet_fn`, `net/netfilter/nf_nat_core.c`): its counter counts connections.
//!
//! What a filter can't see, or sees differently than expected:
//!
//! * A *segment* is what passes the hook. Before segmentation offload (output) and after receive offload (input) that
//!   can be many segments of the wire at once; dropping it drops all of its payload.
//! * The payload length is exact: the payload's n-th byte must be there (`NFT_PAYLOAD_INNER_HEADER`,
//!   `net/netfilter/nft_payload.c`). Kernels that limit offsets to 255 refuse more than 256 bytes (`ERANGE`).
//! * `nf_tables` finds the first MPTCP option of a segment only (`nft_exthdr_tcp_eval`, `net/netfilter/nft_exthdr.c`).
//!   The ones that Linux writes second or third are matched at each place where Linux may put them, see the module
//!   `option`.
//! * A corrupted byte keeps the TCP checksum as it was. TCP doesn't notice on a virtual link, where the checksum is
//!   never computed (`CHECKSUM_PARTIAL`); on a real one, the segment would be dropped by the receiver's TCP.
//! * A drop at the output is not a loss in the network: TCP gets an error (`EPERM`), treats the segment as unsent, and
//!   sends it when its probe timer fires, without counting a retransmission. For a loss, drop at the peer's input.
//! * A reject at the output answers to the same namespace, through its loopback device, which must be up.
//! * An ICMP answer to a SYN comes back while connect(2) still holds the socket, so TCP only takes note of it
//!   (`tcp_v4_err`, `net/ipv4/tcp_ipv4.c`; `TcpExtLockDroppedIcmps`). The next SYN's answer, after a second, counts.
//! * Rejecting with a reset doesn't touch resets: they pass.

mod client;
mod expression;
mod message;
mod option;
mod program;

pub use client::NftClient;
