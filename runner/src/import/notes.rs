//! What could not be read, and what is not determined: in words, and not without end.

use std::collections::BTreeSet;

use crate::text;

/// The most lines of one kind that are told.
const MOST: usize = 20;

/// What could not be read of a report.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// Where, and why: that may contain parts of the report.
    lines: Vec<(String, String)>,
    more: u64,
    end: Option<String>,
}

impl Unread {
    /// A part that could not be read; reading went on.
    pub(super) fn add(&mut self, what: impl Into<String>, why: impl Into<String>) {
        if self.lines.len() < MOST { self.lines.push((what.into(), why.into())) } else { self.more += 1 }
    }

    /// Reading ended here. The first reason counts.
    pub(super) fn ended(&mut self, what: String) {
        self.end.get_or_insert(what);
    }

    /// All of it; without parts of the report if nobody may see them.
    pub(super) fn lines(&self, anonymous: bool) -> Vec<String> {
        let more = (self.more > 0).then(|| format!("{} more", text::count(self.more, "part")));
        let lines = self
            .lines
            .iter()
            .map(|(what, why)| if anonymous || why.is_empty() { what.clone() } else { format!("{what}: {why}") });
        lines.chain(more).chain(self.end.clone()).map(|line| text::one_line(&line)).collect()
    }
}

/// What the report doesn't determine: each thing once, in the order in which it came up.
#[derive(Debug, Default)]
pub(super) struct Notes {
    lines: Vec<String>,
    known: BTreeSet<String>,
    more: u64,
}

impl Notes {
    /// Adds something.
    pub(super) fn add(&mut self, what: impl Into<String>) {
        let what = what.into();
        if self.known.len() < 2 * MOST && self.known.insert(what.clone()) {
            self.lines.push(what);
        } else if !self.known.contains(&what) {
            self.more += 1;
        }
    }

    /// All of them.
    pub(super) fn lines(self) -> Vec<String> {
        let more = (self.more > 0).then(|| format!("{} more", text::count(self.more, "thing")));
        self.lines.into_iter().chain(more).collect()
    }
}
