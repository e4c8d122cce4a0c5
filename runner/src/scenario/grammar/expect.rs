//! Expectations: what must be observed. Events and MPTCP options are here, too.

use super::super::read::world::ConnectionEndpoint;
use super::super::record::{Part as _, joined};
use super::{COUNT, Key, Kind, Record, Shape, fields};
use crate::mptcp::{EventKind, INFO_WORDS};
use crate::pattern::{self, EVENT_FIELDS, OPTION_FIELDS, SUBFLOW_FIELDS, event_kinds};
use crate::wire::OPTION_WORDS;

/// An item of an event list.
pub static EVENT: Shape = Shape::Either(&[Shape::Scalar(Kind::Word(&EVENT_WORDS)), Shape::Record(&EVENT_ITEM)]);

static EVENT_WORDS: [&str; EVENT_KINDS] = {
    let mut words = [""; EVENT_KINDS];
    let mut index = 0;
    while index < EVENT_KINDS {
        words[index] = EventKind::ALL[index].2;
        index += 1;
    }
    words
};

const EVENT_KINDS: usize = EventKind::ALL.len();

/// An item of an event list.
pub static EVENT_ITEM: Record =
    Record { name: "event_item", what: "an event", keys: &[], one_of: &EVENT_ITEMS, never: &[] };

// A static: `any_order` has items in it, and a constant can't refer to itself.
static EVENT_ITEMS: [Key; EVENT_KINDS + 1] = joined(&[
    &EVENT_KEYS,
    &[Key::new(
        "any_order",
        Shape::List(&BRANCH),
        "All of these, in any order; each list among them keeps its own order.",
    )],
]);

/// Kinds of events: each with its record, whose keys come from the table of fields.
macro_rules! events {
    ($($a:ident $name:literal $doc:literal;)*) => {
        /// Kinds of events.
        pub const EVENT_KEYS: [Key; EVENT_KINDS] = [$(Key::new($name, Shape::Record({
            const ON: u32 = event_kinds(&[EventKind::ALL[fields::index(&EVENT_WORDS, $name)].0]);
            const KEYS: usize = fields::count(&EVENT_FIELDS, ON, false);
            const NEVER: usize = fields::count(&EVENT_FIELDS, ON, true);
            static RECORD: Record = Record {
                name: $name,
                what: concat!(stringify!($a), " `", $name, "` event"),
                keys: &fields::keys::<_, { KEYS + 1 }>(&EVENT_FIELDS, ON, false, &[COUNT]),
                one_of: &[],
                never: &fields::keys::<_, NEVER>(&EVENT_FIELDS, ON, true, &[]),
            };
            &RECORD
        }), $doc)),*];
    };
}

events! {
    a "created" "A connection with MPTCP exists.";
    an "established" "The connection is fully established: subflows can be added.";
    a "closed" "The application closed the connection.";
    an "announced" "The peer announced an address (ADD_ADDR), including retransmissions.";
    a "removed" "The peer removed an address (REMOVE_ADDR).";
    a "sub_established" "An additional subflow is established, as this side sees it; never the initial one.";
    a "sub_closed" "A subflow was closed while the connection lives on.";
    a "sub_priority" "The peer changed the backup priority (MP_PRIO).";
    a "listener_created" "An MPTCP socket started to listen.";
    a "listener_closed" "An MPTCP socket stopped listening.";
}

static BRANCH: Shape = Shape::Either(&[EVENT, Shape::List(&EVENT)]);

/// A subflow.
pub static SUBFLOW: Record = Record::plain("subflow", "a subflow", &SUBFLOW_KEYS);

/// Its keys; a `wait` step has them, too.
pub const SUBFLOW_KEYS: [Key; fields::count(&SUBFLOW_FIELDS, pattern::SUBFLOW, false)] =
    fields::keys(&SUBFLOW_FIELDS, pattern::SUBFLOW, false, &[]);

/// The subflow sets of a connection, by side.
pub static SIDE_SUBFLOWS: Shape = Shape::Table(SIDE, Kind::Side, &Shape::List(&Shape::Record(&SUBFLOW)));

/// The `MPTCP_INFO` of a connection, by side.
pub static SIDE_INFO: Shape = Shape::Table(
    SIDE,
    Kind::Side,
    &Shape::Table("field of struct mptcp_info", Kind::Word(&INFO_WORDS), &Shape::Scalar(Kind::Count)),
);

/// The endpoints of a connection, by side.
pub static SIDE_ENDPOINTS: Shape = Shape::Table(SIDE, Kind::Side, &Shape::List(&ConnectionEndpoint::SHAPE));

const SIDE: &str = "side (client or server) or namespace of the connection";

/// MPTCP options for filters, in the order of their subtypes (RFC 8684 section 8.2), after `any`.
pub const FILTER_OPTIONS: [&str; 10] = [
    "any",
    "mp_capable",
    "mp_join",
    "dss",
    "add_addr",
    "remove_addr",
    "mp_prio",
    "mp_fail",
    "mp_fastclose",
    "mp_tcprst",
];

/// MPTCP options: each with its record, whose keys come from the table of fields.
macro_rules! options {
    ($($a:ident $name:literal $doc:literal;)*) => {
        /// MPTCP options with their fields.
        pub const WIRE_OPTIONS: [Key; OPTION_WORDS.len()] = [$(Key::new($name, Shape::Record({
            const ON: u32 = 1 << fields::index(&OPTION_WORDS, $name);
            const KEYS: usize = fields::count(&OPTION_FIELDS, ON, false);
            static RECORD: Record = Record::plain(
                concat!("wire_", $name),
                concat!(stringify!($a), " `", $name, "` option"),
                &fields::keys::<_, KEYS>(&OPTION_FIELDS, ON, false, &[]),
            );
            &RECORD
        }), $doc)),*];
    };
}

options! {
    an "mp_capable" "Opens a connection, RFC 8684 section 3.1.";
    an "mp_join_syn" "Opens a subflow, section 3.2.";
    an "mp_join_synack" "The answer to it.";
    an "mp_join_ack" "The answer to that.";
    a "dss" "Data sequence signal, section 3.3.";
    a "data_fin" "The end of the data in one direction, section 3.3.3.";
    an "add_addr" "Announces an address, section 3.4.1.";
    an "add_addr_echo" "Confirms its receipt.";
    a "remove_addr" "Removes an address, section 3.4.2.";
    an "mp_prio" "Changes the backup priority, section 3.3.8.";
    an "mp_fail" "A checksum failed, section 3.7.";
    an "mp_fastclose" "Aborts the connection, section 3.5.";
    an "mp_tcprst" "Why a subflow is reset, section 3.6.";
    an "infinite_mapping" "Falls back to TCP, section 3.7.";
}
