//! Routes and routing rules, in the words of ip-route(8) and ip-rule(8).

use std::fmt;
use std::net::IpAddr;

use super::Address;

/// `RT_TABLE_MAIN` (include/uapi/linux/rtnetlink.h): the table of a route that names none.
pub const MAIN_TABLE: u32 = 254;
/// `RT_TABLE_LOCAL`: the addresses of the host itself.
pub const LOCAL_TABLE: u32 = 255;

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The destination; prefix 0 is the default route of that family.
    pub to: Address,
    /// What it does with packets.
    pub kind: RouteType,
    /// The gateway.
    pub via: Option<IpAddr>,
    /// The interface.
    pub dev: Option<String>,
    /// Several next hops instead of `via` and `dev`.
    pub nexthops: Vec<NextHop>,
    /// The preferred source address.
    pub source: Option<IpAddr>,
    /// The metric.
    pub metric: Option<u32>,
    /// The table; by default the main one.
    pub table: Option<u32>,
}

impl Route {
    /// A unicast route of which nothing else is said.
    pub fn new(to: Address) -> Self {
        let kind = RouteType::Unicast;
        Self { to, kind, via: None, dev: None, nexthops: Vec::new(), source: None, metric: None, table: None }
    }

    /// The number of its table.
    pub fn table(&self) -> u32 {
        self.table.unwrap_or(MAIN_TABLE)
    }

    /// The gateway and the interface of each of its next hops.
    pub fn hops(&self) -> impl Iterator<Item = (Option<IpAddr>, Option<&str>)> {
        let own = (self.via.is_some() || self.dev.is_some()).then_some((self.via, self.dev.as_deref()));
        own.into_iter().chain(self.nexthops.iter().map(|hop| (hop.via, hop.dev.as_deref())))
    }

    /// Its words after `ip route add`, each with its keyword. The family goes without saying where an address follows.
    pub fn words(&self) -> Vec<(&'static str, String)> {
        let says_family = self.hops().any(|(via, _)| via.is_some()) || self.source.is_some();
        let to = if self.to.prefix == 0 && says_family { "default".to_owned() } else { self.to.to_string() };
        let kind = (self.kind != RouteType::Unicast).then(|| self.kind.word().to_owned());
        let mut words = Words(Vec::new());
        words.add("", kind).add("", Some(to)).add("via", self.via).add("dev", self.dev.as_ref());
        words.add("src", self.source).add("metric", self.metric).add("table", self.table);
        for hop in &self.nexthops {
            words.add("", Some("nexthop")).add("via", hop.via).add("dev", hop.dev.as_ref()).add("weight", hop.weight);
        }
        words.0
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, &self.words())
    }
}

/// One of several next hops of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// The gateway.
    pub via: Option<IpAddr>,
    /// The interface.
    pub dev: Option<String>,
    /// Its share, relative to the others; 1 by default.
    pub weight: Option<u16>,
}

/// What a route does with packets (`rtm_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteType {
    /// Sends them to a next hop.
    Unicast,
    /// Delivers them to this host.
    Local,
    /// Drops them; `EINVAL` for local senders.
    Blackhole,
    /// Refuses them: ICMP host unreachable, `EHOSTUNREACH`.
    Unreachable,
    /// Refuses them: ICMP administratively prohibited, `EACCES`.
    Prohibit,
    /// Ends the lookup in this table, as if it had no route.
    Throw,
}

impl RouteType {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Unicast, Self::Local, Self::Blackhole, Self::Unreachable, Self::Prohibit, Self::Throw];
    /// Their words, in the same order.
    pub const WORDS: [&'static str; 6] = ["unicast", "local", "blackhole", "unreachable", "prohibit", "throw"];

    /// As ip-route(8) calls it.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().zip(Self::WORDS).find(|(kind, _)| **kind == self).map_or("", |(_, word)| word)
    }

    /// Whether packets go somewhere: such a route needs a next hop, the others have none (`fib_create_info`,
    /// net/ipv4/fib_semantics.c; `ip6_route_check_nh`, net/ipv6/route.c).
    pub fn leads_somewhere(self) -> bool {
        matches!(self, Self::Unicast | Self::Local)
    }
}

/// A rule that selects the table in which a packet's route is looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoutingRule {
    /// Rules are tried from the lowest priority on. By default, the kernel puts a rule before those without a priority
    /// of its own (`fib_default_rule_pref`, net/core/fib_rules.c).
    pub priority: Option<u32>,
    /// Packets from these addresses.
    pub from: Option<Address>,
    /// Packets to these addresses.
    pub to: Option<Address>,
    /// Packets with this mark.
    pub mark: Option<u32>,
    /// Packets that arrive by this interface; `lo`: those of this host.
    pub incoming: Option<String>,
    /// Packets of sockets that are bound to this interface.
    pub outgoing: Option<String>,
    /// Packets of this transport protocol, by its number.
    pub protocol: Option<u8>,
    /// The table; none: the rule is of another type.
    pub table: Option<u32>,
    /// What happens without a table: `blackhole`, `unreachable` or `prohibit`.
    pub kind: Option<RouteType>,
}

impl RoutingRule {
    /// Whether it is a rule for IPv4, if it says so.
    pub fn is_ipv4(&self) -> Option<bool> {
        self.from.or(self.to).map(|selector| selector.address.is_ipv4())
    }

    /// Its words after `ip rule add`, each with its keyword.
    pub fn words(&self) -> Vec<(&'static str, String)> {
        let protocol =
            self.protocol.map(|number| protocol_word(number).map_or_else(|| number.to_string(), str::to_owned));
        let mut words = Words(Vec::new());
        words.add("priority", self.priority).add("from", self.from.map(selector)).add("to", self.to.map(selector));
        words.add("fwmark", self.mark.map(|mark| format!("{mark:#x}")));
        words.add("iif", self.incoming.as_ref()).add("oif", self.outgoing.as_ref()).add("ipproto", protocol);
        words.add("table", self.table).add("", self.kind.map(RouteType::word));
        words.0
    }
}

impl fmt::Display for RoutingRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, &self.words())
    }
}

/// The transport protocols of rules, with their numbers (include/uapi/linux/in.h).
const PROTOCOLS: [(&str, u8); 4] = [("icmp", 1), ("tcp", 6), ("udp", 17), ("ipv6-icmp", 58)];
/// Their words.
pub const PROTOCOL_WORDS: [&str; 4] = ["icmp", "tcp", "udp", "ipv6-icmp"];

/// The number of a transport protocol.
pub fn protocol_number(word: &str) -> Option<u8> {
    PROTOCOLS.iter().find(|(known, _)| *known == word).map(|(_, number)| *number)
}

fn protocol_word(number: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(_, known)| *known == number).map(|(word, _)| *word)
}

/// A single address without its prefix length, as ip-rule(8) shows it.
fn selector(selector: Address) -> String {
    let whole = if selector.address.is_ipv4() { 32 } else { 128 };
    if selector.prefix == whole { selector.address.to_string() } else { selector.to_string() }
}

struct Words(Vec<(&'static str, String)>);

impl Words {
    fn add(&mut self, name: &'static str, value: Option<impl ToString>) -> &mut Self {
        self.0.extend(value.map(|value| (name, value.to_string())));
        self
    }
}

fn join(f: &mut fmt::Formatter<'_>, words: &[(&str, String)]) -> fmt::Result {
    for (index, (name, value)) in words.iter().enumerate() {
        let before = if index > 0 { " " } else { "" };
        let between = if name.is_empty() { "" } else { " " };
        write!(f, "{before}{name}{between}{value}")?;
    }
    Ok(())
}
