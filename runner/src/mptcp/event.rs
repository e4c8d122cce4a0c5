//! Events of the multicast group `mptcp_pm_events`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::numbers::{attributes, kernel_enum};

kernel_enum! {
    /// What happened (`include/uapi/linux/mptcp_pm.h`, `enum mptcp_event_type`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    EventKind {
        /// A connection with MPTCP exists: SYN/ACK received (client), third ACK received (server).
        Created = 1, "created";
        /// It is fully established: subflows can be added.
        Established = 2, "established";
        /// The application closed it.
        Closed = 3, "closed";
        /// The peer sent an ADD_ADDR (each time, retransmissions included).
        Announced = 6, "announced";
        /// The peer sent a REMOVE_ADDR (one event per address id).
        Removed = 7, "removed";
        /// A subflow is established on this side. The initial subflow of a connection has no such event.
        SubEstablished = 10, "sub_established";
        /// A subflow was closed while the connection lives on.
        SubClosed = 11, "sub_closed";
        /// The peer sent an MP_PRIO.
        SubPriority = 13, "sub_priority";
        /// An MPTCP socket listens.
        ListenerCreated = 15, "listener_created";
        /// It stopped listening.
        ListenerClosed = 16, "listener_closed";
    }
    /// A number that this version of mptcplab doesn't know.
    #[serde(untagged)]
    else Unknown
}

impl EventKind {
    /// The word used in scenarios, snapshots and stories.
    pub fn word(self) -> String {
        let word = Self::ALL.iter().find(|(kind, ..)| *kind == self).map(|(.., word)| (*word).to_owned());
        word.unwrap_or_else(|| format!("unknown_{}", self.number()))
    }

    /// The kind that a word means.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(.., known)| *known == word).map(|(kind, ..)| *kind)
    }
}

bitflags::bitflags! {
    /// The bits of the attribute `flags` (`MPTCP_PM_EV_FLAG_*`, `include/uapi/linux/mptcp.h`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct EventFlags: u16 {
        /// The peer forbids joins to its initial address.
        const DENY_JOIN_ID0 = 1;
        /// This is the server's side (Linux 6.18).
        const SERVER_SIDE = 1 << 1;
    }
}

attributes! {
    /// An event, `MPTCP_ATTR_*`.
    event_attr {
        TOKEN = 1, "token";
        FAMILY = 2, "family";
        LOC_ID = 3, "loc-id";
        REM_ID = 4, "rem-id";
        SADDR4 = 5, "saddr4";
        SADDR6 = 6, "saddr6";
        DADDR4 = 7, "daddr4";
        DADDR6 = 8, "daddr6";
        SPORT = 9, "sport";
        DPORT = 10, "dport";
        BACKUP = 11, "backup";
        ERROR = 12, "error";
        FLAGS = 13, "flags";
        IF_IDX = 15, "if-idx";
        RESET_REASON = 16, "reset-reason";
        RESET_FLAGS = 17, "reset-flags";
        SERVER_SIDE = 18, "server-side";
    }
}

/// Attributes that the kernel has and that are deliberately not read, with the reason.
#[cfg(test)]
pub(super) const UNREAD_OF_EVENTS: &[(&str, &str)] = &[("event-attr timeout", "no kernel sends it")];

