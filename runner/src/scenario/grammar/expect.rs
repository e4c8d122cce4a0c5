//! Expectations: what must be observed. Events and MPTCP options are here, too.

use super::world::{CONNECTION_ENDPOINT, ENDPOINT, LIMITS};
use super::{COUNT, Key, Kind, Record, Shape, fields, scalar};
use crate::mptcp::{EventKind, INFO_WORDS};
use crate::pattern::{self, EVENT_FIELDS, OPTION_FIELDS, SUBFLOW_FIELDS, event_kinds};

/// The whole run, or a `check` step.
pub static EXPECT: Record = Record::plain("expect", "an expectation", &EXPECT_KEYS);

/// One of the alternatives of a [`CHOICE`]: an expectation without alternatives of its own.
pub static ALTERNATIVE: Record = Record::plain("alternative", "an alternative", &SECTIONS);

/// Alternatives.
pub static CHOICE: Record = Record::plain(
    "choice",
    "a choice",
    &[
        scalar("because", Kind::Line, "Why each of the alternatives is right.").required(),
        Key::new("of", Shape::Some(&Shape::List(&Shape::Record(&ALTERNATIVE))), "The alternatives, two at least.")
            .required(),
    ],
);

static CHOICE_SHAPE: Shape = Shape::Record(&CHOICE);

const EITHER: Key =
    Key::new("either", Shape::List(&CHOICE_SHAPE), "Choices: of the alternatives of each, one must hold entirely.");

static EXPECT_KEYS: [Key; SECTION_COUNT + 1] = {
    let mut keys = [EITHER; SECTION_COUNT + 1];
    let mut index = 0;
    while index < SECTION_COUNT {
        keys[index] = SECTIONS[index];
        index += 1;
    }
    keys
};

const SECTION_COUNT: usize = 10;

static SECTIONS: [Key; SECTION_COUNT] = [
    Key::new(
        "events",
        Shape::Table("namespace", Kind::Name, &Shape::Either(&[Shape::List(&EVENT_SHAPE), Shape::Record(&EVENT_LIST)])),
        "The events of a namespace: all of them, in order.",
    ),
    Key::new(
        "counters",
        Shape::Table(
            "namespace, or several joined with `+`",
            Kind::Names,
            &Shape::Table("counter", Kind::Counters, &Shape::Scalar(Kind::Count)),
        ),
        "How far counters moved since the start of the run. `others: 0` says that no other MPTcpExt counter did.",
    ),
    Key::new(
        "subflows",
        Shape::Table("connection", Kind::Name, &SIDE_SUBFLOWS),
        "The subflows of a connection: all of them, in any order. At the end: as they were before the close.",
    ),
    Key::new("info", Shape::Table("connection", Kind::Name, &SIDE_INFO), "Fields of `struct mptcp_info`."),
    Key::new(
        "endpoints",
        Shape::Table("namespace", Kind::Name, &Shape::List(&Shape::Record(&ENDPOINT))),
        "The endpoints of a namespace: all of them, in any order.",
    ),
    Key::new(
        "connection_endpoints",
        Shape::Table("connection", Kind::Name, &SIDE_ENDPOINTS),
        "The addresses that a userspace path manager has for a connection: all of them, in any order.",
    ),
    Key::new("limits", Shape::Table("namespace", Kind::Name, &Shape::Record(&LIMITS)), "The limits of a namespace."),
    Key::new(
        "bytes",
        Shape::Table("link", Kind::Name, &Shape::Table("namespace", Kind::Name, &Shape::Scalar(Kind::Count))),
        "How many bytes a namespace sent through a link, headers included.",
    ),
    Key::new("wire", Shape::List(&Shape::Record(&WIRE_ITEM)), "MPTCP options that a namespace sent."),
    Key::new("paths", Shape::Table("link", Kind::Name, &Shape::Record(&super::EXPECT_PATH)), "What paths did."),
];

