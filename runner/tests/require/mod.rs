//! What becomes of a test that can't run here: it is *ignored*, with the reason, unless `MPTCPLAB_REQUIRE` says that it
//! must run.
//!
//! `MPTCPLAB_REQUIRE=all` turns each ignored test into a failure. Exceptions follow, after commas: `all,-netem` excuses a
//! test whose reason has the word `netem`, `all,-kernel` excuses each test that needs a feature which the running kernel
//! was found to lack.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::LazyLock;

use libtest_mimic::{Completion, Failed};

/// How a test ends.
pub type Outcome = Result<Completion, Failed>;

/// Where what is missing would have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// In the running kernel: a feature.
    Kernel,
    /// On this machine: a tool, a right.
    Machine,
}

/// What must run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Require {
    /// Nothing: what can't run is ignored.
    Nothing,
    /// Everything, with these exceptions.
    All(Vec<String>),
    /// A value that means nothing: no test is to pass by a typing error.
    Unknown(String),
}

impl Require {
    /// What the environment variable says; empty if it isn't there.
    pub fn parse(text: &str) -> Self {
        let mut words = text.split(',');
        match words.next() {
            Some("") if text.is_empty() => Self::Nothing,
            Some("all") => words
                .map(|word| word.strip_prefix('-').filter(|word| !word.is_empty()).map(str::to_owned))
                .collect::<Option<_>>()
                .map_or_else(|| Self::Unknown(text.to_owned()), Self::All),
            _ => Self::Unknown(text.to_owned()),
        }
    }

    /// Ends a test that can't run for want of something.
    pub fn lacking(&self, lack: Lack, reason: &str) -> Outcome {
        // The reason stands behind the test's name, where there is one line.
        let reason = reason.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        match self {
            Self::Nothing => Ok(Completion::ignored_with(reason)),
            Self::All(exceptions) if exceptions.iter().any(|word| excuses(word, lack, &reason)) => {
                Ok(Completion::ignored_with(reason))
            }
            Self::All(_) => Err(format!("can't run, and MPTCPLAB_REQUIRE says that it must: {reason}").into()),
            Self::Unknown(text) => {
                Err(format!("MPTCPLAB_REQUIRE is `{text}`; expected `all`, `all,-kernel` or `all,-WORD`").into())
            }
        }
    }
}

fn excuses(word: &str, lack: Lack, reason: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-');
    (word == "kernel" && lack == Lack::Kernel) || reason.split(|character| !is_part(character)).any(|part| part == word)
}

/// By the environment.
pub static REQUIRE: LazyLock<Require> =
    LazyLock::new(|| Require::parse(&std::env::var("MPTCPLAB_REQUIRE").unwrap_or_default()));

/// Ends a test that needs a feature which this kernel was found to lack.
pub fn kernel_lacks(reason: &str) -> Outcome {
    REQUIRE.lacking(Lack::Kernel, reason)
}

/// Ends a test that needs something which isn't installed, or isn't allowed.
pub fn machine_lacks(reason: &str) -> Outcome {
    REQUIRE.lacking(Lack::Machine, reason)
}

/// What is required is never ignored; exceptions excuse what they name and nothing else.
pub fn required_tests_are_never_ignored() {
    let ends = |require: &str, lack, reason: &str| match Require::parse(require).lacking(lack, reason) {
        Ok(Completion::Ignored { reason }) => reason.unwrap_or_default(),
        Ok(Completion::Completed) => "passed".to_owned(),
        Err(failed) => format!("failed: {}", failed.message().unwrap_or_default()),
    };
    let must = "failed: can't run, and MPTCPLAB_REQUIRE says that it must: ";
    for lack in [Lack::Kernel, Lack::Machine] {
        assert_eq!(ends("", lack, "no\n  cpio"), "no cpio");
        assert_eq!(ends("all", lack, "no\n  cpio"), format!("{must}no cpio"));
        assert_eq!(ends("all,-netem,-cpio", lack, "no cpio"), "no cpio");
        assert_eq!(ends("all,-cpi", lack, "no cpio"), format!("{must}no cpio"));
        for typing_error in ["al", "all,cpio", "all,-", ",", "cpio"] {
            assert!(ends(typing_error, lack, "no cpio").starts_with("failed: MPTCPLAB_REQUIRE is"), "{typing_error}");
        }
    }
    assert_eq!(ends("all,-kernel", Lack::Kernel, "needs `laminar`"), "needs `laminar`");
    assert_eq!(ends("all,-laminar", Lack::Kernel, "needs `laminar`"), "needs `laminar`");
    assert_eq!(ends("all,-kernel", Lack::Machine, "no cpio"), format!("{must}no cpio"));
}
