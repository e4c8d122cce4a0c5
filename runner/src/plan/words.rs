//! Steps in words: one line each, the same in a dry run, in the story and in messages.

use std::net::{IpAddr, SocketAddr};

use crate::mptcp::{Endpoint, EndpointFlags, answer_of_word};
use crate::pattern::SUBFLOW;
use crate::recording::Awaited;
use crate::scenario::model::{
    Action, CloseHow, Condition, ConnectPlan, ConnectionOutcome, Direction, EndStatus, Filter, FilterAction,
    FilterHook, FilterProtocol, Operation, OptionQuery, Program, Range, Ready, RunPlan, SocketOptions, SocketProtocol,
    Sockets, StartPlan, TokenChoice, TransferPlan, WhichEndpoints,
};
use crate::text;

use super::path_words::{describe_change, describe_rule};

/// What a step does, in one line.
pub fn describe(action: &Action) -> String {
    match action {
        Action::Listen(listen) => {
            let protocol = if listen.protocol == SocketProtocol::Tcp { " with plain TCP" } else { "" };
            let socket = text::socket(SocketAddr::new(listen.address, listen.port));
            format!("{} listens on {socket}{protocol}{}", listen.namespace, options_words(", with", &listen.options))
        }
        Action::StopListening { namespace, port, address } => {
            let address = address.map(|address| format!(" of {}", address.to_canonical())).unwrap_or_default();
            format!("{namespace} stops listening on port {port}{address}")
        }
        Action::Connect(connect) => describe_connect(connect),
        Action::Transfer(transfer) => describe_transfer(transfer),
        Action::FinishTransfer { connection, .. } => format!("finish the transfer on {connection}"),
        Action::Wait { conditions, deadline } => {
            let conditions: Vec<String> = conditions.iter().map(describe_condition).collect();
            format!("wait until {}, at most {}", conditions.join(" and "), text::duration(*deadline))
        }
        Action::Quiet { period, .. } => format!("wait until nothing is observed for {}", text::duration(*period)),
        Action::Close { connection, by, how, .. } => format!("the {} of {connection} {}", by.word(), close_words(*how)),
        Action::Accept { connection, .. } => format!("accept {connection}"),
        Action::Shutdown { connection, by, direction, error } => {
            let what = direction_word(*direction);
            format!("the {} of {connection} calls shutdown({what}){}", by.word(), must_fail(error.as_deref()))
        }
        Action::Write { connection, by, bytes, error, .. } => {
            format!("the {} of {connection} writes {}{}", by.word(), text::size(*bytes), must_fail(error.as_deref()))
        }
        Action::Read { connection, by, bytes, peek, inq, error, .. } => {
            let what = read_words(*bytes, *peek, *inq);
            format!("the {} of {connection} {what}{}", by.word(), must_fail(error.as_deref()))
        }
        Action::SetOptions { connection, side: of, options, length } => {
            let length = length.map(|length| format!(", in {}", text::count(length, "byte"))).unwrap_or_default();
            format!("the {} of {connection} sets{}{length}", of.word(), options_words("", options))
        }
        Action::GetOption(query) => describe_query(query),
        Action::SetPath(change) => describe_change(change),
        Action::AddRule { link, rule } => format!("the path of {link} gets the rule {}", describe_rule(rule)),
        Action::RemoveRule { link, rule } => format!("the path of {link} loses the rule {rule}"),
        Action::Release { link, rule } => format!("the path of {link} releases the packets held by {rule}"),
        Action::Start(StartPlan { name, program, ready, .. }) => {
            let ready = ready.as_ref().map(|ready| format!(", until {}", describe_ready(ready))).unwrap_or_default();
            format!("{} starts {name}: {}{ready}", program.namespace, describe_program(program))
        }
        Action::Run(RunPlan { program, end, .. }) => {
            let status = if end.status == EndStatus::SUCCESS {
                String::new()
            } else {
                format!(", must end with {}", end.status)
            };
            format!("{} runs {}{status}", program.namespace, describe_program(program))
        }
        Action::Signal { program, signal } => format!("{program} gets {signal}"),
        Action::FinishProgram { program, end, .. } => format!("wait until {program} ends with {}", end.status),
        Action::Stop { program, .. } => format!("stop {program}"),
        Action::Check(_) => "check the state".to_owned(),
        Action::Do(operation) => describe_operation(operation),
        Action::ExpectError { error, message, operation } => {
            let message = message.as_ref().map(|message| format!(" “{message}”")).unwrap_or_default();
            format!("{}: must be refused with {error}{message}", describe_operation(operation))
        }
    }
}

