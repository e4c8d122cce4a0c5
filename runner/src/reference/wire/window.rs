//! The receive window of the connection, in the TCP header of each subflow.

use crate::reference::Rule;
use crate::reference::ledger::Ledger;
use crate::reference::view::{Half, Passed, View};
use crate::wire::TcpFlags;

use super::checks::{Checks, is_sent, segments};
use super::stream::{Stream, data_ack};
use crate::recording::Direction;

/// Receive windows.
///
/// Each subflow is looked at by itself: two subflows may send at the same time, on two processors, and be captured in
/// the other order.
pub(in crate::reference) static WINDOW: Rule = Rule {
    name: "receive-window",
    statement: "The window of a segment begins at its DATA_ACK. On one subflow, its end never goes back.",
    source: "RFC 8684 section 3.3.1; RFC 9293 section 3.8.6; mptcp_set_rwin, net/mptcp/options.c",
    kernels: "",
    apply,
};

/// What is known of the window that a side announces on a subflow.
#[derive(Clone, Copy, Default)]
struct Announced {
    /// By how many bits the window is shifted, if this side's SYN says so.
    own: Option<u8>,
    /// Both sides' SYNs were seen: without the option in one of them, nothing is shifted (RFC 7323 section 2.2).
    both: (bool, bool),
    /// Whether the peer's SYN has the option.
    peer_scales: bool,
    /// The furthest end so far, as position in the stream.
    end: u64,
}

impl Announced {
    fn see_syn(&mut self, passed: &Passed<'_>) {
        let scale = passed.segment.window_scale;
        if is_sent(passed) {
            (self.own, self.both.0) = (scale, true);
        } else {
            (self.peer_scales, self.both.1) = (scale.is_some(), true);
        }
    }

    /// By how many bits the window is shifted; `None` if a SYN wasn't seen.
    fn scale(self) -> Option<u8> {
        (self.both == (true, true)).then(|| self.own.filter(|_| self.peer_scales).unwrap_or(0).min(14))
    }
}

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for half in view.halves().filter(|half| view.is_complete(half)) {
        if let Some(stream) = Stream::new(half, Direction::In) {
            of_half(view, half, &stream, ledger);
        }
    }
}

fn of_half(view: &View<'_>, half: &Half<'_>, stream: &Stream, ledger: &mut Ledger) {
    let mut flows = vec![Announced::default(); half.flows.len()];
    let mut highest = stream.origin();
    let mut checks = Checks::new(view, half, "window");
    for passed in view.segments(half) {
        let Some(flow) = flows.get_mut(passed.flow) else { continue };
        if passed.segment.flags.contains(TcpFlags::SYN) {
            flow.see_syn(&passed);
            continue;
        }
        let acknowledged = data_ack(passed.segment, highest).filter(|_| is_sent(&passed));
        let Some((ack, position)) = acknowledged.and_then(|ack| Some((ack, stream.position(ack)?))) else { continue };
        highest = ack;
        let (Some(window), Some(scale)) = (passed.segment.window, flow.scale()) else { continue };
        let end = position + (u64::from(window) << scale);
        // The field has no room for the lower bits.
        if end + (1 << scale) <= flow.end {
            let because = format!("it ends at byte {end} of the stream, and ended at byte {} before", flow.end);
            checks.wrong(ledger, &passed, &[], because);
        } else {
            checks.right(&passed);
        }
        flow.end = flow.end.max(end);
    }
    checks.finish(ledger, |count| format!("that of {} never ends earlier than before", segments(count)));
}
