//! Socket options: what the scenario sets is there, on the socket and on each subflow; what the kernel must refuse, it
//! refuses.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::judge::names::Names;
use crate::judge::option_words::{option_words, socket_words, subflow_ends};
use crate::judge::{Finding, FindingKind};
use crate::mptcp::{OptionValue, Reading, SocketOption, SubflowFlags, SubflowState};
use crate::recording::{Direction, Observation, OptionAnswer, OptionCall, OptionSocket, Side, canonical_socket};
use crate::scenario::model::{Action, OptionSetting, Place, SocketOptions};
use crate::text;
use crate::wire::TcpFlags;

use super::steps::Progress;

/// What is wrong with the options of sockets.
pub(super) fn check(names: &Names<'_>, progress: Progress) -> Vec<Finding> {
    if !names.scenario().steps.iter().any(|step| !declared(&step.action).is_empty()) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, step) in names.scenario().steps.iter().enumerate().filter(|(index, _)| progress.is_done(*index)) {
        for (socket, options) in declared(&step.action) {
            findings.extend(calls(names, index, &socket, options));
        }
    }
    let had = Had::of(names);
    findings.extend(had.iter().flat_map(|(socket, options)| kept(names, socket, options)));
    findings.extend(had.iter().flat_map(|(socket, options)| on_wire(names, socket, options)));
    findings
}

/// The sockets on which a step sets options.
fn declared(action: &Action) -> Vec<(OptionSocket, &SocketOptions)> {
    let of = |connection: &String, side| OptionSocket::Connection { connection: connection.clone(), side };
    let all = if let Action::Listen(plan) = action {
        let (namespace, address) = (plan.namespace.clone(), (plan.address, plan.port).into());
        vec![(OptionSocket::Listener { namespace, address }, &plan.options)]
    } else if let Action::Connect(plan) = action {
        vec![(of(&plan.name, Side::Client), &plan.options), (of(&plan.name, Side::Server), &plan.accepted)]
    } else if let Action::SetOptions { connection, side, options, .. } = action {
        vec![(of(connection, *side), options)]
    } else {
        Vec::new()
    };
    all.into_iter().filter(|(_, options)| !options.is_empty()).collect()
}

/// What the kernel answered in a step.
fn calls(names: &Names<'_>, step: usize, socket: &OptionSocket, options: &SocketOptions) -> Vec<Finding> {
    let index = names.index();
    let entries = &names.recording().entries;
    let range =
        index.started.get(&step).copied().unwrap_or(0)..index.finished.get(&step).copied().unwrap_or(entries.len());
    let begun = entries.get(range).unwrap_or_default();
    let answered = begun.iter().filter_map(
        |entry| pick!(&entry.what, Observation::Option(call) if call.socket == *socket => (entry.at, &**call)),
    );
    let all: Vec<(u64, &OptionCall)> = answered.collect();
    let set = options.set.iter().map(|setting| (None, setting));
    let refused = options.refused.iter().map(|(error, setting)| (Some(error.as_str()), setting));
    let mut findings: Vec<Finding> = set
        .chain(refused)
        .filter_map(|(refusal, setting)| {
            let mut own = all.iter().filter(|(_, call)| !call.passed_on);
            let call = own.find(|(_, call)| call.option == setting.option.word && call.asked == setting.value);
            let Some((at, call)) = call else { return Some(not_recorded(socket, setting)) };
            let problem = problem(call, setting.option, refusal)?;
            Some(finding(problem, setting.place, *at))
        })
        .collect();
    let passed_on = all.iter().filter(|(_, call)| call.passed_on);
    findings.extend(passed_on.filter_map(|(at, call)| {
        let place = names.scenario().steps.get(step)?.place;
        Some(finding(problem(call, SocketOption::of_word(&call.option)?, None)?, place, *at))
    }));
    findings
}

fn not_recorded(socket: &OptionSocket, setting: &OptionSetting) -> Finding {
    let summary = format!("{}: {} is not in the recording", socket_words(socket), setting.option.symbol);
    Finding::new(FindingKind::Incomplete, summary).placed(setting.place)
}

fn finding((kind, summary): (FindingKind, String), place: Place, at: u64) -> Finding {
    Finding::new(kind, summary).placed(place).at(Some(at))
}

/// What is wrong with an answer. `refusal`: the errno that it must be.
fn problem(call: &OptionCall, option: &SocketOption, refusal: Option<&str>) -> Option<(FindingKind, String)> {
    let words = || option_words(call);
    match (&call.answer, refusal) {
        (OptionAnswer::Refused(error), Some(wanted)) if error == wanted => None,
        (OptionAnswer::Refused(_), Some(wanted)) => {
            Some((FindingKind::Refusal, format!("{}; expected {wanted}", words())))
        }
        (_, Some(wanted)) => Some((FindingKind::Refusal, format!("{}; expected a refusal with {wanted}", words()))),
        (OptionAnswer::Refused(_) | OptionAnswer::Hidden(Some(_)), None) => Some((FindingKind::Refusal, words())),
        (OptionAnswer::Hidden(None), None) => None,
        (OptionAnswer::Shown(shown), None) if option.agrees(&call.asked, shown) => None,
        (OptionAnswer::Shown(shown), None) => {
            let (asked, shown) = (option.words(&call.asked), option.form.words(shown));
            let (socket, expected) = (socket_words(&call.socket), option.expected(&call.asked));
            let summary = format!("{socket}: {asked} was asked for, but it reads {shown}; expected {expected}");
            Some((FindingKind::Contradiction, summary))
        }
    }
}

