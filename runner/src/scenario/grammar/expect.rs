//! Expectations: what must be observed. Events and MPTCP options are here, too.

use super::super::read::world::ConnectionEndpoint;
use super::super::record::{Part as _, joined};
use super::{COUNT, Key, Kind, Record, Shape, fields, scalar};
use crate::mptcp::{EventKind, INFO_WORDS};
use crate::pattern::{self, EVENT_FIELDS, OPTION_FIELDS, SUBFLOW_FIELDS, event_kinds};

/// The events of a namespace.
pub static EVENTS: Shape = Shape::Either(&[Shape::List(&EVENT_SHAPE), Shape::Record(&EVENT_LIST)]);

/// The long form of an event list.
pub static EVENT_LIST: Record = Record::plain(
    "event_list",
    "an event list",
    &[
        scalar("partial", Kind::Switch, "true: other events may occur in between."),
        Key::new("list", Shape::List(&EVENT_SHAPE), "The events, in order.").required(),
    ],
);

static EVENT_SHAPE: Shape = Shape::Either(&[Shape::Scalar(Kind::Word(&EVENT_WORDS)), Shape::Record(&EVENT_ITEM)]);

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
    ($($name:literal $kind:ident $what:literal $doc:literal;)*) => {
        /// Kinds of events.
        pub const EVENT_KEYS: [Key; EVENT_KINDS] = [$(Key::new($name, Shape::Record({
            const ON: u32 = event_kinds(&[EventKind::$kind]);
            const KEYS: usize = fields::count(&EVENT_FIELDS, ON, false);
            const NEVER: usize = fields::count(&EVENT_FIELDS, ON, true);
            static RECORD: Record = Record {
                name: $name,
                what: $what,
                keys: &fields::keys::<_, { KEYS + 1 }>(&EVENT_FIELDS, ON, false, &[COUNT]),
                one_of: &[],
                never: &fields::keys::<_, NEVER>(&EVENT_FIELDS, ON, true, &[]),
            };
            &RECORD
        }), $doc)),*];
    };
}

events! {
    "created" Created "a `created` event" "A connection with MPTCP exists.";
    "established" Established "an `established` event" "The connection is fully established: subflows can be added.";
    "closed" Closed "a `closed` event" "The application closed the connection.";
    "announced" Announced "an `announced` event" "The peer announced an address (ADD_ADDR), including retransmissions.";
    "removed" Removed "a `removed` event" "The peer removed an address (REMOVE_ADDR).";
    "sub_established" SubEstablished "a `sub_established` event" "An additional subflow is established, as this side sees it.";
    "sub_closed" SubClosed "a `sub_closed` event" "A subflow was closed while the connection lives on.";
    "sub_priority" SubPriority "a `sub_priority` event" "The peer changed the backup priority (MP_PRIO).";
    "listener_created" ListenerCreated "a `listener_created` event" "An MPTCP socket started to listen.";
    "listener_closed" ListenerClosed "a `listener_closed` event" "An MPTCP socket stopped listening.";
}

static BRANCH: Shape = Shape::Either(&[EVENT_SHAPE, Shape::List(&EVENT_SHAPE)]);

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

const fn option(name: &'static str, record: &'static Record, doc: &'static str) -> Key {
    Key::new(name, Shape::Record(record), doc)
}

/// MPTCP options with their fields.
pub const WIRE_OPTIONS: [Key; 14] = [
    option("mp_capable", &WIRE_MP_CAPABLE, "Opens a connection, RFC 8684 section 3.1."),
    option("mp_join_syn", &WIRE_MP_JOIN, "Opens a subflow, section 3.2."),
    option("mp_join_synack", &WIRE_MP_JOIN, "The answer to it."),
    option("mp_join_ack", &WIRE_PLAIN, "The answer to that."),
    option("dss", &WIRE_DSS, "Data sequence signal, section 3.3."),
    option("data_fin", &WIRE_DSS, "The end of the data in one direction, section 3.3.3."),
    option("add_addr", &WIRE_ADD_ADDR, "Announces an address, section 3.4.1."),
    option("add_addr_echo", &WIRE_ADD_ADDR, "Confirms its receipt."),
    option("remove_addr", &WIRE_REMOVE_ADDR, "Removes an address, section 3.4.2."),
    option("mp_prio", &WIRE_MP_PRIO, "Changes the backup priority, section 3.3.8."),
    option("mp_fail", &WIRE_PLAIN, "A checksum failed, section 3.7."),
    option("mp_fastclose", &WIRE_PLAIN, "Aborts the connection, section 3.5."),
    option("mp_tcprst", &WIRE_MP_TCPRST, "Why a subflow is reset, section 3.6."),
    option("infinite_mapping", &WIRE_PLAIN, "Falls back to TCP, section 3.7."),
];

/// The record of options that have the same fields, from the table.
macro_rules! wire_records {
    ($($record:ident: $index:literal, $name:literal, $what:literal;)*) => {
        $(static $record: Record = Record::plain(
            $name,
            $what,
            &{
                const N: usize = fields::count(&OPTION_FIELDS, 1 << $index, false);
                fields::keys::<_, N>(&OPTION_FIELDS, 1 << $index, false, &[])
            },
        );)*
    };
}

// The number is the index in `wire::OPTION_WORDS` of one of the options.
wire_records! {
    WIRE_MP_CAPABLE: 0, "wire_mp_capable", "an `mp_capable` option";
    WIRE_MP_JOIN: 1, "wire_mp_join", "an MP_JOIN option";
    WIRE_PLAIN: 3, "wire_plain", "an MPTCP option";
    WIRE_DSS: 4, "wire_dss", "a DSS option";
    WIRE_ADD_ADDR: 7, "wire_add_addr", "an ADD_ADDR option";
    WIRE_REMOVE_ADDR: 9, "wire_remove_addr", "a `remove_addr` option";
    WIRE_MP_PRIO: 10, "wire_mp_prio", "an `mp_prio` option";
    WIRE_MP_TCPRST: 13, "wire_mp_tcprst", "an `mp_tcprst` option";
}
