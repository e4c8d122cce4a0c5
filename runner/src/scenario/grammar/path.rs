//! Paths: what a link does to the packets that cross it, and the steps about it.

use super::expect::WIRE_OPTIONS;
use super::{ADDRESS, ID, Key, Kind, PORT, Record, Shape, scalar};

const fn record(name: &'static str, record: &'static Record, doc: &'static str) -> Key {
    Key::new(name, Shape::Record(record), doc)
}

/// These keys, then those.
const fn joined<const N: usize>(first: &[Key], rest: &[Key]) -> [Key; N] {
    assert!(N == first.len() + rest.len(), "all keys, and no others");
    let mut keys = [first[0]; N];
    let mut index = 0;
    while index < N {
        keys[index] = if index < first.len() { first[index] } else { rest[index - first.len()] };
        index += 1;
    }
    keys
}

/// The paths of a world.
pub(super) const PATHS: Key = Key::new(
    "paths",
    Shape::Table("link", Kind::Name, &PATH_SHAPE),
    "What links do to the packets that cross them, by name. Links that are not named here are plain veth pairs.",
);
static PATH_SHAPE: Shape = Shape::Record(&PATH);

/// A path.
pub static PATH: Record = Record::plain(
    "path",
    "a path",
    &[
        scalar("seed", Kind::Integer(0, u64::MAX), "What all chance of this path comes from; 0 unless given."),
        record("both", &CONDITIONS, "What both directions do."),
        Key::new(
            "from",
            Shape::Table("namespace", Kind::Name, &Shape::Record(&CONDITIONS)),
            "What one direction does, by the namespace that sends; its keys override those of `both`.",
        ),
        Key::new(
            "rules",
            Shape::List(&Shape::Record(&PATH_RULE)),
            "Middlebox rules, in a row along the link: what the first end sends meets them in this order, what the second end \
             sends in the opposite one. The conditions come behind.",
        ),
    ],
);

const CONDITION_KEYS: [Key; 8] = [
    scalar("delay", Kind::Duration, "How long each packet is under way."),
    Key::new(
        "jitter",
        Shape::Either(&JITTER_SHAPES),
        "By how much the delay varies, up and down. Packets don't overtake each other by it.",
    ),
    scalar("rate", Kind::Rate, "How fast packets are sent on."),
    record("queue", &QUEUE, "How much may wait for the rate; what doesn't fit is dropped."),
    Key::new("loss", Shape::Either(&CHANCE_SHAPES), "Which packets are lost."),
    record("reorder", &REORDER, "Which packets come later, so that others overtake them."),
    Key::new("duplicate", Shape::Either(&CHANCE_SHAPES), "Which packets come twice, one right behind the other."),
    scalar("mtu", Kind::Integer(68, 65535), "Larger packets are refused with ICMP, which tells the sender this size."),
];

/// What one direction does to each packet.
pub static CONDITIONS: Record = Record::plain("conditions", "a direction of a path", &CONDITION_KEYS);

/// The long form of a jitter.
pub static JITTER: Record = Record::plain(
    "jitter",
    "a jitter",
    &[
        scalar(
            "range",
            Kind::Duration,
            "uniform: up to so much up and down. normal: the standard deviation. pareto: the mean of what is added.",
        )
        .required(),
        scalar("distribution", Kind::Word(&["uniform", "normal", "pareto"]), "uniform unless given."),
    ],
);

/// How much may wait.
pub static QUEUE: Record = Record::plain(
    "queue",
    "a queue",
    &[
        scalar("packets", Kind::Integer(0, 0xffff_ffff), "The most packets in it."),
        scalar("bytes", Kind::Size, "The most bytes in it."),
    ],
);

/// Which packets are held back.
pub static REORDER: Record = Record::plain(
    "reorder",
    "a reordering",
    &[
        Key::new("which", Shape::Either(&CHANCE_SHAPES), "Which packets are held back.").required(),
        scalar("by", Kind::Duration, "For how long, besides the delay.").required(),
    ],
);

static JITTER_SHAPES: [Shape; 2] = [Shape::Scalar(Kind::Duration), Shape::Record(&JITTER)];
static OPTION_SHAPES: [Shape; 2] = [Shape::Scalar(Kind::Word(&OPTION_WORDS)), Shape::Record(&RULE_OPTION)];
static ACTION_SHAPES: [Shape; 2] = [Shape::Scalar(Kind::Word(&PLAIN_ACTIONS)), Shape::Record(&ACTION)];
static CHANCE_SHAPES: [Shape; 2] = [Shape::Scalar(Kind::Percent), Shape::Record(&CHANCE)];

