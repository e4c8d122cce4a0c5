//! Evidence: a folder for each of a scenario's first failing runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::evidence::ArtifactDir;

use super::super::args::RunArgs;
use super::{Ended, Report};

/// Evidence is kept for at most this many failing runs of a scenario.
const OF_EACH: usize = 3;

struct Evidence {
    folder: ArtifactDir,
    /// Number of runs with evidence, by scenario.
    kept: BTreeMap<usize, usize>,
}

/// The report, unless it was declined.
pub(super) fn report<'a>(args: &RunArgs) -> Option<Box<dyn Report<'a> + 'a>> {
    let folder = (!args.no_evidence).then(|| ArtifactDir::new(args.evidence.clone()))?;
    Some(Box::new(Evidence { folder, kept: BTreeMap::new() }))
}

impl Report<'_> for Evidence {
    fn ended(&mut self, run: &Ended<'_>) -> Result<Option<PathBuf>, String> {
        let kept = self.kept.entry(run.position).or_default();
        if !run.telling || *kept >= OF_EACH {
            return Ok(None);
        }
        *kept += 1;
        self.folder.keep(&run.case).map(Some).map_err(|error| error.to_string())
    }
}
