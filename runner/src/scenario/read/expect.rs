//! Expectations: of the whole run, or of a `check` step.

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{self, EVENT, Key, Kind, SIDE_ENDPOINTS, SIDE_INFO, SIDE_SUBFLOWS, Shape, WIRE_OPTIONS};
use super::super::model::{
    BrokenRule, BytesExpectation, Choice, CounterExpectation, EndpointsExpectation, EventExpectation, EventItem,
    Expectation, InfoExpectation, LimitsExpectation, PathExpectation, Place, Range, SocketCountExpectation,
    SubflowsExpectation, WireExpectation, WirePattern,
};
use super::super::nearest::suggestion;
use super::super::record::{List, Part as _, group, part, record};
use super::super::scalar::{self, Line, RuleName, Switch};
use super::super::yaml::{Entry, Node, Value};
use super::choice::ChoiceKeys;
use super::event::{event_namespace, event_pattern, subflow_pattern, wire_pattern};
use super::part::{Here, NamespaceName};
use super::path::PathCounts;
use super::scope::{KnownConnection, Scope, unknown};
use super::world::{ConnectionEndpoint, EndpointKeys, LimitKeys};
use super::{At, Read, Reader, all, info_field};
use crate::mptcp::{EventKind, MptcpInfo, SOCKET_COUNT_WORDS, Side};

/// The most branches of an `any_order`: each event is tried with each of them.
const MOST_BRANCHES: usize = 1_000;

/// How deep `any_order` may be nested.
const DEEPEST: usize = 4;

record! {
    /// The whole run, or a `check` step.
    Whole as "expect", "an expectation" {
        sections: group Sections;
        either: or(Vec::new()) List<ChoiceKeys> = "either",
            "Choices; of each, one alternative must hold entirely.";
        broken_rules: or(Vec::new()) BrokenRules = "broken_rules",
            "[Rules](../docs/rules.md) that the kernel breaks; only in the final `expect`.";
    }
}

record! {
    /// One of several alternatives, or the whole without any.
    Sections as "alternative", "an alternative" for Expectation {
        events: or(Vec::new()) Events = "events", "The events of a namespace: all of them, in order.";
        counters: group Counters;
        other_counters_zero: group OtherCounters;
        subflows: or(Vec::new()) Subflows = "subflows",
            "The subflows of a connection: all of them, in any order. At the end: as they were before the close.";
        info: or(Vec::new()) Info = "info", "Fields of `struct mptcp_info`.";
        endpoints: group Endpoints;
        sockets: or(Vec::new()) SocketCounts = "sockets", "Numbers of sockets of a namespace, by sock_diag.";
        limits: or(Vec::new()) LimitsOf = "limits", "The limits of a namespace.";
        bytes: or(Vec::new()) BytesOf = "bytes", "How many bytes a namespace sent through a link, including headers.";
        wire: or(Vec::new()) List<WireItem> = "wire", "MPTCP options that a namespace sent.";
        paths: or(Vec::new()) Paths = "paths", "Matches of rules, and totals of each direction.";
        either: later Vec<Choice>;
        broken_rules: later Vec<BrokenRule>;
    }
}

record! {
    /// A rule that the kernel breaks.
    BrokenRuleKeys as "broken_rule", "a broken rule" for BrokenRule {
        place: group Here;
        rule: need RuleName = "rule", "The name of the rule. Each violation of it in this run is expected, and there must be one.";
        because: maybe Line = "because", "The fault of the kernel.";
    }
}

part! {
    /// Rules that the kernel breaks, each once.
    BrokenRules: Vec<BrokenRule> = List::<BrokenRuleKeys>::SHAPE, |at, node| {
        if !at.scope.ended {
            let diagnostic = Diagnostic::new(node.place, "rules are applied to the whole run");
            return Err(at.reader.report(diagnostic.help("move it to the final `expect`")));
        }
        let rules = List::<BrokenRuleKeys>::read(at, node)?;
        all(rules.iter().enumerate().map(|(index, broken)| {
            let Some(first) = rules[..index].iter().find(|other| other.rule == broken.rule) else { return Ok(()) };
            let diagnostic = Diagnostic::new(broken.place, format!("the rule `{}` is given twice", broken.rule));
            Err(at.reader.report(diagnostic.context(first.place, "also here")))
        }))?;
        Ok(rules)
    }
}

