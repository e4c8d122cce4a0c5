//! The fields of subflows in a dump of sockets.

use crate::mptcp::{SubflowFlags, SubflowState};

use super::{Field, FieldKey, Form, Pattern, Snapshot, Table, Value, address, number};

/// What a subflow must look like.
pub type SubflowPattern = Pattern<SubflowState>;

impl Table for SubflowState {
    fn fields() -> &'static [Field<Self>] {
        &SUBFLOW_FIELDS
    }
}

/// The bit of a subflow; there is only one kind.
pub const SUBFLOW: u32 = 1;

/// A field of subflows, with the key that it has.
macro_rules! field {
    ($word:literal, $form:ident, $doc:literal, $get:expr) => {
        Field {
            word: $word,
            form: Form::$form,
            keys: &[FieldKey { on: SUBFLOW, word: $word, doc: $doc }],
            get: $get,
            snapshot: Snapshot::Apart,
            story: "",
        }
    };
}

fn asked_for(subflow: &SubflowState, backup: SubflowFlags) -> Value<'_> {
    Value::Switch(subflow.flags.intersects(backup))
}

/// Each field of a subflow, in the order in which they are shown.
pub static SUBFLOW_FIELDS: [Field<SubflowState>; 10] = [
    field!("local", Address, "The local address, as this side sees it.", |seen| {
        Some(address(seen.what.local.ip()))
    }),
    field!("local_port", Port, "The local port.", |seen| Some(number(seen.what.local.port()))),
    field!("remote", Address, "The remote address, as this side sees it.", |seen| {
        Some(address(seen.what.remote.ip()))
    }),
    field!("remote_port", Port, "The remote port.", |seen| Some(number(seen.what.remote.port()))),
    field!("local_id", Octet, "The local address ID.", |seen| Some(number(seen.what.local_id))),
    field!("remote_id", Octet, "The remote address ID.", |seen| Some(number(seen.what.remote_id))),
    field!("backup", Switch, "Whether one of the sides asked for backup.", |seen| {
        Some(asked_for(seen.what, SubflowFlags::BKUP_LOC.union(SubflowFlags::BKUP_REM)))
    }),
    field!("backup_local", Switch, "Whether this side asked for backup.", |seen| {
        Some(asked_for(seen.what, SubflowFlags::BKUP_LOC))
    }),
    field!("backup_remote", Switch, "Whether the peer asked for backup.", |seen| {
        Some(asked_for(seen.what, SubflowFlags::BKUP_REM))
    }),
    field!("dev", Device, "The interface that the socket is bound to.", |seen| {
        seen.what.dev.as_deref().map(Value::Text)
    }),
];
