//! Expectations: what must be observed. Events and MPTCP options are here, too.

use super::world::{CONNECTION_ENDPOINT, ENDPOINT, LIMITS};
use super::{
    ADDRESS, COUNT, DEV, ID, Key, Kind, LOCAL, LOCAL_ID, LOCAL_PORT, PORT, REMOTE, REMOTE_ID, REMOTE_PORT, Record,
    Shape, scalar,
};
use crate::mptcp::MptcpInfo;

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

static EVENT_WORDS: [&str; EVENT_KINDS] = [
    "created",
    "established",
    "closed",
    "announced",
    "removed",
    "sub_established",
    "sub_closed",
    "sub_priority",
    "listener_created",
    "listener_closed",
];

/// So many keys of [`EVENT_ITEM`], from the first, are kinds of events.
pub const EVENT_KINDS: usize = 10;

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

// The fields of events (kernel: `mptcp_event_*`, net/mptcp/pm_netlink.c).
const ON_CONNECTION: Key = scalar("connection", Kind::Name, "The connection.");
pub(super) const BACKUP: Key = scalar("backup", Kind::Switch, "Whether backup was asked for.");
const ERROR: Key = scalar("error", Kind::ErrorPattern, "The socket error: an errno, none, or any.");
const RESET_REASON: Key =
    scalar("reset_reason", Kind::Integer(0, 255), "The reason of a received MP_TCPRST, RFC 8684 section 3.6.");
const SERVER_SIDE: Key = scalar("server_side", Kind::Switch, "Whether this side accepted the connection.");
const DENY_JOIN_ID0: Key =
    scalar("deny_join_id0", Kind::Switch, "Whether the peer forbids subflows to its initial address (the C bit).");
const ANNOUNCED_ADDRESS: Key = ADDRESS.doc("The announced address.");
const ANNOUNCED_PORT: Key = PORT.doc("The announced port.");
const ANNOUNCED_ID: Key = ID.doc("The announced address id.");
const LISTENER_ADDRESS: Key = ADDRESS.doc("The address that it listens on.");
const LISTENER_PORT: Key = PORT.doc("The port that it listens on.");

static CREATED: Record = Record {
    name: "created",
    what: "a `created` event",
    keys: CONNECTION_KEYS,
    one_of: &[],
    never: &[BACKUP, ERROR, DEV, RESET_REASON, ADDRESS, ID, PORT],
};

static ESTABLISHED: Record = Record {
    name: "established",
    what: "an `established` event",
    keys: CONNECTION_KEYS,
    one_of: &[],
    never: CREATED.never,
};

const CONNECTION_KEYS: &[Key] =
    &[ON_CONNECTION, LOCAL, REMOTE, LOCAL_PORT, REMOTE_PORT, LOCAL_ID, REMOTE_ID, SERVER_SIDE, DENY_JOIN_ID0, COUNT];

static CLOSED: Record = Record {
    name: "closed",
    what: "a `closed` event",
    keys: &[ON_CONNECTION, COUNT],
    one_of: &[],
    never: &[
        LOCAL,
        REMOTE,
        LOCAL_PORT,
        REMOTE_PORT,
        LOCAL_ID,
        REMOTE_ID,
        BACKUP,
        ERROR,
        DEV,
        RESET_REASON,
        SERVER_SIDE,
        DENY_JOIN_ID0,
        ADDRESS,
        ID,
        PORT,
    ],
};

static ANNOUNCED: Record = Record {
    name: "announced",
    what: "an `announced` event",
    keys: &[
        ON_CONNECTION,
        ANNOUNCED_ADDRESS,
        ANNOUNCED_ID,
        ANNOUNCED_PORT,
        REMOTE.doc("The announced address; the same as `address`."),
        REMOTE_ID.doc("The announced address id; the same as `id`."),
        REMOTE_PORT.doc("The announced port; the same as `port`."),
        COUNT,
    ],
    one_of: &[],
    never: &[LOCAL, LOCAL_PORT, LOCAL_ID, BACKUP, ERROR, DEV, RESET_REASON, SERVER_SIDE, DENY_JOIN_ID0],
};

static REMOVED: Record = Record {
    name: "removed",
    what: "a `removed` event",
    keys: &[
        ON_CONNECTION,
        ID.doc("The withdrawn address id."),
        REMOTE_ID.doc("The withdrawn address id; the same as `id`."),
        COUNT,
    ],
    one_of: &[],
    never: &[
        LOCAL,
        REMOTE,
        LOCAL_PORT,
        REMOTE_PORT,
        LOCAL_ID,
        BACKUP,
        ERROR,
        DEV,
        RESET_REASON,
        SERVER_SIDE,
        DENY_JOIN_ID0,
        ADDRESS,
        PORT,
    ],
};

static SUB_ESTABLISHED: Record = Record {
    name: "sub_established",
    what: "a `sub_established` event",
    keys: SUBFLOW_EVENT_KEYS,
    one_of: &[],
    never: &[RESET_REASON, SERVER_SIDE, DENY_JOIN_ID0, ADDRESS, ID, PORT],
};

static SUB_PRIORITY: Record = Record {
    name: "sub_priority",
    what: "a `sub_priority` event",
    keys: SUBFLOW_EVENT_KEYS,
    one_of: &[],
    never: SUB_ESTABLISHED.never,
};

