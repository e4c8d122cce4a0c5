//! The fields of path-manager events (kernel: `mptcp_event_*`, net/mptcp/pm_netlink.c).

use crate::mptcp::{EventKind, PmEvent};

use super::{Field, FieldKey, Form, Pattern, Seen, Snapshot, Table, Value, Wanted, address, number};

impl Table for PmEvent {
    fn fields() -> &'static [Field<Self>] {
        &EVENT_FIELDS
    }
}

/// What an event must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPattern {
    /// The kind.
    pub kind: EventKind,
    /// Its fields.
    pub fields: Pattern<PmEvent>,
}

impl EventPattern {
    /// Any event of this kind.
    pub fn of(kind: EventKind) -> Self {
        Self { kind, fields: Pattern::default() }
    }

    /// The connection that it is about, if that is asked for.
    pub fn connection(&self) -> Option<&str> {
        match self.fields.wanted("connection") {
            Some(Wanted::Text(name)) => Some(name),
            _ => None,
        }
    }

    /// Whether an event is like that. `connection` is the name of the connection that its token belongs to.
    pub fn matches(&self, event: &PmEvent, connection: Option<&str>) -> bool {
        self.kind == event.kind && self.fields.matches(Seen { what: event, connection, segment: None })
    }

    /// In which fields an event differs; `None` if it is of another kind.
    pub fn differences(&self, event: &PmEvent, connection: Option<&str>) -> Option<Vec<String>> {
        (self.kind == event.kind).then(|| {
            self.fields.differences(event_kinds(&[self.kind]), Seen { what: event, connection, segment: None })
        })
    }
}

impl std::fmt::Display for EventPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.kind.word(), self.fields.words(event_kinds(&[self.kind])))
    }
}

/// The bits of these kinds.
pub const fn event_kinds(kinds: &[EventKind]) -> u32 {
    let (mut bits, mut index) = (0, 0);
    while index < kinds.len() {
        bits |= 1_u32.wrapping_shl(kinds[index].number() as u32);
        index += 1;
    }
    bits
}

const OPENING: u32 = event_kinds(&[EventKind::Created, EventKind::Established]);
const SUBFLOW: u32 = event_kinds(&[EventKind::SubEstablished, EventKind::SubClosed, EventKind::SubPriority]);
const SUB_CLOSED: u32 = event_kinds(&[EventKind::SubClosed]);
const ANNOUNCED: u32 = event_kinds(&[EventKind::Announced]);
const REMOVED: u32 = event_kinds(&[EventKind::Removed]);
const LISTENER: u32 = event_kinds(&[EventKind::ListenerCreated, EventKind::ListenerClosed]);

const fn key(on: u32, word: &'static str, doc: &'static str) -> FieldKey {
    FieldKey { on, word, doc }
}