/// An option that a socket has.
#[derive(Debug)]
struct Had {
    option: &'static SocketOption,
    asked: OptionValue,
    /// From this time on.
    since: u64,
    /// From this entry on.
    from: usize,
    /// Until it is set again.
    until: usize,
    /// On additional subflows, too.
    is_inherited: bool,
    place: Place,
}

/// The sockets of connections.
type Sockets<'a> = BTreeMap<(&'a str, Side), Vec<Had>>;

impl Had {
    /// What each socket has, from when to when.
    fn of<'a>(names: &Names<'a>) -> Sockets<'a> {
        let mut sockets = Sockets::new();
        let mut step = 0;
        for (index, entry) in names.recording().entries.iter().enumerate() {
            if let Observation::StepStarted { step: begun, .. } = &entry.what {
                step = *begun;
            }
            let Observation::Option(call) = &entry.what else { continue };
            let (OptionSocket::Connection { connection, side }, Some(option)) =
                (&call.socket, SocketOption::of_word(&call.option))
            else {
                continue;
            };
            if matches!(call.answer, OptionAnswer::Refused(_)) {
                continue;
            }
            let known = sockets.entry((connection.as_str(), *side)).or_default();
            let is_over = |had: &&mut Self| had.option.word == option.word || option.overrides == Some(had.option.word);
            known.iter_mut().filter(is_over).filter(|had| had.until > index).for_each(|had| had.until = index);
            // What had to be refused is judged where it was set.
            let Some((place, is_inherited)) = said(names, step, call) else { continue };
            let (asked, since, from, until) = (call.asked.clone(), entry.at, index, usize::MAX);
            known.push(Self { option, asked, since, from, until, is_inherited, place });
        }
        sockets
    }
}

/// Where the scenario sets it, and whether additional subflows must have it.
fn said(names: &Names<'_>, step: usize, call: &OptionCall) -> Option<(Place, bool)> {
    let steps = &names.scenario().steps;
    let in_step = |index: usize| steps.get(index).map_or_else(Vec::new, |step| declared(&step.action));
    let is_meant = |options: &SocketOptions| options.set.iter().any(|setting| setting.option.word == call.option);
    let own = in_step(step).into_iter().find(|(socket, options)| *socket == call.socket && is_meant(options));
    // What came from a listener is said where that began to listen.
    let is_listener = |socket: &OptionSocket| matches!(socket, OptionSocket::Listener { .. });
    let listener =
        || (0..step).rev().flat_map(in_step).find(|(socket, options)| is_listener(socket) && is_meant(options));
    let (_, options) = if call.passed_on { listener() } else { own }?;
    let setting = options.set.iter().find(|setting| setting.option.word == call.option)?;
    let not_inherited = options.not_inherited.iter().any(|(option, _)| option.word == call.option);
    Some((setting.place, !not_inherited))
}

/// At each moment at which the sockets were looked at, they still have the options, and their subflows have them.
fn kept(names: &Names<'_>, (connection, side): &(&str, Side), options: &[Had]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut told = HashSet::new();
    for index in names.index().sockets_of(connection) {
        let Some(entry) = names.recording().entries.get(*index) else { continue };
        let Observation::Sockets { side: of, subflows, options: shown, .. } = &entry.what else { continue };
        if of != side {
            continue;
        }
        let at_that_time = options.iter().filter(|had| had.from < *index && *index < had.until);
        for had in at_that_time {
            let on_socket = lost(had, shown).map(|problem| (String::new(), problem));
            let on_subflows = subflows.iter().filter_map(|subflow| differs(had, subflow));
            for (subflow, problem) in on_socket.into_iter().chain(on_subflows) {
                if told.insert((had.from, subflow)) {
                    let summary = format!("the {}'s socket of {connection}: {problem}", side.word());
                    let finding = Finding::new(FindingKind::Option, summary).at(Some(entry.at));
                    findings.push(finding.placed(had.place));
                }
            }
        }
    }
    findings
}

