//! How the scalars of the language are read: numbers with units, addresses, names. Each function takes the text and
//! gives the value, or a [`Problem`]. Which scalar stands where is the grammar's business ([`super::grammar::Kind`]).

pub mod program;
mod types;

pub use types::*;

use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use nix::errno::Errno;

use super::model::{Address, Range};
use super::nearest::suggestion;
use crate::mptcp::EndpointFlags;

/// The longest deadline.
const LONGEST: Duration = Duration::from_secs(600);

/// The most bytes of a transfer.
const LARGEST: u64 = 1 << 30;

/// How it begins when a word is none of those that there are.
const UNKNOWN: &str = "unknown value";

/// Why a text can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong with it.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Problem {
    /// With the text in backticks: "`x` is not …".
    fn not(text: &str, what: impl Display) -> Self {
        Self { message: format!("`{text}` is not {what}"), help: None }
    }

    /// A sentence of its own.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    /// An unknown word is one of this key.
    pub fn of(mut self, key: Option<&str>) -> Self {
        if let (Some(key), true) = (key, self.message.starts_with(UNKNOWN)) {
            self.message = format!("{} for `{key}`", self.message);
        }
        self
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A value, or why there is none.
pub type Parsed<T> = Result<T, Problem>;

/// Any text.
pub fn text(text: &str) -> Parsed<String> {
    if text.trim().is_empty() {
        return Err(Problem::new("the text is empty"));
    }
    Ok(text.to_owned())
}

/// One line of at most 200 characters.
pub fn line(text: &str) -> Parsed<String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Problem::new("the text is empty"));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::new("expected one line of text, found several"));
    }
    let length = text.chars().count();
    if length > 200 {
        return Err(Problem::new(format!("the text has {length} characters; at most 200 are allowed")));
    }
    Ok(text.to_owned())
}

/// `true`, `false`.
pub fn switch(text: &str) -> Parsed<bool> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Problem::not(text, "`true` or `false`")),
    }
}

/// A whole number of that range, in decimal or with `0x` in hexadecimal. The type must have room for it.
pub fn integer<T: TryFrom<u64>>(min: u64, max: u64) -> impl Fn(&str) -> Parsed<T> {
    move |text| {
        let value = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        let out_of_range = || Problem::new(format!("{text} is out of range: {min} to {max}"));
        match value {
            Ok(value) if (min..=max).contains(&value) => T::try_from(value).map_err(|_| out_of_range()),
            Err(_) if text.parse::<i128>().is_err() => Err(Problem::not(text, "a whole number")),
            Ok(_) | Err(_) => Err(out_of_range()),
        }
    }
}

/// 0 to 255.
pub fn octet(text: &str) -> Parsed<u8> {
    integer(0, 255)(text)
}

/// An endpoint's id: 1 to 255.
pub fn endpoint_id(text: &str) -> Parsed<u8> {
    integer(1, 255)(text).map_err(|problem| {
        if text == "0" {
            problem.help("id 0 is the address of the initial subflow; omit `id` to let the kernel choose")
        } else {
            problem
        }
    })
}

/// A 32-bit number.
pub fn number(text: &str) -> Parsed<u32> {
    integer(0, u64::from(u32::MAX))(text)
}

/// A TCP port: 1 to 65535.
pub fn port(text: &str) -> Parsed<u16> {
    integer(1, 65535)(text)
        .map_err(|problem| Problem { message: problem.message.replace("a whole number", "a port"), ..problem })
}

/// An IP address, v4-mapped form kept.
pub fn address(text: &str) -> Parsed<IpAddr> {
    text.parse().map_err(|_| {
        let problem = Problem::not(text, "an IP address");
        if text.parse::<u64>().is_ok() || text.contains("::") {
            problem.help("an IPv6 address that begins or ends with a colon must be quoted in YAML")
        } else if text.contains('/') {
            problem.help("leave the prefix length out")
        } else {
            problem.help(
                "an IPv4 address like 10.0.1.1 or an IPv6 address like \"dead:beef:1::1\"; names are not looked up",
            )
        }
    })
}

/// An IP address, a link-local one perhaps with its interface: `fe80::1%eth1`.
pub fn scoped_address(text: &str) -> Parsed<(IpAddr, Option<String>)> {
    let Some((ip, interface)) = text.split_once('%') else { return Ok((address(text)?, None)) };
    let address = address(ip)?;
    if !is_link_local(address) {
        return Err(Problem::new(format!("`{ip}` takes no interface")).help("only link-local addresses (fe80::/10) do"));
    }
    Ok((address, Some(device(interface)?)))
}

