//! Middlebox rules. What no segment can ever be is an error where the file alone tells it.

use super::super::super::diagnostic::Diagnostic;
use super::super::super::grammar;
use super::super::super::model::{Injected, PacketPattern, PathRule, Range, Rewrite, RuleAction, WirePattern};
use super::super::super::nearest::suggestion;
use super::super::super::scalar::{self, Parsed, Problem};
use super::super::super::yaml::{Entry, Node, Value};
use super::super::event::wire_pattern;
use super::super::scope::Scope;
use super::super::{Fields, Read, Reader, all};
use super::{KnownPath, chosen_record, direction};
use crate::wire::TcpFlags;

/// Reads a rule. Without a path, what depends on it is not looked at: an error was noted.
pub(super) fn read(reader: &Reader, fields: &Fields<'_>, path: Option<&KnownPath>, scope: &Scope) -> Read<PathRule> {
    let name = fields.need("name", scalar::line);
    let may_be_unused = fields.or("may_be_unused", false, scalar::switch);
    let matching = pattern(reader, fields, path);
    let action = fields.need_node("action").and_then(|node| action(reader, node));
    let (mut matching, action) = (matching?, action?);
    possible(reader, fields, &matching)?;
    suits(reader, fields, &matching, &action)?;
    narrow(&mut matching, &action);
    if let Some(path) = path {
        not_from_the_other_end(reader, fields, &matching, path, scope)?;
    }
    Ok(PathRule { name: name?, place: fields.place(), matching, action, may_be_unused: may_be_unused? })
}

fn pattern(reader: &Reader, fields: &Fields<'_>, path: Option<&KnownPath>) -> Read<PacketPattern> {
    let end = match (fields.get("from"), path) {
        (Some(node), Some(path)) => reader
            .scalar(node, |text| Ok(text.to_owned()))
            .and_then(|namespace| direction(reader, path, &namespace, node.place))
            .map(Some),
        _ => Ok(None),
    };
    let from = fields.optional("source", scalar::address);
    let to = fields.optional("destination", scalar::address);
    let from_port = fields.optional("source_port", scalar::port);
    let to_port = fields.optional("destination_port", scalar::port);
    let flags = flags(reader, fields, "flags");
    let without = flags_without(reader, fields);
    let payload = fields.optional("payload", scalar::count);
    let nth = fields.optional("nth", scalar::count);
    let option = fields.get("option").map(|node| option(reader, node)).transpose();
    let option = option?;
    Ok(PacketPattern {
        direction: end?,
        from: from?.map(|address| address.to_canonical()),
        to: to?.map(|address| address.to_canonical()),
        from_port: from_port?,
        to_port: to_port?,
        flags: flags?,
        without: without?,
        payload: payload?,
        any_option: option == Some(None),
        option: option.flatten(),
        nth: nth?,
    })
}

/// The option that is looked for; `None`: any.
fn option(reader: &Reader, node: &Node) -> Read<Option<WirePattern>> {
    if let Value::Map(_) = &node.value {
        let fields = reader.record(node, &grammar::RULE_OPTION)?;
        return wire_pattern(reader, reader.choice(&fields)?).map(Some);
    }
    let word = reader.scalar(node, scalar::word(&grammar::OPTION_WORDS))?;
    Ok((word != "any").then(|| WirePattern::named(word)))
}

fn flags_without(reader: &Reader, fields: &Fields<'_>) -> Read<TcpFlags> {
    flags(reader, fields, "without")
}

fn flags(reader: &Reader, fields: &Fields<'_>, key: &str) -> Read<TcpFlags> {
    let Some(node) = fields.get(key) else { return Ok(TcpFlags::empty()) };
    let items = reader.list(node, &format!("`{key}`"))?;
    let flags = all(items.iter().map(|item| reader.scalar(item, scalar::word(&grammar::FLAG_WORDS))))?;
    Ok(flags.into_iter().map(flag).fold(TcpFlags::empty(), |all, one| all | one))
}

