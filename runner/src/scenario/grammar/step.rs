//! Steps: what a scenario does.

use super::filter::{ADD_FILTER, REMOVE_FILTER};
use super::path::PATH_STEPS;
use super::world::{ENDPOINT_KEYS, LIMIT_KEYS, ROUTE_KEYS};
use super::{
    ADDRESS, DEADLINE, DEV, EVENT_ITEM, EXPECT, FLAGS, ID, IN, Key, Kind, LOCAL, LOCAL_PORT, ON, PORT, REMOTE,
    REMOTE_PORT, Record, SUBFLOW, Shape, WIRE_ITEM, scalar,
};

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
static STEP_KEYS: [Key; 35] = [
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
    PATH_STEPS[0],
    PATH_STEPS[1],
    PATH_STEPS[2],
    PATH_STEPS[3],
    ADD_ENDPOINT_KEY,
    DELETE_ENDPOINT_KEY,
    CHANGE_ENDPOINT_KEY,
    FLUSH_ENDPOINTS_KEY,
    SET_LIMITS_KEY,
    SET_SYSCTL_KEY,
    LINK_DOWN_KEY,
    LINK_UP_KEY,
    ADD_ADDRESS_KEY,
    DELETE_ADDRESS_KEY,
    ADD_ROUTE_KEY,
    DELETE_ROUTE_KEY,
    ANNOUNCE_KEY,
    REMOVE_ADDRESS_KEY,
    CREATE_SUBFLOW_KEY,
    DESTROY_SUBFLOW_KEY,
    SET_SUBFLOW_BACKUP_KEY,
    GET_ENDPOINT_KEY,
    ADD_FILTER_KEY,
    REMOVE_FILTER_KEY,
];

/// An operation: what may stand in the `do` of an `expect_error` step.
pub static OPERATIONS: Record = Record {
    name: "operation",
    what: "an operation",
    keys: &[],
    one_of: &[
        ADD_ENDPOINT_KEY,
        DELETE_ENDPOINT_KEY,
        CHANGE_ENDPOINT_KEY,
        FLUSH_ENDPOINTS_KEY,
        SET_LIMITS_KEY,
        SET_SYSCTL_KEY,
        LINK_DOWN_KEY,
        LINK_UP_KEY,
        ADD_ADDRESS_KEY,
        DELETE_ADDRESS_KEY,
        ADD_ROUTE_KEY,
        DELETE_ROUTE_KEY,
        ANNOUNCE_KEY,
        REMOVE_ADDRESS_KEY,
        CREATE_SUBFLOW_KEY,
        DESTROY_SUBFLOW_KEY,
        SET_SUBFLOW_BACKUP_KEY,
        GET_ENDPOINT_KEY,
        ADD_FILTER_KEY,
        REMOVE_FILTER_KEY,
    ],
    never: &[],
};

const ADD_ENDPOINT_KEY: Key = record("add_endpoint", &ADD_ENDPOINT, "`ip mptcp endpoint add`");
const DELETE_ENDPOINT_KEY: Key = record("delete_endpoint", &ENDPOINT_DELETE, "`ip mptcp endpoint delete`");
const CHANGE_ENDPOINT_KEY: Key = record("change_endpoint", &ENDPOINT_CHANGE, "`ip mptcp endpoint change`");
const FLUSH_ENDPOINTS_KEY: Key = record("flush_endpoints", &FLUSH_ENDPOINTS, "`ip mptcp endpoint flush`");
const SET_LIMITS_KEY: Key = record("set_limits", &SET_LIMITS, "`ip mptcp limits set`");
const SET_SYSCTL_KEY: Key = record("set_sysctl", &SET_SYSCTL, "`sysctl -w`");
const LINK_DOWN_KEY: Key = record("link_down", &LINK_STATE, "`ip link set DEVICE down`");
const LINK_UP_KEY: Key = record("link_up", &LINK_STATE, "`ip link set DEVICE up`");
const ADD_ADDRESS_KEY: Key = record("add_address", &DEVICE_ADDRESS, "`ip address add`");
const DELETE_ADDRESS_KEY: Key = record("delete_address", &DEVICE_ADDRESS, "`ip address delete`");
const ADD_ROUTE_KEY: Key = record("add_route", &ROUTE_CHANGE, "`ip route add`");
const DELETE_ROUTE_KEY: Key = record("delete_route", &ROUTE_CHANGE, "`ip route delete`");
const ANNOUNCE_KEY: Key = record("announce", &ANNOUNCE, "Userspace path manager: announces an address.");
const REMOVE_ADDRESS_KEY: Key = record("remove_address", &REMOVE_ADDRESS, "Userspace path manager: withdraws one.");
const CREATE_SUBFLOW_KEY: Key = record("create_subflow", &CREATE_SUBFLOW, "Userspace path manager: opens a subflow.");
const DESTROY_SUBFLOW_KEY: Key =
    record("destroy_subflow", &DESTROY_SUBFLOW, "Userspace path manager: closes a subflow.");
