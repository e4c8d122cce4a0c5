//! The handshake of the initial subflow: MP_CAPABLE.

use crate::reference::Rule;
use crate::reference::ledger::Ledger;
use crate::reference::view::{Flow, Half, Host, Passed, View};
use crate::scenario::model::FilterHook;
use crate::wire::{MptcpOption, TcpFlags};

use super::checks::{Checks, HIDES_OPTIONS, is_sent};

/// A: checksums are required.
pub(super) const CHECKSUM: u8 = 0x80;
/// C: no joins to the address and port of the initial subflow.
const DENY_JOIN: u8 = 0x20;
/// H: HMAC-SHA256.
const HMAC_SHA256: u8 = 0x01;

/// MP_CAPABLE of the initial subflow.
pub(in crate::reference) static MP_CAPABLE: Rule = Rule {
    name: "mp-capable",
    statement: "MP_CAPABLE has version 1 and the flag H. A SYN has no key, a SYN/ACK its sender's, the third ACK and the \
                first data both. A is set in SYN and SYN/ACK where the host has checksum_enabled, and in the third ACK \
                if either host set it; C where allow_join_initial_addr_port is 0.",
    source: "RFC 8684 section 3.1; mptcp_syn_options, mptcp_synack_options, mptcp_established_options_mp, net/mptcp/options.c",
    kernels: "",
    apply,
};

/// An MP_CAPABLE: version, flags and keys.
#[derive(Clone, Copy)]
struct Capable {
    version: u8,
    flags: u8,
    sender: Option<u64>,
    receiver: Option<u64>,
}

/// What the handshake has shown so far.
#[derive(Default)]
struct Shown {
    /// The flags of SYN and SYN/ACK.
    syn: Option<u8>,
    syn_ack: Option<u8>,
    /// The keys of SYN/ACKs.
    keys: Vec<u64>,
    /// The third ACK was sent.
    ack: bool,
    /// A SYN without MP_CAPABLE was sent, too.
    plain: bool,
}

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for half in view.halves().filter(|half| view.is_complete(half)) {
        let (Some(flow), Some(host)) = (half.initial(), view.host(half)) else { continue };
        let mut shown = Shown::default();
        let mut checks = Checks::new(view, half, "MP_CAPABLE");
        // The handshake is at the beginning; each subflow after the first one comes later.
        for passed in view.segments(half).filter(|passed| passed.flow == 0) {
            let capable = passed.segment.options.iter().find_map(capable);
            if is_sent(&passed) {
                match shown.judge(half, flow, host, &passed, capable) {
                    Ok(true) => checks.right(&passed),
                    Ok(false) => {}
                    Err(because) => checks.wrong(ledger, &passed, HIDES_OPTIONS, because),
                }
            }
            shown.advance(flow, &passed, capable);
        }
        checks.finish(ledger, |_| "version, flags and keys are right".to_owned());
    }
}

fn capable(option: &MptcpOption) -> Option<Capable> {
    pick!(option, MptcpOption::MpCapable { version, flags, sender_key, receiver_key, .. } => Capable {
        version: *version,
        flags: *flags,
        sender: *sender_key,
        receiver: *receiver_key,
    })
}

impl Shown {
    /// Whether it is right; `Ok(false)`: it has nothing to do with the handshake.
    fn judge(
        &self,
        half: &Half<'_>,
        flow: &Flow,
        host: &Host<'_>,
        passed: &Passed<'_>,
        capable: Option<Capable>,
    ) -> Result<bool, String> {
        let flags = passed.segment.flags;
        let Some(capable) = capable else { return self.without(flow, host, passed).map(|()| false) };
        if capable.version != 1 {
            return Err(format!("its version is {}", capable.version));
        }
        if capable.flags & HMAC_SHA256 == 0 || capable.flags & !(CHECKSUM | DENY_JOIN | HMAC_SHA256) != 0 {
            return Err(format!("its flags are {:#04x}: H is set, B and the reserved ones are not", capable.flags));
        }
        let denies = is_set_to(host, "net.mptcp.allow_join_initial_addr_port", "0", passed.at);
        // A retransmitted SYN/ACK is as the first one was.
        let again = !flow.is_opener && self.syn_ack.is_some();
        if !again && denies.is_some_and(|denies| denies != (capable.flags & DENY_JOIN != 0)) {
            return Err(format!(
                "its flags are {:#04x}: C says whether joins to the initial address are denied",
                capable.flags
            ));
        }
        if flags.contains(TcpFlags::SYN) {
            self.of_syn(flow, host, passed, capable)
        } else {
            self.of_ack(half, flow, capable)
        }
    }

