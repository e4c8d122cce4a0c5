//! Whether one observed thing looks like a pattern: an event, a subflow, an MPTCP option.
//!
//! A field that the pattern leaves open is not looked at. A field that it asks for and that the observed thing
//! doesn't have is no match.

use std::net::IpAddr;

use crate::mptcp::{PmEvent, SubflowFlags, SubflowState, canonical};
use crate::scenario::model::{ErrorPattern, EventPattern, SubflowPattern, WirePattern};
use crate::wire::{MptcpOption, Segment};

fn field<T: PartialEq>(wanted: Option<&T>, observed: Option<&T>) -> bool {
    wanted.is_none() || wanted == observed
}

fn address(wanted: Option<IpAddr>, observed: Option<IpAddr>) -> bool {
    wanted.is_none() || wanted.map(canonical) == observed.map(canonical)
}

/// Whether an event is like the pattern. `connection` is the name of the connection that its token belongs to.
pub fn event_matches(pattern: &EventPattern, event: &PmEvent, connection: Option<&str>) -> bool {
    let error = match &pattern.error {
        None => true,
        Some(ErrorPattern::None) => event.error.is_none(),
        Some(ErrorPattern::Any) => event.error.is_some(),
        Some(ErrorPattern::Errno(_, number)) => event.error.map(i32::from) == Some(*number),
    };
    pattern.kind == event.kind
        && error
        && field(pattern.connection.as_deref().as_ref(), connection.as_ref())
        && address(pattern.local, event.local)
        && address(pattern.remote, event.remote)
        && field(pattern.local_port.as_ref(), event.local_port.as_ref())
        && field(pattern.remote_port.as_ref(), event.remote_port.as_ref())
        && field(pattern.local_id.as_ref(), event.local_id.as_ref())
        && field(pattern.remote_id.as_ref(), event.remote_id.as_ref())
        && field(pattern.backup.as_ref(), event.backup.map(|backup| backup != 0).as_ref())
        && field(pattern.dev.as_ref(), event.dev.as_ref())
        && field(pattern.reset_reason.as_ref(), event.reset_reason.as_ref())
        && field(pattern.server_side.as_ref(), Some(&event.server_side))
        && field(pattern.deny_join_id0.as_ref(), Some(&event.deny_join_id0))
}

/// Whether the subflow can carry data: ESTABLISHED (1) or CLOSE_WAIT (8), as `__tcp_can_send` (include/net/tcp.h)
/// has it. The others are on their way in or out.
pub fn is_usable(subflow: &SubflowState) -> bool {
    matches!(subflow.tcp_state, 1 | 8)
}

/// Whether a subflow is like the pattern, whatever its TCP state.
pub fn subflow_matches(pattern: &SubflowPattern, subflow: &SubflowState) -> bool {
    let local = subflow.flags.contains(SubflowFlags::BKUP_LOC);
    let remote = subflow.flags.contains(SubflowFlags::BKUP_REM);
    address(pattern.local, Some(subflow.local.ip()))
        && address(pattern.remote, Some(subflow.remote.ip()))
        && field(pattern.local_port.as_ref(), Some(&subflow.local.port()))
        && field(pattern.remote_port.as_ref(), Some(&subflow.remote.port()))
        && field(pattern.local_id.as_ref(), Some(&subflow.local_id))
        && field(pattern.remote_id.as_ref(), Some(&subflow.remote_id))
        && field(pattern.backup.as_ref(), Some(&(local || remote)))
        && field(pattern.backup_local.as_ref(), Some(&local))
        && field(pattern.backup_remote.as_ref(), Some(&remote))
        && field(pattern.dev.as_ref(), subflow.dev.as_ref())
}

/// Whether a segment carries an option like the pattern. The sender is not looked at: it depends on where the
/// segment was captured.
pub fn segment_matches(pattern: &WirePattern, segment: &Segment) -> bool {
    address(pattern.from, Some(segment.source.ip()))
        && address(pattern.to, Some(segment.destination.ip()))
        && segment.options.iter().any(|option| option_matches(pattern, option))
}

