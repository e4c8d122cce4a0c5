//! From a field report to the draft of a scenario: text of `ip mptcp`, `ss` and `mptcp-get-debug`, and captures.
//!
//! The way of a report: [`text`] or [`packets`] makes [`seen::Seen`] of it, facts only; [`hosts`] picks the connections
//! of one pair of hosts; [`reenact`] finds the steps that would make the same happen, [`world`] the links; [`draft`]
//! writes YAML. What the report doesn't say is a [`notes::Notes`] entry, in the draft and on its own. Pure, and every
//! input is untrusted.

mod anonymise;
mod configuration;
mod draft;
mod endpoints;
mod expected;
mod hosts;
mod live;
mod logs;
mod notes;
mod packets;
mod reenact;
mod seen;
mod sockets;
mod steps;
mod text;
mod trace;
mod undetermined;
mod world;

use std::io::{self, Read};

use thiserror::Error;

/// The draft of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The scenario file.
    pub yaml: String,
    /// What was read, in a few words.
    pub summary: String,
    /// What the report doesn't determine: placeholders, guesses, and what is missing.
    pub undetermined: Vec<String>,
    /// What could not be read, and where reading ended.
    pub unread: Vec<String>,
}

/// Why there is no draft.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The input could not be read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// Nothing in it is known.
    #[error("it has neither a format nor a line that mptcplab knows")]
    Unknown,
    /// The format is known, but there is nothing about MPTCP in it.
    #[error("{summary}, but nothing about MPTCP to draft a scenario from")]
    Nothing {
        /// What was read.
        summary: String,
        /// What could not be read.
        unread: Vec<String>,
    },
}

/// Reads a report, and drafts a scenario from it.
pub fn import(mut input: impl Read + Send, anonymise: bool) -> Result<Draft, ImportError> {
    let mut start = Vec::new();
    (&mut input).take(64 << 10).read_to_end(&mut start)?;
    let is_capture = packets::is_capture(&start);
    let whole = start.as_slice().chain(input);
    let mut seen = if is_capture { packets::read(whole) } else { text::read(whole)? };
    if anonymise {
        anonymise::replace(&mut seen);
    }
    draft::of(seen)
}