const SET_SUBFLOW_BACKUP_KEY: Key =
    record("set_subflow_backup", &SET_SUBFLOW_BACKUP, "Userspace path manager: asks for (no) backup by MP_PRIO.");
const GET_ENDPOINT_KEY: Key = record("get_endpoint", &GET_ENDPOINT, "Asks for one endpoint, which must be there.");
const ADD_FILTER_KEY: Key = record("add_filter", &ADD_FILTER, "Installs a packet filter for TCP.");
const REMOVE_FILTER_KEY: Key = record("remove_filter", &REMOVE_FILTER, "Removes a packet filter.");

const PROTOCOL: Key = scalar("protocol", Kind::Word(&["mptcp", "tcp"]), "What the socket is; mptcp unless given.");

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
        scalar("source", Kind::Address, "The client binds to this address first."),
        PROTOCOL,
        scalar("server_protocol", Kind::Word(&["mptcp", "tcp"]), "What the listener is that this step opens."),
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
    keys: &[
        ON,
        scalar("side", Kind::Side, "Whose subflow.").required(),
        scalar("present", Kind::Switch, "false: until there is none. true unless given."),
        LOCAL,
        REMOTE,
        LOCAL_PORT,
        REMOTE_PORT,
        super::LOCAL_ID,
        super::REMOTE_ID,
        super::expect::BACKUP,
        super::expect::BACKUP_LOCAL,
        super::expect::BACKUP_REMOTE,
        DEV,
    ],
    one_of: &[],
    never: &[],
};
const _: () = assert!(WAIT_SUBFLOW.keys.len() == SUBFLOW.keys.len() + 3, "a subflow key is missing in `wait`");

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
            Kind::Word(&["graceful", "abrupt", "half"]),
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

static ADD_ENDPOINT: Record = Record::plain(
    "add_endpoint",
    "an `add_endpoint` step",
    &[IN, ENDPOINT_KEYS[0], ENDPOINT_KEYS[1], ENDPOINT_KEYS[2], ENDPOINT_KEYS[3], ENDPOINT_KEYS[4]],
);

const WHICH_ID: Key = scalar("id", Kind::Integer(0, 255), "The endpoint with that id; 0: the first subflow's address.");
const WHICH_ADDRESS: Key = ADDRESS.doc("The endpoint with that address; with id 0: the address of the first subflow.");
const WHICH_PORT: Key = PORT.doc("With an address: the port of the endpoint, if it has one.");
const WHICH_ALL: Key = scalar("all", Kind::Word(&["true"]), "Each endpoint that the namespace has at that moment.");

/// Deleting endpoints.
pub static ENDPOINT_DELETE: Record =
    Record::plain("delete_endpoint", "a `delete_endpoint` step", &[IN, WHICH_ID, WHICH_ADDRESS, WHICH_PORT, WHICH_ALL]);

/// Changing endpoints.
pub static ENDPOINT_CHANGE: Record = Record::plain(
    "change_endpoint",
    "a `change_endpoint` step",
    &[
        IN,
        WHICH_ID,
        WHICH_ADDRESS,
        WHICH_PORT,
        WHICH_ALL,
        Key::new(
            "to",
            Shape::List(&Shape::Scalar(Kind::Word(&["backup", "nobackup", "fullmesh", "nofullmesh"]))),
            "The new flags. The kernel overwrites both each time: what is not named here is cleared.",
        )
        .required(),
    ],
);

