//! Results in a folder, which `compare` and `matrix` read.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::report::Printer;
use crate::results::Store;

use super::{Ended, Ending, Report};

/// `None` once it is finished.
struct Stored(Option<Store>);

/// The report, if it was requested.
pub(super) fn report<'a>(store: Option<Store>) -> Option<Box<dyn Report<'a> + 'a>> {
    Some(Box::new(Stored(Some(store?))))
}

impl Report<'_> for Stored {
    fn ended(&mut self, run: &Ended<'_>) -> Result<Option<PathBuf>, String> {
        let case = &run.case;
        let recording = case.run.map(|run| &run.recording);
        let stored =
            self.0.as_mut().map(|store| store.add(run.position, case.scenario, case.verdict, case.duration, recording));
        stored.transpose().map(|_| None).map_err(|error| error.to_string())
    }

    /// Only complete runs are stored as results.
    fn finish(&mut self, _printer: &mut Printer, ending: &Ending) -> Result<(), String> {
        let Some(store) = self.0.take() else { return Ok(()) };
        if ending.unwritten || ending.cut_short().is_some() {
            return Err("no results were stored: the run is not complete".to_owned());
        }
        store.finish(SystemTime::now(), ending.late_trouble.clone()).map(drop).map_err(|error| error.to_string())
    }
}
