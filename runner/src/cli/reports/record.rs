//! Recordings in files.

use std::io;
use std::path::{Path, PathBuf};

use crate::files;
use crate::recording;
use crate::text;

use super::super::args::RunArgs;
use super::{Ended, Report};

/// Into the file, or into the folder by the scenario's label.
struct Record<'a>(&'a Path);

/// The report, if it was requested.
pub(super) fn report<'a>(args: &'a RunArgs) -> Option<Box<dyn Report<'a> + 'a>> {
    Some(Box::new(Record(args.record.as_deref()?)))
}

impl<'a> Report<'a> for Record<'a> {
    fn ended(&mut self, run: &Ended<'_>) -> Result<Option<PathBuf>, String> {
        let Some(ran) = run.case.run else { return Ok(None) };
        let name = format!("{}.jsonl", text::file_name(&run.case.scenario.label()));
        let path = if self.0.is_dir() { self.0.join(name) } else { self.0.to_owned() };
        files::write_named(&path, |out| recording::write(&ran.recording, out).map_err(io::Error::other))
            .map(|()| None)
            .map_err(|error| format!("can't write the recording to `{}`: {error}", path.display()))
    }
}
