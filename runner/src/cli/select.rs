//! Selecting scenarios: `--filter` and `--shard`.

use std::num::NonZeroU64;
use std::str::FromStr;

use crate::files::digest::Digest;
use crate::scenario::model::Scenario;

/// `--shard K/N`: shard K of N.
///
/// A scenario's shard depends on its label alone (FNV-1a of its bytes, modulo N): it is the same on every machine, and
/// stays when other scenarios come or go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shard {
    /// From 0.
    part: u64,
    of: NonZeroU64,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(part, of)| {
            let (part, of) = (part.parse::<NonZeroU64>().ok()?, of.parse::<NonZeroU64>().ok()?);
            (part <= of).then_some(Self { part: part.get() - 1, of })
        });
        parsed.ok_or_else(|| "expected K/N, shard K of N, like `1/4`".to_owned())
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.part + 1, self.of)
    }
}

impl Shard {
    pub(super) fn has(self, scenario: &Scenario) -> bool {
        Digest::new().bytes(scenario.label().as_bytes()).number() % self.of == self.part
    }
}

/// Whether label or title contain the text, or match it if it is a pattern. Case is ignored.
pub(super) fn matches(scenario: &Scenario, filter: &str) -> bool {
    let wanted = filter.to_lowercase();
    let fits = |text: &str| {
        let text = text.to_lowercase();
        if wanted.contains(['*', '?']) { glob(&wanted, &text) } else { text.contains(&wanted) }
    };
    fits(&scenario.label()) || fits(&scenario.title)
}

/// Whether a pattern matches a whole text. `*` is any text, slashes included; `?` is any character. The time is at most
/// proportional to the product of both lengths: after a mismatch only the last `*` takes one more character.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut in_text) = (0, 0);
    let mut star = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(letter) if *letter == '?' || text.get(in_text) == Some(letter) => {
                at += 1;
                in_text += 1;
            }
            _ => {
                let Some((before, taken)) = star else { return false };
                star = Some((before, taken + 1));
                (at, in_text) = (before + 1, taken + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::example;

    #[test]
    fn each_scenario_is_in_one_part() {
        let parts: Vec<Shard> = ["1/3", "2/3", "3/3"].map(|text| text.parse().unwrap()).to_vec();
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
    fn patterns_match_the_whole() {
        let yes =
            [("*", ""), ("a*", "a"), ("*/signal/*@ipv6", "s/signal/port@ipv6"), ("a?c", "abc"), ("*a*b", "xaxbxab")];
        let no =
            [("?", ""), ("a*", "ba"), ("*/signal/*@ipv6", "s/signal/port@ipv4"), ("a?c", "ac"), ("*a*b", "xaxbxa")];
        assert!(yes.iter().all(|(pattern, text)| glob(pattern, text)));
        assert!(no.iter().all(|(pattern, text)| !glob(pattern, text)));
        assert!(!glob(&"*a".repeat(500), &"a".repeat(5_000).replace("aaaa", "aaab")[..4_000]));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "1", "0/4", "5/4", "1/0", "-1/4", "a/b", "1/2/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