fn flag(word: &str) -> TcpFlags {
    match word {
        "syn" => TcpFlags::SYN,
        "ack" => TcpFlags::ACK,
        "fin" => TcpFlags::FIN,
        "rst" => TcpFlags::RST,
        _ => TcpFlags::PSH,
    }
}

/// An action that is a word alone. All actions are named if it is none of them.
fn plain_action(text: &str) -> Parsed<&'static str> {
    if let Some(word) = grammar::PLAIN_ACTIONS.iter().find(|word| **word == text) {
        return Ok(word);
    }
    if let Some(key) = grammar::ACTION.one_of.iter().find(|key| key.name == text) {
        let message = format!("the action `{text}` needs a value");
        return Err(Problem { message, help: Some(format!("write it as `{{ {text}: … }}`: {}", key.doc)) });
    }
    let long = grammar::ACTION.one_of.iter().map(|key| key.name);
    let all = grammar::PLAIN_ACTIONS.iter().copied().chain(long.filter(|name| *name != "corrupt"));
    Err(Problem { message: format!("there is no action `{text}`"), help: suggestion(text, all) })
}

fn action(reader: &Reader, node: &Node) -> Read<RuleAction> {
    if !matches!(node.value, Value::Map(_)) {
        return Ok(match reader.scalar(node, plain_action)? {
            "duplicate" => RuleAction::Duplicate,
            "hold" => RuleAction::Hold,
            "corrupt" => RuleAction::Corrupt { offset: 0 },
            "strip_mptcp" => RuleAction::Strip(None),
            _ => RuleAction::Drop,
        });
    }
    let fields = reader.record(node, &grammar::ACTION)?;
    let chosen = reader.choice(&fields)?;
    let value = &chosen.value;
    let number = |min, max| {
        reader.scalar(value, scalar::integer(min, max)).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
    };
    match chosen.key.as_str() {
        "delay" => reader.scalar(value, scalar::duration).map(RuleAction::Delay),
        "corrupt" => Ok(RuleAction::Corrupt { offset: number(0, 65535)? }),
        "strip" => {
            let word = reader.scalar(value, scalar::word(grammar::OPTION_WORDS.split_at(1).1))?;
            Ok(RuleAction::Strip(Some(word.to_owned())))
        }
        "rewrite" => rewrite(reader, value).map(RuleAction::Rewrite),
        "nat" => {
            let fields = reader.record(value, &grammar::NAT)?;
            let (address, port) = (fields.need("address", scalar::address), fields.optional("port", scalar::port));
            Ok(RuleAction::Nat { address: address?, port: port? })
        }
        "inject" => inject(reader, value),
        "split" => Ok(RuleAction::Split(number(1, 65535)?)),
        _ => Ok(RuleAction::Merge(number(2, 64)?)),
    }
}

fn inject(reader: &Reader, node: &Node) -> Read<RuleAction> {
    let fields = reader.record(node, &grammar::INJECT)?;
    let Entry { key, value, .. } = reader.choice(&fields)?;
    if key == "add_addr" {
        let fields = reader.record(value, &grammar::FORGED_ADD_ADDR)?;
        let (id, address) = (fields.need("id", scalar::octet), fields.need("address", scalar::address));
        let port = fields.optional("port", scalar::port);
        let way = fields.or("way", "forward", scalar::word(&grammar::WAYS));
        let what = Injected::AddAddr { id: id?, address: address?, port: port? };
        return Ok(RuleAction::Inject { forward: way? == "forward", what });
    }
    let forward = reader.scalar(value, scalar::word(&grammar::WAYS))? == "forward";
    let what = if key == "reset" { Injected::Reset } else { Injected::Fin };
    Ok(RuleAction::Inject { forward, what })
}

