//! Steps: what a scenario does.

use super::super::model::{CloseHow, Operation, SocketProtocol};
use super::super::record::{Scalar as _, joined};
use super::expect::SUBFLOW_KEYS;
use super::path::PATH_STEPS;
use super::{
    ADDRESS, DEADLINE, EVENT_ITEM, EXPECT, FLAGS, IN, Key, Kind, ON, PORT, Record, Shape, WIRE_ITEM, fields, scalar,
};
use crate::pattern::{self, SUBFLOW_FIELDS};

const fn record(name: &'static str, record: &'static Record, doc: &'static str) -> Key {
    Key::new(name, Shape::Record(record), doc)
}

/// A step: exactly one of these.
pub static STEP: Record = Record { name: "step", what: "a step", keys: &[], one_of: &STEP_KEYS, never: &[] };

/// A list of steps.
pub(super) static STEPS: Shape = Shape::List(&Shape::Record(&STEP));

/// The record that is the value of that step.
pub fn step_record(name: &str) -> Option<&'static Record> {
    STEP.key(name).and_then(|key| match key.shape {
        Shape::Record(record) => Some(record),
        _ => None,
    })
}

// A static: `repeat` has steps in it, and a constant can't refer to itself.
static STEP_KEYS: [Key; 11 + PATH_STEPS.len() + Operation::KEYS.len()] = joined(&[
    &[
        record("listen", &LISTEN, "Opens a listening socket."),
        record("stop_listening", &STOP_LISTENING, "Closes a listening socket."),
        record("connect", &CONNECT, "Opens a connection; without a `listen` step for its port, a listener, too."),
        record("transfer", &TRANSFER, "Sends bytes through a connection, and compares what arrives."),
        record("finish_transfer", &FINISH_TRANSFER, "Waits for the end of a background transfer, and compares."),
        record("wait", &WAIT, "Waits until all of these conditions hold."),
        Key::new(
            "quiet",
            Shape::Either(&QUIET_SHAPES),
            "Waits until nothing (no event, no segment) has been observed for so long.",
        ),
        record("close", &CLOSE, "Closes a connection."),
        record("check", &EXPECT, "Takes the state of the world at this moment: the same keys as `expect`."),
        record("expect_error", &EXPECT_ERROR, "An operation that the kernel must refuse."),
        record("repeat", &REPEAT, "Takes steps again and again, each time with the next number."),
    ],
    &PATH_STEPS,
    Operation::KEYS,
]);

/// An operation: what may stand in the `do` of an `expect_error` step.
pub static OPERATIONS: Record =
    Record { name: "operation", what: "an operation", keys: &[], one_of: Operation::KEYS, never: &[] };

const PROTOCOL: Key =
    scalar("protocol", SocketProtocol::KIND, "What the socket is: mptcp (unless given), or tcp, a plain TCP socket.");

static LISTEN: Record = Record::plain(
    "listen",
    "a `listen` step",
    &[
        IN,
        ADDRESS.doc("The address to listen on; `::` (everything) unless given."),
        PORT.doc("The port; 8080 unless given."),
        PROTOCOL,
    ],
);

static STOP_LISTENING: Record = Record::plain(
    "stop_listening",
    "a `stop_listening` step",
    &[IN, PORT.doc("The port; 8080 unless given."), ADDRESS.doc("Its address, if several listen on that port.")],
);

static CONNECT: Record = Record::plain(
    "connect",
    "a `connect` step",
    &[
        scalar("name", Kind::Name, "The name of the connection for everything after it.").required(),
        scalar("from", Kind::Name, "The client's namespace.").required(),
        scalar("to", Kind::Name, "The server's namespace.").required(),
        ADDRESS.doc("The server's address.").required(),
        PORT.doc("The server's port; 8080 unless given."),
        scalar("source", Kind::Address, "The client binds to this address first; the kernel chooses unless given."),
        PROTOCOL,
        scalar("server_protocol", SocketProtocol::KIND, "What the listener is that this step opens."),
        scalar(
            "outcome",
            Kind::Outcome,
            "What must come of it: mptcp (the default), tcp (a connection without MPTCP), or an errno of connect().",
        ),
        scalar(
            "handshake",
            Kind::Switch,
            "Whether a byte goes each way before the step ends (the default): without it the client is not yet \
             fully established, and opens no subflows.",
        ),
        DEADLINE.doc("The longest it may take; 5 s unless given."),
    ],
);

static TRANSFER: Record = Record::plain(
    "transfer",
    "a `transfer` step",
    &[
        ON,
        scalar("each_way", Kind::Size, "Bytes in each direction, at the same time."),
        scalar("from_client", Kind::Size, "Bytes from the client to the server."),
        scalar("from_server", Kind::Size, "Bytes from the server to the client."),
        scalar("pace", Kind::Rate, "The rate in each direction; as fast as it goes unless given."),
        scalar(
            "background",
            Kind::Switch,
            "The step ends at once. A `finish_transfer` step waits for the end of the transfer, or `close: { how: abrupt }` cuts it off.",
        ),
        scalar("tolerate_corrupt", Kind::Integer(0, 1 << 30), "So many bytes may arrive damaged."),
        scalar(
            "outcome",
            Kind::Errno,
            "The errno that a read() or write() must fail with before all bytes have arrived; unless given, all must \
             arrive.",
        ),
        DEADLINE.doc("The longest it may take; 10 s unless given."),
    ],
);

static FINISH_TRANSFER: Record = Record::plain(
    "finish_transfer",
    "a `finish_transfer` step",
    &[ON, DEADLINE.doc("The longest it may take; 10 s unless given.")],
);