/// Whether an address belongs to one link only: RFC 4291 section 2.5.6.
pub fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// An address with its prefix length: `10.0.1.1/24`.
pub fn address_prefix(text: &str) -> Parsed<Address> {
    let Some((ip, length)) = text.split_once('/') else {
        return match address(text) {
            Ok(_) => Err(Problem::new(format!("`{text}` has no prefix length")).help("like 10.0.1.1/24")),
            Err(problem) => Err(problem),
        };
    };
    let address = address(ip)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    match length.parse() {
        Ok(prefix) if prefix <= longest => Ok(Address { address, prefix }),
        _ => Err(Problem::new(format!("`/{length}` is not a prefix length of `{ip}`"))
            .help(format!("0 to {longest} for this address family"))),
    }
}

/// An address, or a prefix: `10.0.1.1`, `10.0.1.0/24`.
pub fn selector(text: &str) -> Parsed<Address> {
    if text.contains('/') {
        return address_prefix(text);
    }
    let address = address(text)?;
    Ok(Address { address, prefix: if address.is_ipv4() { 32 } else { 128 } })
}

/// The name of something in a scenario.
pub fn name(text: &str) -> Parsed<String> {
    let fine = text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if fine {
        Ok(text.to_owned())
    } else {
        Err(Problem::not(text, "a name").help("a letter, then letters, digits, `-` or `_`; at most 32 in all"))
    }
}

/// The name of an interface (`dev_valid_name`, net/core/dev.c), without what would mean something else: `%` makes a
/// template of it, `lo` is in each namespace already, and `all` and `default` are taken in /proc/sys/net/ipv4/conf.
pub fn device(text: &str) -> Parsed<String> {
    if text.len() > 15 {
        let message = format!("`{text}` is too long for the name of an interface: {} bytes", text.len());
        return Err(Problem::new(message).help("at most 15 bytes (IFNAMSIZ)"));
    }
    let fine = !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.@".contains(c))
        && !["lo", "all", "default", ".", ".."].contains(&text);
    if fine {
        Ok(text.to_owned())
    } else {
        Err(Problem::not(text, "a name for an interface")
            .help("letters, digits, `-`, `_`, `.`, `@`; not `lo`, `all` or `default`"))
    }
}

/// The number and the unit of `20 Mbit/s`.
fn quantity(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text.get(..digits)?.parse().ok()?, text.get(digits..)?.trim_start()))
}

/// `50 ms`, `2 s`, `100 us`; more than nothing, at most 10 minutes.
pub fn duration(text: &str) -> Parsed<Duration> {
    let wrong = || Problem::not(text, "a duration").help("a number with a unit: `50 ms`, `2 s`, `100 us`, `1 min`");
    let (number, unit) = quantity(text).ok_or_else(wrong)?;
    let duration = match unit {
        "us" | "µs" => Duration::from_micros(number),
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "min" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err(wrong()),
    };
    if duration.is_zero() {
        return Err(Problem::new(format!("`{text}` is too short; expected more than zero")));
    }
    if duration > LONGEST {
        return Err(Problem::new(format!("`{text}` is too long")).help("at most 10 minutes"));
    }
    Ok(duration)
}

/// `64 KiB`, `1 MiB`, `1000 B`, `1000`; at most 1 GiB. In bytes.
pub fn size(text: &str) -> Parsed<u64> {
    let wrong = || Problem::not(text, "a size").help("`64 KiB`, `1 MiB`, `1 GiB`, `1000 B` or a plain number of bytes");
    let (number, unit) = quantity(text).ok_or_else(wrong)?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(wrong()),
    };
    match number.checked_mul(1 << shift) {
        Some(bytes) if bytes <= LARGEST => Ok(bytes),
        _ => Err(Problem::new(format!("`{text}` is too large")).help("at most 1 GiB")),
    }
}