record! {
    /// An MPTCP option on the wire.
    WireItem as "wire_item", "an MPTCP option" for WireExpectation {
        place: group Here;
        pattern: group OptionBy;
        range: or(1..=1) SomeCount = "count", "How many segments carry it, including retransmissions; 1 by default.";
    }
}

part! {
    /// Numbers of sockets.
    SocketCounts: Vec<SocketCountExpectation> =
        Shape::Table("namespace", Kind::Name, &Shape::Table("number of sockets", SOCKET_COUNT, &Shape::Scalar(Kind::Count))),
    |at, node| Ok(at.table(node, |entry| socket_counts(at, entry))?.concat())
}

/// The word of a number of sockets.
const SOCKET_COUNT: Kind = Kind::Word(&SOCKET_COUNT_WORDS);

fn socket_counts(at: &At<'_>, entry: &Entry) -> Read<Vec<SocketCountExpectation>> {
    let namespace = at.scope.known_namespace(at.reader, &entry.key, entry.place);
    let counts = at.reader.table(&entry.value, "the numbers of sockets of a namespace")?;
    let counts = all(counts.iter().map(|count| {
        let word = at.reader.key(count, scalar::word(&SOCKET_COUNT_WORDS));
        Ok((word?, count.place, at.reader.range(&count.value, u64::MAX)?))
    }));
    let (namespace, counts) = (namespace?, counts?);
    let one = |(word, place, range)| SocketCountExpectation { namespace: namespace.clone(), place, word, range };
    Ok(counts.into_iter().map(one).collect())
}

part! {
    /// Everything that is expected.
    Expected: Expectation = Whole::SHAPE, |at, node| {
        let Whole { sections, either, broken_rules } = Whole::read(at, node)?;
        Ok(Expectation { either, broken_rules, ..sections })
    }
}

part! {
    /// A range that leaves out some number.
    SomeCount: Range = Shape::Scalar(Kind::Count), |at, node| at.reader.range(node, u64::MAX)
}

group! {
    /// An MPTCP option with its sender.
    OptionBy: WirePattern = &[Key::of::<NamespaceName>("by", "The namespace that sends it.").required()];
    one of &WIRE_OPTIONS, |at| {
        let sender = at.need::<NamespaceName>("by");
        let pattern = wire_pattern(at.reader, at.reader.choice(at.fields)?);
        Ok(WirePattern { sender: sender?, ..pattern? })
    }
}

record! {
    /// The long form of an event list.
    EventList as "event_list", "an event list" {
        partial: or(false) Switch = "partial", "true: other events may occur in between.";
        list: need EventItems = "list", "The events, in order.";
    }
}

part! {
    /// The items of an event list.
    EventItems: Vec<Node> = Shape::List(&EVENT), |at, node| at.list(node).map(<[Node]>::to_vec)
}

part! {
    /// Events by namespace.
    Events: Vec<EventExpectation> =
        Shape::Table("namespace", Kind::Name, &Shape::Either(&[EventItems::SHAPE, EventList::SHAPE])),
    |at, node| at.table(node, |entry| events(at, entry))
}

const COUNTERS: Shape = Shape::Table(
    "namespace, or several joined with `+`",
    Kind::Names,
    &Shape::Table("counter", Kind::Counters, &Shape::Scalar(Kind::Count)),
);

