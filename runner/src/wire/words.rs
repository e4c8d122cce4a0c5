//! What options are called: the words of scenario files, and the printed form for stories and captures.

use std::fmt;
use std::net::SocketAddr;

use super::{AddAddrBody, DssMapping, MptcpOption};

/// All words that a scenario can ask the wire for. `data_fin` and `infinite_mapping` are particular forms of `dss`.
pub const OPTION_WORDS: &[&str] = &[
    "mp_capable",
    "mp_join_syn",
    "mp_join_synack",
    "mp_join_ack",
    "dss",
    "data_fin",
    "infinite_mapping",
    "add_addr",
    "add_addr_echo",
    "remove_addr",
    "mp_prio",
    "mp_fail",
    "mp_fastclose",
    "mp_tcprst",
];

impl MptcpOption {
    /// The word of the option in scenario files; `malformed` for what RFC 8684 doesn't know.
    pub fn word(&self) -> &'static str {
        match self {
            Self::MpCapable { .. } => "mp_capable",
            Self::MpJoinSyn { .. } => "mp_join_syn",
            Self::MpJoinSynAck { .. } => "mp_join_synack",
            Self::MpJoinAck { .. } => "mp_join_ack",
            Self::Dss { .. } => "dss",
            Self::AddAddr { echo: false, .. } => "add_addr",
            Self::AddAddr { echo: true, .. } => "add_addr_echo",
            Self::RemoveAddr { .. } => "remove_addr",
            Self::MpPrio { .. } => "mp_prio",
            Self::MpFail { .. } => "mp_fail",
            Self::MpFastclose { .. } => "mp_fastclose",
            Self::MpTcprst { .. } => "mp_tcprst",
            Self::Malformed { .. } => "malformed",
        }
    }

    /// Whether a word of a scenario file ([`OPTION_WORDS`]) means this option, too: a DSS can be `dss`, `data_fin`
    /// and `infinite_mapping` at once.
    pub fn is_called(&self, word: &str) -> bool {
        match (word, self) {
            ("data_fin", Self::Dss { data_fin, .. }) => *data_fin,
            ("infinite_mapping", Self::Dss { mapping: Some(mapping), .. }) => mapping.length == 0,
            _ => self.word() == word,
        }
    }
}

/// The option in the words of RFC 8684. Keys, tokens, random numbers, HMACs, checksums and sequence numbers are left
/// out: they differ in each run, and nobody reads them.
impl fmt::Display for MptcpOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MpCapable { version, flags, data_length, checksum, .. } => {
                write!(f, "MP_CAPABLE v{version}")?;
                for (bit, letter) in [(0x80, 'A'), (0x40, 'B'), (0x20, 'C'), (0x01, 'H')] {
                    if flags & bit != 0 {
                        write!(f, " {letter}")?;
                    }
                }
                data_length.map_or(Ok(()), |length| write!(f, " data {length}"))?;
                checksum.map_or(Ok(()), |_| write!(f, " checksum"))
            }
            Self::MpJoinSyn { backup, address_id, .. } => {
                write!(f, "MP_JOIN SYN id {address_id}{}", backup_word(*backup))
            }
            Self::MpJoinSynAck { backup, address_id, .. } => {
                write!(f, "MP_JOIN SYN/ACK id {address_id}{}", backup_word(*backup))
            }
            Self::MpJoinAck { .. } => write!(f, "MP_JOIN ACK"),
            Self::Dss { data_fin, data_ack, mapping } => write_dss(f, *data_fin, data_ack.is_some(), mapping.as_ref()),
            Self::AddAddr { echo: true, address_id, .. } => write!(f, "ADD_ADDR echo id {address_id}"),
            Self::AddAddr { echo: false, address_id, body } => write_announced(f, *address_id, body),
            Self::RemoveAddr { address_ids } => {
                write!(f, "REMOVE_ADDR id")?;
                address_ids.iter().try_for_each(|id| write!(f, " {id}"))
            }
            Self::MpPrio { backup: true } => write!(f, "MP_PRIO backup"),
            Self::MpPrio { backup: false } => write!(f, "MP_PRIO no backup"),
            Self::MpFail { .. } => write!(f, "MP_FAIL"),
            Self::MpFastclose { .. } => write!(f, "MP_FASTCLOSE"),
            Self::MpTcprst { flags, reason } => {
                write!(f, "MP_TCPRST reason {reason} ({})", reset_reason(*reason).unwrap_or("unknown"))?;
                if flags & 1 != 0 { write!(f, " transient") } else { Ok(()) }
            }
            Self::Malformed { subtype: Some(subtype), bytes } => write!(f, "malformed (subtype {subtype}): {bytes}"),
            Self::Malformed { subtype: None, bytes } => write!(f, "malformed: {bytes}"),
        }
    }
}

