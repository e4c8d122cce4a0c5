//! What an expectation is about: the run up to a check step, or the whole run. Main type: [`Scope`].

use crate::judge::names::{Names, Taken};
use crate::judge::{Finding, FindingKind};
use crate::recording::{Moment, Observation, Side};
use crate::scenario::model::Place;

/// The part of a recording that an expectation looks at.
pub(super) struct Scope<'n, 'a> {
    /// The names of everything.
    pub(super) names: &'n Names<'a>,
    /// When counters, endpoints and limits were taken.
    pub(super) moment: Moment,
    /// When sockets were taken.
    pub(super) sockets: Moment,
    /// Entries from here on are not looked at.
    pub(super) until: usize,
    /// `at the end`, or `in step 5`.
    pub(super) when: String,
}

impl<'n, 'a> Scope<'n, 'a> {
    /// The whole run.
    pub(super) fn of_run(names: &'n Names<'a>) -> Self {
        Self {
            names,
            moment: Moment::End,
            sockets: Moment::BeforeClose,
            until: names.recording().entries.len(),
            when: "at the end".to_owned(),
        }
    }

    /// The run up to the end of a check step; `None` if that step is not in the recording.
    pub(super) fn of_check(names: &'n Names<'a>, step: usize) -> Option<Self> {
        Some(Self {
            names,
            moment: Moment::Check(step),
            sockets: Moment::Check(step),
            until: *names.index().finished.get(&step)?,
            when: format!("in step {}", step.saturating_add(1)),
        })
    }

    /// What was taken at the scope's moment, found by `select`. The last one counts.
    pub(super) fn taken<T>(&self, select: impl Fn(&'a Observation, &Moment) -> Option<T>) -> Option<T> {
        self.names.recording().entries.iter().rev().find_map(|entry| select(&entry.what, &self.moment))
    }

    /// The sockets of one side of a connection at the scope's moment: right before the connection was closed for the
    /// last time, if it is the whole run.
    pub(super) fn sockets_of(&self, connection: &str, side: Side) -> Option<Taken<'a>> {
        self.names.sockets_at(connection, side, &self.sockets)
    }

    /// Why programs have no open connection of that name at the scope's moment, in words; `None`: it isn't one of theirs.
    pub(super) fn not_open(&self, connection: &str) -> Option<&'static str> {
        let declared = &self.names.scenario().connections;
        declared.iter().find(|declared| declared.name == connection)?;
        let made = self.names.index().connected.get(connection).is_some_and(|(at, _)| *at < self.until);
        Some(if made { "no MPTCP socket of it is open any more" } else { "no program has made it yet" })
    }

    /// The time of the last entry in scope.
    pub(super) fn at(&self) -> Option<u64> {
        self.names.recording().entries.get(self.until.checked_sub(1)?).map(|entry| entry.at)
    }

    /// A difference from the expectation at that place.
    pub(super) fn finding(&self, kind: FindingKind, place: Place, summary: impl Into<String>) -> Finding {
        Finding::new(kind, summary).placed(place).at(self.at())
    }

    /// The recording lacks what the expectation needs, so it can't pass.
    pub(super) fn missing(&self, what: &str, place: Place) -> Finding {
        let summary = format!("{what} {}: not in the recording", self.when);
        Finding::new(FindingKind::Incomplete, summary).placed(place)
    }
}