/// The long form of a chance.
pub static CHANCE: Record = Record {
    name: "chance",
    what: "a chance",
    keys: &[],
    one_of: &[
        Key::new(
            "nth",
            Shape::Either(&[Shape::Scalar(NTH), Shape::List(&Shape::Scalar(NTH))]),
            "Exactly these packets of the direction, counted from 1 since the start of the run.",
        ),
        record("burst", &BURST, "In bursts."),
    ],
    never: &[],
};
const NTH: Kind = Kind::Integer(1, u64::MAX);

/// Bursts (Gilbert-Elliott).
pub static BURST: Record = Record::plain(
    "burst",
    "a burst",
    &[
        scalar("enter", Kind::Percent, "The chance of each packet to begin a burst.").required(),
        scalar("leave", Kind::Percent, "The chance of each packet of a burst to end it.").required(),
    ],
);

const RULE_NAME: Key = scalar("name", Kind::Line, "Its name, unique on the path.").required();

// What a rule is besides its name; a step that adds one has these, too.
const RULE_KEYS: [Key; 12] = [
    scalar("from", Kind::Name, "Only segments that this end of the link sends."),
    scalar("source", Kind::Address, "Only segments from this address."),
    scalar("destination", Kind::Address, "Only segments to this address."),
    scalar("source_port", Kind::Port, "Only segments from this port."),
    scalar("destination_port", Kind::Port, "Only segments to this port."),
    Key::new("flags", Shape::List(&FLAG), "Only segments with all of these TCP flags: syn, ack, fin, rst, psh."),
    Key::new("without", Shape::List(&FLAG), "Only segments with none of these TCP flags."),
    scalar("payload", Kind::Count, "Only segments with so many payload bytes."),
    Key::new(
        "option",
        Shape::Either(&OPTION_SHAPES),
        "Only segments with an MPTCP option like this, as in `wire`; or `any`.",
    ),
    scalar("nth", Kind::Count, "Only these of all that match so far, counted from 1."),
    Key::new("action", Shape::Either(&ACTION_SHAPES), "What happens to them.").required(),
    scalar("may_be_unused", Kind::Switch, "It is no error if no segment ever matches."),
];

const FLAG: Shape = Shape::Scalar(Kind::Word(&FLAG_WORDS));

/// The words of TCP flags.
pub static FLAG_WORDS: [&str; 5] = ["syn", "ack", "fin", "rst", "psh"];

/// A rule of a path.
pub static PATH_RULE: Record = Record::plain("path_rule", "a rule", &PATH_RULE_KEYS);
static PATH_RULE_KEYS: [Key; 1 + RULE_KEYS.len()] = joined(&[RULE_NAME], &RULE_KEYS);

/// The option that a rule looks for.
pub static RULE_OPTION: Record =
    Record { name: "rule_option", what: "the option of a rule", keys: &[], one_of: &WIRE_OPTIONS, never: &[] };

/// The words of options for rules: `any`, then those of `wire`.
pub static OPTION_WORDS: [&str; 1 + WIRE_OPTIONS.len()] = {
    let mut words = ["any"; 1 + WIRE_OPTIONS.len()];
    let mut index = 0;
    while index < WIRE_OPTIONS.len() {
        words[index + 1] = WIRE_OPTIONS[index].name;
        index += 1;
    }
    words
};

/// Actions that need nothing more than their word.
pub static PLAIN_ACTIONS: [&str; 5] = ["drop", "duplicate", "hold", "corrupt", "strip_mptcp"];

/// The long form of an action.
pub static ACTION: Record = Record {
    name: "action",
    what: "an action",
    keys: &[],
    one_of: &[
        scalar("delay", Kind::Duration, "They come so much later; others overtake them."),
        scalar(
            "corrupt",
            Kind::Integer(0, 65535),
            "The payload byte at this offset is inverted, and the TCP checksum repaired.",
        ),
        scalar("strip", Kind::Word(OPTION_WORDS.split_at(1).1), "This MPTCP option is replaced with NOPs."),
        record("rewrite", &REWRITE, "A field of an MPTCP option is changed."),
        record(
            "nat",
            &NAT,
            "The source becomes another one for all of their connection, and what comes back is translated, too.",
        ),
        record("inject", &INJECT, "A segment is sent that nobody sent."),
        scalar("split", Kind::Integer(1, 65535), "They are cut into segments with at most so many payload bytes."),
        scalar("merge", Kind::Integer(2, 64), "So many of one flow that follow each other become one."),
    ],
    never: &[],
};