const SUBFLOW_EVENT_KEYS: &[Key] =
    &[ON_CONNECTION, LOCAL, REMOTE, LOCAL_PORT, REMOTE_PORT, LOCAL_ID, REMOTE_ID, BACKUP, ERROR, DEV, COUNT];

static SUB_CLOSED: Record = Record {
    name: "sub_closed",
    what: "a `sub_closed` event",
    keys: &[
        ON_CONNECTION,
        LOCAL,
        REMOTE,
        LOCAL_PORT,
        REMOTE_PORT,
        LOCAL_ID,
        REMOTE_ID,
        BACKUP,
        ERROR,
        DEV,
        RESET_REASON,
        COUNT,
    ],
    one_of: &[],
    never: &[SERVER_SIDE, DENY_JOIN_ID0, ADDRESS, ID, PORT],
};

static LISTENER_CREATED: Record = Record {
    name: "listener_created",
    what: "a `listener_created` event",
    keys: LISTENER_KEYS,
    one_of: &[],
    never: &[
        ON_CONNECTION,
        REMOTE,
        REMOTE_PORT,
        LOCAL_ID,
        REMOTE_ID,
        BACKUP,
        ERROR,
        DEV,
        RESET_REASON,
        SERVER_SIDE,
        DENY_JOIN_ID0,
        ID,
    ],
};

static LISTENER_CLOSED: Record = Record {
    name: "listener_closed",
    what: "a `listener_closed` event",
    keys: LISTENER_KEYS,
    one_of: &[],
    never: LISTENER_CREATED.never,
};

const LISTENER_KEYS: &[Key] = &[
    LISTENER_ADDRESS,
    LISTENER_PORT,
    LOCAL.doc("The address that it listens on; the same as `address`."),
    LOCAL_PORT.doc("The port that it listens on; the same as `port`."),
    COUNT,
];

pub(super) const BACKUP_LOCAL: Key = scalar("backup_local", Kind::Switch, "Whether this side asked for backup.");
pub(super) const BACKUP_REMOTE: Key = scalar("backup_remote", Kind::Switch, "Whether the peer asked for backup.");

/// A subflow.
pub static SUBFLOW: Record = Record::plain(
    "subflow",
    "a subflow",
    &[
        LOCAL,
        REMOTE,
        LOCAL_PORT,
        REMOTE_PORT,
        LOCAL_ID,
        REMOTE_ID,
        BACKUP.doc("Whether one of the sides asked for backup."),
        BACKUP_LOCAL,
        BACKUP_REMOTE,
        DEV.doc("The interface that the socket is bound to."),
    ],
);

/// The subflow sets of a connection, by side.
static SIDE_SUBFLOWS: Shape = Shape::Table(SIDE, Kind::Side, &Shape::List(&Shape::Record(&SUBFLOW)));

/// The `MPTCP_INFO` of a connection, by side.
static SIDE_INFO: Shape = Shape::Table(
    SIDE,
    Kind::Side,
    &Shape::Table("field of struct mptcp_info", Kind::Word(&MptcpInfo::FIELDS), &Shape::Scalar(Kind::Count)),
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

// The fields of MPTCP options (RFC 8684 section 3).
const SEGMENT_FROM: Key = scalar("from", Kind::Address, "The source address of the segment.");
const SEGMENT_TO: Key = scalar("to", Kind::Address, "The destination address of the segment.");
const OCTET_FLAGS: Key = scalar("flags", Kind::Integer(0, 255), "The flags of the option, as a number.");
const REASON: Key = scalar("reason", Kind::Integer(0, 255), "The reason, RFC 8684 section 3.6.");
const CHECKSUM: Key = scalar("checksum", Kind::Switch, "Whether a checksum is present.");
const BACKUP_BIT: Key = scalar("backup", Kind::Switch, "The B bit.");

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

static WIRE_PLAIN: Record = Record::plain("wire_plain", "an MPTCP option", &[SEGMENT_FROM, SEGMENT_TO]);
static WIRE_MP_CAPABLE: Record =
    Record::plain("wire_mp_capable", "an `mp_capable` option", &[SEGMENT_FROM, SEGMENT_TO, OCTET_FLAGS]);
static WIRE_MP_JOIN: Record =
    Record::plain("wire_mp_join", "an MP_JOIN option", &[SEGMENT_FROM, SEGMENT_TO, ID, BACKUP_BIT]);
static WIRE_DSS: Record = Record::plain("wire_dss", "a DSS option", &[SEGMENT_FROM, SEGMENT_TO, CHECKSUM]);
static WIRE_ADD_ADDR: Record = Record::plain(
    "wire_add_addr",
    "an ADD_ADDR option",
    &[SEGMENT_FROM, SEGMENT_TO, ANNOUNCED_ADDRESS, ANNOUNCED_ID, ANNOUNCED_PORT],
);
static WIRE_REMOVE_ADDR: Record =
    Record::plain("wire_remove_addr", "a `remove_addr` option", &[SEGMENT_FROM, SEGMENT_TO, ID]);
static WIRE_MP_PRIO: Record =
    Record::plain("wire_mp_prio", "an `mp_prio` option", &[SEGMENT_FROM, SEGMENT_TO, BACKUP_BIT]);
static WIRE_MP_TCPRST: Record =
    Record::plain("wire_mp_tcprst", "an `mp_tcprst` option", &[SEGMENT_FROM, SEGMENT_TO, OCTET_FLAGS, REASON]);