    /// SYN and SYN/ACK.
    fn of_syn(&self, flow: &Flow, host: &Host<'_>, passed: &Passed<'_>, capable: Capable) -> Result<bool, String> {
        if !flow.is_opener && self.syn.is_none() {
            return Err("it answers a SYN without MP_CAPABLE".to_owned());
        }
        if capable.sender.is_some() == flow.is_opener || capable.receiver.is_some() {
            let because =
                if flow.is_opener { "a SYN carries no key" } else { "a SYN/ACK carries only its sender's key" };
            return Err(because.to_owned());
        }
        let required = is_set_to(host, "net.mptcp.checksum_enabled", "1", passed.at);
        // A retransmitted SYN/ACK is as the first one was.
        let known = if flow.is_opener { self.syn } else { self.syn_ack };
        let is_set = capable.flags & CHECKSUM != 0;
        if known.is_none() && required.is_some_and(|required| required != is_set) {
            return Err(format!("A is {}, net.mptcp.checksum_enabled is not", u8::from(is_set)));
        }
        Ok(true)
    }

    /// The third ACK, and the first data.
    fn of_ack(&self, half: &Half<'_>, flow: &Flow, capable: Capable) -> Result<bool, String> {
        if !flow.is_opener {
            return Err("only the opener of the connection sends MP_CAPABLE after the SYN".to_owned());
        }
        let (Some(syn), Some(syn_ack)) = (self.syn, self.syn_ack) else {
            return Err("no SYN/ACK with MP_CAPABLE has arrived".to_owned());
        };
        if capable.sender != half.own_key {
            return Err("its key is another one than before".to_owned());
        }
        if capable.receiver.is_none_or(|key| !self.keys.contains(&key)) {
            return Err("the receiver's key is not that of its SYN/ACK".to_owned());
        }
        if (capable.flags & CHECKSUM != 0) != ((syn | syn_ack) & CHECKSUM != 0) {
            return Err(format!(
                "A is {}; it is {} in the SYN and {} in the SYN/ACK",
                bit(capable.flags),
                bit(syn),
                bit(syn_ack)
            ));
        }
        Ok(true)
    }

    /// A segment without MP_CAPABLE: the third ACK has it if both sides want MPTCP.
    fn without(&self, flow: &Flow, host: &Host<'_>, passed: &Passed<'_>) -> Result<(), String> {
        let segment = passed.segment;
        let other = TcpFlags::SYN | TcpFlags::RST | TcpFlags::FIN;
        let agreed = self.syn.is_some() && self.syn_ack.is_some() && !self.plain;
        if !flow.is_opener || self.ack || !agreed || segment.flags.intersects(other) {
            return Ok(());
        }
        let is_closing = segment.options.iter().any(|option| matches!(option, MptcpOption::Dss { data_fin: true, .. }));
        // What arrived may not have reached TCP with its options.
        let hidden = host.filters(FilterHook::Input, 0, passed.at).next().is_some();
        if is_closing || hidden { Ok(()) } else { Err("the third ACK carries no MP_CAPABLE".to_owned()) }
    }

    fn advance(&mut self, flow: &Flow, passed: &Passed<'_>, capable: Option<Capable>) {
        let (flags, sent) = (passed.segment.flags, is_sent(passed));
        let by_opener = sent == flow.is_opener;
        let is_syn = flags.contains(TcpFlags::SYN);
        match capable {
            Some(capable) if is_syn && by_opener => self.syn = self.syn.or(Some(capable.flags)),
            Some(capable) if is_syn => {
                self.syn_ack = self.syn_ack.or(Some(capable.flags));
                if let Some(key) = capable.sender.filter(|_| self.keys.len() < 64) {
                    self.keys.push(key);
                }
            }
            Some(_) => self.ack = true,
            None if is_syn && by_opener => self.plain = true,
            None => self.ack |= by_opener && !flags.contains(TcpFlags::RST),
        }
    }
}

fn bit(flags: u8) -> u8 {
    u8::from(flags & CHECKSUM != 0)
}

/// Whether a sysctl has this value at a time, and not the kernel's default; `None` while it is being set.
fn is_set_to(host: &Host<'_>, name: &str, wanted: &str, at: u64) -> Option<bool> {
    let mut is_set = false;
    for (span, value) in host.sysctl(name).filter(|(span, _)| span.started <= at) {
        if span.finished > at {
            return None;
        }
        is_set = value == wanted;
    }
    Some(is_set)
}