group! {
    /// Counters by namespace.
    Counters: Vec<CounterExpectation> = &[Key::new(
        "counters",
        COUNTERS,
        "Changes of counters since the start of the run, by their `nstat` names. `a+b` is the sum of two namespaces, `A - B` \
         one counter minus another. `others: 0`: no other MPTcpExt counter changed, except those that depend on timing.",
    )],
    |at| Ok(counters(at)?.0)
}

group! {
    /// Namespaces of which no other counter moves.
    OtherCounters: Named = &[], |at| Ok(counters(at)?.1)
}

part! {
    /// Subflows by connection.
    Subflows: Vec<SubflowsExpectation> = Shape::Table("connection", Kind::Name, &SIDE_SUBFLOWS),
    |at, node| Ok(at.table(node, |entry| subflows(at.reader, entry, at.scope))?.concat())
}

part! {
    /// `MPTCP_INFO` by connection.
    Info: Vec<InfoExpectation> = Shape::Table("connection", Kind::Name, &SIDE_INFO),
    |at, node| Ok(at.table(node, |entry| info(at.reader, entry, at.scope))?.concat())
}

group! {
    /// Endpoints by namespace, and by connection.
    Endpoints: Vec<EndpointsExpectation> = &[
        Key::new(
            "endpoints",
            Shape::Table("namespace", Kind::Name, &Shape::List(&EndpointKeys::SHAPE)),
            "The endpoints of a namespace: all of them, in any order, with exactly these flags. An omitted `id` is not checked.",
        ),
        Key::new(
            "connection_endpoints",
            Shape::Table("connection", Kind::Name, &SIDE_ENDPOINTS),
            "The addresses that a userspace path manager has for a connection, by side: all of them, in any order.",
        ),
    ],
    |at| {
        let own = at.fields.get("endpoints").map_or(Ok(Vec::new()), |node| at.table(node, |entry| {
            let namespace = at.scope.known_namespace(at.reader, &entry.key, entry.place);
            endpoints(at, entry, namespace, None)
        }));
        let of_connections = at.fields.get("connection_endpoints").map_or(Ok(Vec::new()), |node| {
            at.table(node, |entry| connection_endpoints(at, entry))
        });
        Ok(own?.into_iter().chain(of_connections?.into_iter().flatten()).collect())
    }
}

part! {
    /// Limits by namespace.
    LimitsOf: Vec<LimitsExpectation> = Shape::Table("namespace", Kind::Name, &LimitKeys::SHAPE),
    |at, node| at.table(node, |entry| {
        let namespace = at.scope.known_namespace(at.reader, &entry.key, entry.place);
        let LimitKeys { subflows, add_addr_accepted } = LimitKeys::read(at, &entry.value)?;
        Ok(LimitsExpectation { namespace: namespace?, place: entry.place, subflows, add_addr_accepted })
    })
}

part! {
    /// Bytes by link.
    BytesOf: Vec<BytesExpectation> =
        Shape::Table("link", Kind::Name, &Shape::Table("namespace", Kind::Name, &Shape::Scalar(Kind::Count))),
    |at, node| Ok(at.table(node, |entry| bytes(at.reader, entry, at.scope))?.concat())
}

part! {
    /// What paths did, by link.
    Paths: Vec<PathExpectation> = Shape::Table("link", Kind::Name, &PathCounts::SHAPE),
    |at, node| Ok(at.table(node, |entry| super::path::expect(at, entry))?.concat())
}

fn events(at: &At<'_>, entry: &Entry) -> Read<EventExpectation> {
    let At { reader, scope, .. } = at;
    let namespace = scope.known_namespace(reader, &entry.key, entry.place).and_then(|namespace| {
        event_namespace(reader, scope, &namespace, entry.place)?;
        Ok(namespace)
    });
    let (items, complete) = match &entry.value.value {
        Value::Map(_) => {
            let EventList { partial, list } = EventList::read(at, &entry.value)?;
            (list, !partial)
        }
        _ => (reader.list(&entry.value, "the events of a namespace")?.to_vec(), true),
    };
    if items.is_empty() && !complete {
        return Err(reader.report(
            Diagnostic::new(entry.value.get("list").unwrap_or(&entry.value).place, "an empty partial list can't fail")
                .help("without `partial: true`, an empty list says that there are no events at all"),
        ));
    }
    let context = Items { reader, scope, namespace: namespace.as_deref().ok(), complete };
    let items = all(items.iter().map(|item| context.item(item, 0)));
    Ok(EventExpectation { namespace: namespace?, place: entry.place, complete, items: items? })
}

