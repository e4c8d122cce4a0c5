//! The scalars that declarations name: each with its type, its kind and its parser.

use std::net::IpAddr;
use std::time::Duration;

use super::super::grammar::{FILTER_OPTIONS, Kind};
use super::super::model::{Address, EndStatus, RULE_NAMES, Range, RouteType};
use super::super::record::Scalar;
use super::super::variable::variable_name;
use super::{
    Parsed, address, count, counter, device, duration, endpoint_id, errno, host_address, integer, line, name, percent,
    port, program, rate, scoped_address, selector, size, switch, sysctl, text, word,
};
use crate::net::{PROTOCOL_WORDS, protocol_number};

/// Scalars, each with its kind and its parser.
macro_rules! scalars {
    ($( $(#[doc = $doc:literal])+ $name:ident: $value:ty = $kind:expr, $parse:expr; )*) => {
        $(
            $(#[doc = $doc])+
            pub enum $name {}

            impl Scalar for $name {
                type Value = $value;
                const KIND: Kind = $kind;

                fn parse(text: &str) -> Parsed<$value> {
                    $parse(text)
                }
            }
        )*
    };
}

/// Whole numbers, each with its type and its range.
macro_rules! numbers {
    ($( $(#[doc = $doc:literal])+ $name:ident: $value:ty = $min:literal to $max:expr; )*) => {
        scalars! { $( $(#[doc = $doc])+ $name: $value = Kind::Integer($min, $max), integer($min, $max); )* }
    };
}

numbers! {
    /// An octet.
    Octet: u8 = 0 to 255;
    /// A 32-bit number.
    Number: u32 = 0 to 0xffff_ffff;
    /// The same, from 1.
    Ordinal: u32 = 1 to 0xffff_ffff;
    /// The number of a packet, or how many there must be at least.
    FromOne: u64 = 1 to u64::MAX;
    /// How many times something must have been seen.
    Times: usize = 1 to 1_000_000;
    /// The backlog of a listener.
    Backlog: u16 = 0 to 4096;
    /// The length of a buffer.
    BufferLength: u32 = 0 to 65536;
    /// A number of bytes of a packet, from 1.
    Bytes: u16 = 1 to 65535;
    /// The place of a byte in a payload.
    Offset: u32 = 0 to 65535;
    /// The size of a part of a payload.
    PartSize: u32 = 1 to 65535;
    /// How many segments become one.
    Segments: u32 = 2 to 64;
    /// The number of a routing table.
    Table: u32 = 1 to 0xffff_ffff;
    /// The tag of a VLAN.
    VlanId: u16 = 1 to 4094;
    /// The weight of a next hop.
    Weight: u16 = 1 to 256;
    /// An MTU.
    Mtu: u32 = 68 to 65535;
    /// The seed of what is left to chance.
    Seed: u64 = 0 to u64::MAX;
    /// Bytes that may arrive damaged.
    Damage: u64 = 0 to 1 << 30;
    /// A number of a `repeat` step.
    Round: u64 = 0 to 65535;
    /// The memory of a machine in MiB.
    Memory: u64 = 64 to 1 << 20;
    /// Processors of a machine.
    Processors: u64 = 1 to 255;
}

scalars! {
    /// One line of text.
    Line: String = Kind::Line, line;
    /// Any text.
    Text: String = Kind::Text, text;
    /// `true` or `false`.
    Switch: bool = Kind::Switch, switch;
    /// The id of an endpoint.
    EndpointId: u8 = Kind::Integer(1, 255), endpoint_id;
    /// A TCP port.
    Port: u16 = Kind::Port, port;
    /// An IP address.
    Ip: IpAddr = Kind::Address, address;
    /// The same; a link-local one may name its interface.
    ScopedIp: (IpAddr, Option<String>) = Kind::ScopedAddress, scoped_address;
    /// An IP address; a v4-mapped one becomes an IPv4 address.
    CanonicalIp: IpAddr = Kind::Address, |text| address(text).map(|address| address.to_canonical());
    /// An address with its prefix length, that an interface can have.
    HostAddress: Address = Kind::AddressPrefix, host_address;
    /// The name of something in a scenario.
    Name: String = Kind::Name, name;
    /// The name of an interface.
    DeviceName: String = Kind::Device, device;
    /// The name of a variable.
    VariableName: String = Kind::Variable, variable_name;
    /// The name of a sysctl.
    Sysctl: String = Kind::Sysctl, sysctl;
    /// The name of a counter.
    Counter: String = Kind::Counter, counter;
    /// A duration.
    Time: Duration = Kind::Duration, duration;
    /// A number of bytes.
    Size: u64 = Kind::Size, size;
    /// Bits per second.
    Rate: u64 = Kind::Rate, rate;
    /// The same, in bytes.
    Pace: u64 = Kind::Rate, |text| rate(text).map(|bits| bits / 8);
    /// A share, from 0 to 1.
    Share: f64 = Kind::Percent, percent;
    /// A range of numbers.
    Count: Range = Kind::Count, count;
    /// The symbol of an errno.
    Symbol: String = Kind::Errno, |text| errno(text).map(|(symbol, _)| symbol);
    /// The name of a rule of the reference.
    RuleName: &'static str = Kind::Rule, word(&RULE_NAMES);
    /// What a routing rule is about: an address, or a prefix.
    Selector: Address = Kind::Selector, selector;
    /// What a route does.
    RouteKind: RouteType = Kind::Word(&RouteType::WORDS), |text| route_type(text, &RouteType::WORDS);
    /// What a routing rule does without a table.
    RuleKind: RouteType = Kind::Word(&RULE_TYPES), |text| route_type(text, &RULE_TYPES);
    /// The number of a transport protocol, by its word.
    Protocol: u8 = Kind::Word(&PROTOCOL_WORDS), |text| {
        protocol_number(text).ok_or_else(|| super::unknown_word(text, &PROTOCOL_WORDS))
    };
    /// An argument of a program, or the contents of a file.
    Argument: String = Kind::Argument, program::argument;
    /// The name of a program.
    CommandName: String = Kind::Command, program::command;
    /// The name of a signal.
    SignalName: String = Kind::SignalName, program::signal;
    /// How a program ends.
    EndStatusWord: EndStatus = Kind::EndStatus, program::end_status;
    /// The subtype (RFC 8684 section 8.2) of an MPTCP option, by its word; `None`: any option.
    Subtype: Option<u8> = Kind::Word(&FILTER_OPTIONS), subtype;
}

/// The types of routing rules.
const RULE_TYPES: [&str; 3] = ["blackhole", "unreachable", "prohibit"];

fn route_type(text: &str, words: &'static [&'static str]) -> Parsed<RouteType> {
    let word = word(words)(text)?;
    let kind = RouteType::ALL.into_iter().find(|kind| kind.word() == word);
    kind.ok_or_else(|| super::unknown_word(text, words))
}

fn subtype(text: &str) -> Parsed<Option<u8>> {
    let word = word(&FILTER_OPTIONS)(text)?;
    let index = FILTER_OPTIONS.iter().position(|known| *known == word);
    Ok(index.and_then(|index| u8::try_from(index).ok()).and_then(|index| index.checked_sub(1)))
}