/// `20 Mbit/s`: in bits per second; at least 8 kbit/s, at most 1 Tbit/s.
pub fn rate(text: &str) -> Parsed<u64> {
    let wrong = || Problem::not(text, "a rate").help("`100 kbit/s`, `20 Mbit/s`, `1 Gbit/s`");
    let (number, unit) = quantity(text).ok_or_else(wrong)?;
    let factor: u64 = match unit {
        "bit/s" => 1,
        "kbit/s" => 1_000,
        "Mbit/s" => 1_000_000,
        "Gbit/s" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    match number.checked_mul(factor) {
        Some(rate) if (8_000..=1_000_000_000_000).contains(&rate) => Ok(rate),
        _ => Err(Problem::new(format!("`{text}` is out of range")).help("8 kbit/s to 1000 Gbit/s")),
    }
}

/// `1 %`, `0.5 %`: a share, from 0 to 1.
pub fn percent(text: &str) -> Parsed<f64> {
    let wrong = || Problem::not(text, "a percentage").help("a number with a percent sign: `1 %`, `0.5 %`, `100 %`");
    let number = text.strip_suffix('%').ok_or_else(wrong)?.trim_end();
    // Only plain decimals: what Rust reads besides (`1e3`, `inf`, `.5`) has no place in a scenario.
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.len() <= 12 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(wrong());
    }
    let value: f64 = number.parse().map_err(|_| wrong())?;
    if value > 100.0 {
        return Err(Problem::new(format!("`{text}` is out of range: 0 % to 100 %")));
    }
    Ok(value / 100.0)
}

/// `3`, `1..3` (both ends included), `>=1`, `<=3`.
pub fn count(text: &str) -> Parsed<Range> {
    let wrong = || Problem::not(text, "a count").help("`3`, \"1..3\" (both ends included), \">=1\" or \"<=3\"");
    let parse = |digits: &str| digits.trim().parse::<u64>().map_err(|_| wrong());
    if let Some(least) = text.strip_prefix(">=") {
        return Ok(parse(least)?..=u64::MAX);
    }
    if let Some(most) = text.strip_prefix("<=") {
        return Ok(0..=parse(most)?);
    }
    let Some((least, most)) = text.split_once("..") else {
        let exactly = parse(text)?;
        return Ok(exactly..=exactly);
    };
    let (least, most) = (parse(least)?, parse(most)?);
    if least > most {
        return Err(Problem::new(format!("the range `{text}` is empty"))
            .help(format!("the smaller one comes first: \"{most}..{least}\"")));
    }
    Ok(least..=most)
}

/// The number of an errno's symbol.
pub fn errno(text: &str) -> Parsed<(String, i32)> {
    let known = (1..=133).map(|number| (format!("{:?}", Errno::from_raw(number)), number));
    let known: Vec<(String, i32)> = known.filter(|(symbol, _)| symbol != "UnknownErrno").collect();
    known.iter().find(|(symbol, _)| symbol == text).cloned().ok_or_else(|| {
        let near = suggestion(text, known.iter().map(|(symbol, _)| symbol.as_str()));
        let help = near.unwrap_or_else(|| "like ECONNREFUSED; see errno(3)".to_owned());
        Problem::not(text, "the symbol of an errno").help(help)
    })
}

/// The flag of an endpoint: its word, or `raw 0x40`.
pub fn flag(text: &str) -> Parsed<EndpointFlags> {
    if let Some(raw) = text.strip_prefix("raw ") {
        return number(raw.trim()).map(EndpointFlags::from_bits_retain);
    }
    EndpointFlags::from_word(text).ok_or_else(|| {
        let words = ["signal", "subflow", "backup", "fullmesh", "implicit", "laminar"];
        Problem { help: suggestion(text, words), ..Problem::not(text, "an endpoint flag") }
    })
}

/// What the names of the kernel's counters begin with (nstat: the protocol of /proc/net/snmp, snmp6 and netstat).
pub const COUNTER_GROUPS: [&str; 10] =
    ["MPTcpExt", "TcpExt", "IpExt", "Icmp6", "Icmp", "Ip6", "Tcp", "UdpLite", "Udp", "Ip"];

/// The nstat name of a counter.
pub fn counter(text: &str) -> Parsed<String> {
    let problem = Problem::not(text, "the name of a counter");
    if !text.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(problem.help("letters and digits only, like MPTcpExtMPJoinSynRx; see `nstat -az`"));
    }
    let grouped = |group: &&str| text.len() > group.len() && text.starts_with(*group);
    if COUNTER_GROUPS.iter().any(grouped) {
        return Ok(text.to_owned());
    }
    let insensitive = |group: &&&str| text.to_lowercase().starts_with(&group.to_lowercase());
    Err(match COUNTER_GROUPS.iter().find(insensitive) {
        Some(group) => problem.help(format!("did you mean `{group}{}`?", text.get(group.len()..).unwrap_or_default())),
        None => problem.help(format!("counter names begin with one of {}", COUNTER_GROUPS.join(", "))),
    })
}

