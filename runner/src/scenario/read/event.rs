//! Patterns of events, subflows and MPTCP options.

use super::super::diagnostic::Diagnostic;
use super::super::grammar;
use super::super::model::Place;
use super::super::scalar::{self, Parsed, Problem};
use super::super::yaml::{Entry, Node};
use super::scope::Scope;
use super::{Fields, Read, Reader, all};
use crate::mptcp::EventKind;
use crate::pattern::{
    EVENT_FIELDS, ErrorPattern, EventPattern, Field, Form, OPTION_FIELDS, Pattern, SUBFLOW, SUBFLOW_FIELDS,
    SubflowPattern, Table, Wanted, WirePattern, event_kinds, option_bit,
};

/// Events of that namespace are recorded.
pub(super) fn event_namespace(reader: &Reader, scope: &Scope, namespace: &str, place: Place) -> Read<()> {
    match scope.silent.get(namespace) {
        Some(off) => Err(reader.report(
            Diagnostic::new(place, format!("no events of `{namespace}` are recorded"))
                .context(*off, "switched off here"),
        )),
        None => Ok(()),
    }
}

/// Reads the fields of an event. Besides, where its `count` is, for those who don't want one there.
pub(super) fn event_pattern(
    reader: &Reader,
    entry: &Entry,
    namespace: Option<&str>,
    scope: &Scope,
) -> Read<(EventPattern, Option<Place>)> {
    let (Some(kind), Some(record)) = (EventKind::from_word(&entry.key), grammar::EVENT_ITEM.chosen(&entry.key)) else {
        return Err(reader.error(entry.place, format!("`{}` is not a kind of event", entry.key)));
    };
    let fields = reader.record(&entry.value, record)?;
    let wanted =
        asked(&fields, &EVENT_FIELDS, event_kinds(&[kind]), |form, node| wanted(reader, form, node, namespace, scope));
    Ok((EventPattern { kind, fields: Pattern::new(wanted?) }, fields.get("count").map(|node| node.place)))
}

/// What is asked of the fields that things with the bit `on` have.
fn asked<T: Table>(
    fields: &Fields<'_>,
    table: &'static [Field<T>],
    on: u32,
    read: impl Fn(Form, &Node) -> Read<Wanted>,
) -> Read<Vec<(&'static Field<T>, Wanted)>> {
    all(table.iter().filter_map(|field| {
        let given = field.keys_of(on).filter_map(|key| fields.get(key.word).map(|node| (key.word, node)));
        match given.collect::<Vec<_>>()[..] {
            [] => None,
            [(_, node)] => Some(read(field.form, node).map(|wanted| (field, wanted))),
            [(word, _), (other, node), ..] => {
                let message = format!("`{word}` and `{other}` mean the same; expected one of them");
                Some(Err(fields.reader.error(node.place, message)))
            }
        }
    }))
}

/// What is asked of a field of that form.
fn wanted(reader: &Reader, form: Form, node: &Node, namespace: Option<&str>, scope: &Scope) -> Read<Wanted> {
    match form {
        Form::Connection => connection_of_event(reader, node, namespace, scope).map(Wanted::from),
        Form::Device => device(reader, node, namespace, scope).map(Wanted::from),
        plain => self::plain(reader, plain, node),
    }
}

/// What is asked of a field that names nothing, or whose name can't be checked.
fn plain(reader: &Reader, form: Form, node: &Node) -> Read<Wanted> {
    Ok(match form {
        Form::Connection => reader.scalar(node, scalar::name)?.into(),
        Form::Address => reader.scalar(node, scalar::address)?.to_canonical().into(),
        Form::ExactAddress => reader.scalar(node, scalar::address)?.into(),
        Form::Port => reader.scalar(node, scalar::port)?.into(),
        Form::Octet | Form::Flags => reader.scalar(node, scalar::octet)?.into(),
        Form::Switch => reader.scalar(node, scalar::switch)?.into(),
        Form::Device => reader.scalar(node, scalar::device)?.into(),
        Form::Error => reader.scalar(node, error_pattern)?.into(),
    })
}

/// A connection of which the namespace can have events.
fn connection_of_event(reader: &Reader, node: &Node, namespace: Option<&str>, scope: &Scope) -> Read<String> {
    let known = scope.connection(reader, node)?;
    let Some(details) = known.live_or_closed(reader, node.place)? else { return Ok(known.name.clone()) };
    if details.client_protocol == super::super::model::SocketProtocol::Tcp {
        return Err(reader.report(
            Diagnostic::new(node.place, format!("`{}` is a plain TCP connection: it has no events", known.name))
                .context(known.place, "its client's socket is plain TCP"),
        ));
    }
    if let Some(namespace) = namespace {
        known.namespace_is_side(reader, namespace, node.place)?;
    }
    Ok(known.name.clone())
}

fn device(reader: &Reader, node: &Node, namespace: Option<&str>, scope: &Scope) -> Read<String> {
    match namespace {
        Some(namespace) => scope.device(reader, &Ok(namespace.to_owned()), node),
        None => reader.scalar(node, scalar::device),
    }
}

fn error_pattern(text: &str) -> Parsed<ErrorPattern> {
    match text {
        "none" => Ok(ErrorPattern::None),
        "any" => Ok(ErrorPattern::Any),
        _ => match scalar::errno(text) {
            Ok((symbol, number)) => Ok(ErrorPattern::Errno(symbol, number)),
            Err(problem) => Err(Problem {
                message: format!("unknown error `{text}`; expected `none`, `any`, or the symbol of an errno"),
                help: problem.help,
            }),
        },
    }
}

/// Reads the fields of a subflow.
pub(super) fn subflow_pattern(
    reader: &Reader,
    fields: &Fields<'_>,
    namespace: Option<&str>,
    scope: &Scope,
) -> Read<SubflowPattern> {
    let wanted = asked(fields, &SUBFLOW_FIELDS, SUBFLOW, |form, node| wanted(reader, form, node, namespace, scope));
    let pattern = Pattern::new(wanted?);
    let [backup, local, remote] = ["backup", "backup_local", "backup_remote"].map(|word| pattern.switch(word));
    let both = local == Some(true) || remote == Some(true);
    let neither = local == Some(false) && remote == Some(false);
    if (backup == Some(false) && both) || (backup == Some(true) && neither) {
        return Err(reader.report(
            Diagnostic::new(fields.place_of("backup"), "no subflow can match: the fields contradict each other")
                .help("`backup` is on if `backup_local` or `backup_remote` is"),
        ));
    }
    Ok(pattern)
}

/// Reads the fields of an MPTCP option; the sender is left empty.
pub(super) fn wire_pattern(reader: &Reader, entry: &Entry) -> Read<WirePattern> {
    let Some(record) = grammar::RULE_OPTION.chosen(&entry.key) else {
        return Err(reader.error(entry.place, format!("`{}` is not an MPTCP option", entry.key)));
    };
    let fields = reader.record(&entry.value, record)?;
    let on = option_bit(&entry.key);
    // No field of an option is the name of something.
    let wanted = asked(&fields, &OPTION_FIELDS, on, |form, node| plain(reader, form, node));
    Ok(WirePattern { fields: Pattern::new(wanted?), ..WirePattern::named(&entry.key) })
}
