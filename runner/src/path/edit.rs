//! Changes within a segment: its length and its sequence space stay as they are. Each function tells whether it did
//! anything; the checksums are still to be repaired.

use std::ops::Range;

use super::frame::Layout;
use crate::scenario::model::Rewrite;
use crate::wire::{DssMapping, MptcpOption, TCPOPT_MPTCP};

/// No operation (RFC 9293 section 3.2).
const TCPOPT_NOP: u8 = 1;

/// Inverts a byte of the payload.
pub(super) fn corrupt(frame: &mut [u8], layout: &Layout, offset: u32) -> bool {
    let at = usize::try_from(offset).ok().and_then(|offset| layout.payload.start.checked_add(offset));
    let Some(byte) = at.filter(|at| *at < layout.payload.end).and_then(|at| frame.get_mut(at)) else { return false };
    *byte = !*byte;
    true
}

/// Replaces MPTCP options with NOPs: those of that word; `None`: all.
pub(super) fn strip(frame: &mut [u8], layout: &Layout, word: Option<&str>) -> bool {
    let mut done = false;
    for place in layout.each_option(frame) {
        let Some(octets) = mptcp_option(frame, place) else { continue };
        if word.is_none_or(|word| MptcpOption::decode(octets).is_called(word)) {
            octets.fill(TCPOPT_NOP);
            done = true;
        }
    }
    done
}

/// Changes fields of the options of that word. What the options don't have, or what would make them longer, is left.
pub(super) fn rewrite(frame: &mut [u8], layout: &Layout, rewrite: &Rewrite) -> bool {
    let mut done = false;
    for place in layout.each_option(frame) {
        let Some(octets) = mptcp_option(frame, place) else { continue };
        let option = MptcpOption::decode(octets);
        if !option.is_called(&rewrite.option) {
            continue;
        }
        let before = option.encode();
        let mut changed = option;
        change(&mut changed, rewrite);
        let after = changed.encode();
        if before.len() != octets.len() || after.len() != octets.len() {
            continue;
        }
        // Only what is different is written: reserved bits, which we don't decode, stay.
        for (octet, (before, after)) in octets.iter_mut().zip(before.iter().zip(&after)) {
            *octet ^= before ^ after;
            done |= before != after;
        }
    }
    done
}

fn mptcp_option(frame: &mut [u8], place: Range<usize>) -> Option<&mut [u8]> {
    frame.get_mut(place).filter(|octets| octets.first() == Some(&TCPOPT_MPTCP))
}

fn set<T: Copy>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn change(option: &mut MptcpOption, rewrite: &Rewrite) {
    match option {
        MptcpOption::MpCapable { flags, checksum, .. } => {
            set(flags, rewrite.flags);
            damage_checksum(checksum, rewrite);
        }
        MptcpOption::MpJoinSyn { backup, address_id, token, .. } => {
            set(backup, rewrite.backup);
            set(address_id, rewrite.id);
            set(token, rewrite.token);
        }
        MptcpOption::MpJoinSynAck { backup, address_id, hmac, .. } => {
            set(backup, rewrite.backup);
            set(address_id, rewrite.id);
            *hmac ^= u64::from(rewrite.damage_hmac);
        }
        MptcpOption::MpJoinAck { hmac } => {
            if rewrite.damage_hmac {
                invert_last_bit(hmac);
            }
        }
        MptcpOption::Dss { mapping: Some(mapping), .. } => change_mapping(mapping, rewrite),
        MptcpOption::AddAddr { address_id, body, .. } => {
            set(address_id, rewrite.id);
            if rewrite.address.is_some_and(|address| address.is_ipv4() == body.address.is_ipv4()) {
                set(&mut body.address, rewrite.address);
            }
            if let Some(port) = &mut body.port {
                set(port, rewrite.port);
            }
            body.hmac = body.hmac.map(|hmac| hmac ^ u64::from(rewrite.damage_hmac));
        }
        MptcpOption::RemoveAddr { address_ids } => {
            if let Some(id) = address_ids.first_mut() {
                set(id, rewrite.id);
            }
        }
        MptcpOption::MpPrio { backup } => set(backup, rewrite.backup),
        MptcpOption::MpTcprst { flags, reason } => {
            set(flags, rewrite.flags);
            set(reason, rewrite.reason);
        }
        MptcpOption::Dss { mapping: None, .. }
        | MptcpOption::MpFail { .. }
        | MptcpOption::MpFastclose { .. }
        | MptcpOption::Malformed { .. } => {}
    }
}

fn change_mapping(mapping: &mut DssMapping, rewrite: &Rewrite) {
    damage_checksum(&mut mapping.checksum, rewrite);
    if let Some(offset) = rewrite.data_sequence_offset {
        // Without the upper half, the encoder leaves the carry out.
        mapping.data_sequence = mapping.data_sequence.wrapping_add(u64::from(offset));
    }
}

/// One bit: the sum is certainly another one.
fn damage_checksum(checksum: &mut Option<u16>, rewrite: &Rewrite) {
    *checksum = checksum.map(|checksum| checksum ^ u16::from(rewrite.damage_checksum));
}

/// Of a number in hexadecimal.
fn invert_last_bit(hexadecimal: &mut String) {
    if let Some(digit) = hexadecimal.pop().and_then(|digit| digit.to_digit(16)) {
        hexadecimal.extend(char::from_digit(digit ^ 1, 16));
    }
}