/// The nstat name of a counter, or of two: `A - B` is the first one less the second one.
pub fn counters(text: &str) -> Parsed<(String, Option<String>)> {
    match text.split_once('-') {
        Some((name, less)) => Ok((counter(name.trim())?, Some(counter(less.trim())?))),
        None => Ok((counter(text)?, None)),
    }
}

/// The name of a sysctl of the namespace, with dots or slashes like sysctl(8).
pub fn sysctl(text: &str) -> Parsed<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let whole = text.split(['.', '/']).all(|part| !part.is_empty());
    if !text.starts_with("net.") {
        return Err(Problem::not(text, "a sysctl of a network namespace")
            .help("its name begins with `net.`, like net.mptcp.checksum_enabled"));
    }
    if !text.chars().all(allowed) || !whole || text.len() > 128 {
        return Err(Problem::not(text, "the name of a sysctl").help("like net.mptcp.checksum_enabled"));
    }
    Ok(text.to_owned())
}

/// One of these words, by its index.
pub fn word(words: &'static [&'static str]) -> impl Fn(&str) -> Parsed<&'static str> {
    move |text| words.iter().find(|word| **word == text).copied().ok_or_else(|| unknown_word(text, words))
}

/// It is none of these words.
pub fn unknown_word(text: &str, words: &[&str]) -> Problem {
    Problem { message: format!("{UNKNOWN} `{text}`"), help: suggestion(text, words.iter().copied()) }
}

/// An address that an interface can have.
pub fn host_address(text: &str) -> Parsed<Address> {
    let address = address_prefix(text)?;
    if address.address.is_unspecified() || address.address.to_canonical().is_multicast() {
        return Err(Problem::new(format!("no interface can have the address `{}`", address.address)));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(duration("50 ms"), Ok(Duration::from_millis(50)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert!(duration("0 s").is_err() && duration("11 min").is_err() && duration("5").is_err());
        assert_eq!(size("64 KiB"), Ok(65536));
        assert_eq!(size("1000"), Ok(1000));
        assert!(size("2 GiB").is_err() && size("18446744073709551615 KiB").is_err() && size("1 KB").is_err());
        assert_eq!(rate("20 Mbit/s"), Ok(20_000_000));
        assert!(rate("1 bit/s").is_err() && rate("20 MB/s").is_err());
    }

    #[test]
    fn percentages() {
        assert_eq!(percent("1 %"), Ok(0.01));
        assert_eq!(percent("100%"), Ok(1.0));
        assert_eq!(percent("0.5 %"), Ok(0.005));
        for wrong in ["1", "%", "101 %", "100.1 %", "-1 %", ".5 %", "1. %", "1e1 %", "inf %", "NaN %", "1,5 %"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn counts() {
        assert_eq!(count("3"), Ok(3..=3));
        assert_eq!(count("1..3"), Ok(1..=3));
        assert_eq!(count(">=2"), Ok(2..=u64::MAX));
        assert_eq!(count("<=2"), Ok(0..=2));
        assert!(count("3..1").is_err() && count("-1").is_err() && count("..").is_err());
    }

    #[test]
    fn names_of_things() {
        assert!(device("eth1").is_ok() && device("a.b-c_d@e").is_ok());
        assert!(device("eth%d").is_err() && device("lo").is_err() && device("a/b").is_err());
        assert!(device("sixteen-bytes-xx").is_err());
        assert!(sysctl("net.ipv4.conf.eth1/2.rp_filter").is_ok());
        assert!(sysctl("net.ipv4/../../kernel").is_err() && sysctl("kernel.panic").is_err());
        assert_eq!(errno("ECONNREFUSED"), Ok(("ECONNREFUSED".into(), 111)));
        assert!(errno("ECONREFUSED").unwrap_err().help.unwrap().contains("ECONNREFUSED"));
        assert!(counter("MPTcpExtMPJoinSynRx").is_ok() && counter("MptcpExtMPJoinSynRx").is_err());
        assert!(counter("Tcp").is_err());
    }
}