/// Where the items of an event list stand.
struct Items<'a> {
    reader: &'a Reader,
    scope: &'a Scope,
    namespace: Option<&'a str>,
    complete: bool,
}

impl Items<'_> {
    fn item(&self, node: &Node, depth: usize) -> Read<EventItem> {
        let Self { reader, scope, namespace, .. } = self;
        let place = node.place;
        if let Some(word) = node.text() {
            return match EventKind::from_word(word) {
                Some(kind) => {
                    Ok(EventItem::One { place, pattern: super::super::model::EventPattern::of(kind), count: 1..=1 })
                }
                None => Err(self.unknown_kind(word, place)),
            };
        }
        let fields = reader.record(node, &grammar::EVENT_ITEM)?;
        let chosen = reader.choice(&fields)?;
        if chosen.key == "any_order" {
            return self.any_order(chosen, place, depth);
        }
        let (pattern, count_place) = event_pattern(reader, chosen, *namespace, scope)?;
        let count = match chosen.value.get("count") {
            Some(node) => reader.scalar(node, scalar::count)?,
            None => 1..=1,
        };
        self.check_count(&count, count_place.unwrap_or(place))?;
        Ok(EventItem::One { place, pattern, count })
    }

    fn unknown_kind(&self, word: &str, place: Place) -> super::Reported {
        let kinds = grammar::EVENT_ITEM.one_of.iter().map(|key| key.name);
        unknown(self.reader, place, format!("`{word}` is not a kind of event"), suggestion(word, kinds))
    }

    /// An item that no event need match says nothing.
    fn check_count(&self, count: &Range, place: Place) -> Read<()> {
        if *count.end() == 0 {
            let help = "remove the item: in a complete list, other events must not occur";
            let other = "without `partial: true`, other events must not occur";
            return Err(self.reader.report(
                Diagnostic::new(place, "an item with `count: 0` matches no event").help(if self.complete {
                    help
                } else {
                    other
                }),
            ));
        }
        if !self.complete && *count.start() == 0 {
            return Err(self.reader.error(place, "in a partial list, an optional event can't fail"));
        }
        Ok(())
    }

    fn any_order(&self, entry: &Entry, place: Place, depth: usize) -> Read<EventItem> {
        let branches = self.reader.list(&entry.value, "`any_order`")?;
        if branches.is_empty() {
            return Err(self.reader.error(entry.place, "`any_order` is empty"));
        }
        if branches.len() > MOST_BRANCHES {
            let message = format!("`any_order` has too many branches: {}, at most {MOST_BRANCHES}", branches.len());
            let help = "events that are alike can be counted: `sub_established: { count: 3 }`";
            return Err(self.reader.report(Diagnostic::new(entry.place, message).help(help)));
        }
        if depth >= DEEPEST {
            return Err(self.reader.error(entry.place, format!("`any_order` is nested deeper than {DEEPEST} times")));
        }
        let branches = all(branches.iter().map(|branch| match &branch.value {
            Value::List(items) if items.is_empty() => Err(self.reader.error(branch.place, "this branch is empty")),
            Value::List(items) => all(items.iter().map(|item| self.item(item, depth + 1))),
            _ => self.item(branch, depth + 1).map(|item| vec![item]),
        }))?;
        Ok(EventItem::AnyOrder { place, branches })
    }
}

/// Namespaces, with where each is named.
type Named = Vec<(String, Place)>;