fn rewrite(reader: &Reader, node: &Node) -> Read<Rewrite> {
    let fields = reader.record(node, &grammar::REWRITE)?;
    let chosen = reader.choice(&fields)?;
    let Some(record) = chosen_record(&grammar::REWRITE, &chosen.key) else {
        return Err(reader.error(chosen.place, format!("`{}` can't be rewritten", chosen.key)));
    };
    let fields = reader.record(&chosen.value, record)?;
    if fields.node.entries().is_empty() {
        let known: Vec<_> = record.keys.iter().map(|key| format!("`{}`", key.name)).collect();
        return Err(reader.report(
            Diagnostic::new(chosen.place, "no field to rewrite is given")
                .help(format!("its fields are {}", known.join(", "))),
        ));
    }
    let has = |key: &str| record.key(key).and_then(|key| fields.get(key.name));
    let octet = |key: &str| has(key).map(|node| reader.scalar(node, scalar::octet)).transpose();
    let number = |key: &str| has(key).map(|node| reader.scalar(node, scalar::number)).transpose();
    let damaged =
        |key: &str| has(key).map_or(Ok(false), |node| reader.scalar(node, scalar::word(&["damaged"])).map(|_| true));
    let (id, flags, reason) = (octet("id"), octet("flags"), octet("reason"));
    let (token, shift) = (number("token"), number("shift"));
    let backup = has("backup").map(|node| reader.scalar(node, scalar::switch)).transpose();
    let address = has("address").map(|node| reader.scalar(node, scalar::address)).transpose();
    let port = has("port").map(|node| reader.scalar(node, scalar::port)).transpose();
    let (hmac, checksum) = (damaged("hmac"), damaged("checksum"));
    Ok(Rewrite {
        option: chosen.key.clone(),
        id: id?,
        backup: backup?,
        address: address?,
        port: port?,
        flags: flags?,
        reason: reason?,
        token: token?,
        damage_hmac: hmac?,
        damage_checksum: checksum?,
        data_sequence_offset: shift?,
    })
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
        return never("destination", "the source and the destination are of two address families".to_owned());
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
                return refuse("action", "the end behind the NAT is missing".to_owned(), "`from:` names it");
            }
            if pattern.from.or(pattern.to).is_some_and(|own| own.is_ipv4() != address.is_ipv4()) {
                return refuse("action", "a NAT keeps the address family".to_owned(), "an address of the same family");
            }
        }
        RuleAction::Corrupt { offset } => {
            let most = pattern.payload.as_ref().map(|range| *range.end());
            if most.is_some_and(|most| most <= u64::from(*offset)) {
                let message = format!("no such segment has a payload byte at offset {offset}");
                return refuse("payload", message, "offsets count from 0");
            }
        }
        RuleAction::Split(size) => {
            let most = pattern.payload.as_ref().map(|range| *range.end());
            if most.is_some_and(|most| most <= u64::from(*size)) {
                let message = format!("such a segment has nothing to be cut off: it is to be cut after {size} bytes");
                return refuse("payload", message, "a `payload:` that is larger");
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
        RuleAction::Corrupt { offset } => payload_from(u64::from(*offset) + 1),
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
fn not_from_the_other_end(
    reader: &Reader,
    fields: &Fields<'_>,
    pattern: &PacketPattern,
    path: &KnownPath,
    scope: &Scope,
) -> Read<()> {
    let (Some(from), Some(source)) = (pattern.direction, pattern.from) else { return Ok(()) };
    let (own, other) = (&path.ends[from.min(1)], &path.ends[1 - from.min(1)]);
    let has = |namespace: &String| scope.addresses.contains(&(namespace.clone(), source));
    if scope.world_is_known && has(other) && !has(own) {
        let message = format!("`{own}` sends nothing from {source}: the address is `{other}`'s");
        return Err(reader.report(
            Diagnostic::new(fields.place_of("source"), message).context(fields.place_of("from"), "the end that sends"),
        ));
    }
    Ok(())
}
