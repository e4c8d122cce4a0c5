//! The fields of MPTCP options on the wire (RFC 8684 section 3).

use crate::mptcp::canonical;
use crate::wire::{MptcpOption, OPTION_WORDS, Segment};

use super::{Field, FieldKey, Form, Pattern, Seen, Snapshot, Table, Value, number};

impl Table for MptcpOption {
    fn fields() -> &'static [Field<Self>] {
        &OPTION_FIELDS
    }
}

/// What an MPTCP option on the wire must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WirePattern {
    /// The namespace that sent it.
    pub sender: String,
    /// The option's word, one of [`OPTION_WORDS`].
    pub option: String,
    /// Its fields.
    pub fields: Pattern<MptcpOption>,
}

impl WirePattern {
    /// An option of this word, with any fields and any sender.
    pub fn named(option: &str) -> Self {
        Self { sender: String::new(), option: option.to_owned(), fields: Pattern::default() }
    }

    /// Whether a segment carries an option like that. The sender is not looked at: it depends on where the segment was
    /// captured.
    pub fn matches(&self, segment: &Segment) -> bool {
        self.carried(segment).any(|seen| self.fields.matches(seen))
    }

    /// In which fields the option of a segment differs; `None` if the segment carries no such option.
    pub fn differences(&self, segment: &Segment) -> Option<Vec<String>> {
        let on = option_bit(&self.option);
        self.carried(segment).map(|seen| self.fields.differences(on, seen)).min_by_key(Vec::len)
    }

    fn carried<'a>(&self, segment: &'a Segment) -> impl Iterator<Item = Seen<'a, MptcpOption>> {
        let carried = segment.options.iter().filter(|option| option.is_called(&self.option));
        carried.map(|option| Seen { what: option, connection: None, segment: Some(segment) })
    }

    /// The first field that the option never has: such a pattern never matches.
    pub fn impossible(&self) -> Option<&'static str> {
        let on = option_bit(&self.option);
        if on == 0 { Some("option") } else { self.fields.foreign(on) }
    }
}

impl std::fmt::Display for WirePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.option, self.fields.words(option_bit(&self.option)))
    }
}

/// The bit of the option of that word; 0 if there is none.
pub fn option_bit(word: &str) -> u32 {
    OPTION_WORDS.iter().position(|known| *known == word).map_or(0, |index| 1 << index)
}

// The bits, in the order of OPTION_WORDS.
const MP_CAPABLE: u32 = 1;
const JOIN: u32 = 0b11 << 1;
const DSS: u32 = 0b11 << 4;
const ADD_ADDR: u32 = 0b11 << 7;
const REMOVE_ADDR: u32 = 1 << 9;
const MP_PRIO: u32 = 1 << 10;
const MP_TCPRST: u32 = 1 << 13;
const ALL: u32 = (1 << OPTION_WORDS.len()) - 1;

const fn key(on: u32, word: &'static str, doc: &'static str) -> FieldKey {
    FieldKey { on, word, doc }
}

/// A field of options.
macro_rules! field {
    ($word:literal, $form:ident, $snapshot:ident, [$(($on:expr, $doc:literal)),*], $get:expr) => {
        Field {
            word: $word,
            form: Form::$form,
            keys: &[$(key($on, $word, $doc)),*],
            get: $get,
            snapshot: Snapshot::$snapshot,
            story: "",
        }
    };
}

/// Each field of an option, in the order in which they are shown.
pub static OPTION_FIELDS: [Field<MptcpOption>; 9] = [
    field!("from", Address, Apart, [(ALL, "The source address of the segment.")], |seen| {
        seen.segment.map(|segment| Value::Address(canonical(segment.source.ip())))
    }),
    field!("to", Address, Apart, [(ALL, "The destination address of the segment.")], |seen| {
        seen.segment.map(|segment| Value::Address(canonical(segment.destination.ip())))
    }),
    field!(
        "id",
        Octet,
        Shown,
        [(JOIN | REMOVE_ADDR, "The address ID."), (ADD_ADDR, "The announced address ID.")],
        |seen| match seen.what {
            MptcpOption::MpJoinSyn { address_id, .. }
            | MptcpOption::MpJoinSynAck { address_id, .. }
            | MptcpOption::AddAddr { address_id, .. } => Some(number(*address_id)),
            MptcpOption::RemoveAddr { address_ids } => Some(Value::Octets(address_ids)),
            _ => None,
        }
    ),
    // An IPv4 address and its v4-mapped form are not the same: 4 bytes or 16.
    field!("address", ExactAddress, Shown, [(ADD_ADDR, "The announced address.")], |seen| match seen.what {
        MptcpOption::AddAddr { body, .. } => Some(Value::Address(body.address)),
        _ => None,
    }),
    field!("port", Port, Shown, [(ADD_ADDR, "The announced port.")], |seen| match seen.what {
        MptcpOption::AddAddr { body, .. } => body.port.map(number),
        _ => None,
    }),
    field!("backup", Switch, Shown, [(JOIN | MP_PRIO, "The B bit.")], |seen| match seen.what {
        MptcpOption::MpJoinSyn { backup, .. }
        | MptcpOption::MpJoinSynAck { backup, .. }
        | MptcpOption::MpPrio { backup } => Some(Value::Switch(*backup)),
        _ => None,
    }),
    field!("flags", Flags, Shown, [(MP_CAPABLE | MP_TCPRST, "The flags of the option, as a number.")], |seen| {
        match seen.what {
            MptcpOption::MpCapable { flags, .. } | MptcpOption::MpTcprst { flags, .. } => Some(number(*flags)),
            _ => None,
        }
    }),
    field!("reason", Octet, Shown, [(MP_TCPRST, "The reason, RFC 8684 section 3.6.")], |seen| match seen.what {
        MptcpOption::MpTcprst { reason, .. } => Some(number(*reason)),
        _ => None,
    }),
    field!("checksum", Switch, Shown, [(DSS, "Whether a checksum is present.")], |seen| match seen.what {
        MptcpOption::Dss { mapping, .. } => {
            mapping.as_ref().map(|mapping| Value::Switch(mapping.checksum.is_some()))
        }
        _ => None,
    }),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_those_of_the_words() {
        for (words, bits) in [
            (&["mp_capable"][..], MP_CAPABLE),
            (&["mp_join_syn", "mp_join_synack"], JOIN),
            (&["dss", "data_fin"], DSS),
            (&["add_addr", "add_addr_echo"], ADD_ADDR),
            (&["remove_addr"], REMOVE_ADDR),
            (&["mp_prio"], MP_PRIO),
            (&["mp_tcprst"], MP_TCPRST),
            (OPTION_WORDS, ALL),
        ] {
            assert_eq!(words.iter().map(|word| option_bit(word)).sum::<u32>(), bits, "{words:?}");
        }
    }
}
