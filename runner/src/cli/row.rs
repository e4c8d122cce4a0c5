//! One run in the results.

use std::path::PathBuf;
use std::time::Duration;

use crate::judge::Verdict;
use crate::recording::Recording;
use crate::report::{RunReport, TransferRate};
use crate::scenario::model::Scenario;

/// One run in the results, with all that is still needed of it.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) scenario: &'a Scenario,
    /// The position of the scenario among all.
    pub(super) position: usize,
    pub(super) verdict: Verdict,
    pub(super) duration: Duration,
    pub(super) repetition: Option<(usize, Option<usize>)>,
    /// It was compared with its snapshot.
    pub(super) compared: bool,
    pub(super) rates: Vec<TransferRate>,
    /// What else there is to say of it.
    pub(super) remark: Option<String>,
    /// Kept if its story is going to be told.
    pub(super) recording: Option<Recording>,
    /// Where more is to be found.
    pub(super) evidence: Option<PathBuf>,
}

impl Row<'_> {
    /// For the renderings.
    pub(super) fn report(&self) -> RunReport<'_> {
        let Self { scenario, verdict, duration, repetition, compared, rates, remark, .. } = self;
        let (duration, repetition, compared) = (*duration, *repetition, *compared);
        RunReport { scenario, verdict, duration, repetition, compared, rates, remark: remark.as_deref() }
    }

    /// It is neither a pass nor a skip.
    pub(super) fn is_bad(&self) -> bool {
        matches!(self.verdict, Verdict::Failed(_) | Verdict::Error(_))
    }
}
