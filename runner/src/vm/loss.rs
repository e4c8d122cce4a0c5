//! How a guest was lost, in words: [`Loss`].

use std::borrow::Cow;
use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use crate::recording::trouble_in;
use crate::text::{self, printable};

/// Number of console lines to show.
const SHOWN: usize = 40;

/// Maximum length of a kernel line (`PRINTKRB_RECORD_MAX`, kernel/printk/internal.h). Other writers have no limit.
const LONGEST_LINE: usize = 1024;

/// The loss of a guest.
#[derive(Debug)]
pub struct Loss {
    /// What happened.
    pub cause: Cause,
    /// The kernel's release, if its init started.
    pub release: Option<String>,
    /// The kind of machine.
    pub words: &'static str,
    /// The last lines of the console.
    pub console: Vec<String>,
    /// What it was doing.
    pub subjects: Vec<String>,
    /// Standard error of the machine's program, such as QEMU's errors.
    pub complaints: String,
}

/// What happened to a guest.
#[derive(Debug)]
pub enum Cause {
    /// The machine could not be started.
    NotStarted(String),
    /// The kernel panicked.
    Panicked,
    /// The guest was silent for this long.
    Silent(Duration),
    /// The time limit has passed.
    TimeOut(Duration),
    /// The machine ended; its exit status.
    Gone(Option<ExitStatus>),
    /// The guest sent invalid data.
    Garbled(String),
}

impl Loss {
    pub(super) fn of(cause: Cause) -> Self {
        Self {
            cause,
            release: None,
            words: "no machine",
            console: Vec::new(),
            subjects: Vec::new(),
            complaints: String::new(),
        }
    }

    /// Whether the time limit has passed.
    pub fn is_time_out(&self) -> bool {
        matches!(self.cause, Cause::TimeOut(_))
    }

    /// Whether the kernel itself failed after it had booted, rather than the host or mptcplab.
    pub fn is_the_kernels(&self) -> bool {
        let crashed = match &self.cause {
            Cause::Panicked | Cause::Silent(_) => true,
            // Nothing killed it: the processor reset (a triple fault), or the kernel did.
            Cause::Gone(Some(status)) => status.signal().is_none(),
            _ => false,
        };
        crashed && self.release.is_some()
    }

    /// What happened, in a few words.
    pub fn reason(&self) -> String {
        let complaint = self.complaints.lines().map(str::trim).find(|line| !line.is_empty());
        let complaint = complaint.map(|complaint| format!(": {}", printable(complaint))).unwrap_or_default();
        match &self.cause {
            Cause::NotStarted(reason) | Cause::Garbled(reason) => reason.clone(),
            Cause::Panicked => match self.console.iter().find(|line| line.contains("Kernel panic")) {
                Some(line) => format!("the kernel panicked: {}", beginning(line.trim_start())),
                None => "the kernel panicked".to_owned(),
            },
            Cause::Silent(limit) if self.release.is_some() => {
                format!("the guest was silent for {} s: it is locked up", limit.as_secs())
            }
            Cause::Silent(limit) => format!("no sign of life within {} s{complaint}", limit.as_secs()),
            Cause::TimeOut(limit) => format!("the time limit of {} s has passed", limit.as_secs()),
            Cause::Gone(status) => match status.and_then(|status| status.signal()) {
                Some(signal) => format!("the machine was killed by signal {signal}{complaint}"),
                None if self.release.is_some() => format!("the machine reset itself{complaint}"),
                None => format!("the machine ended{complaint}"),
            },
        }
    }

    /// What was on the console, for the log.
    pub(super) fn console_text(&self) -> String {
        if self.console.is_empty() { String::new() } else { format!("--- console\n{}\n", self.console.join("\n")) }
    }

    /// The most telling lines of the console: from the first problem on, or the last ones.
    fn telling(&self) -> &[String] {
        let from = self.console.iter().position(|line| trouble_in(line).is_some());
        let from = from.unwrap_or(self.console.len().saturating_sub(SHOWN));
        let to = self.console.len().min(from + SHOWN);
        self.console.get(from..to).unwrap_or_default()
    }
}

/// A summary line, then lines of the console.
impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.cause, &self.release) {
            (Cause::NotStarted(reason), _) => write!(f, "can't start the machine: {reason}")?,
            (_, None) => write!(f, "the kernel doesn't boot ({}): {}", self.words, self.reason())?,
            (_, Some(release)) => write!(f, "Linux {release} was lost ({}): {}", self.words, self.reason())?,
        }
        if self.subjects.len() > 1 {
            write!(f, "\n{} runs were active, and any of them may be the cause:", self.subjects.len())?;
            for subject in &self.subjects {
                write!(f, " {}", printable(subject))?;
            }
            write!(f, "; find it with `-j 1`")?;
        }
        for line in self.telling() {
            write!(f, "\n{}", beginning(line))?;
        }
        Ok(())
    }
}

/// The line, or its beginning and the length of the rest.
fn beginning(line: &str) -> Cow<'_, str> {
    match line.char_indices().nth(LONGEST_LINE) {
        None => line.into(),
        Some((end, _)) => {
            let (shown, hidden) = line.split_at(end);
            format!("{shown}… and {}", text::count(hidden.chars().count() as u64, "more character")).into()
        }
    }
}