/// Each field of an event, in the order in which they are shown.
pub static EVENT_FIELDS: [Field<PmEvent>; 14] = [
    Field {
        word: "connection",
        form: Form::Connection,
        keys: &[key(!LISTENER, "connection", "The connection.")],
        get: |seen| seen.connection.map(Value::Text),
        snapshot: Snapshot::Apart,
        story: "",
    },
    Field {
        word: "local",
        form: Form::Address,
        keys: &[
            key(LISTENER, "address", "The address that it listens on."),
            key(OPENING | SUBFLOW, "local", "The local address, as this side sees it."),
            key(LISTENER, "local", "The address that it listens on; the same as `address`."),
        ],
        get: |seen| seen.what.local.map(address),
        snapshot: Snapshot::Apart,
        story: "",
    },
    Field {
        word: "local_port",
        form: Form::Port,
        keys: &[
            key(LISTENER, "port", "The port that it listens on."),
            key(OPENING | SUBFLOW, "local_port", "The local port."),
            key(LISTENER, "local_port", "The port that it listens on; the same as `port`."),
        ],
        get: |seen| seen.what.local_port.map(number),
        snapshot: Snapshot::Apart,
        story: "",
    },
    Field {
        word: "remote",
        form: Form::Address,
        keys: &[
            key(ANNOUNCED, "address", "The announced address."),
            key(OPENING | SUBFLOW, "remote", "The remote address, as this side sees it."),
            key(ANNOUNCED, "remote", "The announced address; the same as `address`."),
        ],
        get: |seen| seen.what.remote.map(address),
        snapshot: Snapshot::Apart,
        story: "",
    },
    Field {
        word: "remote_port",
        form: Form::Port,
        keys: &[
            key(ANNOUNCED, "port", "The announced port."),
            key(OPENING | SUBFLOW, "remote_port", "The remote port."),
            key(ANNOUNCED, "remote_port", "The announced port; the same as `port`."),
        ],
        get: |seen| seen.what.remote_port.map(number),
        snapshot: Snapshot::Apart,
        story: "",
    },
    Field {
        word: "local_id",
        form: Form::Octet,
        keys: &[key(OPENING | SUBFLOW, "local_id", "The local address ID.")],
        get: |seen| seen.what.local_id.map(number),
        snapshot: Snapshot::LocalId,
        story: "",
    },
    Field {
        word: "remote_id",
        form: Form::Octet,
        keys: &[
            key(ANNOUNCED, "id", "The announced address ID."),
            key(REMOVED, "id", "The removed address ID."),
            key(OPENING | SUBFLOW, "remote_id", "The remote address ID."),
            key(ANNOUNCED, "remote_id", "The announced address ID; the same as `id`."),
            key(REMOVED, "remote_id", "The removed address ID; the same as `id`."),
        ],
        get: |seen| seen.what.remote_id.map(number),
        snapshot: Snapshot::RemoteId,
        story: "",
    },
    Field {
        word: "backup",
        form: Form::Switch,
        keys: &[key(SUBFLOW, "backup", "Whether the peer asked for backup.")],
        get: |seen| seen.what.backup.map(|backup| Value::Switch(backup != 0)),
        snapshot: Snapshot::Shown,
        story: "backup",
    },
    Field {
        word: "dev",
        form: Form::Device,
        keys: &[key(SUBFLOW, "dev", "The interface that the subflow is bound to.")],
        get: |seen| seen.what.dev.as_deref().map(Value::Text),
        snapshot: Snapshot::Shown,
        story: "on device {}",
    },
    Field {
        word: "error",
        form: Form::Error,
        keys: &[key(SUBFLOW, "error", "The socket error: an errno, none, or any.")],
        get: |seen| Some(Value::Error(seen.what.error)),
        snapshot: Snapshot::UnlessRacing,
        story: "error {}",
    },
    Field {
        word: "reset_reason",
        form: Form::Octet,
        keys: &[key(SUB_CLOSED, "reset_reason", "The reason of a received MP_TCPRST, RFC 8684 section 3.6.")],
        get: |seen| seen.what.reset_reason.map(number),
        snapshot: Snapshot::UnlessRacing,
        story: "reset reason {}",
    },
    Field {
        word: "reset_flags",
        form: Form::Flags,
        keys: &[key(SUB_CLOSED, "reset_flags", "The flags of a received MP_TCPRST as a number; 1: transient.")],
        get: |seen| seen.what.reset_flags.map(number),
        snapshot: Snapshot::UnlessRacing,
        story: "reset flags {}",
    },
    Field {
        word: "server_side",
        form: Form::Switch,
        keys: &[key(OPENING, "server_side", "Whether this side accepted the connection.")],
        get: |seen| Some(Value::Switch(seen.what.server_side)),
        snapshot: Snapshot::Apart,
        story: "",
    },
    Field {
        word: "deny_join_id0",
        form: Form::Switch,
        keys: &[key(OPENING, "deny_join_id0", "Whether the peer forbids subflows to its initial address (the C bit).")],
        get: |seen| Some(Value::Switch(seen.what.deny_join_id0)),
        snapshot: Snapshot::Shown,
        story: "the peer forbids joins to its initial address",
    },
];

