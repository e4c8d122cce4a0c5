//! The draft as a scenario file.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::endpoints::Endpoints;
use super::expected::{self, Expected};
use super::hosts::{self, Both, Pair};
use super::notes::Notes;
use super::reenact::{self, Course};
use super::seen::{Connection, Kind, Outcome, Seen};
use super::steps::{endpoint_keys, quoted};
use super::world::{Known, World};
use super::{Draft, ImportError, logs};
use crate::mptcp::{EndpointFlags, EventKind, Limits, PmEvent, Side};
use crate::text;

/// The width of comments.
const WIDTH: usize = 118;

/// Sysctls of MPTCP that change what happens, with the kernel's defaults (net/mptcp/ctrl.c). Timeouts and the like
/// are left to the scenario.
const SYSCTLS: [(&str, &str); 5] = [
    ("net.mptcp.allow_join_initial_addr_port", "1"),
    ("net.mptcp.checksum_enabled", "0"),
    ("net.mptcp.enabled", "1"),
    ("net.mptcp.scheduler", "default"),
    ("net.mptcp.syn_retrans_before_tcp_fallback", "2"),
];

/// Drafts a scenario.
pub(super) fn of(mut seen: Seen) -> Result<Draft, ImportError> {
    let mut notes = Notes::default();
    let is_capture = seen.kinds.contains(&Kind::Capture);
    if !is_capture {
        logs::connect(&mut seen);
    }
    let mut pair = hosts::pick(&mut seen, &mut notes);
    let by_configuration = pair.connections.is_empty();
    if by_configuration {
        let Some(placeholder) = placeholder_connection(&seen) else {
            let summary = summary(&seen, &pair);
            return Err(ImportError::Nothing { summary, unread: seen.unread.lines(seen.anonymous) });
        };
        pair = placeholder;
    }
    for open in std::mem::take(&mut seen.open) {
        notes.add(open);
    }
    let endpoints = Endpoints::listed(pair.here, seen.endpoints.take(), &mut notes);
    let course = reenact::find(&pair, endpoints, &mut notes);
    if course.steps.is_empty() {
        return Err(ImportError::Nothing { summary: summary(&seen, &pair), unread: seen.unread.lines(seen.anonymous) });
    }
    let (addresses, pairs) = addresses(&pair, &course);
    let world = World::of(&addresses, &pairs);
    let none = Pair::default();
    let summary = summary(&seen, if by_configuration { &none } else { &pair });
    let mut writer =
        Writer { seen: &seen, pair: &pair, course: &course, world: &world, by_configuration, lines: Vec::new() };
    writer.tell(&mut notes);
    let undetermined = notes.lines();
    writer.write(&summary, &undetermined);
    let yaml = writer.lines.join("\n") + "\n";
    let unread = seen.unread.lines(seen.anonymous);
    Ok(Draft { yaml, summary, undetermined, unread })
}

/// Configuration alone says nothing of a connection: both ends of one are placeholders (RFC 5737, RFC 3849).
fn placeholder_connection(seen: &Seen) -> Option<Pair> {
    let endpoints = seen.endpoints.as_deref().unwrap_or_default();
    if endpoints.is_empty() && seen.limits.is_none() {
        return None;
    }
    let is_server = !endpoints.is_empty() && endpoints.iter().all(|it| it.flags.contains(EndpointFlags::SIGNAL));
    let only_ipv6 = !endpoints.is_empty() && endpoints.iter().all(|it| it.address.to_canonical().is_ipv6());
    let (client, server): (IpAddr, IpAddr) = if only_ipv6 {
        let address = |host| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host).into();
        (address(2), address(1))
    } else {
        (Ipv4Addr::new(192, 0, 2, 2).into(), Ipv4Addr::new(192, 0, 2, 1).into())
    };
    let mut it = Connection::new(client, SocketAddr::new(server, super::seen::PORT));
    it.here = Some(if is_server { Side::Server } else { Side::Client });
    it.state_only = true;
    it.closed = Some((Side::Client, false));
    it.bytes = Some((0, 0));
    let mut created = PmEvent::new(EventKind::Created);
    created.local = Some(client);
    created.remote = Some(server);
    let observed = [(EventKind::Created, created.clone()), (EventKind::Closed, PmEvent::new(EventKind::Closed))];
    let observed = observed.map(|(kind, event)| hosts::Observed {
        connection: 0,
        host: Side::Client,
        event: PmEvent { kind, ..event },
    });
    let here = it.here;
    let connection = hosts::Chosen { name: "main".to_owned(), opener: Side::Client, it };
    Some(Pair { connections: vec![connection], observed: observed.into(), here })
}