/// What a `wait` step waits for.
pub static WAIT: Record = Record::plain(
    "wait",
    "a `wait` step",
    &[
        Key::new(
            "subflows",
            Shape::Table("connection", Kind::Name, &Shape::Scalar(Kind::Integer(0, 255))),
            "Both sides have exactly so many established subflows, the first one included.",
        ),
        record("event", &WAIT_EVENT, "An event was seen, since the start of the run."),
        Key::new("events", Shape::List(&Shape::Record(&WAIT_EVENT)), "Several events were seen, in whatever order."),
        record("counter", &WAIT_COUNTER, "A counter has moved by so much, since the start of the run."),
        Key::new("counters", Shape::List(&Shape::Record(&WAIT_COUNTER)), "Several counters have."),
        record("subflow", &WAIT_SUBFLOW, "One side has, or has not, a subflow like this."),
        record("endpoint", &WAIT_ENDPOINT, "A namespace has, or has not, an endpoint with this address."),
        record("transferred", &WAIT_TRANSFERRED, "A background transfer has delivered so many bytes."),
        record("wire", &WAIT_WIRE, "An MPTCP option was sent, since the start of the run."),
        record("rule", &super::WAIT_RULE, "A rule of a path has matched so often."),
        DEADLINE.doc("The longest it may take; 5 s unless given."),
    ],
);

/// An event to wait for.
pub static WAIT_EVENT: Record = Record {
    name: "wait_event",
    what: "an event to wait for",
    keys: &[IN, scalar("count", Kind::Integer(1, 1_000_000), "So many of them; 1 unless given.")],
    one_of: EVENT_ITEM.one_of.split_at(super::expect::EVENT_KINDS).0,
    never: &[],
};

/// A counter to wait for.
pub static WAIT_COUNTER: Record = Record::plain(
    "wait_counter",
    "a counter to wait for",
    &[
        IN,
        scalar("name", Kind::Counter, "Its name, as nstat has it.").required(),
        scalar("at_least", Kind::Integer(1, u64::MAX), "How far it must have moved; a gauge: its value.").required(),
    ],
);

/// A subflow to wait for.
pub static WAIT_SUBFLOW: Record = Record {
    name: "wait_subflow",
    what: "a subflow to wait for",
    keys: &fields::keys::<_, { 3 + SUBFLOW_KEYS }>(
        &[
            ON,
            scalar("side", Kind::Side, "Whose subflow.").required(),
            scalar("present", Kind::Switch, "false: until there is none. true unless given."),
        ],
        &SUBFLOW_FIELDS,
        pattern::SUBFLOW,
        false,
        &[],
    ),
    one_of: &[],
    never: &[],
};

/// An endpoint to wait for.
pub static WAIT_ENDPOINT: Record = Record::plain(
    "wait_endpoint",
    "an endpoint to wait for",
    &[
        IN,
        ADDRESS.required(),
        FLAGS.doc("The flags that it must have, exactly; any unless given."),
        scalar("present", Kind::Switch, "false: until there is none. true unless given."),
    ],
);

/// A transfer to wait for.
pub static WAIT_TRANSFERRED: Record = Record::plain(
    "wait_transferred",
    "a transfer to wait for",
    &[
        ON,
        scalar("by", Kind::Side, "Who sends.").required(),
        scalar("bytes", Kind::Size, "How many bytes have arrived.").required(),
    ],
);

/// An option to wait for.
pub static WAIT_WIRE: Record = Record {
    name: "wait_wire",
    what: "an MPTCP option to wait for",
    keys: &[
        IN.doc("The namespace that sends it."),
        scalar("count", Kind::Integer(1, 1_000_000), "In so many segments; 1 unless given."),
    ],
    one_of: WIRE_ITEM.one_of,
    never: &[],
};

static QUIET_SHAPES: [Shape; 2] = [Shape::Scalar(Kind::Duration), Shape::Record(&QUIET)];

/// The long form of a quiet period.
pub static QUIET: Record = Record::plain(
    "quiet",
    "a `quiet` step",
    &[
        scalar("period", Kind::Duration, "For so long nothing may be observed.").required(),
        DEADLINE.doc("The longest it may take to get there; 10 s unless given."),
    ],
);

static CLOSE: Record = Record::plain(
    "close",
    "a `close` step",
    &[
        ON,
        scalar("by", Kind::Side, "Who begins.").required(),
        scalar(
            "how",
            CloseHow::KIND,
            "graceful (the default): close() when all is read, then the other side. abrupt: close() with unread \
             data, so that MP_FASTCLOSE is sent. half: shutdown() of the sending direction only.",
        ),
        DEADLINE.doc("The longest it may take; 10 s unless given."),
    ],
);

static EXPECT_ERROR: Record = Record::plain(
    "expect_error",
    "an `expect_error` step",
    &[
        scalar("error", Kind::Errno, "The errno that the kernel must answer with.").required(),
        scalar("message", Kind::Line, "A part of the kernel's own words (extended ACK)."),
        record("do", &OPERATIONS, "The operation.").required(),
    ],
);

/// Steps with a number that changes.
pub static REPEAT: Record = Record::plain(
    "repeat",
    "a `repeat` step",
    &[
        scalar("variable", Kind::Variable, "Its name; `$name` in the steps is replaced by the number.").required(),
        scalar("from", Kind::Integer(0, 65535), "The first number.").required(),
        scalar("to", Kind::Integer(0, 65535), "The last number.").required(),
        Key::new("steps", Shape::Some(&STEPS), "What is done for each number.").required(),
    ],
);
