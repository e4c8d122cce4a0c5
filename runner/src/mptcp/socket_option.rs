//! Socket options, one row each ([`OPTIONS`]): their words, what setsockopt(2) and getsockopt(2) call them, and what the
//! kernel shows of them. From a row come the key in the language, its reader, the call, what is read back and compared,
//! and the comparison with each subflow. Main type: [`SocketOption`].

use nix::libc;
use serde::{Deserialize, Serialize};

use super::{SOL_MPTCP, SubflowState};

/// A socket option.
#[derive(Debug)]
pub struct SocketOption {
    /// Its key in the language.
    pub word: &'static str,
    /// Its name in the kernel's headers.
    pub symbol: &'static str,
    /// The level and the number.
    pub number: (i32, i32),
    /// The same on an IPv6 socket, if they are different there.
    pub number_v6: Option<(i32, i32)>,
    /// The form of its value.
    pub form: OptionForm,
    /// What getsockopt(2) says after it was set.
    pub reading: Reading,
    /// An accepted socket has the value of its listener.
    pub passed_on: bool,
    /// The value that sock_diag shows of a subflow; `None`: the kernel shows it nowhere.
    pub on_subflow: Option<fn(&SubflowState) -> Option<OptionValue>>,
    /// It is a field of the IP header: whether of IPv4, or of IPv6.
    pub in_header: Option<bool>,
    /// Setting it changes the option of that word, too.
    pub overrides: Option<&'static str>,
    /// What it does, in a sentence or two.
    pub doc: &'static str,
}

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionForm {
    /// On or off.
    Switch,
    /// A number in this range.
    Number(u64, u64),
    /// An octet of the IP header, without the two bits of ECN.
    TrafficClass,
    /// A name.
    Name,
    /// The name of an interface.
    Device,
    /// A number of bytes; at least this number.
    Bytes(u64),
    /// A time in seconds.
    Seconds,
    /// A time in milliseconds.
    Milliseconds,
    /// `struct linger`; the value is its time in seconds.
    Linger,
    /// `struct tcp_md5sig` for any peer; the value is the key.
    Key,
}

/// What getsockopt(2) says of a value that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The same.
    Same,
    /// The same at first; later the kernel changes it.
    AtFirst,
    /// Twice the value: the kernel accounts for its own structures (`__sock_set_rcvbuf`, net/core/sock.c).
    Double,
    /// The value, or more: the kernel rounds up to whole retransmissions (`secs_to_retrans`, net/ipv4/tcp.c).
    OrMore,
    /// The value, or less: the path allows no more (`tcp_current_mss`, net/ipv4/tcp_output.c).
    OrLess,
    /// Nothing: it can't be read.
    Nothing,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OptionValue {
    /// A number; 0 and 1 for a switch.
    Number(u64),
    /// A name.
    Text(String),
}

/// Socket options of a subflow, from a sock_diag dump (`inet_diag_msg_attrs_fill`, net/ipv4/inet_diag.c).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SubflowOptions {
    /// `INET_DIAG_MARK`; only for `CAP_NET_ADMIN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// `INET_DIAG_TOS`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos: Option<u8>,
    /// `INET_DIAG_TCLASS`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tclass: Option<u8>,
    /// `INET_DIAG_CONG`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub congestion: Option<String>,
    /// `SK_MEMINFO_RCVBUF` of `INET_DIAG_SKMEMINFO`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rcvbuf: Option<u32>,
    /// `SK_MEMINFO_SNDBUF`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sndbuf: Option<u32>,
    /// `freebind` of `INET_DIAG_SOCKOPT`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freebind: Option<bool>,
    /// `transparent`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transparent: Option<bool>,
    /// `bind_address_no_port`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_address_no_port: Option<bool>,
}

/// The length of `struct tcp_md5sig` (`include/uapi/linux/tcp.h`): the peer's address, flags, prefix length, length of
/// the key, interface, key.
const MD5SIG: usize = 216;
/// `TCP_MD5SIG_FLAG_PREFIX`: the prefix length counts. With 0 any peer is meant.
const MD5SIG_PREFIX: u8 = 1;
/// `TCP_MD5SIG_MAXKEYLEN`
const LONGEST_KEY: usize = 80;