/// What was read, in a few words.
fn summary(seen: &Seen, pair: &Pair) -> String {
    let kinds: Vec<&str> = seen.kinds.iter().map(|kind| kind.words()).collect();
    let mut summary = format!("read {}", text::list(&kinds));
    if seen.kinds.contains(&Kind::Capture) {
        _ = write!(summary, " of {}", text::count(seen.segments, "TCP segment"));
        if seen.others > 0 {
            _ = write!(summary, " and {}", text::count(seen.others, "other packet"));
        }
    }
    if pair.connections.is_empty() { summary } else { format!("{summary}: {}", size(pair)) }
}

/// `1 connection with 4 additional subflows`
fn size(pair: &Pair) -> String {
    let joins = pair.observed.iter().filter(|it| it.event.kind == EventKind::SubEstablished);
    let hosts = joins.clone().map(|it| it.host).collect::<BTreeSet<Side>>().len().max(1);
    let connections = text::count(pair.connections.len() as u64, "connection");
    match joins.count() / hosts {
        0 => connections,
        joins => format!("{connections} with {}", text::count(joins as u64, "additional subflow")),
    }
}

/// The addresses of both namespaces, and those between which there were subflows.
fn addresses(pair: &Pair, course: &Course) -> (Both<Vec<Known>>, BTreeSet<(IpAddr, IpAddr)>) {
    let mut addresses: Both<Vec<Known>> = Both::default();
    let mut pairs = BTreeSet::new();
    let mut add = |host: Side, address: IpAddr, dev: Option<String>| {
        // An address belongs to one of them.
        if addresses.of(host.other()).iter().any(|it| it.address == address) {
            return;
        }
        let known = addresses.of_mut(host);
        match known.iter_mut().find(|it| it.address == address) {
            Some(it) => it.dev = it.dev.take().or(dev),
            None => known.push(Known { address, dev }),
        }
    };
    for chosen in &pair.connections {
        let (client, server) = (chosen.it.client.to_canonical(), chosen.it.server.ip().to_canonical());
        add(chosen.opener, client, None);
        add(chosen.opener.other(), server, None);
        pairs.insert(if chosen.opener == Side::Client { (client, server) } else { (server, client) });
    }
    let joins = pair.observed.iter().filter(|it| it.event.kind == EventKind::SubEstablished);
    for hosts::Observed { host, event, .. } in joins {
        let (Some(local), Some(remote)) = (event.local, event.remote) else { continue };
        add(*host, local, event.dev.clone());
        add(host.other(), remote, None);
        pairs.insert(if *host == Side::Client { (local, remote) } else { (remote, local) });
    }
    for host in [Side::Client, Side::Server] {
        for endpoint in course.endpoints.initial(host) {
            add(host, endpoint.endpoint.address, endpoint.endpoint.dev.clone());
        }
        for address in course.endpoints.addresses(host) {
            add(host, address, None);
        }
    }
    (addresses, pairs)
}

/// Writes the lines of a draft.
pub(super) struct Writer<'a> {
    pub(super) seen: &'a Seen,
    pub(super) pair: &'a Pair,
    pub(super) course: &'a Course,
    pub(super) world: &'a World,
    /// There is nothing but configuration.
    pub(super) by_configuration: bool,
    lines: Vec<String>,
}