/// Counters, and namespaces of which no other counter moves.
fn counters(at: &At<'_>) -> Read<(Vec<CounterExpectation>, Named)> {
    let mut others = Vec::new();
    let counters = at
        .fields
        .get("counters")
        .map_or(Ok(Vec::new()), |node| at.table(node, |entry| counters_of(at, entry, &mut others)));
    Ok((counters?.concat(), others))
}

fn counters_of(at: &At<'_>, entry: &Entry, others: &mut Named) -> Read<Vec<CounterExpectation>> {
    let At { reader, scope, .. } = at;
    let names = entry.key.split('+').map(str::trim);
    let namespaces = all(names.map(|name| scope.known_namespace(reader, name, entry.place)));
    let values = all(reader.table(&entry.value, "the counters of a namespace")?.iter().map(|counter| {
        if counter.key == "others" {
            return match reader.scalar(&counter.value, scalar::count)? {
                zero if zero == (0..=0) => Ok((None, counter.place, zero)),
                _ => Err(reader.report(
                    Diagnostic::new(counter.value.place, "`others` must be 0")
                        .help("`others: 0` means that no other MPTcpExt counter changed"),
                )),
            };
        }
        let name = reader.key(counter, scalar::counters);
        let is_difference = matches!(&name, Ok((_, Some(_))));
        // A difference may be less than 0: that it isn't is something to expect.
        let range = if is_difference {
            reader.scalar(&counter.value, scalar::count)
        } else {
            reader.range(&counter.value, u64::MAX)
        };
        match name? {
            (name, Some(less)) if name == less => {
                Err(reader.error(counter.place, "a counter minus itself is always 0"))
            }
            name => Ok((Some(name), counter.place, range?)),
        }
    }));
    let (namespaces, values) = (namespaces?, values?);
    if (1..namespaces.len()).any(|index| namespaces[..index].contains(&namespaces[index])) {
        return Err(reader.error(entry.place, "the sum contains a namespace twice"));
    }
    let mut counters = Vec::new();
    for (name, place, range) in values {
        if let Some((name, less)) = name {
            counters.push(CounterExpectation { namespaces: namespaces.clone(), place, name, less, range });
        } else {
            let zero = namespaces.iter().map(|namespace| (namespace.clone(), place));
            others.extend(zero);
        }
    }
    Ok(counters)
}

/// Each side of a connection with its value.
fn sides<'a>(reader: &Reader, entry: &'a Entry, known: &KnownConnection) -> Read<Vec<(Side, &'a Entry)>> {
    let entries = reader.table(&entry.value, "the sides of a connection")?;
    let mut sides: Vec<(Side, &Entry)> = Vec::new();
    for side_entry in entries {
        // An error that has been noted; the other side can be read all the same.
        let Ok(side) = known.side(reader, &side_entry.key, side_entry.place) else { continue };
        if let Some((_, other)) = sides.iter().find(|(known, _)| *known == side) {
            return Err(reader.report(
                Diagnostic::new(side_entry.place, "this side is given twice").context(other.place, "also here"),
            ));
        }
        sides.push((side, side_entry));
    }
    Ok(sides)
}

fn namespace_of(known: &KnownConnection, side: Side) -> Option<&str> {
    known.details.as_ref().map(|details| details.namespace(side))
}

fn subflows(reader: &Reader, entry: &Entry, scope: &Scope) -> Read<Vec<SubflowsExpectation>> {
    let known = scope.known_connection(reader, &entry.key, entry.place)?;
    known.live_mptcp(reader, entry.place)?;
    known.has_sockets(reader, scope, entry.place)?;
    all(sides(reader, entry, known)?.into_iter().map(|(side, entry)| {
        let namespace = namespace_of(known, side);
        let items = reader.list(&entry.value, "a subflow set")?;
        let subflows = all(items
            .iter()
            .map(|item| subflow_pattern(reader, &reader.record(item, &grammar::SUBFLOW)?, namespace, scope)));
        Ok(SubflowsExpectation { connection: known.name.clone(), side, place: entry.place, subflows: subflows? })
    }))
}

