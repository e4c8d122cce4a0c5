//! Middlebox rules. What no segment can ever be is an error where the file alone tells it.

use super::super::super::diagnostic::Diagnostic;
use super::super::super::grammar::{Key, Kind, RULE_OPTION, Record, Shape, WIRE_OPTIONS, key_of, names, scalar as key};
use super::super::super::model::{
    Injected, Injection, PacketPattern, PathRule, Range, Rewrite, RuleAction, WirePattern,
};
use super::super::super::nearest::suggestion;
use super::super::super::record::{Group, choice, group, joined, keys, part, record, words};
use super::super::super::scalar::{self, Ip, Line, Number, Octet, Ordinal, Parsed, Port, Problem, Switch};
use super::super::super::yaml::{Node, Value};
use super::super::event::wire_pattern;
use super::super::part::Here;
use super::super::{At, Fields, Read, Reader, all};
use crate::wire::TcpFlags;

record! {
    /// A rule of a path.
    RuleKeys as "path_rule", "a rule" then sound for PathRule {
        name: need Line = "name", "Its name, unique on the path.";
        place: group Here;
        matching: group PacketPattern;
        action: need Action = "action", "What happens to them.";
        may_be_unused: or(false) Switch = "may_be_unused", "true: no error if nothing matches.";
    }
}

choice! {
    /// Forged segments with their ways.
    LongForged as "inject", "an `inject` action" {
        Reset = a "reset" "A RST with a valid sequence number."; => Way;
        Fin = a "fin" "A FIN."; => Way;
        AddAddr = an "add_addr" "An ADD_ADDR whose HMAC is wrong." as "forged_add_addr", "a forged ADD_ADDR"; {
            id: need Octet = "id", "The address id.";
            address: need Ip = "address", "The address.";
            port: maybe Port = "port", "The port.";
            way: or(Way::Forward) Way = "way",
                "forward (the default), or back to the sender of the matching segment.";
        }
    }
}

words! {
    /// Where a forged segment goes.
    Way {
        /// On, with the one that matched.
        Forward = "forward",
        /// Back to its sender.
        Back = "back",
    }
}

words! {
    /// Fields of a checksum or an HMAC.
    Damaged {
        /// It is wrong.
        Damaged = "damaged",
    }
}

record! {
    /// What can be changed of MPTCP options; which of it, is in [`REWRITE`].
    RewriteKeys for Rewrite {
        option: group OptionName;
        id: maybe Octet = "id", "The address id.";
        backup: maybe Switch = "backup", "The B bit.";
        address: maybe Ip = "address", "The address.";
        port: maybe Port = "port", "The port.";
        flags: maybe Octet = "flags", "The flags of the option, as a number.";
        reason: maybe Octet = "reason", "The reason, RFC 8684 section 3.6.";
        token: maybe Number = "token", "The token of the receiver.";
        damage_hmac: or(false) IsDamaged = "hmac", "The HMAC becomes wrong.";
        damage_checksum: or(false) IsDamaged = "checksum", "The checksum becomes wrong.";
        data_sequence_offset: maybe Ordinal = "shift", "Added to the data sequence number.";
    }
}

/// Some of these keys.
const fn some<const N: usize>(words: [&str; N]) -> [Key; N] {
    let mut keys = [Key::NONE; N];
    let mut index = 0;
    while index < N {
        keys[index] = key_of(RewriteKeys::KEYS, words[index]);
        index += 1;
    }
    keys
}

/// Options that can be rewritten, and what can be changed of them.
macro_rules! rewrites {
    ($( $($option:literal $doc:literal),+; $name:literal, $what:literal, $keys:expr; )*) => {
        static REWRITE: Record = Record {
            name: "rewrite",
            what: "a `rewrite` action",
            keys: &[],
            one_of: keys!($(&{
                static RECORD: Record = Record { name: $name, what: $what, keys: &some($keys), one_of: &[], never: &[] };
                [$(Key::new($option, Shape::Record(&RECORD), $doc)),+]
            }),*),
            never: &[],
        };
    };
}