impl Writer<'_> {
    fn write(&mut self, summary: &str, undetermined: &[String]) {
        self.comments(summary, undetermined);
        self.head();
        self.lines.push("links:".to_owned());
        self.lines.extend(self.world.lines());
        self.lines.push(String::new());
        self.namespaces();
        self.steps();
        self.expectations();
    }

    fn comments(&mut self, summary: &str, undetermined: &[String]) {
        self.comment("", &format!("A draft of a scenario: mptcplab {summary}."));
        if let Some(kernel) = self.seen.kernel.as_deref().filter(|kernel| is_plain(kernel)) {
            self.comment("", &format!("The report is from a kernel {kernel}."));
        }
        self.comment("", "Run it with `mptcplab run --no-snapshot FILE`. What the report doesn't determine:");
        for line in undetermined {
            self.comment("* ", line);
        }
        self.lines.push(String::new());
    }

    /// A comment, wrapped. Nothing in it ends the line.
    fn comment(&mut self, bullet: &str, words: &str) {
        let words = text::one_line(words);
        let mut line = format!("# {bullet}");
        let mut is_empty = true;
        for word in words.split(' ') {
            if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.lines.push(line);
                line = format!("# {}", " ".repeat(bullet.len()));
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        self.lines.push(line);
    }

    fn head(&mut self) {
        let what = if self.by_configuration { "a configuration".to_owned() } else { size(self.pair) };
        let source = self.seen.kinds.first().map_or("a report", |kind| kind.words());
        self.lines.push(format!("title: {}", double_quoted(&format!("Draft: {what}, from {source}"))));
        self.lines.push("about: |".to_owned());
        self.lines.push("  Imported from a report. Say here what the scenario shows, and why it happens.".to_owned());
        let all = [Side::Client, Side::Server];
        let laminar = all.iter().any(|host| {
            self.course.endpoints.initial(*host).any(|it| it.endpoint.flags.contains(EndpointFlags::LAMINAR))
        });
        if laminar {
            self.lines.push("requires: [laminar]".to_owned());
        }
        self.lines.push(String::new());
    }

    /// The limits of a namespace, and whether they only follow from what was seen. None: the kernel's defaults do.
    pub(super) fn limits(&self, host: Side) -> Option<(Limits, bool)> {
        if self.pair.here == Some(host) {
            if let Some(limits) = self.seen.limits {
                return Some((limits, false));
            }
            let info = self.pair.connections.first().map(|chosen| &chosen.it.info);
            if let Some(subflows) = info.and_then(|info| info.get("subflows_max")) {
                let accepted = info.and_then(|info| info.get("add_addr_accepted_max")).copied().unwrap_or(0);
                let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
                return Some((Limits { subflows: number(*subflows), add_addr_accepted: number(accepted) }, false));
            }
        }
        let inferred = *self.course.limits.of(host);
        (inferred.subflows > 0).then_some((inferred, true))
    }

    /// The namespace with a userspace path manager.
    pub(super) fn userspace(&self) -> Option<Side> {
        let sysctl = |name: &str| self.seen.sysctls.get(name).map(String::as_str);
        let is_userspace =
            sysctl("net.mptcp.path_manager") == Some("userspace") || sysctl("net.mptcp.pm_type") == Some("1");
        self.pair.here.filter(|_| is_userspace)
    }

    fn namespaces(&mut self) {
        let mut lines = Vec::new();
        for host in [Side::Client, Side::Server] {
            let own = self.namespace(host);
            if !own.is_empty() {
                lines.push(format!("  {}:", host.word()));
                lines.extend(own.into_iter().map(|line| format!("    {line}")));
            }
        }
        if !lines.is_empty() {
            self.lines.push("namespaces:".to_owned());
            self.lines.extend(lines);
            self.lines.push(String::new());
        }
    }

    fn namespace(&self, host: Side) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some((Limits { subflows, add_addr_accepted }, inferred)) = self.limits(host) {
            let remark = if inferred { "  # placeholder: the lowest that allow what was seen" } else { "" };
            lines.push(format!("limits: {{ subflows: {subflows}, add_addr_accepted: {add_addr_accepted} }}{remark}"));
        }
        if self.userspace() == Some(host) {
            lines.push("path_manager: userspace".to_owned());
        }
        let endpoints: Vec<_> = self.course.endpoints.initial(host).collect();
        if !endpoints.is_empty() {
            lines.push("endpoints:".to_owned());
            for it in endpoints {
                let remark = if it.inferred { "  # follows from what was seen" } else { "" };
                lines.push(format!("  - {{ {} }}{remark}", endpoint_keys(host, &it.endpoint, self.world)));
            }
        }
        if host == Side::Client {
            let routes = self.world.routes();
            if !routes.is_empty() {
                lines.push("routes:".to_owned());
                lines.extend(routes.into_iter().map(|route| format!("  {route}")));
            }
        }
        lines.extend(self.sysctls(host));
        lines
    }

    fn sysctls(&self, host: Side) -> Vec<String> {
        if self.pair.here != Some(host) {
            return Vec::new();
        }
        let changed: Vec<String> = SYSCTLS
            .iter()
            .filter_map(|(name, default)| {
                let value = self.seen.sysctls.get(*name).filter(|value| *value != default && is_plain(value))?;
                // Without MPTCP there is nothing to see.
                (*name != "net.mptcp.enabled").then(|| format!("  {name}: {}", double_quoted(value)))
            })
            .collect();
        if changed.is_empty() { changed } else { [vec!["sysctls:".to_owned()], changed].concat() }
    }

    fn steps(&mut self) {
        self.lines.push("steps:".to_owned());
        for step in &self.course.steps {
            self.lines.extend(step.lines(self.world).into_iter().map(|line| format!("  {line}")));
        }
    }

    fn expectations(&mut self) {
        let mut lines = self.events();
        lines.extend(self.subflows());
        lines.extend(self.info());
        lines.extend(self.configuration());
        if !lines.is_empty() {
            self.lines.push(String::new());
            self.lines.push("expect:".to_owned());
            self.lines.extend(lines.into_iter().map(|line| format!("  {line}")));
        }
    }

    /// The events of each namespace of which all were seen.
    fn events(&self) -> Vec<String> {
        let is_whole = |it: &hosts::Chosen| !it.it.state_only && it.it.outcome == Outcome::Mptcp;
        if !self.pair.connections.iter().all(is_whole) {
            return Vec::new();
        }
        let named = self.pair.connections.len() > 1;
        let mut lines = Vec::new();
        for host in
            [Side::Client, Side::Server].into_iter().filter(|host| self.pair.here.is_none_or(|here| here == *host))
        {
            let mut stretches = self.course.stretches.of(host).clone();
            if stretches.iter().all(Vec::is_empty) {
                continue;
            }
            let has_port = self.course.endpoints.initial(host).any(|it| it.endpoint.port.is_some());
            stretches.retain(|stretch| !stretch.is_empty());
            let mut events = Vec::new();
            let ports = self.pair.connections.iter().filter(|it| it.opener != host).map(|it| it.it.server.port());
            for port in ports.collect::<BTreeSet<u16>>() {
                events.push((!has_port).then(|| format!("- listener_created: {{ port: {port} }}  # of the draft")));
            }
            let listening: Vec<String> = events.into_iter().flatten().collect();
            let seen = expected::lines(&stretches, named);
            lines.push(format!("  {}:", host.word()));
            if has_port {
                // The kernel's own listening sockets have events, too.
                lines.push("    partial: true".to_owned());
                lines.push("    list:".to_owned());
            }
            let indent = if has_port { "      " } else { "    " };
            lines.extend(listening.into_iter().chain(seen).map(|line| format!("{indent}{line}")));
        }
        if lines.is_empty() { lines } else { [vec!["events:".to_owned()], lines].concat() }
    }

    /// The subflows of each connection, if none was closed before it.
    fn subflows(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let host = self.pair.here.unwrap_or(Side::Client);
        for (index, (chosen, live)) in self.pair.connections.iter().zip(&self.course.subflows).enumerate() {
            let closed =
                |expected: &Expected| expected.event.kind == EventKind::SubClosed && expected.connection == chosen.name;
            let any_closed = [Side::Client, Side::Server]
                .iter()
                .any(|host| self.course.stretches.of(*host).iter().flatten().any(closed));
            let no_joins = self
                .pair
                .observed
                .iter()
                .all(|it| it.connection != index || it.event.kind != EventKind::SubEstablished);
            let unknown = chosen.it.state_only && no_joins;
            if live.is_empty() || any_closed || unknown || !self.course.certain || chosen.it.outcome != Outcome::Mptcp {
                continue;
            }
            lines.push(format!("  {}:", chosen.name));
            lines.push(format!("    {}:", host.word()));
            for subflow in live {
                let ((client, server), (client_id, server_id)) = (subflow.addresses, subflow.ids);
                let (local, remote, local_id, remote_id) =
                    host.of((client, server, client_id, server_id), (server, client, server_id, client_id));
                let id = |key: &str, id: Option<u8>| id.map(|id| format!(", {key}: {id}")).unwrap_or_default();
                let ids = id("local_id", local_id) + &id("remote_id", remote_id);
                lines.push(format!("      - {{ local: {}, remote: {}{ids} }}", quoted(local), quoted(remote)));
            }
        }
        if lines.is_empty() { lines } else { [vec!["subflows:".to_owned()], lines].concat() }
    }

    /// What `ss` says of each connection.
    fn info(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for chosen in self.pair.connections.iter().filter(|it| it.it.state_only && it.it.outcome == Outcome::Mptcp) {
            let Some(host) = self.pair.here.filter(|_| !self.by_configuration) else { continue };
            let keys = ["subflows", "add_addr_signal", "add_addr_accepted"];
            // `ss` leaves out what is 0.
            let fields = keys.map(|key| (key, chosen.it.info.get(key).copied().unwrap_or(0)));
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            if !chosen.it.info.is_empty() {
                lines.push(format!("  {}: {{ {}: {{ {} }} }}", chosen.name, host.word(), fields.join(", ")));
            }
        }
        if lines.is_empty() { lines } else { [vec!["info:".to_owned()], lines].concat() }
    }

    /// Configuration alone: that it is what the kernel has.
    fn configuration(&self) -> Vec<String> {
        let Some(host) = self.pair.here.filter(|_| self.by_configuration) else { return Vec::new() };
        let mut lines = Vec::new();
        let endpoints: Vec<_> = self.course.endpoints.initial(host).collect();
        if !endpoints.is_empty() {
            lines.push("endpoints:".to_owned());
            lines.push(format!("  {}:", host.word()));
            for it in endpoints {
                lines.push(format!("    - {{ {} }}", endpoint_keys(host, &it.endpoint, self.world)));
            }
        }
        if let Some(Limits { subflows, add_addr_accepted }) = self.seen.limits {
            let limits = format!("subflows: {subflows}, add_addr_accepted: {add_addr_accepted}");
            lines.push(format!("limits: {{ {}: {{ {limits} }} }}", host.word()));
        }
        lines
    }
}

/// Fit for a comment or a value: no text from outside goes into a draft that isn't.
fn is_plain(text: &str) -> bool {
    text.len() <= 64 && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "._+-".contains(letter))
}

/// A text as a YAML scalar.
fn double_quoted(text: &str) -> String {
    let escaped = text::one_line(text).replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}
