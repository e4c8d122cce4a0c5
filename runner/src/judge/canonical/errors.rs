//! How a subflow ended, as far as it is the same each time.
//!
//! Closing a TCP socket with unread data sends RST, otherwise FIN. So when a subflow is closed in the middle of a
//! transfer, it depends on the moment whether the peer sees an error. Whether a transfer may be in progress depends
//! on the scenario: only background transfers outlive their step.

use crate::judge::names::Names;
use crate::mptcp::PmEvent;
use crate::pattern::Value;

/// ECONNRESET and EPIPE: what a RST in the middle of a transfer leaves.
const RACING_ERRORS: [u8; 2] = [104, 32];

/// Whether data may be in flight on a subflow when it is closed: in a background transfer, or because a path holds it
/// back or loses it, so that it is retransmitted, perhaps on another subflow.
pub(super) fn data_may_be_late(names: &Names<'_>, connection: Option<&str>) -> bool {
    let index = names.index();
    let in_background = match connection {
        Some(name) => index.in_background.contains(name),
        None => !index.in_background.is_empty(),
    };
    in_background || index.has_conditions
}

/// Whether an error, or what else a field of the event says of the end of a subflow, may be different in the next run:
/// an MP_TCPRST with reason 0 is what a close in the middle of a transfer sends.
pub(super) fn is_racing(event: &PmEvent, value: Option<Value<'_>>) -> bool {
    if let Some(Value::Error(error)) = value {
        return error.is_some_and(|error| RACING_ERRORS.contains(&error));
    }
    event.reset_reason == Some(0)
}
