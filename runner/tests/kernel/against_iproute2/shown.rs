//! What ip(8) prints, read back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use libtest_mimic::Failed;
use mptcplab::mptcp::{Endpoint, EndpointFlags, EventKind, Limits, PmEvent};
use mptcplab::netlink::DeviceNames;

/// An event as `ip mptcp monitor` shows it: what it is, and the columns that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub kind: EventKind,
    pub fields: BTreeMap<&'static str, String>,
}

/// Names of events, and what they are called here.
const KINDS: [(&str, EventKind); 10] = [
    ("CREATED", EventKind::Created),
    ("ESTABLISHED", EventKind::Established),
    ("CLOSED", EventKind::Closed),
    ("ANNOUNCED", EventKind::Announced),
    ("REMOVED", EventKind::Removed),
    ("SF_ESTABLISHED", EventKind::SubEstablished),
    ("SF_CLOSED", EventKind::SubClosed),
    ("SF_PRIO", EventKind::SubPriority),
    ("LISTENER_CREATED", EventKind::ListenerCreated),
    ("LISTENER_CLOSED", EventKind::ListenerClosed),
];

/// All columns. Addresses and numbers are brought into one form.
const COLUMNS: [&str; 16] = [
    "token",
    "remid",
    "locid",
    "saddr4",
    "saddr6",
    "daddr4",
    "daddr6",
    "sport",
    "dport",
    "backup",
    "error",
    "ifindex",
    "dev",
    "reset_reason",
    "reset_flags",
    "flags",
];

/// A line of `ip mptcp monitor`. The flag is true if this version of ip(8) knows the event: it shows nothing of one
/// that it doesn't.
pub fn event(line: &str) -> Result<(Shown, bool), Failed> {
    let bad = |what: &str| Failed::from(format!("{what}: {line}"));
    let (name, rest) = line.strip_prefix('[').and_then(|line| line.split_once(']')).ok_or_else(|| bad("no event"))?;
    let name = name.trim();
    if let Some(number) = name.strip_prefix("UNKNOWN ") {
        return Ok((Shown { kind: EventKind::from_number(number.parse()?), fields: BTreeMap::new() }, false));
    }
    let kind = KINDS.iter().find(|(known, _)| *known == name).ok_or_else(|| bad("an unknown name"))?.1;
    let mut fields = BTreeMap::new();
    for word in rest.split_whitespace() {
        let (column, value) = word.split_once('=').unwrap_or((word, ""));
        if matches!(column, "server_side" | "deny_join_id0") {
            fields.insert(if column == "server_side" { "server_side" } else { "deny_join_id0" }, "yes".to_owned());
            continue;
        }
        let column = COLUMNS.iter().find(|known| **known == column).ok_or_else(|| bad("an unknown column"))?;
        let value = match *column {
            "token" | "flags" | "reset_flags" => hexadecimal(value)?.to_string(),
            "saddr4" | "saddr6" | "daddr4" | "daddr6" => value.parse::<IpAddr>()?.to_string(),
            "dev" => value.to_owned(),
            _ => value.parse::<u32>()?.to_string(),
        };
        if *column == "flags" {
            // Before iproute2 6.19: MPTCP_PM_EV_FLAG_*.
            let flags: u32 = value.parse()?;
            let names = [(1, "deny_join_id0"), (2, "server_side")];
            fields.extend(names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| (*name, "yes".to_owned())));
            if flags & !3 != 0 {
                return Err(bad("flags without a name"));
            }
        } else {
            fields.insert(column, value);
        }
    }
    Ok((Shown { kind, fields }, true))
}

fn hexadecimal(text: &str) -> Result<u32, Failed> {
    Ok(u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16)?)
}

/// How ip(8) would show what mptcplab decoded.
pub fn as_shown(event: &PmEvent, devices: &DeviceNames) -> Shown {
    let [saddr, daddr] = [["saddr4", "saddr6"], ["daddr4", "daddr6"]];
    let address = |[v4, v6]: [&'static str; 2], address: Option<IpAddr>| {
        address.map(|address| (if address.is_ipv4() { v4 } else { v6 }, address.to_string()))
    };
    let number = |column, value: Option<u32>| value.map(|value| (column, value.to_string()));
    let yes = |column, set: bool| set.then(|| (column, "yes".to_owned()));
    let index = event.dev.as_deref().map(|dev| devices.index(dev).unwrap());
    let fields = [
        number("token", event.token),
        number("remid", event.remote_id.map(Into::into)),
        number("locid", event.local_id.map(Into::into)),
        address(saddr, event.local),
        address(daddr, event.remote),
        number("sport", event.local_port.map(Into::into)),
        number("dport", event.remote_port.map(Into::into)),
        number("backup", event.backup.map(Into::into)),
        number("error", event.error.map(Into::into)),
        number("ifindex", index),
        event.dev.clone().map(|dev| ("dev", dev)),
        number("reset_reason", event.reset_reason),
        number("reset_flags", event.reset_flags),
        yes("server_side", event.server_side),
        yes("deny_join_id0", event.deny_join_id0),
    ];
    Shown { kind: event.kind, fields: fields.into_iter().flatten().collect() }
}

