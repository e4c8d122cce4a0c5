//! What a scenario says about its snapshot.

use super::super::read::snapshot::Sections;
use super::super::record::record;
use super::super::scalar::Line;

record! {
    /// Sections of the snapshot that a scenario leaves out.
    #[derive(PartialEq, Eq)]
    LeftOut as "snapshot", "`snapshot`" {
        /// Some, never all.
        sections: need Sections = "without",
            "Sections that the snapshot leaves out because they differ from run to run.";
        because: need Line = "because", "Why they differ; the snapshot file repeats it.";
    }
}

/// The sections of a snapshot, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SnapshotSection {
    /// What became of each connection.
    Connections,
    /// The events of each namespace.
    Events,
    /// The MPTCP options of each subflow.
    Wire,
    /// What the rules of paths did.
    Rules,
    /// The counters of each namespace.
    Counters,
    /// The subflows of each connection, right before it is closed.
    Subflows,
    /// The `MPTCP_INFO` of each connection, right before it is closed.
    Info,
    /// The endpoints of each namespace.
    Endpoints,
    /// The limits of each namespace.
    Limits,
}

impl SnapshotSection {
    /// All of them, in their order.
    pub const ALL: [Self; 9] = [
        Self::Connections,
        Self::Events,
        Self::Wire,
        Self::Rules,
        Self::Counters,
        Self::Subflows,
        Self::Info,
        Self::Endpoints,
        Self::Limits,
    ];

    /// Their words, in the same order.
    pub const WORDS: [&str; 9] = {
        let mut words = [""; 9];
        let mut index = 0;
        while index < words.len() {
            words[index] = Self::ALL[index].word();
            index += 1;
        }
        words
    };

    /// The word in scenarios.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Events => "events",
            Self::Wire => "wire",
            Self::Rules => "rules",
            Self::Counters => "counters",
            Self::Subflows => "subflows",
            Self::Info => "info",
            Self::Endpoints => "endpoints",
            Self::Limits => "limits",
        }
    }
}
