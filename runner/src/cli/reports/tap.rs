//! TAP on standard output.

use crate::report::{Printer, TAP_VERSION, tap_bail_out, tap_comment, tap_plan, tap_test, tap_totals};

use super::super::args::RunArgs;
use super::{Ending, Report, Row, Scope};

struct Tap {
    /// The number of tests so far.
    tests: usize,
    planned: Option<usize>,
}

/// The report.
pub(super) fn report<'a>(args: &RunArgs, scope: Scope) -> Box<dyn Report<'a> + 'a> {
    // Without an end the number of tests is known only afterwards, and `--until-fail` may stop before it.
    Box::new(Tap { tests: 0, planned: scope.planned.filter(|_| !args.until_fail) })
}

impl<'a> Report<'a> for Tap {
    fn begin(&mut self, printer: &mut Printer) {
        printer.line(TAP_VERSION);
        if let Some(planned) = self.planned {
            printer.line(&tap_plan(planned));
        }
    }

    fn row(&mut self, printer: &mut Printer, row: &Row<'a>) {
        self.tests += 1;
        printer.line(&tap_test(self.tests, &row.report()));
        for remark in row.report().remarks() {
            printer.line(&tap_comment(&remark));
        }
        if let Some(folder) = &row.evidence {
            printer.line(&tap_comment(&format!("evidence: {}", folder.display())));
        }
    }

    fn finish(&mut self, printer: &mut Printer, ending: &Ending) -> Result<(), String> {
        ending.updates.iter().for_each(|line| printer.note(line));
        if self.planned.is_none() {
            printer.line(&tap_plan(self.tests));
        }
        let trouble = (!ending.late_trouble.is_empty()).then_some("the kernel reported a problem of its own");
        if let Some(reason) = ending.cut_short().or(trouble) {
            printer.line(&tap_bail_out(reason));
        }
        if ending.totals.stalled > 0 {
            printer.line(&tap_comment(&format!("errors because of a stall: {}", ending.totals.stalled)));
        }
        printer.line(&tap_totals(&ending.totals));
        printer.note(&ending.totals.line(ending.took, printer.style()));
        Ok(())
    }
}