static FLUSH_ENDPOINTS: Record = Record::plain("flush_endpoints", "a `flush_endpoints` step", &[IN]);

static SET_LIMITS: Record = Record::plain("set_limits", "a `set_limits` step", &[IN, LIMIT_KEYS[0], LIMIT_KEYS[1]]);

static SET_SYSCTL: Record = Record::plain(
    "set_sysctl",
    "a `set_sysctl` step",
    &[
        IN,
        scalar("name", Kind::Sysctl, "Its name with dots; it begins with `net.`.").required(),
        scalar("value", Kind::Line, "What to write.").required(),
    ],
);

static LINK_STATE: Record = Record::plain(
    "link_state",
    "a step about an interface",
    &[IN, scalar("device", Kind::Device, "The interface.").required()],
);

static DEVICE_ADDRESS: Record = Record::plain(
    "device_address",
    "a step about an address",
    &[
        IN,
        scalar("device", Kind::Device, "The interface.").required(),
        scalar("address", Kind::AddressPrefix, "The address, like 10.0.1.7/24.").required(),
    ],
);

static ROUTE_CHANGE: Record = Record::plain(
    "route_change",
    "a step about a route",
    &[IN, ROUTE_KEYS[0], ROUTE_KEYS[1], ROUTE_KEYS[2], ROUTE_KEYS[3], ROUTE_KEYS[4]],
);

/// The connection, by name or by a token that is wrong on purpose.
const WHOSE: &[Key] = &[
    scalar("connection", Kind::Name, "The connection; its token on the side of the namespace is used."),
    scalar("token", Kind::Integer(0, 0xffff_ffff), "A token as a number, wrong on purpose."),
];

/// A userspace path manager's command: exactly one of `connection` and `token`.
const fn command(name: &'static str, what: &'static str, keys: &'static [Key]) -> Record {
    Record { name, what, keys, one_of: WHOSE, never: &[] }
}

/// Userspace ANNOUNCE.
pub static ANNOUNCE: Record = command(
    "announce",
    "an `announce` step",
    &[IN, ADDRESS.required(), ID, PORT, FLAGS.doc("`[signal]` unless given."), DEV],
);

/// Userspace REMOVE.
pub static REMOVE_ADDRESS: Record = command("remove_address", "a `remove_address` step", &[IN, ID.required()]);

/// Userspace `SUBFLOW_CREATE`.
pub static CREATE_SUBFLOW: Record = command(
    "create_subflow",
    "a `create_subflow` step",
    &[
        IN,
        ADDRESS.doc("The local address.").required(),
        ID,
        REMOTE.doc("The peer's address.").required(),
        REMOTE_PORT.doc("The peer's port; the server's port of the first subflow unless given."),
        FLAGS.doc("`backup`, or nothing."),
        DEV,
    ],
);

/// Userspace `SUBFLOW_DESTROY`.
pub static DESTROY_SUBFLOW: Record = command(
    "destroy_subflow",
    "a `destroy_subflow` step",
    &[
        IN,
        LOCAL.required(),
        REMOTE.required(),
        LOCAL_PORT.doc("The local port; looked up in the subflow set unless given."),
        REMOTE_PORT.doc("The remote port; looked up in the subflow set unless given."),
    ],
);

/// Userspace `SET_FLAGS`.
pub static SET_SUBFLOW_BACKUP: Record = command(
    "set_subflow_backup",
    "a `set_subflow_backup` step",
    &[
        IN,
        LOCAL.required(),
        REMOTE.required(),
        scalar("backup", Kind::Switch, "Whether the peer is asked to use it as a backup only.").required(),
    ],
);

/// `GET_ADDR`.
pub static GET_ENDPOINT: Record = Record::plain(
    "get_endpoint",
    "a `get_endpoint` step",
    &[
        IN,
        ID.required(),
        scalar("connection", Kind::Name, "Asks the userspace path manager's list of that connection."),
        scalar("token", Kind::Integer(0, 0xffff_ffff), "The same with a token that is wrong on purpose."),
    ],
);