fn must_fail(error: Option<&str>) -> String {
    error.map(|error| format!(", must fail with {error}")).unwrap_or_default()
}

fn close_words(how: CloseHow) -> &'static str {
    match how {
        CloseHow::Graceful => "closes it",
        CloseHow::Abrupt => "aborts it",
        CloseHow::Disconnect => "disconnects it",
        CloseHow::HalfClose => "stops sending",
    }
}

fn direction_word(direction: Direction) -> &'static str {
    match direction {
        Direction::Write => "SHUT_WR",
        Direction::Read => "SHUT_RD",
        Direction::Both => "SHUT_RDWR",
    }
}

fn read_words(bytes: u64, peek: bool, inq: Option<u32>) -> String {
    let verb = if peek { "looks at" } else { "reads" };
    let what = if bytes == 0 { "the end of the stream".to_owned() } else { text::size(bytes) };
    let left = inq.map(|left| format!(", TCP_INQ must be {left}")).unwrap_or_default();
    format!("{verb} {what}{left}")
}

fn describe_query(query: &OptionQuery) -> String {
    let OptionQuery { connection, side: of, option, length, error, .. } = query;
    let symbol = answer_of_word(option, false).map_or(*option, |(symbol, _)| symbol);
    let (length, error) = (text::count(*length, "byte"), must_fail(error.as_deref()));
    format!("the {} of {connection} asks for {symbol} in {length}{error}", of.word())
}

fn describe_program(program: &Program) -> String {
    let forced = if program.sockets == Sockets::Forced { ", its TCP sockets become MPTCP sockets" } else { "" };
    format!("{}{forced}", text::one_line(&program.command_line()))
}

/// When a program is ready: fits after "until".
pub fn describe_ready(ready: &Ready) -> String {
    match ready {
        Ready::Port(port) => format!("port {port} listens"),
        Ready::Output(text) => format!("it writes “{text}”"),
    }
}

fn describe_connect(connect: &ConnectPlan) -> String {
    let source = connect.source.map(|source| format!(" from {}", source.to_canonical())).unwrap_or_default();
    let port = connect.source_port.map(|port| format!(" from port {port}")).unwrap_or_default();
    let protocol = if connect.protocol == SocketProtocol::Tcp { " with plain TCP" } else { "" };
    let outcome = match &connect.outcome {
        ConnectionOutcome::Mptcp => String::new(),
        ConnectionOutcome::Tcp => ", must end up without MPTCP".to_owned(),
        ConnectionOutcome::Error(error) => format!(", must fail with {error}"),
    };
    let (name, from, to, address) = (&connect.name, &connect.from, &connect.to, text::socket(connect.address));
    let again = connect.again.as_ref().map(|again| format!(" with the socket of {again}")).unwrap_or_default();
    let waits = if connect.accepts { "" } else { ", without accept()" };
    let options = options_words(", with", &connect.options);
    let accepted = options_words("; accepted with", &connect.accepted);
    format!(
        "connect {name}: {from} to {to} at {address}{source}{port}{protocol}{again}{options}{accepted}{waits}{outcome}"
    )
}

/// The options of a socket, behind a word; nothing, if there are none.
fn options_words(before: &str, options: &SocketOptions) -> String {
    let words = [options.words(), not_inherited_words(options)].concat();
    if options.is_empty() { String::new() } else { format!("{before} {words}") }
}

fn not_inherited_words(options: &SocketOptions) -> String {
    let symbols: Vec<&str> = options.not_inherited.iter().map(|(option, _)| option.symbol).collect();
    if symbols.is_empty() { String::new() } else { format!(" (not on additional subflows: {})", symbols.join(", ")) }
}

fn describe_transfer(transfer: &TransferPlan) -> String {
    let amount = match (transfer.from_client, transfer.from_server) {
        (client, server) if client == server => format!("{} each way", text::size(client)),
        (client, 0) => format!("{} from the client", text::size(client)),
        (0, server) => format!("{} from the server", text::size(server)),
        (client, server) => {
            format!("{} from the client, {} from the server", text::size(client), text::size(server))
        }
    };
    let pace = transfer.pace.map(|pace| format!(" at {}", text::rate(pace.saturating_mul(8)))).unwrap_or_default();
    let background = if transfer.background { ", in the background" } else { "" };
    let calls = if transfer.zero_copy { ", by sendfile() and splice()" } else { "" };
    let error = must_fail(transfer.error.as_deref());
    format!("transfer on {}: {amount}{pace}{calls}{background}{error}", transfer.connection)
}