/// Network address translation.
pub static NAT: Record = Record::plain(
    "nat",
    "a `nat` action",
    &[
        ADDRESS.doc("The address that the far side sees.").required(),
        PORT.doc(
            "The port that it sees: of the first connection, the next ones get those after it. Kept unless given.",
        ),
    ],
);

/// Forged segments.
pub static INJECT: Record = Record {
    name: "inject",
    what: "an `inject` action",
    keys: &[],
    one_of: &[
        scalar("reset", Kind::Word(&WAYS), "A RST that the receiver must heed."),
        scalar("fin", Kind::Word(&WAYS), "A FIN."),
        record("add_addr", &FORGED_ADD_ADDR, "An ADD_ADDR whose HMAC is wrong."),
    ],
    never: &[],
};

/// Where a forged segment goes: on with the one that matched, or back to its sender.
pub static WAYS: [&str; 2] = ["forward", "back"];

/// A forged ADD_ADDR.
pub static FORGED_ADD_ADDR: Record = Record::plain(
    "forged_add_addr",
    "a forged ADD_ADDR",
    &[
        ID.required(),
        ADDRESS.required(),
        PORT,
        scalar("way", Kind::Word(&WAYS), "forward (unless given), or back to the sender of the segment that matched."),
    ],
);

const NEW_BACKUP: Key = scalar("backup", Kind::Switch, "The B bit.");
const DAMAGED_HMAC: Key = scalar("hmac", Kind::Word(&["damaged"]), "The HMAC becomes wrong.");
const NEW_FLAGS: Key = scalar("flags", Kind::Integer(0, 255), "The flags of the option, as a number.");

/// Changed fields, by option.
pub static REWRITE: Record = Record {
    name: "rewrite",
    what: "a `rewrite` action",
    keys: &[],
    one_of: &[
        record("mp_capable", &REWRITE_MP_CAPABLE, "What becomes of an MP_CAPABLE."),
        record("mp_join_syn", &REWRITE_MP_JOIN_SYN, "What becomes of the MP_JOIN of a SYN."),
        record("mp_join_synack", &REWRITE_MP_JOIN_SYNACK, "What becomes of the MP_JOIN of a SYN-ACK."),
        record("mp_join_ack", &REWRITE_MP_JOIN_ACK, "What becomes of the MP_JOIN of the third segment."),
        record("dss", &REWRITE_DSS, "What becomes of a DSS."),
        record("data_fin", &REWRITE_DSS, "What becomes of a DSS with DATA_FIN."),
        record("add_addr", &REWRITE_ADD_ADDR, "What becomes of an ADD_ADDR."),
        record("add_addr_echo", &REWRITE_ECHO, "What becomes of its echo."),
        record("remove_addr", &REWRITE_REMOVE_ADDR, "What becomes of a REMOVE_ADDR."),
        record("mp_prio", &REWRITE_MP_PRIO, "What becomes of an MP_PRIO."),
        record("mp_tcprst", &REWRITE_MP_TCPRST, "What becomes of an MP_TCPRST."),
    ],
    never: &[],
};

static REWRITE_MP_CAPABLE: Record = Record::plain("rewrite_mp_capable", "a rewritten MP_CAPABLE", &[NEW_FLAGS]);
static REWRITE_MP_JOIN_SYN: Record = Record::plain(
    "rewrite_mp_join_syn",
    "a rewritten MP_JOIN SYN",
    &[ID, NEW_BACKUP, scalar("token", Kind::Integer(0, 0xffff_ffff), "The token of the receiver.")],
);
static REWRITE_MP_JOIN_SYNACK: Record =
    Record::plain("rewrite_mp_join_synack", "a rewritten MP_JOIN SYN-ACK", &[ID, NEW_BACKUP, DAMAGED_HMAC]);
