//! One run in the results.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::judge::{RuleCounts, Verdict};
use crate::recording::Recording;
use crate::report::{RunReport, TransferRate};
use crate::scenario::model::Scenario;

/// One run in the results, with what the reports still need.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Row<'a> {
    pub(in crate::cli) scenario: &'a Scenario,
    /// The position of the scenario among all.
    pub(in crate::cli) position: usize,
    pub(in crate::cli) verdict: Verdict,
    /// How much the rules of the reference decided.
    pub(in crate::cli) rules: Option<RuleCounts>,
    pub(in crate::cli) duration: Duration,
    pub(in crate::cli) repetition: Option<(usize, Option<usize>)>,
    /// It was compared with its snapshot.
    pub(in crate::cli) compared: bool,
    pub(in crate::cli) rates: Vec<TransferRate>,
    /// A remark about it.
    pub(in crate::cli) remark: Option<String>,
    /// Kept if its story will be printed.
    pub(in crate::cli) recording: Option<Rc<Recording>>,
    /// The folder with its evidence.
    pub(in crate::cli) evidence: Option<PathBuf>,
}

impl Row<'_> {
    /// For the renderings.
    pub(in crate::cli) fn report(&self) -> RunReport<'_> {
        let Self { scenario, verdict, rules, duration, repetition, compared, rates, remark, .. } = self;
        let (duration, repetition, compared) = (*duration, *repetition, *compared);
        let (rules, remark) = (rules.as_ref(), remark.as_deref());
        RunReport { scenario, verdict, rules, duration, repetition, compared, rates, remark }
    }

    /// It is neither a pass nor a skip.
    pub(in crate::cli) fn is_bad(&self) -> bool {
        matches!(self.verdict, Verdict::Failed(_) | Verdict::Error(_))
    }
}
