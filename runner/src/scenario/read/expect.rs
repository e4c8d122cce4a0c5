//! Expectations: of the whole run, or of a `check` step.

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{self, Record};
use super::super::model::{
    BytesExpectation, CounterExpectation, EndpointsExpectation, EventExpectation, EventItem, Expectation,
    InfoExpectation, LimitsExpectation, Place, Range, SubflowsExpectation, WireExpectation, WirePattern,
};
use super::super::nearest::suggestion;
use super::super::scalar;
use super::super::yaml::{Entry, Node, Value};
use super::event::{event_namespace, event_pattern, subflow_pattern, wire_pattern};
use super::scope::{KnownConnection, Scope, unknown};
use super::world::{flags, limits};
use super::{Read, Reader, all, choice, info_field};
use crate::mptcp::{Endpoint, EndpointFlags, EventKind, MptcpInfo, Side};

/// The most branches of an `any_order`: each event is tried with each of them.
const MOST_BRANCHES: usize = 1_000;

/// How deep `any_order` may be nested.
const DEEPEST: usize = 4;

/// Reads an expectation.
pub(super) fn read(reader: &Reader, node: &Node, scope: &Scope) -> Read<Expectation> {
    let expectation = read_as(reader, node, scope, &grammar::EXPECT);
    let either = node.get("either").filter(|node| !node.is_absent());
    let either = either.map_or(Ok(Vec::new()), |node| choice::read(reader, node, scope));
    Ok(Expectation { either: either?, ..expectation? })
}

/// Reads the sections of an expectation that has the keys of this record.
pub(super) fn read_as(reader: &Reader, node: &Node, scope: &Scope, record: &'static Record) -> Read<Expectation> {
    let fields = reader.record(node, record)?;
    let mut expectation = Expectation::default();
    let events = table(reader, fields.get("events"), |entry| events(reader, entry, scope));
    let counters = table(reader, fields.get("counters"), |entry| counters(reader, entry, scope, &mut expectation));
    let subflows = table(reader, fields.get("subflows"), |entry| subflows(reader, entry, scope));
    let info = table(reader, fields.get("info"), |entry| info(reader, entry, scope));
    let endpoints = table(reader, fields.get("endpoints"), |entry| {
        let namespace = scope.known_namespace(reader, &entry.key, entry.place);
        endpoints(reader, &entry.value, namespace, None, entry.place, scope)
    });
    let of_connections =
        table(reader, fields.get("connection_endpoints"), |entry| connection_endpoints(reader, entry, scope));
    let limits = table(reader, fields.get("limits"), |entry| limits_of(reader, entry, scope));
    let bytes = table(reader, fields.get("bytes"), |entry| bytes(reader, entry, scope));
    let paths = table(reader, fields.get("paths"), |entry| super::path::expect(reader, entry, scope));
    let wire = match fields.get("wire") {
        Some(node) => all(reader.list(node, "`wire`")?.iter().map(|item| wire(reader, item, scope))),
        None => Ok(Vec::new()),
    };
    expectation.events = events?;
    expectation.counters = counters?.into_iter().flatten().collect();
    expectation.subflows = subflows?.into_iter().flatten().collect();
    expectation.info = info?.into_iter().flatten().collect();
    expectation.endpoints = endpoints?;
    expectation.endpoints.extend(of_connections?.into_iter().flatten());
    expectation.limits = limits?;
    expectation.bytes = bytes?.into_iter().flatten().collect();
    expectation.wire = wire?;
    expectation.paths = paths?.into_iter().flatten().collect();
    Ok(expectation)
}

/// Each entry of a section that may be missing.
fn table<T>(reader: &Reader, node: Option<&Node>, read: impl FnMut(&Entry) -> Read<T>) -> Read<Vec<T>> {
    let Some(node) = node else { return Ok(Vec::new()) };
    all(reader.table(node, "this part of an expectation")?.iter().map(read))
}

fn events(reader: &Reader, entry: &Entry, scope: &Scope) -> Read<EventExpectation> {
    let namespace = scope.known_namespace(reader, &entry.key, entry.place).and_then(|namespace| {
        event_namespace(reader, scope, &namespace, entry.place)?;
        Ok(namespace)
    });
    let (list, complete) = match &entry.value.value {
        Value::Map(_) => {
            let fields = reader.record(&entry.value, &grammar::EVENT_LIST)?;
            let partial = fields.or("partial", false, scalar::switch);
            (fields.need_node("list")?, !partial?)
        }
        _ => (&entry.value, true),
    };
    let items = reader.list(list, "the events of a namespace")?;
    if items.is_empty() && !complete {
        return Err(reader.report(
            Diagnostic::new(list.place, "an empty partial list says nothing")
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
            let help = "in a complete list, what isn't listed must not happen: leave the item out";
            let other = "without `partial: true`, what isn't listed must not happen";
            return Err(self.reader.report(
                Diagnostic::new(place, "an item with `count: 0` matches nothing").help(if self.complete {
                    help
                } else {
                    other
                }),
            ));
        }
        if !self.complete && *count.start() == 0 {
            return Err(self.reader.error(place, "in a partial list, an event that may be missing says nothing"));
        }
        Ok(())
    }

    fn any_order(&self, entry: &Entry, place: Place, depth: usize) -> Read<EventItem> {
        let branches = self.reader.list(&entry.value, "`any_order`")?;
        if branches.is_empty() {
            return Err(self.reader.error(entry.place, "`any_order` has nothing in it"));
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
            Value::List(items) if items.is_empty() => {
                Err(self.reader.error(branch.place, "this branch has nothing in it"))
            }
            Value::List(items) => all(items.iter().map(|item| self.item(item, depth + 1))),
            _ => self.item(branch, depth + 1).map(|item| vec![item]),
        }))?;
        Ok(EventItem::AnyOrder { place, branches })
    }
}

