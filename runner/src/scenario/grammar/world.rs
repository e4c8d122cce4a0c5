//! The world and the frame of a scenario file.

use super::super::model::SnapshotSection;
use super::path::PATHS;
use super::step::STEPS;
use super::{ADDRESS, DEV, EXPECT, FLAGS, ID, Key, Kind, PORT, Record, Shape, scalar};

/// A scenario file.
pub static SCENARIO: Record = Record::plain(
    "scenario",
    "a scenario",
    &[
        scalar("title", Kind::Line, "What happens, in one line.").required(),
        scalar("about", Kind::Text, "The lesson: what is to be seen, and why it is so.").required(),
        Key::new("see", Shape::List(&Shape::Scalar(Kind::Line)), "Where to read on: man pages, RFC sections."),
        Key::new(
            "requires",
            Shape::List(&Shape::Scalar(Kind::Feature)),
            "What the kernel must have, or the scenario is skipped. It is probed, never guessed from a version.",
        ),
        Key::new(
            "snapshot_by",
            Shape::List(&Shape::Scalar(Kind::Deciding)),
            "Kernels that lack one of these behave differently in a way that only the snapshot tells: they have one of \
             their own, `NAME~no-FEATURE.snap`.",
        ),
        Key::new("snapshot", Shape::Record(&SNAPSHOT), "What the snapshot leaves out, and why."),
        scalar("exclusive", Kind::Switch, "No other scenario may run at the same time."),
        Key::new(
            "matrix",
            Shape::Table("axis", Kind::Variable, &MATRIX_AXIS),
            "Variants: one for each combination of the axes. `$name` stands for the value of a variable.",
        ),
        scalar("topology", Kind::Name, "The name of a topology file: namespaces and links that scenarios share."),
        LINKS,
        PATHS,
        NAMESPACES,
        Key::new("steps", Shape::Some(&STEPS), "What is done, in order."),
        Key::new("expect", Shape::Record(&EXPECT), "What must have been observed when all steps are done."),
    ],
);

/// What the snapshot leaves out.
pub static SNAPSHOT: Record = Record::plain(
    "snapshot",
    "`snapshot`",
    &[
        Key::new(
            "without",
            Shape::List(&Shape::Scalar(Kind::Word(&SnapshotSection::WORDS))),
            "The sections that the snapshot leaves out, as they can't be the same in each run.",
        )
        .required(),
        scalar("because", Kind::Line, "The reason why they can't be; the snapshot's file says it, too.").required(),
    ],
);

/// A topology file.
pub static TOPOLOGY: Record = Record::plain(
    "topology",
    "a topology",
    &[
        scalar("title", Kind::Line, "What it looks like, in one line."),
        scalar("about", Kind::Text, "What it is for."),
        LINKS,
        PATHS,
        NAMESPACES,
    ],
);

const LINKS: Key = Key::new("links", Shape::Table("link", Kind::Name, &LINK_SHAPE), "veth pairs, by name.");
const NAMESPACES: Key = Key::new(
    "namespaces",
    Shape::Table("namespace", Kind::Name, &NAMESPACE_SHAPE),
    "How namespaces are configured before the first step. Namespaces without any configuration need not be listed.",
);

static LINK_SHAPE: Shape = Shape::Record(&LINK);
static NAMESPACE_SHAPE: Shape = Shape::Record(&NAMESPACE);

static MATRIX_AXIS: Shape = Shape::Either(&[
    Shape::List(&Shape::Scalar(Kind::Line)),
    Shape::Table("variant", Kind::Line, &Shape::Table("variable", Kind::Variable, &MATRIX_VALUE)),
]);
static MATRIX_VALUE: Shape = Shape::Either(&[Shape::Scalar(Kind::Line), Shape::List(&Shape::Scalar(Kind::Line))]);

