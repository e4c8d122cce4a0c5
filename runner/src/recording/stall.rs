//! What came late during a run, and how busy the machine was.

use serde::{Deserialize, Serialize};

/// What can come late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Stalled {
    /// The thread of the run: its applications didn't read and write meanwhile, and no step was taken.
    Run,
    /// The thread of a path: packets didn't go on.
    Path {
        /// The link.
        link: String,
    },
    /// A thread that only sleeps, on the processor of the run: what the kernel does there may have come late, too.
    Processor {
        /// Its number.
        number: usize,
    },
    /// A worker of the kernel, on the processor of the run: what the path manager leaves to it was done late.
    Worker {
        /// The processor's number.
        processor: usize,
    },
}

/// How busy the machine was during a run. Nanoseconds; `None` where the kernel doesn't tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Busy {
    /// Number of stalls that are not in the recording, because there were too many.
    #[serde(default)]
    pub left_out: u64,
    /// While some task of the machine waited for a processor (`/proc/pressure/cpu`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<u64>,
    /// In which the hypervisor gave the processors to others (`/proc/stat`, summed up over all of them).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stolen: Option<u64>,
    /// In which the process's control group was held back by its own limit (`cpu.stat`, summed up over all processors).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled: Option<u64>,
    /// How long the run took.
    pub of: u64,
}
