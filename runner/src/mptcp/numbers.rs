//! The numbers of the kernel's netlink attributes, one table for each set (`include/uapi/linux/mptcp_pm.h`). Those of
//! events stand beside [`PmEvent`](super::PmEvent); commands and events have theirs in
//! [`PmCommand`](crate::netlink::pm::PmCommand) and [`EventKind`](super::EventKind). A test compares all of them with the
//! kernel's specification.

/// A kernel enumeration: variants with the kernel's number and name, and one for all other numbers.
macro_rules! kernel_enum {
    (
        $(#[$of_all:meta])*
        $name:ident {
            $($(#[$of_one:meta])* $variant:ident = $number:literal, $word:literal;)*
        }
        $(#[$of_others:meta])* else $other:ident
    ) => {
        $(#[$of_all])*
        pub enum $name {
            $($(#[$of_one])* $variant,)*
            $(#[$of_others])* $other(u8),
        }

        impl $name {
            /// All that have a name, with their number and their word.
            pub const ALL: &[(Self, u8, &str)] = &[$((Self::$variant, $number, $word)),*];

            /// The kernel's number.
            pub const fn number(self) -> u8 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::$other(number) => number,
                }
            }

            /// The one with the kernel's number.
            pub const fn from_number(number: u8) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    other => Self::$other(other),
                }
            }
        }
    };
}
pub(crate) use kernel_enum;

/// A set of kernel attributes: a constant for each, and a list with the kernel's names.
macro_rules! attributes {
    ($($(#[$doc:meta])* $set:ident { $($constant:ident = $number:literal, $name:literal;)* })*) => {
        $($(#[$doc])*
        pub(crate) mod $set {
            $(pub(crate) const $constant: u16 = $number;)*
            #[cfg(test)]
            pub(crate) const ALL: &[(u16, &str)] = &[$(($number, $name)),*];
        })*
    };
}

pub(crate) use attributes;

attributes! {
    /// An address nest, `MPTCP_PM_ADDR_ATTR_*`.
    address {
        FAMILY = 1, "family";
        ID = 2, "id";
        ADDR4 = 3, "addr4";
        ADDR6 = 4, "addr6";
        PORT = 5, "port";
        FLAGS = 6, "flags";
        IF_IDX = 7, "if-idx";
    }
    /// A request or reply, `MPTCP_PM_ATTR_*`.
    attr {
        ADDR = 1, "addr";
        RCV_ADD_ADDRS = 2, "rcv-add-addrs";
        SUBFLOWS = 3, "subflows";
        TOKEN = 4, "token";
        LOC_ID = 5, "loc-id";
        ADDR_REMOTE = 6, "addr-remote";
    }
    /// A subflow in a dump of sockets, `MPTCP_SUBFLOW_ATTR_*`.
    subflow_attribute {
        TOKEN_LOC = 2, "token-loc";
        FLAGS = 8, "flags";
        ID_REM = 9, "id-rem";
        ID_LOC = 10, "id-loc";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bitflags::Flags;

    use super::{address, attr, subflow_attribute};
    use crate::mptcp::event::{EventFlags, UNREAD_OF_EVENTS, event_attr};
    use crate::mptcp::{EndpointFlags, EventKind, INFO_FIELDS, SubflowFlags};
    use crate::netlink::pm::PmCommand;
    use crate::scenario::yaml::{Node, Value, parse};

    const SPECIFICATION: &str = include_str!("../../fixtures/netlink/mptcp_pm.yaml.txt");
    const HEADER: &str = include_str!("../../fixtures/netlink/mptcp.h.txt");

    /// What the kernel has and mptcplab deliberately doesn't read, with the reason, besides attributes of events.
    const UNREAD: [(&str, &str); 7] = [
        ("subflow-attribute token-rem", "the peer's token names no connection of this namespace"),
        ("subflow-attribute relwrite-seq", "moves with each segment; captures have the mappings"),
        ("subflow-attribute map-seq", "as relwrite-seq"),
        ("subflow-attribute map-sfseq", "as relwrite-seq"),
        ("subflow-attribute ssn-offset", "as relwrite-seq"),
        ("subflow-attribute map-datalen", "as relwrite-seq"),
        ("subflow-attribute pad", "alignment"),
    ];

    /// Names with their numbers, the set in front.
    type Numbers = BTreeMap<String, u64>;

    /// The specification as a tree. It has aliases for the lists of attributes, which are not looked at.
    fn specification() -> Node {
        let without = |line: &str| match line.split_once(": &").or_else(|| line.split_once(": *")) {
            Some((key, name)) if line.contains(": *") => format!("{key}: {name}\n"),
            Some((key, _)) => format!("{key}:\n"),
            None => format!("{line}\n"),
        };
        let mut found = Vec::new();
        let tree = parse(0, &SPECIFICATION.lines().map(without).collect::<String>(), &mut found);
        tree.unwrap_or_else(|| panic!("{found:?}"))
    }

    fn items(node: Option<&Node>) -> &[Node] {
        match node.map(|node| &node.value) {
            Some(Value::List(items)) => items,
            other => panic!("no list: {other:?}"),
        }
    }

    fn name(node: &Node) -> &str {
        node.get("name").and_then(Node::text).unwrap()
    }

    /// Numbers items as the kernel's ynl does: one without a `value` follows its predecessor.
    fn numbered(numbers: &mut Numbers, set: &str, items: &[Node]) {
        let mut next = 0;
        for item in items {
            let number = item.get("value").map_or(next, |value| value.text().unwrap().parse().unwrap());
            next = number + 1;
            if name(item) != "unspec" {
                numbers.insert(format!("{set} {}", name(item)), number);
            }
        }
    }

    /// What the kernel has.
    fn of_the_kernel() -> Numbers {
        let specification = specification();
        let mut numbers = Numbers::new();
        for definition in items(specification.get("definitions")) {
            numbered(&mut numbers, name(definition), items(definition.get("entries")));
        }
        for set in items(specification.get("attribute-sets")) {
            // An attribute's number begins at 1 unless its set has an unspec.
            let first = usize::from(name(items(set.get("attributes")).first().unwrap()) != "unspec");
            let mut of_set = Numbers::new();
            numbered(&mut of_set, name(set), items(set.get("attributes")));
            numbers.extend(of_set.into_iter().map(|(name, number)| (name, number + first as u64)));
        }
        let list = specification.get("operations").and_then(|operations| operations.get("list"));
        numbered(&mut numbers, "command", items(list));
        for line in HEADER.lines().filter(|line| !line.starts_with('#')) {
            let (name, number) = line.split_once(' ').unwrap();
            let name = name.replace("_FLAG_", " ").replace("mptcpi_", "mptcpi ");
            numbers.insert(name, number.parse().unwrap());
        }
        numbers
    }

    fn flags<F: Flags<Bits: Into<u64>>>(numbers: &mut Numbers, set: &str) {
        for flag in F::FLAGS.iter().filter(|flag| !flag.name().is_empty()) {
            let bits: u64 = flag.value().bits().into();
            numbers.insert(format!("{set} {}", flag.name()), u64::from(bits.trailing_zeros()));
        }
    }

    /// What mptcplab has.
    fn ours() -> Numbers {
        let mut numbers = Numbers::new();
        for (set, attributes) in [
            ("address", address::ALL),
            ("attr", attr::ALL),
            ("subflow-attribute", subflow_attribute::ALL),
            ("event-attr", event_attr::ALL),
            // The only attribute of this set is the first one of `attr`.
            ("endpoint", &attr::ALL[..1]),
        ] {
            numbers.extend(attributes.iter().map(|(number, name)| (format!("{set} {name}"), u64::from(*number))));
        }
        for (_, number, word) in EventKind::ALL {
            numbers.insert(format!("event-type {}", word.replace('_', "-")), u64::from(*number));
        }
        for (_, number, name) in PmCommand::ALL {
            numbers.insert(format!("command {name}"), u64::from(*number));
        }
        flags::<EndpointFlags>(&mut numbers, "MPTCP_PM_ADDR");
        flags::<EventFlags>(&mut numbers, "MPTCP_PM_EV");
        flags::<SubflowFlags>(&mut numbers, "MPTCP_SUBFLOW");
        numbers.extend([("MPTCP_INFO FALLBACK".to_owned(), 0), ("MPTCP_INFO REMOTE_KEY_RECEIVED".to_owned(), 1)]);
        let fields = INFO_FIELDS.iter().filter(|(name, ..)| *name != "fallback");
        numbers.extend(fields.map(|(field, most, ..)| {
            // A bool of the kernel's in a byte.
            let bits = if *field == "csum_enabled" { 8 } else { 64 - most.leading_zeros() };
            (format!("mptcpi {field}"), u64::from(bits))
        }));
        numbers
    }

    #[test]
    fn names_and_numbers_are_those_of_the_kernel() {
        let (kernel, ours) = (of_the_kernel(), ours());
        assert!(kernel.len() > 100, "{}", kernel.len());
        let missing: Vec<_> = kernel.iter().filter(|(name, _)| !ours.contains_key(*name)).collect();
        let all_unread: Vec<_> = UNREAD.iter().chain(UNREAD_OF_EVENTS).collect();
        let unread = |name: &str| all_unread.iter().any(|(unread, _)| *unread == name);
        assert!(missing.iter().all(|(name, _)| unread(name)), "the kernel has more: {missing:?}");
        assert_eq!(missing.len(), all_unread.len(), "read by now: {all_unread:?} but not {missing:?}");
        for (name, number) in ours {
            assert_eq!(kernel.get(&name), Some(&number), "{name}");
        }
    }
}
