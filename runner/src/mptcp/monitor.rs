//! Events as `ip mptcp monitor` prints them: lines, with a time (`-t`, `-ts`) or without, and JSON objects (`-j`,
//! which iproute2 6.1 ignores here). Keys and values are those of iproute2's `mptcp_monitor_msg` (ip/ipmptcp.c).

use std::fmt::Write as _;
use std::net::IpAddr;

use serde_json::{Map, Value};

use super::{EventFlags, EventKind, PmEvent};

/// iproute2's names of events.
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

impl PmEvent {
    /// The line of `ip mptcp monitor`. An event that iproute2 doesn't know has its number alone.
    pub fn monitor_line(&self) -> String {
        let Some((name, _)) = KINDS.iter().find(|(_, kind)| *kind == self.kind) else {
            return format!("[UNKNOWN {}]", self.kind.number());
        };
        let mut line = format!("[{name:>16}]");
        let mut add = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                _ = write!(line, " {key}={value}");
            }
        };
        add("token", self.token.map(|token| format!("{token:08x}")));
        add("remid", self.remote_id.map(|id| id.to_string()));
        add("locid", self.local_id.map(|id| id.to_string()));
        let address =
            |address: Option<IpAddr>, ipv4| address.filter(|it| it.is_ipv4() == ipv4).map(|it| it.to_string());
        add("saddr4", address(self.local, true));
        add("daddr4", address(self.remote, true));
        add("saddr6", address(self.local, false));
        add("daddr6", address(self.remote, false));
        add("sport", self.local_port.map(|port| port.to_string()));
        add("dport", self.remote_port.map(|port| port.to_string()));
        add("backup", self.backup.map(|backup| backup.to_string()));
        add("error", self.error.map(|error| error.to_string()));
        add("dev", self.dev.clone());
        add("reset_reason", self.reset_reason.map(|reason| reason.to_string()));
        add("reset_flags", self.reset_flags.map(|flags| format!("{flags:#x}")));
        for (word, is_set) in [("server_side", self.server_side), ("deny_join_id0", self.deny_join_id0)] {
            if is_set {
                _ = write!(line, " {word}");
            }
        }
        line
    }

    /// The event of a line of `ip mptcp monitor`; `None` if the line is something else.
    pub fn from_monitor_line(line: &str) -> Option<Result<Self, String>> {
        event_of_line(line)
    }

    /// The event of an object of `ip -j mptcp monitor`; `None` if the object is something else.
    pub fn from_monitor_object(object: &Map<String, Value>) -> Option<Result<Self, String>> {
        event_of_object(object)
    }
}

fn event_of_line(line: &str) -> Option<Result<PmEvent, String>> {
    let (mut name, mut rest) = bracketed(line)?;
    // `-ts` puts a time in brackets before it.
    if name.starts_with(|first: char| first.is_ascii_digit()) && name.contains('T') {
        (name, rest) = bracketed(rest)?;
    }
    let mut event = PmEvent::new(kind(name)?);
    for word in rest.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        if let Err(problem) = field(&mut event, key, value) {
            return Some(Err(problem));
        }
    }
    Some(Ok(event))
}

fn event_of_object(object: &Map<String, Value>) -> Option<Result<PmEvent, String>> {
    let mut event = PmEvent::new(kind(object.get("event")?.as_str()?)?);
    for (key, value) in object {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if let Err(problem) = field(&mut event, key, &value) {
            return Some(Err(problem));
        }
    }
    Some(Ok(event))
}

/// `[ NAME] rest`
fn bracketed(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    Some((name.trim(), rest))
}