/// A link.
pub static LINK: Record = Record::plain(
    "link",
    "a link",
    &[
        scalar("mtu", Kind::Integer(68, 65535), "The MTU of both ends in bytes."),
        scalar("rate", Kind::Rate, "The rate of each direction (a token bucket)."),
        Key::new("ends", Shape::Table("namespace", Kind::Name, &Shape::Record(&END)), "Its two ends, by namespace.")
            .required(),
    ],
);

/// An end of a link.
pub static END: Record = Record::plain(
    "end",
    "the end of a link",
    &[
        scalar("device", Kind::Device, "The name of the interface; that of the link unless given."),
        Key::new("addresses", Shape::List(&Shape::Scalar(Kind::AddressPrefix)), "Its addresses, like 10.0.1.2/24."),
    ],
);

/// The configuration of a namespace.
pub static NAMESPACE: Record = Record::plain(
    "namespace",
    "a namespace",
    &[
        Key::new("limits", Shape::Record(&LIMITS), "Limits of the path manager; see ip-mptcp(8)."),
        Key::new("endpoints", Shape::List(&Shape::Record(&ENDPOINT)), "Endpoints, added in this order."),
        Key::new("routes", Shape::List(&Shape::Record(&ROUTE)), "Routes besides those of the links."),
        Key::new(
            "sysctls",
            Shape::Table("sysctl", Kind::Sysctl, &Shape::Scalar(Kind::Line)),
            "Sysctls of the namespace by name, set before anything else.",
        ),
        scalar(
            "path_manager",
            Kind::Word(&["kernel", "userspace"]),
            "Who manages paths: the kernel (the default), or steps of the scenario.",
        ),
        scalar(
            "events",
            Kind::Switch,
            "Whether events are recorded (the default). A listener changes what a userspace path manager's \
             namespace does: without one, it refuses every MP_JOIN.",
        ),
        scalar("forwarding", Kind::Switch, "Forwards packets between its links."),
    ],
);

/// Limits.
pub static LIMITS: Record = Record::plain("limits", "limits", &LIMIT_KEYS);

/// Its keys; steps about it have them, too.
const LIMIT_KEYS: [Key; 2] = [
    scalar("subflows", Kind::Integer(0, 0xffff_ffff), "The most additional subflows of a connection; 2 by default."),
    scalar(
        "add_addr_accepted",
        Kind::Integer(0, 0xffff_ffff),
        "The most ADD_ADDRs of a connection that may become subflows; 0 by default.",
    ),
];

/// An endpoint.
pub static ENDPOINT: Record = Record::plain("endpoint", "an endpoint", &ENDPOINT_KEYS);

/// An endpoint that a connection has. A userspace path manager's list has the address of the initial subflow, too, with
/// the id 0.
pub static CONNECTION_ENDPOINT: Record = Record::plain(
    "connection_endpoint",
    "an endpoint",
    &[ENDPOINT_KEYS[0], ENDPOINT_KEYS[1], ID, ENDPOINT_KEYS[3], ENDPOINT_KEYS[4]],
);

/// Its keys; steps about it have them, too.
pub const ENDPOINT_KEYS: [Key; 5] = [
    ADDRESS.required(),
    FLAGS,
    scalar("id", Kind::Integer(1, 255), "The address id; chosen by the kernel unless given."),
    PORT.doc("The port of a signal endpoint; the kernel listens on it."),
    DEV.doc("The interface that subflows from it are bound to."),
];

/// A route.
pub static ROUTE: Record = Record::plain("route", "a route", &ROUTE_KEYS);

/// Its keys; steps about it have them, too.
pub const ROUTE_KEYS: [Key; 5] = [
    scalar("to", Kind::Destination, "The destination: `default`, or a prefix like 10.0.9.0/24.").required(),
    scalar("via", Kind::Address, "The gateway."),
    DEV,
    scalar("metric", Kind::Integer(0, 0xffff_ffff), "Of several routes, that with the lowest metric is used."),
    scalar("source", Kind::Address, "The preferred source address."),
];
