//! How far a run of many scenarios is, in one line for a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Style;
use super::style::Role;

/// How many characters the bar has.
const BAR: usize = 20;

/// The width for the names of running scenarios.
const NAMES: usize = 40;

/// How far it is.
#[derive(Debug, Default)]
pub struct Progress {
    /// How many runs there will be, if that is known.
    total: Option<usize>,
    finished: usize,
    failed: usize,
    /// Running scenarios, by the caller's key; the lowest started first.
    running: BTreeMap<usize, String>,
}

impl Progress {
    /// Nothing has begun.
    pub fn new(total: Option<usize>) -> Self {
        Self { total, ..Self::default() }
    }

    /// One more runs.
    pub fn begin(&mut self, key: usize, label: String) {
        self.running.insert(key, label);
    }

    /// It has ended.
    pub fn end(&mut self, key: usize, failed: bool) {
        self.running.remove(&key);
        self.finished += 1;
        self.failed += usize::from(failed);
    }

    /// `[=====>              ] 40/153, 1 failed, 16 running: signal/port@ipv6, …`
    pub fn line(&self, style: Style) -> String {
        let mut line = match self.total {
            Some(total) => {
                let filled = (self.finished.min(total) * BAR).checked_div(total).unwrap_or(BAR);
                let (done, rest) = ("━".repeat(filled), "─".repeat(BAR - filled));
                format!("{done}{rest} {}/{total}", self.finished)
            }
            None => format!("{} finished", self.finished),
        };
        if self.failed > 0 {
            // Writing to a String can't fail.
            let _ = write!(line, ", {}", style.paint(Role::Bad, format!("{} failed", self.failed)));
        }
        if !self.running.is_empty() {
            let _ = write!(line, ", {} running: {}", self.running.len(), self.names());
        }
        style.finish(line)
    }

    /// As many names as there is room for, but one at least.
    fn names(&self) -> String {
        let mut names = String::new();
        for label in self.running.values() {
            if names.is_empty() {
                names.extend(label.chars().take(NAMES));
            } else if names.chars().count() + label.chars().count() + 2 <= NAMES {
                names = format!("{names}, {label}");
            } else {
                names.push_str(", …");
                break;
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_up() {
        let style = Style { colour: false, unicode: true };
        let mut progress = Progress::new(Some(4));
        assert_eq!(progress.line(style), "──────────────────── 0/4");
        for (key, label) in ["signal/port", "subflow/ipv6", "a name that is much too long for this"].iter().enumerate()
        {
            progress.begin(key, (*label).to_owned());
        }
        assert_eq!(progress.line(style), "──────────────────── 0/4, 3 running: signal/port, subflow/ipv6, …");
        progress.end(0, false);
        progress.end(1, true);
        assert_eq!(
            progress.line(style),
            "━━━━━━━━━━────────── 2/4, 1 failed, 1 running: a name that is much too long for this"
        );
        assert!(progress.line(Style::default()).is_ascii());
    }

    #[test]
    fn without_an_end_there_is_no_bar() {
        let mut progress = Progress::new(None);
        progress.begin(7, "a".to_owned());
        progress.end(7, false);
        assert_eq!(progress.line(Style::default()), "1 finished");
    }
}