impl OptionForm {
    /// The value as setsockopt(2) takes it.
    pub fn encode(self, value: &OptionValue, is_v6: bool) -> Vec<u8> {
        match (self, value) {
            (Self::Linger, OptionValue::Number(seconds)) => [1, narrow(*seconds)].map(i32::to_ne_bytes).concat(),
            (Self::Key, OptionValue::Text(key)) => md5sig(key, is_v6),
            (_, OptionValue::Number(number)) => narrow(*number).to_ne_bytes().to_vec(),
            (_, OptionValue::Text(text)) => text.as_bytes().to_vec(),
        }
    }

    /// What getsockopt(2) wrote; `None` if it is none of this form.
    pub fn decode(self, bytes: &[u8]) -> Option<OptionValue> {
        let number = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        match self {
            Self::Name | Self::Device => {
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                Some(OptionValue::Text(String::from_utf8_lossy(bytes.get(..end)?).into_owned()))
            }
            Self::Linger => Some(OptionValue::Number(if number(0)? == 0 { 0 } else { number(4)?.into() })),
            Self::Switch => Some(OptionValue::Number(u64::from(number(0)? != 0))),
            Self::Key => None,
            Self::Number(..) | Self::TrafficClass | Self::Bytes(_) | Self::Seconds | Self::Milliseconds => {
                Some(OptionValue::Number(number(0)?.into()))
            }
        }
    }

    /// A value with its unit.
    pub fn words(self, value: &OptionValue) -> String {
        match (self, value) {
            (Self::Switch, OptionValue::Number(0)) => "off".to_owned(),
            (Self::Switch, OptionValue::Number(_)) => "on".to_owned(),
            (Self::TrafficClass, OptionValue::Number(number)) => format!("{number:#04x}"),
            (Self::Bytes(_), OptionValue::Number(number)) => format!("{number} bytes"),
            (Self::Seconds | Self::Linger, OptionValue::Number(number)) => format!("{number} s"),
            (Self::Milliseconds, OptionValue::Number(number)) => format!("{number} ms"),
            (_, OptionValue::Number(number)) => number.to_string(),
            (_, OptionValue::Text(text)) if text.is_empty() => "none".to_owned(),
            (_, OptionValue::Text(text)) => text.clone(),
        }
    }
}

/// What the kernel takes for an `int`, bit by bit.
fn narrow(number: u64) -> i32 {
    u32::try_from(number).unwrap_or(u32::MAX).cast_signed()
}

fn md5sig(key: &str, is_v6: bool) -> Vec<u8> {
    let family = if is_v6 { libc::AF_INET6 } else { libc::AF_INET };
    let family = u16::try_from(family).unwrap_or_default().to_ne_bytes();
    let key = key.as_bytes().get(..key.len().min(LONGEST_KEY)).unwrap_or_default();
    let length = u16::try_from(key.len()).unwrap_or_default().to_ne_bytes();
    let address = [&family[..], &[0; 126]].concat();
    let mut bytes = [address.as_slice(), &[MD5SIG_PREFIX, 0], &length, &[0; 4], key].concat();
    bytes.resize(MD5SIG, 0);
    bytes
}

impl SocketOption {
    /// The option of that word.
    pub fn of_word(word: &str) -> Option<&'static Self> {
        OPTIONS.iter().find(|option| option.word == word)
    }

    /// A value that a kernel with this option accepts.
    pub fn sample(&self) -> OptionValue {
        match self.form {
            OptionForm::Switch | OptionForm::Linger | OptionForm::Seconds | OptionForm::Milliseconds => 1_u32.into(),
            OptionForm::TrafficClass => 0_u32.into(),
            OptionForm::Number(least, _) | OptionForm::Bytes(least) => OptionValue::Number(least.max(1)),
            OptionForm::Name => "reno".to_owned().into(),
            OptionForm::Device => "lo".to_owned().into(),
            OptionForm::Key => "key".to_owned().into(),
        }
    }

    /// The level and the number on a socket of that family.
    pub fn number(&self, is_v6: bool) -> (i32, i32) {
        self.number_v6.filter(|_| is_v6).unwrap_or(self.number)
    }

    /// Whether the kernel may show this of a value that was set.
    pub fn agrees(&self, asked: &OptionValue, shown: &OptionValue) -> bool {
        let (OptionValue::Number(asked), OptionValue::Number(shown)) = (asked, shown) else { return asked == shown };
        match self.reading {
            Reading::Same | Reading::AtFirst => shown == asked,
            Reading::Double => *shown == asked.saturating_mul(2),
            Reading::OrMore => shown >= asked,
            Reading::OrLess => *shown > 0 && shown <= asked,
            Reading::Nothing => false,
        }
    }

    /// What the kernel shows of a value that was set, in words: fits after "expected".
    pub fn expected(&self, asked: &OptionValue) -> String {
        let words = self.form.words(asked);
        match (self.reading, asked) {
            (Reading::Double, OptionValue::Number(number)) => {
                format!("{}, twice as many", self.form.words(&OptionValue::Number(number.saturating_mul(2))))
            }
            (Reading::OrMore, _) => format!("{words} or more"),
            (Reading::OrLess, _) => format!("{words} or less"),
            (Reading::Same | Reading::AtFirst | Reading::Double | Reading::Nothing, _) => words,
        }
    }

    /// `SO_MARK 7`
    pub fn words(&self, value: &OptionValue) -> String {
        format!("{} {}", self.symbol, self.form.words(value))
    }
}