/// One event, decoded. An attribute that the kernel did not send is `None`.
///
/// Local and remote are as the namespace that emitted the event sees them (`saddr`/`sport` and `daddr`/`dport`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PmEvent {
    /// What happened.
    pub kind: EventKind,
    /// The emitting side's own token of the connection; the peer has another one. Listener events have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u32>,
    /// AF_INET (2) or AF_INET6 (10); ANNOUNCED carries none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<u16>,
    /// The local address, v4-mapped form kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<IpAddr>,
    /// The remote address, or the announced one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<IpAddr>,
    /// Host byte order here; big endian on netlink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_port: Option<u16>,
    /// Host byte order here; big endian on netlink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_port: Option<u16>,
    /// The address id of the local side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_id: Option<u8>,
    /// The address id of the remote side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<u8>,
    /// The *peer's* request: 1 = use it only as a backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<u8>,
    /// The socket error (an errno), present only when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<u8>,
    /// The name of the device that the subflow is bound to, present only when it is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// The reason of a received MP_TCPRST (RFC 8684 section 3.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_reason: Option<u32>,
    /// The flags of a received MP_TCPRST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_flags: Option<u32>,
    /// CREATED and ESTABLISHED: this is the server's side (attribute `server_side`, or bit 1 of `flags`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub server_side: bool,
    /// CREATED and ESTABLISHED: the peer forbids joins to its initial address (bit 0 of `flags`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deny_join_id0: bool,
    /// Attributes without a name here: (type, bytes in hexadecimal). Kept so that nothing is lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<(u16, String)>,
}

impl PmEvent {
    /// An event of this kind without any attribute.
    pub fn new(kind: EventKind) -> Self {
        Self {
            kind,
            token: None,
            family: None,
            local: None,
            remote: None,
            local_port: None,
            remote_port: None,
            local_id: None,
            remote_id: None,
            backup: None,
            error: None,
            dev: None,
            reset_reason: None,
            reset_flags: None,
            server_side: false,
            deny_join_id0: false,
            unknown: Vec::new(),
        }
    }

    /// Stores an attribute in its field. `None`: it is unknown, or has an unexpected size. Integers are in host byte
    /// order, but ports and addresses in network byte order. `device` gives the name of an interface.
    pub(crate) fn take(&mut self, attribute: u16, value: &[u8], device: impl Fn(u32) -> String) -> Option<()> {
        match attribute {
            event_attr::TOKEN => self.token = Some(u32::from_ne_bytes(exactly(value)?)),
            event_attr::FAMILY => self.family = Some(u16::from_ne_bytes(exactly(value)?)),
            event_attr::LOC_ID => self.local_id = Some(octet(value)?),
            event_attr::REM_ID => self.remote_id = Some(octet(value)?),
            event_attr::SADDR4 => self.local = Some(IpAddr::from(exactly::<4>(value)?)),
            event_attr::SADDR6 => self.local = Some(IpAddr::from(exactly::<16>(value)?)),
            event_attr::DADDR4 => self.remote = Some(IpAddr::from(exactly::<4>(value)?)),
            event_attr::DADDR6 => self.remote = Some(IpAddr::from(exactly::<16>(value)?)),
            event_attr::SPORT => self.local_port = Some(u16::from_be_bytes(exactly(value)?)),
            event_attr::DPORT => self.remote_port = Some(u16::from_be_bytes(exactly(value)?)),
            event_attr::BACKUP => self.backup = Some(octet(value)?),
            event_attr::ERROR => self.error = Some(octet(value)?),
            event_attr::FLAGS => {
                let flags = EventFlags::from_bits_retain(u16::from_ne_bytes(exactly(value)?));
                self.deny_join_id0 |= flags.contains(EventFlags::DENY_JOIN_ID0);
                self.server_side |= flags.contains(EventFlags::SERVER_SIDE);
                let rest = flags.difference(EventFlags::all());
                if !rest.is_empty() {
                    let [first, second] = rest.bits().to_ne_bytes();
                    self.unknown.push((attribute, format!("{first:02x}{second:02x}")));
                }
            }
            event_attr::IF_IDX => {
                let index = u32::try_from(i32::from_ne_bytes(exactly(value)?)).ok()?;
                self.dev = Some(device(index));
            }
            event_attr::RESET_REASON => self.reset_reason = Some(u32::from_ne_bytes(exactly(value)?)),
            event_attr::RESET_FLAGS => self.reset_flags = Some(u32::from_ne_bytes(exactly(value)?)),
            event_attr::SERVER_SIDE => self.server_side |= octet(value)? != 0,
            _ => return None,
        }
        Some(())
    }
}

fn exactly<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    value.try_into().ok()
}

fn octet(value: &[u8]) -> Option<u8> {
    exactly(value).map(|[octet]| octet)
}