/// What a pattern can ask of an option.
#[derive(Default)]
pub(crate) struct OptionFields {
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    pub(crate) ids: Vec<u8>,
    pub(crate) backup: Option<bool>,
    pub(crate) flags: Option<u8>,
    pub(crate) reason: Option<u8>,
    pub(crate) checksum: Option<bool>,
}

/// Whether an option is like the pattern, the addresses of its segment aside.
pub fn option_matches(pattern: &WirePattern, option: &MptcpOption) -> bool {
    if !option.is_called(&pattern.option) {
        return false;
    }
    let fields = option_fields(option);
    // On the wire an IPv4 address and its v4-mapped form are not the same: 4 bytes or 16.
    field(pattern.address.as_ref(), fields.address.as_ref())
        && field(pattern.port.as_ref(), fields.port.as_ref())
        && pattern.id.is_none_or(|id| fields.ids.contains(&id))
        && field(pattern.backup.as_ref(), fields.backup.as_ref())
        && field(pattern.flags.as_ref(), fields.flags.as_ref())
        && field(pattern.reason.as_ref(), fields.reason.as_ref())
        && field(pattern.checksum.as_ref(), fields.checksum.as_ref())
}

/// The fields of an option.
pub(crate) fn option_fields(option: &MptcpOption) -> OptionFields {
    let none = OptionFields::default();
    match option {
        MptcpOption::MpCapable { flags, .. } => OptionFields { flags: Some(*flags), ..none },
        MptcpOption::MpJoinSyn { backup, address_id, .. } | MptcpOption::MpJoinSynAck { backup, address_id, .. } => {
            OptionFields { backup: Some(*backup), ids: vec![*address_id], ..none }
        }
        MptcpOption::Dss { mapping, .. } => {
            OptionFields { checksum: mapping.as_ref().map(|mapping| mapping.checksum.is_some()), ..none }
        }
        MptcpOption::AddAddr { address_id, body, .. } => {
            OptionFields { address: Some(body.address), port: body.port, ids: vec![*address_id], ..none }
        }
        MptcpOption::RemoveAddr { address_ids } => OptionFields { ids: address_ids.clone(), ..none },
        MptcpOption::MpPrio { backup } => OptionFields { backup: Some(*backup), ..none },
        MptcpOption::MpTcprst { flags, reason } => OptionFields { flags: Some(*flags), reason: Some(*reason), ..none },
        MptcpOption::MpJoinAck { .. }
        | MptcpOption::MpFail { .. }
        | MptcpOption::MpFastclose { .. }
        | MptcpOption::Malformed { .. } => none,
    }
}

/// The first field of a wire pattern that its option never has: such a pattern can match nothing.
pub(crate) fn impossible_field(pattern: &WirePattern) -> Option<&'static str> {
    let word = pattern.option.as_str();
    let add_addr = matches!(word, "add_addr" | "add_addr_echo");
    let join = matches!(word, "mp_join_syn" | "mp_join_synack");
    let known = add_addr
        || join
        || matches!(
            word,
            "mp_capable"
                | "mp_join_ack"
                | "dss"
                | "data_fin"
                | "infinite_mapping"
                | "remove_addr"
                | "mp_prio"
                | "mp_fail"
                | "mp_fastclose"
                | "mp_tcprst"
        );
    [
        ("option", !known),
        ("address", pattern.address.is_some() && !add_addr),
        ("port", pattern.port.is_some() && !add_addr),
        ("id", pattern.id.is_some() && !(add_addr || join || word == "remove_addr")),
        ("backup", pattern.backup.is_some() && !(join || word == "mp_prio")),
        ("flags", pattern.flags.is_some() && !matches!(word, "mp_capable" | "mp_tcprst")),
        ("reason", pattern.reason.is_some() && word != "mp_tcprst"),
        ("checksum", pattern.checksum.is_some() && !matches!(word, "dss" | "data_fin" | "infinite_mapping")),
    ]
    .into_iter()
    .find(|(_, impossible)| *impossible)
    .map(|(field, _)| field)
}