#[cfg(test)]
mod tests {
    use super::super::ErrorPattern;
    use super::*;

    /// An event with a value in each field that its kind can have.
    fn closed() -> PmEvent {
        PmEvent {
            local: Some([10, 0, 2, 2].into()),
            remote: Some("::ffff:10.0.1.1".parse().unwrap()),
            local_id: Some(1),
            error: Some(104),
            reset_reason: Some(6),
            reset_flags: Some(1),
            ..PmEvent::new(EventKind::SubClosed)
        }
    }

    fn asking(word: &str, wanted: Wanted) -> EventPattern {
        let fields = Pattern::default().and(word, wanted).unwrap();
        EventPattern { kind: EventKind::SubClosed, fields }
    }

    #[test]
    fn the_flags_of_a_reset_are_compared_and_shown() {
        let (wrong, right) = (asking("reset_flags", 2_u8.into()), asking("reset_flags", 1_u8.into()));
        assert!(right.matches(&closed(), None) && !wrong.matches(&closed(), None));
        assert_eq!(wrong.differences(&closed(), None).unwrap(), ["reset_flags 0x01 instead of 0x02"]);
        assert_eq!(wrong.to_string(), "sub_closed reset_flags 0x02");
        let without = PmEvent { reset_flags: None, ..closed() };
        assert_eq!(wrong.differences(&without, None).unwrap(), ["no reset_flags instead of 0x02"]);
        let shown: String = EVENT_FIELDS
            .iter()
            .map(|field| field.words(event_kinds(&[EventKind::SubClosed]), (&closed()).into()))
            .collect();
        assert!(shown.ends_with(" error ECONNRESET reset_reason 6 reset_flags 0x01"), "{shown}");
        let told: Vec<_> = EVENT_FIELDS.iter().filter_map(|field| field.told((&closed()).into())).collect();
        assert_eq!(told, ["error ECONNRESET", "reset reason 6", "reset flags 0x01"]);
    }

    #[test]
    fn each_form_is_compared_and_worded() {
        let ip = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
        for (word, right, wrong, difference, words) in [
            (
                "remote",
                ip("10.0.1.1").into(),
                ip("10.0.1.9").into(),
                "remote 10.0.1.1 instead of 10.0.1.9",
                " remote 10.0.1.9",
            ),
            ("local_id", 1_u8.into(), 2_u8.into(), "local_id 1 instead of 2", " local_id 2"),
            (
                "connection",
                "main".to_owned().into(),
                "other".to_owned().into(),
                "connection main instead of other",
                " connection other",
            ),
            ("server_side", false.into(), true.into(), "server_side false instead of true", " server_side"),
            ("deny_join_id0", false.into(), true.into(), "deny_join_id0 false instead of true", " deny_join_id0"),
            (
                "error",
                ErrorPattern::Any.into(),
                ErrorPattern::None.into(),
                "error ECONNRESET instead of none",
                " error none",
            ),
        ] {
            assert!(asking(word, right).matches(&closed(), Some("main")), "{word}");
            let wrong = asking(word, wrong);
            assert_eq!(wrong.differences(&closed(), Some("main")).unwrap(), [difference]);
            assert_eq!(wrong.fields.words(0), words);
        }
        let open = PmEvent { error: None, ..closed() };
        assert_eq!(
            asking("error", ErrorPattern::Any.into()).differences(&open, None).unwrap(),
            ["no error instead of any"]
        );
        assert_eq!(asking("backup", false.into()).to_string(), "sub_closed backup: no");
    }

    #[test]
    fn each_kind_has_a_key_for_each_of_its_fields() {
        for field in &EVENT_FIELDS {
            let mut words: Vec<_> = field.keys.iter().map(|key| (key.on, key.word)).collect();
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), field.keys.len(), "{field:?} has a key twice");
            assert!(field.keys.iter().any(|key| key.word == field.word), "{field:?} is no key");
            assert!(field.keys.iter().all(|key| key.doc.ends_with('.')), "{field:?}");
        }
    }
}