/// A field that sock_diag shows of a subflow.
macro_rules! shown {
    ($field:ident) => {
        Some(|subflow| Some(OptionValue::from(subflow.options.as_ref()?.$field.clone()?)))
    };
}

/// What getsockopt(2) can be asked for besides [`OPTIONS`]: word, symbol, level and number.
pub static ANSWERS: [(&str, &str, (i32, i32)); 8] = [
    ("mptcp_info", "MPTCP_INFO", (SOL_MPTCP, 1)),
    ("mptcp_tcpinfo", "MPTCP_TCPINFO", (SOL_MPTCP, 2)),
    ("mptcp_subflow_addrs", "MPTCP_SUBFLOW_ADDRS", (SOL_MPTCP, 3)),
    (FULL_INFO, "MPTCP_FULL_INFO", (SOL_MPTCP, 4)),
    ("tcp_info", "TCP_INFO", (TCP, libc::TCP_INFO)),
    ("ulp", "TCP_ULP", (TCP, libc::TCP_ULP)),
    ("fastopen_key", "TCP_FASTOPEN_KEY", (TCP, 33)),
    ("is_mptcp", "TCP_IS_MPTCP", (TCP, 43)),
];

/// The word of the structure with pointers to two arrays.
pub const FULL_INFO: &str = "mptcp_full_info";

/// The words of everything that getsockopt(2) can be asked for.
pub static ANSWER_WORDS: [&str; OPTIONS.len() + ANSWERS.len()] = {
    let mut words = [""; OPTIONS.len() + ANSWERS.len()];
    let mut index = 0;
    while index < words.len() {
        words[index] = if index < OPTIONS.len() { OPTIONS[index].word } else { ANSWERS[index - OPTIONS.len()].0 };
        index += 1;
    }
    words
};

/// The symbol of what getsockopt(2) is asked for, and its level and number on a socket of that family.
pub fn answer_of_word(word: &str, is_v6: bool) -> Option<(&'static str, (i32, i32))> {
    let own = SocketOption::of_word(word).map(|option| (option.symbol, option.number(is_v6)));
    own.or_else(|| ANSWERS.iter().find(|(known, ..)| *known == word).map(|(_, symbol, number)| (*symbol, *number)))
}

