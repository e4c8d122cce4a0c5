//! RFC 8684 on the wire: what each host sent, checked segment by segment. It takes no knowledge of the path manager.
//!
//! Only what a host itself sent is judged: paths change segments after the sender's capture. A filter on the way out
//! comes before it, so what such a filter changes or hides is attributed to the filter.

mod add_addr;
mod changed;
mod checks;
mod data_ack;
mod fallback;
mod join;
mod mappings;
mod mp_capable;
mod payload;
mod placement;
mod stream;
mod tokens;
mod window;

pub(super) use add_addr::{ADD_ADDR_HMAC, ECHO};
pub(super) use data_ack::{DATA_ACKS, DATA_FIN};
pub(super) use fallback::FALLBACK;
pub(super) use join::{JOIN_HANDSHAKE, JOIN_HMAC};
pub(super) use mappings::MAPPINGS;
pub(super) use mp_capable::MP_CAPABLE;
pub(super) use payload::{CHECKSUMS, PAYLOAD};
pub(super) use placement::{FAIL, FASTCLOSE, OPTIONS, PRIORITY};
pub(super) use tokens::TOKENS;
pub(super) use window::WINDOW;

#[cfg(test)]
mod tests;