/// What is different between an event of ours and a line of theirs.
pub fn difference(ours: &PmEvent, devices: &DeviceNames, line: &str) -> Result<Option<String>, Failed> {
    let (theirs, known) = event(line)?;
    let mut ours = as_shown(ours, devices);
    if !known {
        ours.fields.clear();
    }
    // iproute2 7.0 names the device of `ifindex`.
    if !theirs.fields.contains_key("dev") {
        ours.fields.remove("dev");
    }
    // Before Linux 6.18 the server's side is told by an attribute that no iproute2 before 6.19 shows.
    if !theirs.fields.contains_key("server_side")
        && !theirs.fields.contains_key("deny_join_id0")
        && !line.contains("flags=")
    {
        ours.fields.remove("server_side");
    }
    Ok((ours != theirs).then(|| format!("ours:   {ours:?}\ntheirs: {theirs:?}\nline:   {line}")))
}

/// A line of `ip mptcp endpoint show`.
pub fn endpoint(line: &str) -> Result<Endpoint, Failed> {
    let mut words = line.split_whitespace();
    let address = words.next().ok_or("an empty line")?.parse()?;
    let mut endpoint = Endpoint { address, port: None, id: None, flags: EndpointFlags::empty(), dev: None };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` without a value: {line}"));
        match word {
            "port" => endpoint.port = Some(value()?.parse()?),
            "id" => endpoint.id = Some(value()?.parse()?),
            "dev" => endpoint.dev = Some(value()?.to_owned()),
            "rawflags" => endpoint.flags |= EndpointFlags::from_bits_retain(hexadecimal(value()?)?),
            flag => {
                endpoint.flags |= EndpointFlags::from_word(flag).ok_or_else(|| format!("`{flag}`: {line}"))?;
            }
        }
    }
    Ok(endpoint)
}

/// The output of `ip mptcp limits show`.
pub fn limits(text: &str) -> Result<Limits, Failed> {
    match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["add_addr_accepted", accepted, "subflows", subflows] => {
            Ok(Limits { add_addr_accepted: accepted.parse()?, subflows: subflows.parse()? })
        }
        _ => Err(format!("no limits: {text}").into()),
    }
}

/// The same event as versions from 6.1 to 7.1 show it.
pub fn lines_of_all_versions_are_read() -> Result<(), Failed> {
    let devices: DeviceNames = [(4, "eth3")].into_iter().collect();
    let closed = PmEvent {
        token: Some(0x0b92_90fe),
        local: Some("10.0.3.2".parse()?),
        remote: Some("10.0.1.1".parse()?),
        local_port: Some(40000),
        remote_port: Some(8080),
        local_id: Some(1),
        remote_id: Some(0),
        backup: Some(0),
        error: Some(104),
        dev: Some("eth3".to_owned()),
        reset_reason: Some(3),
        reset_flags: Some(1),
        ..PmEvent::new(EventKind::SubClosed)
    };
    let head =
        "token=0b9290fe remid=0 locid=1 saddr4=10.0.3.2 daddr4=10.0.1.1 sport=40000 dport=8080 backup=0 error=104";
    for tail in ["ifindex=4 reset_reason=3 reset_flags=0x1", "ifindex=4 dev=eth3 reset_reason=3 reset_flags=0x1"] {
        assert_eq!(difference(&closed, &devices, &format!("[     SF_CLOSED] {head} {tail}"))?, None);
    }
    for wrong in ["ifindex=5", "ifindex=4 dev=eth4", "reset_reason=3", "ifindex=4 reset_reason=3 reset_flags=0x2"] {
        assert!(difference(&closed, &devices, &format!("[     SF_CLOSED] {head} {wrong}"))?.is_some(), "{wrong}");
    }
    let created = PmEvent { token: Some(1), server_side: true, ..PmEvent::new(EventKind::Created) };
    for line in ["[CREATED] token=00000001 flags=2", "[CREATED] token=00000001 server_side", "[CREATED] token=00000001"]
    {
        assert_eq!(difference(&created, &devices, line)?, None, "{line}");
    }
    let client = PmEvent { server_side: false, ..created };
    assert!(difference(&client, &devices, "[CREATED] token=00000001 server_side")?.is_some());
    let listener = PmEvent { local_port: Some(80), ..PmEvent::new(EventKind::ListenerCreated) };
    assert_eq!(difference(&listener, &devices, "[UNKNOWN 15]")?, None);
    assert!(difference(&listener, &devices, "[UNKNOWN 16]")?.is_some());
    assert!(difference(&listener, &devices, "[LISTENER_CREATED] sport=81")?.is_some());
    assert!(event("CREATED").is_err() && event("[CREATED] colour=red").is_err() && event("[CREATED] flags=4").is_err());
    assert!(endpoint("10.0.0.1 id").is_err() && endpoint("10.0.0.1 shiny").is_err() && limits("subflows 1").is_err());
    Ok(())
}