/// iproute2 prints `UNKNOWN` and the number of an event that it doesn't know, and nothing else of it.
fn kind(name: &str) -> Option<EventKind> {
    if let Some(number) = name.strip_prefix("UNKNOWN ") {
        return number.parse().ok().map(EventKind::from_number);
    }
    KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

/// Stores the value of a key. Keys of later versions are ignored.
fn field(event: &mut PmEvent, key: &str, value: &str) -> Result<(), String> {
    match key {
        "token" => event.token = Some(hexadecimal(key, value)?),
        "remid" => event.remote_id = Some(number(key, value)?),
        "locid" => event.local_id = Some(number(key, value)?),
        "saddr4" | "saddr6" => event.local = Some(number(key, value)?),
        "daddr4" | "daddr6" => event.remote = Some(number(key, value)?),
        "sport" => event.local_port = Some(number(key, value)?),
        "dport" => event.remote_port = Some(number(key, value)?),
        "backup" => event.backup = Some(number(key, value)?),
        "error" => event.error = Some(number(key, value)?),
        "ifindex" => {
            // Only later versions also print the name.
            event.dev.get_or_insert(format!("#{}", number::<u32>(key, value)?));
        }
        "dev" => event.dev = Some(value.to_owned()),
        "reset_reason" => event.reset_reason = Some(number(key, value)?),
        "reset_flags" => event.reset_flags = Some(hexadecimal(key, value)?),
        "server_side" => event.server_side = true,
        "deny_join_id0" => event.deny_join_id0 = true,
        "flags" => {
            // Before iproute2 6.19: the bits without names.
            let bits = u16::try_from(hexadecimal(key, value)?).map_err(|_| bad(key, value))?;
            let flags = EventFlags::from_bits_retain(bits);
            event.server_side |= flags.contains(EventFlags::SERVER_SIDE);
            event.deny_join_id0 |= flags.contains(EventFlags::DENY_JOIN_ID0);
        }
        _ => {}
    }
    Ok(())
}

fn bad(key: &str, value: &str) -> String {
    format!("`{key}` has the value `{value}`")
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| bad(key, value))
}

fn hexadecimal(key: &str, value: &str) -> Result<u32, String> {
    u32::from_str_radix(value.trim_start_matches("0x"), 16).map_err(|_| bad(key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What iproute2 6.1 and 7.1 print, for a client and for a server.
    const LINES: [&str; 6] = [
        "[         CREATED] token=bf250420 remid=0 locid=0 saddr4=10.0.1.2 daddr4=10.0.1.1 sport=51810 dport=8080",
        "[  SF_ESTABLISHED] token=1b9b5790 remid=7 locid=0 saddr6=::ffff:10.0.1.1 daddr6=::ffff:10.0.3.2 sport=8080 \
         dport=55755 backup=1",
        "[       ANNOUNCED] token=bf250420 remid=1 daddr4=10.0.4.1 dport=8080",
        "[         REMOVED] token=bf250420 remid=1",
        "[          CLOSED] token=0f250420",
        "[LISTENER_CREATED] saddr6=:: sport=8080",
    ];

    #[test]
    fn a_line_goes_both_ways() {
        for line in LINES {
            let event = PmEvent::from_monitor_line(line).unwrap().unwrap();
            assert_eq!(event.monitor_line(), line);
        }
    }

    #[test]
    fn times_and_older_versions_are_read() {
        let timed = format!("[2026-11-27T15:13:19.875087] {}", LINES[0]);
        let read = |line: &str| PmEvent::from_monitor_line(line).unwrap().unwrap();
        assert_eq!(read(&timed), read(LINES[0]));
        let old = read("[       CREATED] token=1b9b5790 remid=0 locid=0 sport=8080 dport=51810 flags=2");
        assert!(old.server_side && !old.deny_join_id0);
        assert_eq!(read("[UNKNOWN 15]").kind, EventKind::ListenerCreated);
        assert_eq!(read("[SF_ESTABLISHED] token=1 ifindex=4").dev.as_deref(), Some("#4"));
    }

    #[test]
    fn other_lines_are_no_events() {
        for line in ["", "[", "[]", "[2026-11-27T15:13:19]", "[ok]", "CREATED token=1", "[UNKNOWN x]"] {
            assert_eq!(PmEvent::from_monitor_line(line), None, "{line}");
        }
        let cut = PmEvent::from_monitor_line("[ CREATED] token=bf250420 saddr4=10.0.1").unwrap();
        assert_eq!(cut.unwrap_err(), "`saddr4` has the value `10.0.1`");
    }
}
