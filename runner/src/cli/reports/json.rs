//! JSON on standard output, one line per run.

use crate::report::Printer;

use super::super::present::show_json;
use super::{Ending, Report, Row};

struct Json;

/// The report.
pub(super) fn report<'a>() -> Box<dyn Report<'a> + 'a> {
    Box::new(Json)
}

impl<'a> Report<'a> for Json {
    fn row(&mut self, printer: &mut Printer, row: &Row<'a>) {
        show_json(printer, &row.report());
    }

    fn finish(&mut self, printer: &mut Printer, ending: &Ending) -> Result<(), String> {
        ending.updates.iter().for_each(|line| printer.note(line));
        printer.note(&ending.totals.line(ending.took, printer.style()));
        Ok(())
    }
}