fn backup_word(backup: bool) -> &'static str {
    if backup { " backup" } else { "" }
}

fn write_dss(f: &mut fmt::Formatter<'_>, data_fin: bool, ack: bool, mapping: Option<&DssMapping>) -> fmt::Result {
    write!(f, "DSS")?;
    if ack {
        write!(f, " ack")?;
    }
    if let Some(mapping) = mapping {
        // A DATA_FIN takes one octet of the mapping (RFC 8684 section 3.3.3); it is not data.
        match mapping.length.saturating_sub(u16::from(data_fin)) {
            _ if mapping.length == 0 => write!(f, " infinite mapping")?,
            0 => {}
            octets => write!(f, " data {octets}")?,
        }
        if mapping.checksum.is_some() {
            write!(f, " checksum")?;
        }
    }
    if data_fin { write!(f, " DATA_FIN") } else { Ok(()) }
}

fn write_announced(f: &mut fmt::Formatter<'_>, id: u8, body: &AddAddrBody) -> fmt::Result {
    match (body.port, body.address) {
        (Some(port), address) => write!(f, "ADD_ADDR {} id {id}", SocketAddr::new(address, port)),
        (None, address) => write!(f, "ADD_ADDR {address} id {id}"),
    }
}

/// The names of RFC 8684 section 3.6, with those that IANA's registry "MPTCP MP_TCPRST Reason Codes" has.
pub(crate) fn reset_reason(reason: u8) -> Option<&'static str> {
    Some(match reason {
        0 => "unspecified error",
        1 => "MPTCP-specific error",
        2 => "lack of resources",
        3 => "administratively prohibited",
        4 => "too much outstanding data",
        5 => "unacceptable performance",
        6 => "middlebox interference",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dss(data_fin: bool, ack: bool, length: Option<u16>, checksum: Option<u16>) -> MptcpOption {
        MptcpOption::Dss {
            data_fin,
            data_ack: ack.then_some((7, false)),
            mapping: length.map(|length| DssMapping {
                data_sequence: 9,
                wide: true,
                subflow_sequence: 1,
                length,
                checksum,
            }),
        }
    }

    #[test]
    fn prints_a_dss_without_its_sequence_numbers() {
        assert_eq!(dss(false, true, None, None).to_string(), "DSS ack");
        assert_eq!(dss(true, true, Some(1449), None).to_string(), "DSS ack data 1448 DATA_FIN");
        assert_eq!(dss(true, true, Some(1), Some(5)).to_string(), "DSS ack checksum DATA_FIN");
        assert_eq!(dss(false, false, Some(0), None).to_string(), "DSS infinite mapping");
    }

    #[test]
    fn prints_announcements_with_their_port() {
        let announced = |address: &str, port, echo| {
            let body = AddAddrBody { address: address.parse().unwrap(), port, hmac: Some(1) };
            MptcpOption::AddAddr { echo, address_id: 1, body }.to_string()
        };
        assert_eq!(announced("10.0.2.1", None, false), "ADD_ADDR 10.0.2.1 id 1");
        assert_eq!(announced("10.0.2.1", Some(10100), false), "ADD_ADDR 10.0.2.1:10100 id 1");
        assert_eq!(announced("fd00::1", Some(10100), false), "ADD_ADDR [fd00::1]:10100 id 1");
        assert_eq!(announced("fd00::1", None, false), "ADD_ADDR fd00::1 id 1");
        assert_eq!(announced("10.0.2.1", None, true), "ADD_ADDR echo id 1");
    }

    #[test]
    fn prints_the_rest_in_the_words_of_the_rfc() {
        let printed = |octets: &[u8]| MptcpOption::decode(octets).to_string();
        assert_eq!(printed(&[30, 4, 0x01, 0xa1]), "MP_CAPABLE v1 A C H");
        assert_eq!(printed(&[30, 12, 0x11, 2, 0, 0, 0, 1, 0, 0, 0, 2]), "MP_JOIN SYN id 2 backup");
        assert_eq!(printed(&[30, 5, 0x40, 1, 2]), "REMOVE_ADDR id 1 2");
        assert_eq!(printed(&[30, 3, 0x51]), "MP_PRIO backup");
        assert_eq!(printed(&[30, 4, 0x81, 3]), "MP_TCPRST reason 3 (administratively prohibited) transient");
        assert_eq!(printed(&[30, 3, 0xf0]), "malformed (subtype 15): 1e03f0");
    }

    #[test]
    fn a_dss_answers_to_the_words_of_its_forms() {
        let fin = dss(true, true, Some(1), None);
        assert!(fin.is_called("dss") && fin.is_called("data_fin") && !fin.is_called("infinite_mapping"));
        let infinite = dss(false, true, Some(0), None);
        assert!(infinite.is_called("dss") && infinite.is_called("infinite_mapping") && !infinite.is_called("data_fin"));
    }
}