rewrites! {
    "mp_capable" "Fields of an MP_CAPABLE.";
        "rewrite_mp_capable", "a rewritten MP_CAPABLE", ["flags"];
    "mp_join_syn" "Fields of the MP_JOIN of a SYN.";
        "rewrite_mp_join_syn", "a rewritten MP_JOIN SYN", ["id", "backup", "token"];
    "mp_join_synack" "Fields of the MP_JOIN of a SYN-ACK.";
        "rewrite_mp_join_synack", "a rewritten MP_JOIN SYN-ACK", ["id", "backup", "hmac"];
    "mp_join_ack" "Fields of the MP_JOIN of the third segment.";
        "rewrite_mp_join_ack", "a rewritten MP_JOIN ACK", ["hmac"];
    "dss" "Fields of a DSS.", "data_fin" "Fields of a DSS with DATA_FIN.";
        "rewrite_dss", "a rewritten DSS", ["checksum", "shift"];
    "add_addr" "Fields of an ADD_ADDR.";
        "rewrite_add_addr", "a rewritten ADD_ADDR", ["id", "address", "port", "hmac"];
    "add_addr_echo" "Fields of its echo.";
        "rewrite_echo", "a rewritten echo", ["id", "address", "port"];
    "remove_addr" "Fields of a REMOVE_ADDR.";
        "rewrite_remove_addr", "a rewritten REMOVE_ADDR", ["id"];
    "mp_prio" "Fields of an MP_PRIO.";
        "rewrite_mp_prio", "a rewritten MP_PRIO", ["backup"];
    "mp_tcprst" "Fields of an MP_TCPRST.";
        "rewrite_mp_tcprst", "a rewritten MP_TCPRST", ["flags", "reason"];
}

group! {
    /// The option of a record in [`REWRITE`].
    OptionName: String = &[], |at| Ok(at.word.to_owned())
}

part! {
    /// Something becomes wrong.
    IsDamaged: bool = Damaged::SHAPE, |at, node| Damaged::read(at, node).map(|_| true)
}

part! {
    /// A changed field of an option.
    Rewritten: Rewrite = Shape::Record(&REWRITE), |at, node| {
        let fields = at.reader.record(node, &REWRITE)?;
        let chosen = at.reader.choice(&fields)?;
        at.chosen(REWRITE.one_of, &chosen.key, &chosen.value, |at| {
            if at.fields.node.entries().is_empty() {
                let known: Vec<_> = at.fields.record.keys.iter().map(|key| format!("`{}`", key.name)).collect();
                return Err(at.reader.report(
                    Diagnostic::new(chosen.place, "expected a field to rewrite")
                        .help(format!("its fields are {}", known.join(", "))),
                ));
            }
            RewriteKeys::from_keys(at)
        })
    }
}

/// The words of options for rules: `any`, then those of `wire`.
static OPTION_WORDS: [&str; 1 + WIRE_OPTIONS.len()] =
    names(&joined::<{ 1 + WIRE_OPTIONS.len() }>(&[&[key("any", Kind::Line, "Any of them.")], &WIRE_OPTIONS]));

part! {
    /// An MPTCP option by its word.
    OptionWord: String = Shape::Scalar(Kind::Word(OPTION_WORDS.split_at(1).1)), |at, node| {
        at.reader.scalar(node, scalar::word(OPTION_WORDS.split_at(1).1)).map(str::to_owned)
    }
}

part! {
    /// An option that is removed.
    OneOption: Option<String> = OptionWord::SHAPE, |at, node| OptionWord::read(at, node).map(Some)
}

part! {
    /// The option that is looked for; `None`: any.
    SomeOption: Option<WirePattern> =
        Shape::Either(&[Shape::Scalar(Kind::Word(&OPTION_WORDS)), Shape::Record(&RULE_OPTION)]), |at, node| {
        if let Value::Map(_) = &node.value {
            let fields = at.reader.record(node, &RULE_OPTION)?;
            return wire_pattern(at.reader, at.reader.choice(&fields)?).map(Some);
        }
        let word = at.reader.scalar(node, scalar::word(&OPTION_WORDS))?;
        Ok((word != "any").then(|| WirePattern::named(word)))
    }
}

group! {
    /// The option that segments must carry.
    OptionLike: Option<WirePattern> =
        &[Key::of::<SomeOption>("option", "Only segments with an MPTCP option like this, as in `wire`; or `any`.")],
    |at| Ok(at.maybe::<SomeOption>("option")?.flatten())
}

group! {
    /// Whether any option will do.
    AnyOption: bool = &[], |at| Ok(at.fields.get("option").and_then(Node::text) == Some("any"))
}

/// The words of TCP flags.
const FLAGS: [(&str, TcpFlags); 5] = [
    ("syn", TcpFlags::SYN),
    ("ack", TcpFlags::ACK),
    ("fin", TcpFlags::FIN),
    ("rst", TcpFlags::RST),
    ("psh", TcpFlags::PSH),
];
const FLAG_WORDS: [&str; 5] = ["syn", "ack", "fin", "rst", "psh"];