/// What a wait waits for: fits after "wait until".
fn describe_condition(condition: &Condition) -> String {
    match condition {
        Condition::Event { namespace, pattern, count } => {
            format!("{namespace} has seen {} {pattern}", text::count(*count as u64, "event"))
        }
        Condition::Counter { namespace, name, at_least } => {
            format!("{name} of {namespace} has increased by at least {at_least}")
        }
        Condition::Subflows { connection, count } => {
            format!("{connection} has {} on both sides", text::count(*count as u64, "subflow"))
        }
        Condition::Subflow { connection, side: of, pattern, present } => {
            let has = if *present { "has a" } else { "has no" };
            format!("the {} of {connection} {has} subflow{}", of.word(), pattern.words(SUBFLOW))
        }
        Condition::Endpoint { namespace, address, flags, present } => {
            let has = if *present { "has an" } else { "has no" };
            let flags = flags.map(|flags| format!(" {}", words_or_none(flags))).unwrap_or_default();
            format!("{namespace} {has} endpoint {address}{flags}")
        }
        Condition::Transferred { connection, sender, bytes } => {
            format!("{} from the {} of {connection} have arrived", text::size(*bytes), sender.word())
        }
        Condition::Queue { connection, side: of, queue, count } => {
            format!("the {} of {connection} has {} bytes: {}", of.word(), queue.word(), range_words(count))
        }
        Condition::Sockets { namespace, word, count } => {
            format!("{namespace} has sockets: {word} {}", range_words(count))
        }
        Condition::Rule { link, rule, matched } => {
            format!("rule {rule} of {link} has matched {}", text::count(*matched, "segment"))
        }
        Condition::Output { program, contains, count } => {
            format!("{program} has written {} with “{contains}”", text::count(*count as u64, "line"))
        }
        Condition::Wire { pattern, count } => {
            format!("{} has sent {} with {}", pattern.sender, text::count(*count as u64, "segment"), pattern)
        }
    }
}

/// What a wait waits for, for the recording.
pub fn awaited(condition: &Condition) -> Awaited {
    match condition {
        Condition::Event { namespace, pattern, count } => {
            Awaited::Events { namespace: namespace.clone(), pattern: pattern.to_string(), count: *count }
        }
        Condition::Counter { namespace, name, at_least } => {
            Awaited::Counter { namespace: namespace.clone(), name: name.clone(), at_least: *at_least }
        }
        Condition::Subflows { connection, count } => {
            Awaited::Subflows { connection: connection.clone(), count: *count }
        }
        Condition::Subflow { connection, side, pattern, present } => Awaited::Subflow {
            connection: connection.clone(),
            side: *side,
            pattern: pattern.words(SUBFLOW).trim_start().to_owned(),
            present: *present,
        },
        Condition::Endpoint { namespace, address, flags, present } => {
            Awaited::Endpoint { namespace: namespace.clone(), address: *address, flags: *flags, present: *present }
        }
        Condition::Transferred { connection, sender, bytes } => {
            Awaited::Transferred { connection: connection.clone(), sender: *sender, bytes: *bytes }
        }
        Condition::Queue { connection, side, queue, count } => Awaited::Queue {
            connection: connection.clone(),
            side: *side,
            name: queue.word().to_owned(),
            count: range_words(count),
        },
        Condition::Sockets { namespace, word, count } => {
            Awaited::Sockets { namespace: namespace.clone(), name: (*word).to_owned(), count: range_words(count) }
        }
        Condition::Rule { link, rule, matched } => {
            Awaited::Rule { link: link.clone(), rule: rule.clone(), matched: *matched }
        }
        Condition::Output { program, contains, count } => {
            Awaited::Output { program: program.clone(), contains: contains.clone(), count: *count }
        }
        Condition::Wire { pattern, count } => {
            Awaited::Segments { sender: pattern.sender.clone(), pattern: pattern.to_string(), count: *count }
        }
    }
}

/// A range of numbers.
fn range_words(range: &Range) -> String {
    match (*range.start(), *range.end()) {
        (start, end) if start == end => start.to_string(),
        (start, u64::MAX) => format!("at least {start}"),
        (0, end) => format!("at most {end}"),
        (start, end) => format!("{start} to {end}"),
    }
}

fn words_or_none(flags: EndpointFlags) -> String {
    if flags.is_empty() { "without flags".to_owned() } else { flags.to_string() }
}

/// Puts together what was asked for: each field that is looked at, as `name value`.
#[derive(Default)]
struct Fields(String);