impl From<u32> for OptionValue {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u8> for OptionValue {
    fn from(number: u8) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for OptionValue {
    fn from(on: bool) -> Self {
        Self::Number(on.into())
    }
}

impl From<String> for OptionValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

const NUMBER: OptionForm = OptionForm::Number(0, 0xffff_ffff);
const SOCKET: i32 = libc::SOL_SOCKET;
const TCP: i32 = libc::IPPROTO_TCP;
const IP: i32 = libc::IPPROTO_IP;
const IPV6: i32 = libc::IPPROTO_IPV6;

/// A row: the same on IPv6, passed on to accepted sockets, not seen on subflows, read as it was set, unless the row says
/// otherwise.
macro_rules! options {
    ($($word:literal $symbol:literal $level:ident $number:expr, $form:expr, $doc:literal $(, $field:ident: $value:expr)*;)+) => {
        /// Each socket option, with the symbols of `include/uapi`.
        pub static OPTIONS: &[SocketOption] = &[$(SocketOption {
            $($field: $value,)*
            ..SocketOption {
                word: $word,
                symbol: $symbol,
                number: ($level, $number),
                form: $form,
                doc: $doc,
                number_v6: None,
                reading: Reading::Same,
                passed_on: true,
                on_subflow: None,
                in_header: None,
                overrides: None,
            }
        }),+];
    };
}

options! {
    "mark" "SO_MARK" SOCKET libc::SO_MARK, NUMBER,
        "The mark of each packet, for rules of routing and filters.", on_subflow: shown!(mark);
    "tos" "IP_TOS" IP libc::IP_TOS, OptionForm::TrafficClass,
        "The differentiated services field of IPv4 packets, as an octet; the two bits of ECN are TCP's. Setting it sets the priority, too.", on_subflow: shown!(tos), in_header: Some(true), overrides: Some("priority");
    "tclass" "IPV6_TCLASS" IPV6 libc::IPV6_TCLASS, OptionForm::TrafficClass,
        "The traffic class of IPv6 packets. The kernel refuses it on MPTCP sockets.", on_subflow: shown!(tclass), in_header: Some(false);
    "priority" "SO_PRIORITY" SOCKET libc::SO_PRIORITY, OptionForm::Number(0, 6), "The priority in queueing disciplines.";
    "device" "SO_BINDTODEVICE" SOCKET libc::SO_BINDTODEVICE, OptionForm::Device,
        "The interface to which the socket is bound.", on_subflow: Some(|subflow| Some(OptionValue::Text(subflow.dev.clone().unwrap_or_default())));
    "reuseaddr" "SO_REUSEADDR" SOCKET libc::SO_REUSEADDR, OptionForm::Switch,
        "Whether an address in TIME-WAIT can be bound again; listeners have it.", passed_on: false;
    "reuseport" "SO_REUSEPORT" SOCKET libc::SO_REUSEPORT, OptionForm::Switch,
        "Whether several sockets can listen on one port.", passed_on: false;
    "keepalive" "SO_KEEPALIVE" SOCKET libc::SO_KEEPALIVE, OptionForm::Switch, "Whether idle subflows are probed.";
    "keepidle" "TCP_KEEPIDLE" TCP libc::TCP_KEEPIDLE, OptionForm::Seconds, "How long a subflow is idle before it is probed.";
    "keepintvl" "TCP_KEEPINTVL" TCP libc::TCP_KEEPINTVL, OptionForm::Seconds, "The time between two probes.";
    "keepcnt" "TCP_KEEPCNT" TCP libc::TCP_KEEPCNT, OptionForm::Number(1, 127), "The number of probes without an answer that ends a subflow.";
    "linger" "SO_LINGER" SOCKET libc::SO_LINGER, OptionForm::Linger,
        "How many seconds close() waits for data in flight; 0: it resets the connection.";
    "sndbuf" "SO_SNDBUF" SOCKET libc::SO_SNDBUF, OptionForm::Bytes(4096),
        "The size of the send buffer; the kernel doubles it.", reading: Reading::Double, on_subflow: shown!(sndbuf);
    "rcvbuf" "SO_RCVBUF" SOCKET libc::SO_RCVBUF, OptionForm::Bytes(4096),
        "The size of the receive buffer; the kernel doubles it.", reading: Reading::Double, on_subflow: shown!(rcvbuf);
    "rcvlowat" "SO_RCVLOWAT" SOCKET libc::SO_RCVLOWAT, OptionForm::Bytes(1), "The number of bytes from which on poll() reports the socket as readable.";
    "incoming_cpu" "SO_INCOMING_CPU" SOCKET libc::SO_INCOMING_CPU, OptionForm::Number(0, 4095),
        "The CPU on which packets are expected.", passed_on: false;
    "zerocopy" "SO_ZEROCOPY" SOCKET libc::SO_ZEROCOPY, OptionForm::Switch, "Whether send() may leave data where it is. The kernel refuses it on MPTCP sockets.";
    "oobinline" "SO_OOBINLINE" SOCKET libc::SO_OOBINLINE, OptionForm::Switch, "Whether urgent data stands in the stream. The kernel refuses it on MPTCP sockets.";
    "timestamp" "SO_TIMESTAMP" SOCKET libc::SO_TIMESTAMP, OptionForm::Switch,
        "Whether recvmsg() says when data has arrived.";
    "timestamping" "SO_TIMESTAMPING" SOCKET libc::SO_TIMESTAMPING, OptionForm::Number(0, 0xffff),
        "Which time stamps the kernel takes, as bits (include/uapi/linux/net_tstamp.h).";
    "broadcast" "SO_BROADCAST" SOCKET libc::SO_BROADCAST, OptionForm::Switch,
        "Whether broadcasts may be sent: for programs that set it on any socket. The kernel accepts it, and does nothing.", reading: Reading::Nothing, passed_on: false;
    "v6only" "IPV6_V6ONLY" IPV6 libc::IPV6_V6ONLY, OptionForm::Switch,
        "Whether an IPv6 socket does without IPv4; listeners have it off.";
    "local_port_range" "IP_LOCAL_PORT_RANGE" IP IP_LOCAL_PORT_RANGE, NUMBER,
        "The ports from which connect() chooses: the lowest, and the highest times 65536 (Linux 6.3).";
    "freebind" "IP_FREEBIND" IP libc::IP_FREEBIND, OptionForm::Switch,
        "Whether an address can be bound that the host doesn't have.", number_v6: Some((IPV6, IPV6_FREEBIND)), on_subflow: shown!(freebind);
    "transparent" "IP_TRANSPARENT" IP libc::IP_TRANSPARENT, OptionForm::Switch,
        "The same, for a transparent proxy.", number_v6: Some((IPV6, IPV6_TRANSPARENT)), on_subflow: shown!(transparent);
    "bind_address_no_port" "IP_BIND_ADDRESS_NO_PORT" IP libc::IP_BIND_ADDRESS_NO_PORT, OptionForm::Switch,
        "Whether bind() leaves the choice of a port to connect().", on_subflow: shown!(bind_address_no_port);
    "ttl" "IP_TTL" IP libc::IP_TTL, OptionForm::Number(1, 255), "The time to live of IPv4 packets. The kernel refuses it on MPTCP sockets.";
    "nodelay" "TCP_NODELAY" TCP libc::TCP_NODELAY, OptionForm::Switch, "Whether small segments are sent at once.";
    "cork" "TCP_CORK" TCP libc::TCP_CORK, OptionForm::Switch, "Whether only full segments are sent.";
    "maxseg" "TCP_MAXSEG" TCP libc::TCP_MAXSEG, OptionForm::Number(88, 32767),
        "The largest segment, in bytes.", reading: Reading::OrLess;
    "congestion" "TCP_CONGESTION" TCP libc::TCP_CONGESTION, OptionForm::Name,
        "The congestion control algorithm.", on_subflow: shown!(congestion);
    "notsent_lowat" "TCP_NOTSENT_LOWAT" TCP libc::TCP_NOTSENT_LOWAT, OptionForm::Bytes(1),
        "The number of unsent bytes from which on poll() doesn't report the socket as writable.";
    "inq" "TCP_INQ" TCP TCP_INQ, OptionForm::Switch, "Whether recvmsg() says how many bytes remain unread.";
    "defer_accept" "TCP_DEFER_ACCEPT" TCP libc::TCP_DEFER_ACCEPT, OptionForm::Seconds,
        "How long a listener waits for data before it accepts; the kernel rounds up.", reading: Reading::OrMore, passed_on: false;
    "fastopen" "TCP_FASTOPEN" TCP libc::TCP_FASTOPEN, OptionForm::Number(0, 65535),
        "The most connections that a listener may have with data in a SYN that isn't answered yet.", passed_on: false;
    "fastopen_connect" "TCP_FASTOPEN_CONNECT" TCP TCP_FASTOPEN_CONNECT, OptionForm::Switch,
        "Whether connect() leaves the SYN to the first write().";
    "fastopen_no_cookie" "TCP_FASTOPEN_NO_COOKIE" TCP TCP_FASTOPEN_NO_COOKIE, OptionForm::Switch, "Whether fast open does without a cookie.", passed_on: false;
    "user_timeout" "TCP_USER_TIMEOUT" TCP libc::TCP_USER_TIMEOUT, OptionForm::Milliseconds,
        "How long sent data may be unacknowledged. The kernel refuses it on MPTCP sockets.";
    "syncnt" "TCP_SYNCNT" TCP libc::TCP_SYNCNT, OptionForm::Number(1, 255), "The number of retransmissions of a SYN. The kernel refuses it on MPTCP sockets.";
    "linger2" "TCP_LINGER2" TCP libc::TCP_LINGER2, OptionForm::Seconds, "The longest time in FIN-WAIT-2. The kernel refuses it on MPTCP sockets.";
    "quickack" "TCP_QUICKACK" TCP libc::TCP_QUICKACK, OptionForm::Switch, "Whether acknowledgments are sent at once. The kernel refuses it on MPTCP sockets.", reading: Reading::AtFirst, passed_on: false;
    "window_clamp" "TCP_WINDOW_CLAMP" TCP libc::TCP_WINDOW_CLAMP, OptionForm::Bytes(4096), "The largest window. The kernel refuses it on MPTCP sockets.", reading: Reading::AtFirst;
    "md5sig" "TCP_MD5SIG_EXT" TCP TCP_MD5SIG_EXT, OptionForm::Key,
        "The key of the MD5 signatures (RFC 2385) to and from any peer. The kernel refuses it on MPTCP sockets.", reading: Reading::Nothing, passed_on: false;
}

/// `TCP_INQ` (`include/uapi/linux/tcp.h`)
const TCP_INQ: i32 = 36;
/// `IP_LOCAL_PORT_RANGE` (`include/uapi/linux/in.h`)
const IP_LOCAL_PORT_RANGE: i32 = 51;
/// `TCP_FASTOPEN_CONNECT`
const TCP_FASTOPEN_CONNECT: i32 = 30;
/// `TCP_FASTOPEN_NO_COOKIE`
const TCP_FASTOPEN_NO_COOKIE: i32 = 34;
/// `TCP_MD5SIG_EXT`: with a prefix length.
const TCP_MD5SIG_EXT: i32 = 32;
/// `IPV6_FREEBIND` (`include/uapi/linux/in6.h`)
const IPV6_FREEBIND: i32 = 78;
/// `IPV6_TRANSPARENT`
const IPV6_TRANSPARENT: i32 = 75;

#[cfg(test)]
mod tests {
    use super::*;

