//! Which of the scenarios run: `--filter` and `--partition`.

use std::num::NonZeroU64;
use std::str::FromStr;

use crate::digest::Digest;
use crate::scenario::model::Scenario;

/// `--partition K/N`: the K-th of N parts.
///
/// A scenario's part follows from its label alone (FNV-1a of its bytes, modulo N): other scenarios that come or go move
/// it nowhere, and it is the same on each machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partition {
    /// From 0.
    part: u64,
    of: NonZeroU64,
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(part, of)| {
            let (part, of) = (part.parse::<NonZeroU64>().ok()?, of.parse::<NonZeroU64>().ok()?);
            (part <= of).then_some(Self { part: part.get() - 1, of })
        });
        parsed.ok_or_else(|| "expected K/N, the K-th of N parts, like `1/4`".to_owned())
    }
}

impl Partition {
    pub(super) fn has(self, scenario: &Scenario) -> bool {
        Digest::new().bytes(scenario.label().as_bytes()).number() % self.of == self.part
    }
}

/// Whether the text is in the label or the title, in whatever case.
pub(super) fn matches(scenario: &Scenario, filter: &str) -> bool {
    let wanted = filter.to_lowercase();
    scenario.label().to_lowercase().contains(&wanted) || scenario.title.to_lowercase().contains(&wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::example;

    #[test]
    fn each_scenario_is_in_one_part() {
        let parts: Vec<Partition> = ["1/3", "2/3", "3/3"].map(|text| text.parse().unwrap()).to_vec();
        let mut sizes = [0; 3];
        for number in 0..100 {
            let scenario = Scenario { file: format!("scenarios/{number}.yaml").into(), ..example::scenario() };
            let having: Vec<usize> = (0..3).filter(|part| parts[*part].has(&scenario)).collect();
            assert_eq!(having.len(), 1);
            sizes[having[0]] += 1;
        }
        assert!(sizes.iter().all(|size| *size > 15), "{sizes:?}");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "1", "0/4", "5/4", "1/0", "-1/4", "a/b", "1/2/3"] {
            assert!(text.parse::<Partition>().is_err(), "{text}");
        }
    }
}