/// The long form of an event list.
pub static EVENT_LIST: Record = Record::plain(
    "event_list",
    "an event list",
    &[
        scalar("partial", Kind::Switch, "true: other events may come in between."),
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

/// So many keys of [`EVENT_ITEM`], from the first, are kinds of events.
pub const EVENT_KINDS: usize = EventKind::ALL.len();

const fn event(name: &'static str, record: &'static Record, doc: &'static str) -> Key {
    Key::new(name, Shape::Record(record), doc)
}

/// An item of an event list.
pub static EVENT_ITEM: Record = Record {
    name: "event_item",
    what: "an event",
    keys: &[],
    one_of: &[
        event("created", &CREATED, "A connection with MPTCP exists."),
        event("established", &ESTABLISHED, "It is fully established: subflows can be added."),
        event("closed", &CLOSED, "The application closed it."),
        event("announced", &ANNOUNCED, "The peer announced an address (ADD_ADDR), retransmissions included."),
        event("removed", &REMOVED, "The peer withdrew an address (REMOVE_ADDR)."),
        event("sub_established", &SUB_ESTABLISHED, "A subflow is up, as this side sees it. Never the first one."),
        event("sub_closed", &SUB_CLOSED, "A subflow was closed while the connection lives on."),
        event("sub_priority", &SUB_PRIORITY, "The peer asked for (no) backup (MP_PRIO)."),
        event("listener_created", &LISTENER_CREATED, "An MPTCP socket listens."),
        event("listener_closed", &LISTENER_CLOSED, "It stopped."),
        Key::new(
            "any_order",
            Shape::List(&Shape::Either(&[EVENT_SHAPE, Shape::List(&EVENT_SHAPE)])),
            "All of these, in any order; each list among them keeps its own order.",
        ),
    ],
    never: &[],
};

/// The record of an event's fields.
pub fn event_record(kind: &str) -> Option<&'static Record> {
    EVENT_ITEM.key(kind).and_then(|key| match key.shape {
        Shape::Record(record) => Some(record),
        _ => None,
    })
}

/// The record of a kind of event, from the table of fields.
macro_rules! event_records {
    ($($record:ident: $kind:ident, $name:literal, $what:literal;)*) => {
        $(static $record: Record = Record {
            name: $name,
            what: $what,
            keys: &{
                const ON: u32 = event_kinds(&[EventKind::$kind]);
                const N: usize = fields::count(&EVENT_FIELDS, ON, false);
                fields::keys::<_, { N + 1 }>(&[], &EVENT_FIELDS, ON, false, &[COUNT])
            },
            one_of: &[],
            never: &{
                const ON: u32 = event_kinds(&[EventKind::$kind]);
                const N: usize = fields::count(&EVENT_FIELDS, ON, true);
                fields::keys::<_, N>(&[], &EVENT_FIELDS, ON, true, &[])
            },
        };)*
    };
}

event_records! {
    CREATED: Created, "created", "a `created` event";
    ESTABLISHED: Established, "established", "an `established` event";
    CLOSED: Closed, "closed", "a `closed` event";
    ANNOUNCED: Announced, "announced", "an `announced` event";
    REMOVED: Removed, "removed", "a `removed` event";
    SUB_ESTABLISHED: SubEstablished, "sub_established", "a `sub_established` event";
    SUB_CLOSED: SubClosed, "sub_closed", "a `sub_closed` event";
    SUB_PRIORITY: SubPriority, "sub_priority", "a `sub_priority` event";
    LISTENER_CREATED: ListenerCreated, "listener_created", "a `listener_created` event";
    LISTENER_CLOSED: ListenerClosed, "listener_closed", "a `listener_closed` event";
}

/// How many keys a subflow has.
pub(super) const SUBFLOW_KEYS: usize = fields::count(&SUBFLOW_FIELDS, pattern::SUBFLOW, false);

/// A subflow.
pub static SUBFLOW: Record = Record::plain(
    "subflow",
    "a subflow",
    &fields::keys::<_, SUBFLOW_KEYS>(&[], &SUBFLOW_FIELDS, pattern::SUBFLOW, false, &[]),
);

/// The subflow sets of a connection, by side.
static SIDE_SUBFLOWS: Shape = Shape::Table(SIDE, Kind::Side, &Shape::List(&Shape::Record(&SUBFLOW)));

/// The `MPTCP_INFO` of a connection, by side.
static SIDE_INFO: Shape = Shape::Table(
    SIDE,
    Kind::Side,
    &Shape::Table("field of struct mptcp_info", Kind::Word(&INFO_WORDS), &Shape::Scalar(Kind::Count)),
);

/// The endpoints of a connection, by side.
static SIDE_ENDPOINTS: Shape = Shape::Table(SIDE, Kind::Side, &Shape::List(&Shape::Record(&CONNECTION_ENDPOINT)));

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

/// MPTCP options with their fields.
pub(super) const WIRE_OPTIONS: [Key; 14] = [
    event("mp_capable", &WIRE_MP_CAPABLE, "Opens a connection, RFC 8684 section 3.1."),
    event("mp_join_syn", &WIRE_MP_JOIN, "Opens a subflow, section 3.2."),
    event("mp_join_synack", &WIRE_MP_JOIN, "The answer to it."),
    event("mp_join_ack", &WIRE_PLAIN, "The answer to that."),
    event("dss", &WIRE_DSS, "Data sequence signal, section 3.3."),
    event("data_fin", &WIRE_DSS, "The end of the data in one direction, section 3.3.3."),
    event("add_addr", &WIRE_ADD_ADDR, "Announces an address, section 3.4.1."),
    event("add_addr_echo", &WIRE_ADD_ADDR, "Confirms its receipt."),
    event("remove_addr", &WIRE_REMOVE_ADDR, "Withdraws an address, section 3.4.2."),
    event("mp_prio", &WIRE_MP_PRIO, "Asks for (no) backup, section 3.3.8."),
    event("mp_fail", &WIRE_PLAIN, "A checksum failed, section 3.7."),
    event("mp_fastclose", &WIRE_PLAIN, "Aborts the connection, section 3.5."),
    event("mp_tcprst", &WIRE_MP_TCPRST, "Why a subflow is reset, section 3.6."),
    event("infinite_mapping", &WIRE_PLAIN, "Falls back to TCP, section 3.7."),
];

/// An MPTCP option on the wire.
pub static WIRE_ITEM: Record = Record {
    name: "wire_item",
    what: "an MPTCP option",
    keys: &[
        scalar("by", Kind::Name, "The namespace that sends it.").required(),
        COUNT.doc("How many segments carry it, retransmissions included; 1 unless given."),
    ],
    one_of: &WIRE_OPTIONS,
    never: &[],
};

/// The record of an option's fields.
pub fn wire_record(option: &str) -> Option<&'static Record> {
    WIRE_ITEM.one_of.iter().find(|key| key.name == option).and_then(|key| match key.shape {
        Shape::Record(record) => Some(record),
        _ => None,
    })
}

/// The record of options that have the same fields, from the table.
macro_rules! wire_records {
    ($($record:ident: $index:literal, $name:literal, $what:literal;)*) => {
        $(static $record: Record = Record::plain(
            $name,
            $what,
            &{
                const N: usize = fields::count(&OPTION_FIELDS, 1 << $index, false);
                fields::keys::<_, N>(&[], &OPTION_FIELDS, 1 << $index, false, &[])
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