    fn option(word: &str) -> &'static SocketOption {
        SocketOption::of_word(word).unwrap()
    }

    #[test]
    fn each_option_is_there_once() {
        for (index, option) in OPTIONS.iter().enumerate() {
            let others = || OPTIONS.iter().skip(index + 1);
            assert!(
                others().all(|other| other.word != option.word && other.symbol != option.symbol),
                "{}",
                option.word
            );
            assert!(others().all(|other| other.number != option.number), "{}", option.word);
        }
    }

    #[test]
    fn values_are_what_the_kernel_takes_and_gives() {
        let seven = OptionValue::Number(7);
        assert_eq!(NUMBER.encode(&OptionValue::Number(0xffff_ffff), false), [0xff; 4]);
        assert_eq!(NUMBER.decode(&[0xff; 4]), Some(OptionValue::Number(0xffff_ffff)));
        assert_eq!(OptionForm::Linger.encode(&seven, false), [1_i32, 7].map(i32::to_ne_bytes).concat());
        assert_eq!(OptionForm::Linger.decode(&[1_i32, 7].map(i32::to_ne_bytes).concat()), Some(seven.clone()));
        assert_eq!(OptionForm::Name.decode(b"reno\0\0\0"), Some(OptionValue::Text("reno".to_owned())));
        assert_eq!(OptionForm::Switch.decode(&2_i32.to_ne_bytes()), Some(OptionValue::Number(1)));
        assert_eq!(NUMBER.decode(&[1, 2]), None, "cut off");
        let key = OptionForm::Key.encode(&OptionValue::Text("k".repeat(99)), true);
        assert_eq!((key.len(), key[128], key[129], key[130]), (MD5SIG, MD5SIG_PREFIX, 0, 80));
    }

    #[test]
    fn what_the_kernel_shows_agrees_or_not() {
        let number = OptionValue::Number;
        for (word, asked, good, bad) in
            [("mark", 7, 7, 0), ("rcvbuf", 8192, 16384, 8192), ("defer_accept", 3, 7, 2), ("maxseg", 1000, 988, 1001)]
        {
            assert!(option(word).agrees(&number(asked), &number(good)), "{word}");
            assert!(!option(word).agrees(&number(asked), &number(bad)), "{word}");
        }
        let reno = OptionValue::Text("reno".to_owned());
        assert!(option("congestion").agrees(&reno, &reno));
        assert!(!option("congestion").agrees(&reno, &OptionValue::Text("cubic".to_owned())));
    }
}
