//! The MIB counters of one namespace, by the names that nstat(8) gives them: [`Counters`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};

use thiserror::Error;

use super::kernel_words;
use crate::files;

/// The counters that can also decrease: the number of currently established connections.
const GAUGES: &[&str] = &["MPTcpExtMPCurrEstab", "TcpCurrEstab"];

/// The files of `/proc/thread-self/net` with counters, and whether each kernel has them: one without IPv6 has no `snmp6`.
const FILES: [(&str, bool); 3] = [("netstat", true), ("snmp", true), ("snmp6", false)];

/// The counters of the namespace in which it was opened.
#[derive(Debug)]
pub struct Counters {
    files: Vec<(&'static str, File)>,
    /// Reused buffer: the text is read repeatedly.
    text: String,
}

/// Why the counters can't be read.
#[derive(Debug, Error)]
pub enum CountersError {
    /// The file doesn't exist, or may not be read.
    #[error("can't open /proc/thread-self/net/{file}: {}; it needs a mounted /proc", kernel_words(.error))]
    Open {
        /// Its name.
        file: &'static str,
        /// The kernel's answer.
        error: io::Error,
    },
    /// The file was opened, but can't be read.
    #[error("can't read /proc/thread-self/net/{file}: {}", kernel_words(.error))]
    Read {
        /// Its name.
        file: &'static str,
        /// What happened.
        error: io::Error,
    },
}

impl Counters {
    /// Opens the counters of the network namespace of the calling thread.
    pub fn open() -> Result<Self, CountersError> {
        let mut files = Vec::with_capacity(FILES.len());
        for (file, required) in FILES {
            match files::kernel::open(format!("/proc/thread-self/net/{file}")) {
                Ok(opened) => files.push((file, opened)),
                Err(error) if error.kind() == io::ErrorKind::NotFound && !required => {}
                Err(error) => return Err(CountersError::Open { file, error }),
            }
        }
        Ok(Self { files, text: String::new() })
    }

    /// The current values of all counters, whichever namespace the caller is in. Counters that the kernel lacks are not
    /// in the map.
    pub fn read(&mut self) -> Result<BTreeMap<String, u64>, CountersError> {
        let mut values = BTreeMap::new();
        for (file, opened) in &mut self.files {
            self.text.clear();
            opened
                .rewind()
                .and_then(|()| opened.read_to_string(&mut self.text))
                .map_err(|error| CountersError::Read { file, error })?;
            if *file == "snmp6" {
                parse_plain(&self.text, &mut values);
            } else {
                parse_tables(&self.text, &mut values);
            }
        }
        Ok(values)
    }
}

/// Whether it is a gauge rather than a counter: its value matters, not its change.
pub fn is_gauge(name: &str) -> bool {
    GAUGES.contains(&name)
}

/// The increase of each counter in `after` since `before`; a gauge keeps its value. Unchanged counters have a 0, unlike
/// those that the kernel lacks.
pub fn delta(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    after
        .iter()
        .map(|(name, value)| {
            let base = if is_gauge(name) { 0 } else { before.get(name).copied().unwrap_or(0) };
            (name.clone(), value.saturating_sub(base))
        })
        .collect()
}

/// `netstat` and `snmp`: pairs of lines, names above values, both after the same prefix. A negative value (`Tcp:
/// MaxConn
/// -1`, "no limit") isn't a count, and is left out.
fn parse_tables(text: &str, values: &mut BTreeMap<String, u64>) {
    let mut lines = text.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let (Some((prefix, names)), Some((repeated, numbers))) = (names.split_once(": "), numbers.split_once(": "))
        else {
            continue;
        };
        if prefix != repeated {
            continue;
        }
        for (name, number) in names.split_ascii_whitespace().zip(numbers.split_ascii_whitespace()) {
            if let Ok(number) = number.parse() {
                values.insert(format!("{prefix}{name}"), number);
            }
        }
    }
}

/// `snmp6`: one name and its value a line.
fn parse_plain(text: &str, values: &mut BTreeMap<String, u64>) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if let (Some(name), Some(Ok(number))) = (words.next(), words.next().map(str::parse)) {
            values.insert(name.to_owned(), number);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(parse: fn(&str, &mut BTreeMap<String, u64>), text: &str) -> BTreeMap<String, u64> {
        let mut values = BTreeMap::new();
        parse(text, &mut values);
        values
    }

    /// Linux 6.1 has 56 MPTCP counters, Linux 6.18 about 20 more, and the order differs.
    #[test]
    fn reads_the_counters_of_older_and_newer_kernels() {
        let older = parsed(parse_tables, include_str!("../../fixtures/proc/netstat-6.1"));
        let newer = parsed(parse_tables, include_str!("../../fixtures/proc/netstat-6.18"));
        let count = |values: &BTreeMap<String, u64>| values.keys().filter(|name| name.starts_with("MPTcpExt")).count();
        assert_eq!((count(&older), count(&newer)), (56, 76));
        for values in [&older, &newer] {
            assert_eq!(values["MPTcpExtMPCapableSYNRX"], 1);
            assert_eq!(values["MPTcpExtMPJoinSynRx"], 4);
            assert_eq!(values["TcpExtDelayedACKs"], 2);
        }
        assert!(!older.contains_key("MPTcpExtMPCurrEstab"));
        assert_eq!(newer["MPTcpExtMPCurrEstab"], 1);
        assert_eq!(newer["IpExtInOctets"], 1234);
    }

    #[test]
    fn names_are_those_of_nstat() {
        let text = "Ip: Forwarding InReceives\nIp: 1 9\nTcp: MaxConn ActiveOpens\nTcp: -1 3\n";
        let values = parsed(parse_tables, text);
        assert_eq!(values["IpInReceives"], 9);
        assert_eq!(values["TcpActiveOpens"], 3);
        assert!(!values.contains_key("TcpMaxConn"), "-1 is no count");
        let values = parsed(parse_plain, "Ip6InReceives                   \t17\nIcmp6OutType135\t2\n");
        assert_eq!((values["Ip6InReceives"], values["Icmp6OutType135"]), (17, 2));
    }

    #[test]
    fn what_does_not_belong_together_is_left_out() {
        assert!(parsed(parse_tables, "Tcp: ActiveOpens\nUdp: 7\n").is_empty());
        assert_eq!(parsed(parse_tables, "Tcp: A B\nTcp: 7\n").len(), 1);
    }

    #[test]
    fn a_change_is_relative_and_a_gauge_is_not() {
        let values = |pairs: [(&str, u64); 3]| pairs.map(|(name, value)| (name.to_owned(), value)).into();
        let before = values([("TcpActiveOpens", 5), ("MPTcpExtMPCurrEstab", 4), ("TcpInErrs", 2)]);
        let after = values([("TcpActiveOpens", 7), ("MPTcpExtMPCurrEstab", 1), ("TcpInErrs", 2)]);
        let expected = values([("TcpActiveOpens", 2), ("MPTcpExtMPCurrEstab", 1), ("TcpInErrs", 0)]);
        assert_eq!(delta(&before, &after), expected);
        assert_eq!(delta(&BTreeMap::new(), &after), after, "a counter that begins to exist began at 0");
    }

    proptest! {
        #[test]
        fn arbitrary_text_does_not_panic(text in ".*\n.*\n.*") {
            parsed(parse_tables, &text);
            parsed(parse_plain, &text);
        }
    }
}
