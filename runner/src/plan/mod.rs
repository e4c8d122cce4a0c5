//! The Plan: what will be done to set a scenario up, in order, as data. Pure.

use crate::scenario::model::{Address, LinkEnd, Operation, Route};

/// One operation of the set-up.
#[derive(Debug, Clone)]
pub enum Setup {
    /// Make a network namespace, with `lo` up.
    Namespace {
        /// Its name.
        name: String,
    },
    /// Write a sysctl.
    Sysctl {
        /// The namespace.
        namespace: String,
        /// With dots.
        name: String,
        /// The text to write.
        value: String,
    },
    /// Make a veth pair, both ends in place, still down.
    Link {
        /// Its name.
        link: String,
        /// In bytes.
        mtu: Option<u32>,
        /// The two ends with what makes traces repeatable: interface index and MAC address.
        ends: [(LinkEnd, Hardware); 2],
    },
    /// Add an address, without duplicate address detection.
    Address {
        /// The namespace.
        namespace: String,
        /// The interface.
        device: String,
        /// The address.
        address: Address,
    },
    /// Set an interface up, and wait until it has a carrier.
    LinkUp {
        /// The namespace.
        namespace: String,
        /// The interface.
        device: String,
    },
    /// Limit what an interface sends (token bucket).
    Rate {
        /// The namespace.
        namespace: String,
        /// The interface.
        device: String,
        /// Bits per second.
        rate: u64,
    },
    /// Add a route.
    Route {
        /// The namespace.
        namespace: String,
        /// The route.
        route: Route,
    },
    /// Configure the path manager.
    Operation(Operation),
}

/// What makes an interface the same in each run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardware {
    /// The interface index in its namespace, from 2 (`lo` is 1). Different at the two ends of a link: the kernel
    /// notices a carrier up to a second late where they are equal (`linkwatch_urgent_event`,
    /// `net/core/link_watch.c`).
    pub index: u32,
    /// A locally administered MAC address.
    pub mac: [u8; 6],
}