part! {
    /// TCP flags.
    FlagWords: TcpFlags = Shape::List(&Shape::Scalar(Kind::Word(&FLAG_WORDS))), |at, node| {
        let words = all(at.list(node)?.iter().map(|item| at.reader.scalar(item, scalar::word(&FLAG_WORDS))))?;
        let flags = FLAGS.iter().filter(|(word, _)| words.contains(word));
        Ok(flags.fold(TcpFlags::empty(), |all, (_, flag)| all | *flag))
    }
}

part! {
    /// A forged segment.
    Forged: Injection = LongForged::SHAPE, |at, node| {
        let (way, what) = match LongForged::read(at, node)? {
            LongForged::Reset(way) => (way, Injected::Reset),
            LongForged::Fin(way) => (way, Injected::Fin),
            LongForged::AddAddr { id, address, port, way } => (way, Injected::AddAddr { id, address, port }),
        };
        Ok(Injection { forward: way == Way::Forward, what })
    }
}

/// Short forms of actions with a value.
const SHORT: [Key; 2] = [
    key("corrupt", Kind::Line, "Inverts the first byte of the payload."),
    key("strip_mptcp", Kind::Line, "Replaces all MPTCP options with NOPs."),
];

/// Actions that need nothing more than their word.
pub const PLAIN_ACTIONS: [Key; RuleAction::PLAIN.len() + 2] = joined(&[RuleAction::PLAIN, &SHORT]);
static PLAIN_WORDS: [&str; PLAIN_ACTIONS.len()] = names(&PLAIN_ACTIONS);

/// An action that is a word alone. All actions are named if it is none of them.
fn plain_action(text: &str) -> Parsed<RuleAction> {
    if let Some(action) = RuleAction::plain(text) {
        return Ok(action);
    }
    match text {
        "corrupt" => Ok(RuleAction::Corrupt(0)),
        "strip_mptcp" => Ok(RuleAction::Strip(None)),
        _ => {
            if let Some(key) = RuleAction::RECORD.key(text) {
                let message = format!("the action `{text}` needs a value");
                return Err(Problem { message, help: Some(format!("write it as `{{ {text}: … }}`: {}", key.doc)) });
            }
            let long = RuleAction::KEYS.iter().map(|key| key.name).filter(|name| *name != "corrupt");
            let help = suggestion(text, PLAIN_WORDS.iter().copied().chain(long));
            Err(Problem { message: format!("unknown action `{text}`"), help })
        }
    }
}

part! {
    /// What a rule does, in short or in full.
    Action: RuleAction =
        Shape::Either(&[Shape::Scalar(Kind::Word(&PLAIN_WORDS)), RuleAction::SHAPE]), |at, node| {
        if let Value::Map(_) = node.value {
            return RuleAction::read(at, node);
        }
        at.reader.scalar(node, plain_action)
    }
}

/// What a rule says together makes sense.
fn sound(at: &At<'_>, mut rule: PathRule) -> Read<PathRule> {
    possible(at.reader, at.fields, &rule.matching)?;
    suits(at.reader, at.fields, &rule.matching, &rule.action)?;
    narrow(&mut rule.matching, &rule.action);
    not_from_the_other_end(at, &rule.matching)?;
    Ok(rule)
}

/// The TCP flags that a segment with that option has, and those that it hasn't; `None` where both can be.
fn flags_of(option: &str) -> (TcpFlags, TcpFlags) {
    match option {
        "mp_join_syn" => (TcpFlags::SYN, TcpFlags::ACK),
        "mp_join_synack" => (TcpFlags::SYN | TcpFlags::ACK, TcpFlags::empty()),
        "mp_capable" => (TcpFlags::empty(), TcpFlags::empty()),
        // MP_FASTCLOSE may be on a RST, MP_TCPRST always is; neither they nor the others are on a SYN.
        "mp_tcprst" => (TcpFlags::RST, TcpFlags::SYN),
        _ => (TcpFlags::empty(), TcpFlags::SYN),
    }
}