/// What is wrong with an option on the socket itself.
fn lost(had: &Had, shown: &BTreeMap<String, OptionAnswer>) -> Option<String> {
    let asked = had.option.words(&had.asked);
    match shown.get(had.option.word) {
        Some(OptionAnswer::Shown(shown)) if had.option.agrees(&had.asked, shown) => None,
        Some(OptionAnswer::Shown(_)) if had.option.reading == Reading::AtFirst => None,
        Some(OptionAnswer::Hidden(_)) => None,
        Some(OptionAnswer::Shown(shown)) => {
            Some(format!("{asked} was set, but later it is {}", had.option.form.words(shown)))
        }
        Some(OptionAnswer::Refused(_)) | None => Some(format!("{asked} was set, but later it is not in the recording")),
    }
}

/// What is wrong with an option on a subflow, which is named first.
fn differs(had: &Had, subflow: &SubflowState) -> Option<(String, String)> {
    let shown = had.option.on_subflow.filter(|_| subflow.is_usable())?;
    let asked = had.option.words(&had.asked);
    let is_additional = subflow.flags.intersects(SubflowFlags::JOIN_LOC | SubflowFlags::JOIN_REM);
    let (must, ends) = (had.is_inherited || !is_additional, subflow_ends(subflow));
    let problem = match shown(subflow) {
        Some(value) if had.option.agrees(&had.asked, &value) == must => return None,
        Some(_) if !must => format!("{asked} was inherited by the subflow {ends}; expected that it isn't"),
        Some(value) => format!("{asked} is {} on the subflow {ends}", had.option.form.words(&value)),
        None => format!("{asked}: sock_diag doesn't show it of the subflow {ends}"),
    };
    Some((ends, problem))
}

/// The segments that a side has sent since it had an option of the IP header. A SYN/ACK and a RST don't count: the kernel
/// makes them without the socket (`tcp_v4_send_synack`, `tcp_v4_send_reset`, net/ipv4/tcp_ipv4.c).
fn on_wire(names: &Names<'_>, (connection, side): &(&str, Side), options: &[Had]) -> Vec<Finding> {
    let in_header: Vec<&Had> = options.iter().filter(|had| had.option.in_header.is_some()).collect();
    let Some((_, connected)) = names.index().connected.get(connection).filter(|_| !in_header.is_empty()) else {
        return Vec::new();
    };
    let namespace = crate::judge::names::side_namespace(connected, *side);
    let ends = own_ends(names, connection, *side);
    let mut wrong: HashMap<(usize, String), (u64, u8, u64)> = HashMap::new();
    for (index, entry) in names.recording().entries.iter().enumerate() {
        let Observation::Packet { namespace: of, direction: Direction::Out, segment, .. } = &entry.what else {
            continue;
        };
        let flow = (canonical_socket(segment.source), canonical_socket(segment.destination));
        let is_made_without =
            segment.flags.contains(TcpFlags::RST) || segment.flags.contains(TcpFlags::SYN | TcpFlags::ACK);
        if **of != *namespace || is_made_without || !ends.contains(&flow) {
            continue;
        }
        let is_v4 = flow.0.0.is_ipv4();
        let live = in_header.iter().filter(|had| had.since < entry.at && index < had.until);
        for had in live.filter(|had| had.option.in_header == Some(is_v4)) {
            let class = segment.traffic_class & !3;
            if had.is_inherited && OptionValue::from(class) != had.asked {
                let path = format!("{} → {}", flow.0.0.to_canonical(), flow.1.0.to_canonical());
                wrong.entry((had.from, path)).or_insert((0, class, entry.at)).0 += 1;
            }
        }
    }
    let mut findings: Vec<_> = wrong.into_iter().collect();
    findings.sort();
    let finding = |((from, path), (count, class, at)): ((usize, String), (u64, u8, u64))| {
        let had = in_header.iter().find(|had| had.from == from)?;
        let count = text::count(count, "segment");
        let summary = format!(
            "the {}'s socket of {connection}: {} was set, but {count} of {path} left with {class:#04x}",
            side.word(),
            had.option.words(&had.asked)
        );
        let finding = Finding::new(FindingKind::Option, summary).at(Some(at));
        Some(finding.placed(had.place))
    };
    findings.into_iter().filter_map(finding).collect()
}

type End = (std::net::IpAddr, u16);

/// The ends of all subflows of a side that are in the recording, its own first.
fn own_ends(names: &Names<'_>, connection: &str, side: Side) -> HashSet<(End, End)> {
    let initial = names.index().connected.get(connection).map(|(_, connected)| {
        let ends = (canonical_socket(connected.client_address), canonical_socket(connected.server_address));
        if side == Side::Client { ends } else { (ends.1, ends.0) }
    });
    let entries = names.index().sockets_of(connection).iter().filter_map(|at| names.recording().entries.get(*at));
    let subflows = entries.flat_map(|entry| {
        let own = pick!(&entry.what, Observation::Sockets { side: of, subflows, .. }
            if *of == side => subflows.as_slice());
        own.unwrap_or_default()
    });
    let ends = subflows.map(|subflow| (canonical_socket(subflow.local), canonical_socket(subflow.remote)));
    initial.into_iter().chain(ends).collect()
}
