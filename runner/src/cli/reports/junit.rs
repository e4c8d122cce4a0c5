//! JUnit's XML in a file.

use std::io::Write as _;
use std::path::Path;

use crate::files;
use crate::report::{Junit, Printer};
use crate::text;

use super::super::args::RunArgs;
use super::{Ending, Report, Row};

struct ToFile<'a> {
    path: &'a Path,
    junit: Junit,
}

/// The report, if it was requested.
pub(super) fn report<'a>(args: &'a RunArgs) -> Option<Box<dyn Report<'a> + 'a>> {
    let path = args.reports.junit.as_deref()?;
    Some(Box::new(ToFile { path, junit: Junit::default() }))
}

impl<'a> Report<'a> for ToFile<'a> {
    fn row(&mut self, _printer: &mut Printer, row: &Row<'a>) {
        let evidence = row.evidence.as_ref().map(|folder| folder.display().to_string());
        self.junit.add(&row.report(), evidence.as_deref());
    }

    fn finish(&mut self, _printer: &mut Printer, ending: &Ending) -> Result<(), String> {
        let mut junit = std::mem::take(&mut self.junit);
        if let Some(reason) = ending.cut_short() {
            let left_out = text::count(ending.totals.left_out as u64, "run");
            junit.add_error("the whole", &format!("{reason}: {left_out} not started"));
        }
        for line in &ending.late_trouble {
            junit.add_error("the kernel's log", line);
        }
        let written = junit.finish(ending.took).and_then(|xml| {
            files::write_named(self.path, |out| out.write_all(xml.as_bytes())).map_err(|error| error.to_string())
        });
        written.map_err(|error| format!("can't write the results to `{}`: {error}", self.path.display()))
    }
}
