//! One run in the results.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::judge::Verdict;
use crate::recording::Recording;
use crate::report::{RunReport, TransferRate};
use crate::scenario::model::Scenario;

/// One run in the results, with all that is still needed of it.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Row<'a> {
    pub(in crate::cli) scenario: &'a Scenario,
    /// The position of the scenario among all.
    pub(in crate::cli) position: usize,
    pub(in crate::cli) verdict: Verdict,
    pub(in crate::cli) duration: Duration,
    pub(in crate::cli) repetition: Option<(usize, Option<usize>)>,
    /// It was compared with its snapshot.
    pub(in crate::cli) compared: bool,
    pub(in crate::cli) rates: Vec<TransferRate>,
    /// What else there is to say of it.
    pub(in crate::cli) remark: Option<String>,
    /// Kept if its story is going to be told.
    pub(in crate::cli) recording: Option<Rc<Recording>>,
    /// Where more is to be found.
    pub(in crate::cli) evidence: Option<PathBuf>,
}

impl Row<'_> {
    /// For the renderings.
    pub(in crate::cli) fn report(&self) -> RunReport<'_> {
        let Self { scenario, verdict, duration, repetition, compared, rates, remark, .. } = self;
        let (duration, repetition, compared) = (*duration, *repetition, *compared);
        RunReport { scenario, verdict, duration, repetition, compared, rates, remark: remark.as_deref() }
    }

    /// It is neither a pass nor a skip.
    pub(in crate::cli) fn is_bad(&self) -> bool {
        matches!(self.verdict, Verdict::Failed(_) | Verdict::Error(_))
    }
}