fn info(reader: &Reader, entry: &Entry, scope: &Scope) -> Read<Vec<InfoExpectation>> {
    let known = scope.known_connection(reader, &entry.key, entry.place)?;
    let details = known.live(reader, entry.place)?;
    known.has_sockets(reader, scope, entry.place)?;
    let of_sides = all(sides(reader, entry, known)?.into_iter().map(|(side, entry)| {
        if details.is_some_and(|details| details.protocol(side) == super::super::model::SocketProtocol::Tcp) {
            return Err(reader.report(
                Diagnostic::new(entry.place, "the socket of this side is plain TCP, without MPTCP_INFO")
                    .context(known.place, "this connection"),
            ));
        }
        let fields = reader.table(&entry.value, "the fields of `struct mptcp_info`")?;
        all(fields.iter().map(|field| {
            let name = reader.key(field, info_field);
            let most = name.as_ref().map_or(u64::MAX, |name| MptcpInfo::largest(name));
            let (range, name) = (reader.range(&field.value, most), name?);
            let connection = known.name.clone();
            Ok(InfoExpectation { connection, side, place: field.place, field: name, range: range? })
        }))
    }))?;
    Ok(of_sides.into_iter().flatten().collect())
}

/// The endpoints of a dump: in it, implicit ones may be.
fn endpoints(
    at: &At<'_>,
    entry: &Entry,
    namespace: Read<String>,
    connection: Option<String>,
) -> Read<EndpointsExpectation> {
    // Nothing is asked of the kernel.
    let of_it = At { namespace: namespace.clone().into(), refusal: true, ..At::new(at.fields, at.scope) };
    let items = at.reader.list(&entry.value, "the endpoints of a namespace")?;
    let endpoints = all(items.iter().map(|item| match connection {
        Some(_) => ConnectionEndpoint::read(&of_it, item),
        None => EndpointKeys::read(&of_it, item),
    }));
    Ok(EndpointsExpectation { namespace: namespace?, connection, place: entry.place, endpoints: endpoints? })
}

fn connection_endpoints(at: &At<'_>, entry: &Entry) -> Read<Vec<EndpointsExpectation>> {
    let known = at.scope.known_connection(at.reader, &entry.key, entry.place)?;
    known.live_mptcp(at.reader, entry.place)?;
    known.has_sockets(at.reader, at.scope, entry.place)?;
    let sides = sides(at.reader, entry, known)?;
    let of_sides = sides.into_iter().filter_map(|(side, entry)| {
        // If the connection's step has errors, its namespaces are unknown, and an error has been noted there.
        let namespace = namespace_of(known, side)?.to_owned();
        Some(endpoints(at, entry, Ok(namespace), Some(known.name.clone())))
    });
    all(of_sides)
}

fn bytes(reader: &Reader, entry: &Entry, scope: &Scope) -> Read<Vec<BytesExpectation>> {
    let Some((link, ends)) = scope.links.iter().find(|(name, _)| *name == entry.key) else {
        if scope.names_are_missing {
            return Ok(Vec::new());
        }
        let help = suggestion(&entry.key, scope.links.iter().map(|(name, _)| name.as_str()));
        return Err(unknown(reader, entry.place, format!("there is no link `{}`", entry.key), help));
    };
    all(reader.table(&entry.value, "the bytes of a link")?.iter().map(|end| {
        let range = reader.range(&end.value, u64::MAX);
        if !ends.contains(&end.key) {
            let message = format!("the link `{link}` has no end in `{}`", end.key);
            let help = suggestion(&end.key, ends.iter().map(String::as_str));
            return Err(unknown(reader, end.place, message, help));
        }
        Ok(BytesExpectation { link: link.clone(), sent_by: end.key.clone(), place: end.place, range: range? })
    }))
}
