//! Tests of judging: a small run, written down by hand, that passes; and what must be found when it is changed.

mod accounted;
mod broken_rules;
mod calls;
mod canonical;
mod connections;
mod either;
mod event_lists;
mod expectations;
mod fallbacks;
mod fixture;
mod kernels;
mod missing;
mod nearest;
mod options;
mod paths;
mod reasons;
mod replies;
mod retransmitted;
mod robustness;
mod sequences;
mod shown;
mod snapshots;
mod stalls;
mod values;
mod verdicts;