impl Fields {
    fn add(mut self, name: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            for word in [name, &value.to_string()] {
                self.0 += " ";
                self.0 += word;
            }
        }
        self
    }
}

/// What an operation changes, in one line.
pub fn describe_operation(operation: &Operation) -> String {
    match operation {
        Operation::AddEndpoint { namespace, endpoint } => format!("{namespace} adds the endpoint {endpoint}"),
        Operation::DeleteEndpoint { namespace, which } => format!("{namespace} deletes {}", describe_which(which)),
        Operation::ChangeEndpoint { namespace, which, change } => {
            let (backup, fullmesh) = change_words(change.backup, change.fullmesh);
            format!("{namespace} changes {} to {backup} {fullmesh}", describe_which(which))
        }
        Operation::FlushEndpoints { namespace } => format!("{namespace} flushes its endpoints"),
        Operation::SetLimits { namespace, subflows, add_addr_accepted } => {
            let limits = Fields::default().add("subflows", *subflows).add("add_addr_accepted", *add_addr_accepted);
            format!("{namespace} sets its limits:{}", limits.0)
        }
        Operation::SetSysctl { namespace, name, value } => format!("{namespace} sets {name} to {value}"),
        Operation::SetLink { namespace, device, up } => {
            format!("{namespace} sets {device} {}", if *up { "up" } else { "down" })
        }
        Operation::AddAddress { namespace, device, address } => {
            format!("{namespace} adds the address {}/{} to {device}", address.address, address.prefix)
        }
        Operation::DeleteAddress { namespace, device, address } => {
            format!("{namespace} deletes the address {}/{} of {device}", address.address, address.prefix)
        }
        Operation::AddRoute { namespace, route } => format!("{namespace} adds the route {route}"),
        Operation::DeleteDevice { namespace, device } => format!("{namespace} deletes {device}"),
        Operation::DeleteRoute { namespace, route } => format!("{namespace} deletes the route {route}"),
        Operation::AddRoutingRule { namespace, rule } => format!("{namespace} adds the routing rule {rule}"),
        Operation::DeleteRoutingRule { namespace, rule } => format!("{namespace} deletes the routing rule {rule}"),
        Operation::AddFilter(filter) => describe_filter(filter),
        Operation::RemoveFilter { namespace, name } => format!("{namespace} removes the filter {name}"),
        Operation::Announce { namespace, token, endpoint } => {
            format!("{namespace} announces {endpoint} on {}", describe_token(token))
        }
        Operation::RemoveAddress { namespace, token, id } => {
            format!("{namespace} removes Address ID {id} on {}", describe_token(token))
        }
        Operation::CreateSubflow { namespace, token, endpoint, remote, remote_port } => {
            let port = remote_port.map(|port| format!(" port {port}")).unwrap_or_default();
            format!("{namespace} creates a subflow on {}: {endpoint} to {remote}{port}", describe_token(token))
        }
        Operation::DestroySubflow { namespace, token, local, local_port, remote, remote_port } => {
            let fields =
                Fields(local.to_string()).add("port", *local_port).add("to", Some(remote)).add("port", *remote_port);
            format!("{namespace} destroys the subflow {} on {}", fields.0, describe_token(token))
        }
        Operation::SetSubflowBackup { namespace, token, local, remote, backup } => {
            let (backup, _) = change_words(*backup, false);
            format!("{namespace} sets the subflow {local} to {remote} on {} to {backup}", describe_token(token))
        }
        Operation::GetEndpoint { namespace, token, id } => {
            let of = token.as_ref().map(|token| format!(" of {}", describe_token(token))).unwrap_or_default();
            format!("{namespace} gets the endpoint with id {id}{of}")
        }
    }
}

/// The words of `ip mptcp endpoint change`.
pub(super) fn change_words(backup: bool, fullmesh: bool) -> (&'static str, &'static str) {
    (if backup { "backup" } else { "nobackup" }, if fullmesh { "fullmesh" } else { "nofullmesh" })
}

fn describe_token(token: &TokenChoice) -> String {
    match token {
        TokenChoice::Connection(name) => name.clone(),
        TokenChoice::Number(number) => format!("token {number}"),
    }
}

fn describe_which(which: &WhichEndpoints) -> String {
    match which {
        WhichEndpoints::Id { id, address } => {
            let address = address.map(|address| format!(" address {address}")).unwrap_or_default();
            format!("the endpoint with id {id}{address}")
        }
        WhichEndpoints::Address { address, port } => {
            format!("the endpoint {}", Fields(address.to_string()).add("port", *port).0)
        }
        WhichEndpoints::All => "all its endpoints".to_owned(),
    }
}