/// Some segment can be like this.
fn possible(reader: &Reader, fields: &Fields<'_>, pattern: &PacketPattern) -> Read<()> {
    let never = |key: &str, message: String| {
        Err(reader.report(Diagnostic::new(fields.place_of(key), message).label("no segment is ever like this")))
    };
    if pattern.flags.intersects(pattern.without) {
        return never("without", "the same flag is in `flags` and in `without`".to_owned());
    }
    let empty = |range: &Option<Range>| range.as_ref().is_some_and(|range| *range.end() == 0);
    if empty(&pattern.nth) {
        return never("nth", "`nth` counts from 1".to_owned());
    }
    if let (Some(from), Some(to)) = (pattern.from, pattern.to)
        && from.is_ipv4() != to.is_ipv4()
    {
        return never("destination", "`source` and `destination` have different address families".to_owned());
    }
    let Some(option) = &pattern.option else { return Ok(()) };
    let (with, without) = flags_of(&option.option);
    if pattern.flags.intersects(without) {
        return never("flags", format!("a segment with `{}` has none of these flags", option.option));
    }
    if pattern.without.intersects(with) {
        return never("without", format!("a segment with `{}` has one of these flags", option.option));
    }
    let syn = with.contains(TcpFlags::SYN);
    if syn && pattern.payload.as_ref().is_some_and(|range| *range.start() > 0) {
        return never("payload", format!("a segment with `{}` has no payload", option.option));
    }
    Ok(())
}

/// The action can do something to such a segment.
fn suits(reader: &Reader, fields: &Fields<'_>, pattern: &PacketPattern, action: &RuleAction) -> Read<()> {
    let refuse = |key: &str, message: String, help: &str| {
        Err(reader.report(Diagnostic::new(fields.place_of(key), message).help(help.to_owned())))
    };
    match action {
        RuleAction::Nat { address, .. } => {
            if pattern.direction.is_none() {
                return refuse("action", "expected the end behind the NAT".to_owned(), "add `from:`");
            }
            if pattern.from.or(pattern.to).is_some_and(|own| own.is_ipv4() != address.is_ipv4()) {
                return refuse(
                    "action",
                    "the NAT changes the address family".to_owned(),
                    "use an address of the same family",
                );
            }
        }
        RuleAction::Corrupt(offset) => {
            let most = pattern.payload.as_ref().map(|range| *range.end());
            if most.is_some_and(|most| most <= u64::from(*offset)) {
                let message = format!("no such segment has a payload byte at offset {offset}");
                return refuse("payload", message, "offsets count from 0");
            }
        }
        RuleAction::Split(size) => {
            let most = pattern.payload.as_ref().map(|range| *range.end());
            if most.is_some_and(|most| most <= u64::from(*size)) {
                let message = format!("no such segment has more than {size} payload bytes to split");
                return refuse("payload", message, "increase `payload:`");
            }
        }
        RuleAction::Strip(Some(word)) | RuleAction::Rewrite(Rewrite { option: word, .. }) => {
            // A DSS may stand beside another option; two others never do.
            let is_dss = |word: &str| ["dss", "data_fin", "infinite_mapping"].contains(&word);
            if let Some(option) = &pattern.option
                && option.option != *word
                && !is_dss(word)
                && !is_dss(&option.option)
            {
                let message = format!("a segment with `{}` has no `{word}`", option.option);
                return refuse("action", message, "without `option:`, the rule looks for what its action is about");
            }
        }
        _ => {}
    }
    Ok(())
}

/// A rule matches only what its action can do something to: what it reports is what it did.
fn narrow(pattern: &mut PacketPattern, action: &RuleAction) {
    let mut payload_from = |least: u64| {
        let range = pattern.payload.clone().unwrap_or(0..=u64::MAX);
        pattern.payload = Some((*range.start()).max(least)..=*range.end());
    };
    match action {
        RuleAction::Corrupt(offset) => payload_from(u64::from(*offset) + 1),
        RuleAction::Split(size) => payload_from(u64::from(*size) + 1),
        RuleAction::Merge(_) => payload_from(1),
        RuleAction::Strip(None) => pattern.any_option = pattern.option.is_none(),
        RuleAction::Strip(Some(word)) | RuleAction::Rewrite(Rewrite { option: word, .. })
            if pattern.option.is_none() =>
        {
            pattern.option = Some(WirePattern::named(word));
            pattern.any_option = false;
        }
        _ => {}
    }
}

/// The source is not an address of the end that receives.
fn not_from_the_other_end(at: &At<'_>, pattern: &PacketPattern) -> Read<()> {
    let (path, fields) = (at.path()?, at.fields);
    let (Some(from), Some(source)) = (pattern.direction, pattern.from) else { return Ok(()) };
    let (own, other) = (&path.ends[from.min(1)], &path.ends[1 - from.min(1)]);
    let has = |namespace: &String| at.scope.addresses.contains(&(namespace.clone(), source));
    if at.scope.world_is_known && has(other) && !has(own) {
        let message = format!("`{own}` sends nothing from {source}: the address is `{other}`'s");
        return Err(at.reader.report(
            Diagnostic::new(fields.place_of("source"), message).context(fields.place_of("from"), "the end that sends"),
        ));
    }
    Ok(())
}
