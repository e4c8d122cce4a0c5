//! How the kernel routes what a subflow would send: [`RouteAnswer`].

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The kernel's answer to the question by which route a namespace would send (`RTM_GETROUTE`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteAnswer {
    /// The source address; `None`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// The device that the socket would be bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_to: Option<String>,
    /// The destination.
    pub to: IpAddr,
    /// The answer.
    pub answer: Routed,
}

/// By which device, or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Routed {
    /// It would leave by this device, with this source address.
    By {
        /// The name of the device.
        device: String,
        /// The source address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<IpAddr>,
    },
    /// The kernel refuses, with this errno: `ENETUNREACH`.
    Refused(String),
}