fn describe_filter(filter: &Filter) -> String {
    if filter.action.translates() {
        return describe_translation(filter);
    }
    let does = match filter.action {
        FilterAction::Drop => "drops",
        FilterAction::RejectIcmp => "rejects with ICMP port unreachable",
        FilterAction::RejectReset => "rejects with a TCP reset",
        FilterAction::Corrupt => "corrupts",
        FilterAction::StripMptcp => "strips the MPTCP options of",
        FilterAction::Masquerade | FilterAction::Snat | FilterAction::Dnat => "translates",
    };
    let what = filter.nth.map_or_else(|| "all".to_owned(), |nth| format!("number {nth} of the"));
    let hook = match filter.hook {
        FilterHook::Input => "incoming",
        FilterHook::Output => "outgoing",
        FilterHook::Forward => "forwarded",
        FilterHook::Prerouting | FilterHook::Postrouting => "all",
    };
    let packets = match filter.protocol {
        FilterProtocol::Tcp => "segments",
        FilterProtocol::Udp => "UDP packets",
        FilterProtocol::Icmp => "ICMP packets",
        FilterProtocol::Any => "packets",
    };
    format!("{} {does} {what} {hook} {packets}{} (filter {})", filter.namespace, filter_conditions(filter), filter.name)
}

/// `gateway translates the destination of connections to 203.0.113.1 port 443 into 192.168.8.10 port 8443 (web)`
fn describe_translation(filter: &Filter) -> String {
    let what = if filter.action == FilterAction::Dnat { "destination" } else { "source" };
    let into = filter.address.map_or_else(|| "its own address".to_owned(), |address| address.to_string());
    let into = Fields(into).add("port", filter.port);
    let conditions = filter_conditions(filter);
    format!(
        "{} translates the {what} of connections{conditions} into {} (filter {})",
        filter.namespace, into.0, filter.name
    )
}

fn filter_conditions(filter: &Filter) -> String {
    let option = filter.option.map(|subtype| subtype.map_or("any", option_name));
    let states: Vec<&str> = filter.states.iter().map(|state| state.word()).collect();
    let (arrives, leaves) = match filter.hook {
        FilterHook::Forward => ("arriving by", "leaving by"),
        FilterHook::Input | FilterHook::Output | FilterHook::Prerouting | FilterHook::Postrouting => {
            ("through", "leaving by")
        }
    };
    let port = |with: &'static str, address: Option<IpAddr>| match (with, address) {
        (_, Some(_)) => "port",
        ("from", None) => "from port",
        (_, None) => "to port",
    };
    Fields::default()
        .add("from", filter.from)
        .add(port("from", filter.from), filter.from_port)
        .add("to", filter.to)
        .add(port("to", filter.to), filter.to_port)
        .add(arrives, filter.device.as_ref())
        .add(leaves, filter.out_device.as_ref())
        .add("in the state", (!states.is_empty()).then(|| states.join(" or ")))
        .add("with the mark", filter.mark.map(|mark| format!("{mark:#x}")))
        .add("with MPTCP option", option)
        .add("with payload of at least", filter.min_payload.map(|bytes| text::size(u64::from(bytes))))
        .0
}

/// The name of an MPTCP option subtype (RFC 8684 section 8.2).
pub(super) fn option_name(subtype: u8) -> &'static str {
    match subtype {
        0 => "MP_CAPABLE",
        1 => "MP_JOIN",
        2 => "DSS",
        3 => "ADD_ADDR",
        4 => "REMOVE_ADDR",
        5 => "MP_PRIO",
        6 => "MP_FAIL",
        7 => "MP_FASTCLOSE",
        8 => "MP_TCPRST",
        15 => "MP_EXPERIMENTAL",
        _ => "of an unknown subtype",
    }
}

/// An endpoint as `ip mptcp endpoint add` takes it; flags without a name there are left out.
pub(super) fn endpoint_arguments(endpoint: &Endpoint) -> Vec<String> {
    let mut arguments = vec![endpoint.address.to_string()];
    let mut pair = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            arguments.extend([name.to_owned(), value]);
        }
    };
    pair("port", endpoint.port.map(|port| port.to_string()));
    pair("dev", endpoint.dev.clone());
    pair("id", endpoint.id.map(|id| id.to_string()));
    arguments.extend(endpoint.flags.words().into_iter().filter(|word| !word.starts_with("raw ")));
    arguments
}