static REWRITE_MP_JOIN_ACK: Record = Record::plain("rewrite_mp_join_ack", "a rewritten MP_JOIN ACK", &[DAMAGED_HMAC]);
static REWRITE_DSS: Record = Record::plain(
    "rewrite_dss",
    "a rewritten DSS",
    &[
        scalar("checksum", Kind::Word(&["damaged"]), "The checksum becomes wrong."),
        scalar("shift", Kind::Integer(1, 0xffff_ffff), "So much is added to the data sequence number."),
    ],
);
static REWRITE_ADD_ADDR: Record =
    Record::plain("rewrite_add_addr", "a rewritten ADD_ADDR", &[ID, ADDRESS, PORT, DAMAGED_HMAC]);
static REWRITE_ECHO: Record = Record::plain("rewrite_echo", "a rewritten echo", &[ID, ADDRESS, PORT]);
static REWRITE_REMOVE_ADDR: Record = Record::plain("rewrite_remove_addr", "a rewritten REMOVE_ADDR", &[ID]);
static REWRITE_MP_PRIO: Record = Record::plain("rewrite_mp_prio", "a rewritten MP_PRIO", &[NEW_BACKUP]);
static REWRITE_MP_TCPRST: Record = Record::plain(
    "rewrite_mp_tcprst",
    "a rewritten MP_TCPRST",
    &[NEW_FLAGS, scalar("reason", Kind::Integer(0, 255), "The reason, RFC 8684 section 3.6.")],
);

const LINK: Key = scalar("link", Kind::Name, "The link; it must have a path.").required();

/// Steps about paths.
pub(super) const PATH_STEPS: [Key; 4] = [
    record("set_path", &SET_PATH, "Changes the conditions of a path. What is not named stays as it is."),
    record("add_rule", &ADD_RULE, "Installs a rule on a path, behind those that are there."),
    record("remove_rule", &REMOVE_RULE, "Removes a rule from a path. What it holds is dropped."),
    record("release", &RELEASE, "Lets go what a `hold` rule holds. What it matches from now on is held again."),
];

/// New conditions.
pub static SET_PATH: Record = Record::plain("set_path", "a `set_path` step", &SET_PATH_KEYS);
static SET_PATH_KEYS: [Key; 3 + CONDITION_KEYS.len()] = joined(
    &[
        LINK,
        scalar("from", Kind::Name, "Only the direction in which this end of the link sends; both unless given."),
        scalar("clear", Kind::Switch, "true: what was before is forgotten, only what this step says holds."),
    ],
    &CONDITION_KEYS,
);

static ADD_RULE: Record = Record::plain("add_rule", "an `add_rule` step", &ADD_RULE_KEYS);

static ADD_RULE_KEYS: [Key; 2 + RULE_KEYS.len()] = joined(&[LINK, RULE_NAME], &RULE_KEYS);

const ITS_NAME: Key = scalar("name", Kind::Line, "The name of the rule.").required();
static REMOVE_RULE: Record = Record::plain("remove_rule", "a `remove_rule` step", &[LINK, ITS_NAME]);
static RELEASE: Record = Record::plain("release", "a `release` step", &[LINK, ITS_NAME]);

/// A rule to wait for.
pub static WAIT_RULE: Record = Record::plain(
    "wait_rule",
    "a rule to wait for",
    &[
        LINK,
        ITS_NAME,
        scalar(
            "matched",
            Kind::Integer(1, u64::MAX),
            "So many segments or more since it was installed; 1 unless given.",
        ),
    ],
);

/// What is expected of a path.
pub static EXPECT_PATH: Record = Record::plain(
    "expect_path",
    "what is expected of a path",
    &[
        Key::new(
            "rules",
            Shape::Table("rule", Kind::Line, &Shape::Scalar(Kind::Count)),
            "How many segments each rule matched; only in the final `expect`.",
        ),
        Key::new(
            "from",
            Shape::Table(
                "namespace",
                Kind::Name,
                &Shape::Table("count", Kind::Word(&TOTALS), &Shape::Scalar(Kind::Count)),
            ),
            "How many packets that this end sent were treated in some way.",
        ),
    ],
);

/// What can be counted of a direction: the fields of [`crate::recording::PathTotals`].
pub static TOTALS: [&str; 12] = [
    "entered",
    "entered_bytes",
    "left",
    "left_bytes",
    "lost",
    "queue_full",
    "too_big",
    "reordered",
    "duplicated",
    "added",
    "dropped",
    "merged",
];
