//! Tests of judging: a small run, written down by hand, that passes; and what must be found when it is changed.

mod canonical;
mod expectations;
mod fixture;
mod kernels;
mod paths;
mod robustness;
mod sequences;
mod snapshots;
mod verdicts;