fn counters(
    reader: &Reader,
    entry: &Entry,
    scope: &Scope,
    expectation: &mut Expectation,
) -> Read<Vec<CounterExpectation>> {
    let names = entry.key.split('+').map(str::trim);
    let namespaces = all(names.map(|name| scope.known_namespace(reader, name, entry.place)));
    let values = all(reader.table(&entry.value, "the counters of a namespace")?.iter().map(|counter| {
        if counter.key == "others" {
            return match reader.scalar(&counter.value, scalar::count)? {
                zero if zero == (0..=0) => Ok((None, counter.place, zero)),
                _ => Err(reader.report(
                    Diagnostic::new(counter.value.place, "`others` can only be 0")
                        .help("`others: 0` says that no MPTcpExt counter moved besides those that are listed"),
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
                Err(reader.error(counter.place, "a counter less itself is 0 whatever happens"))
            }
            name => Ok((Some(name), counter.place, range?)),
        }
    }));
    let (namespaces, values) = (namespaces?, values?);
    if (1..namespaces.len()).any(|index| namespaces[..index].contains(&namespaces[index])) {
        return Err(reader.error(entry.place, "a namespace is in the sum twice"));
    }
    let mut counters = Vec::new();
    for (name, place, range) in values {
        if let Some((name, less)) = name {
            counters.push(CounterExpectation { namespaces: namespaces.clone(), place, name, less, range });
        } else {
            let zero = namespaces.iter().map(|namespace| (namespace.clone(), place));
            expectation.other_counters_zero.extend(zero);
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
    let of_sides = all(sides(reader, entry, known)?.into_iter().map(|(side, entry)| {
        if details.is_some_and(|details| details.protocol(side) == super::super::model::SocketProtocol::Tcp) {
            return Err(reader.report(
                Diagnostic::new(entry.place, "the socket of this side is plain TCP: it has no MPTCP_INFO")
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
    reader: &Reader,
    node: &Node,
    namespace: Read<String>,
    connection: Option<String>,
    place: Place,
    scope: &Scope,
) -> Read<EndpointsExpectation> {
    let items = reader.list(node, "the endpoints of a namespace")?;
    let endpoints = all(items.iter().map(|item| {
        let record = if connection.is_some() { &grammar::CONNECTION_ENDPOINT } else { &grammar::ENDPOINT };
        let fields = reader.record(item, record)?;
        let address = fields.need("address", scalar::address);
        let port = fields.optional("port", scalar::port);
        let id = fields.optional("id", if connection.is_some() { scalar::octet } else { scalar::endpoint_id });
        let dev = fields.get("dev").map(|node| scope.device(reader, &namespace, node)).transpose();
        let flags = fields.get("flags").map_or(Ok(EndpointFlags::empty()), |node| flags(reader, node));
        Ok(Endpoint { address: address?, port: port?, id: id?, flags: flags?, dev: dev? })
    }));
    Ok(EndpointsExpectation { namespace: namespace?, connection, place, endpoints: endpoints? })
}

fn connection_endpoints(reader: &Reader, entry: &Entry, scope: &Scope) -> Read<Vec<EndpointsExpectation>> {
    let known = scope.known_connection(reader, &entry.key, entry.place)?;
    known.live_mptcp(reader, entry.place)?;
    let sides = sides(reader, entry, known)?;
    let of_sides = sides.into_iter().filter_map(|(side, entry)| {
        // If the connection's step has errors, its namespaces are unknown, and an error has been noted there.
        let namespace = namespace_of(known, side)?.to_owned();
        Some(endpoints(reader, &entry.value, Ok(namespace), Some(known.name.clone()), entry.place, scope))
    });
    all(of_sides)
}

fn limits_of(reader: &Reader, entry: &Entry, scope: &Scope) -> Read<LimitsExpectation> {
    let namespace = scope.known_namespace(reader, &entry.key, entry.place);
    let limits = reader.record(&entry.value, &grammar::LIMITS).and_then(|fields| limits(reader, &fields));
    let (namespace, (subflows, add_addr_accepted)) = (namespace?, limits?);
    Ok(LimitsExpectation { namespace, place: entry.place, subflows, add_addr_accepted })
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

fn wire(reader: &Reader, node: &Node, scope: &Scope) -> Read<WireExpectation> {
    let fields = reader.record(node, &grammar::WIRE_ITEM)?;
    let sender = fields.need_node("by").and_then(|node| scope.namespace(reader, node));
    let range = fields.get("count").map_or(Ok(1..=1), |node| reader.range(node, u64::MAX));
    let pattern = wire_pattern(reader, reader.choice(&fields)?);
    Ok(WireExpectation { place: node.place, pattern: WirePattern { sender: sender?, ..pattern? }, range: range? })
}
