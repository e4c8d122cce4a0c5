//! Endpoints and limits of the in-kernel path manager, as `ip mptcp endpoint` and `ip mptcp limits` show them.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

bitflags::bitflags! {
    /// The flags of an endpoint (`include/uapi/linux/mptcp.h`, `MPTCP_PM_ADDR_FLAG_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct EndpointFlags: u32 {
        /// Announced to each peer by ADD_ADDR.
        const SIGNAL = 1;
        /// Used as the source of an additional subflow.
        const SUBFLOW = 1 << 1;
        /// Subflows from it are created with the backup flag.
        const BACKUP = 1 << 2;
        /// With `SUBFLOW`: one subflow to each known address of the peer.
        const FULLMESH = 1 << 3;
        /// Created by the kernel itself for an address that a subflow uses; can't be requested.
        const IMPLICIT = 1 << 4;
        /// Source of one subflow towards an announced address (Linux 6.18).
        const LAMINAR = 1 << 5;
        /// Unknown bits are kept, too.
        const _ = !0;
    }
}

/// The names, in the order in which `ip mptcp endpoint show` prints them.
const NAMES: [(EndpointFlags, &str); 6] = [
    (EndpointFlags::SIGNAL, "signal"),
    (EndpointFlags::SUBFLOW, "subflow"),
    (EndpointFlags::BACKUP, "backup"),
    (EndpointFlags::FULLMESH, "fullmesh"),
    (EndpointFlags::IMPLICIT, "implicit"),
    (EndpointFlags::LAMINAR, "laminar"),
];

impl EndpointFlags {
    /// The flag of that name, as ip-mptcp(8) spells it.
    pub fn from_word(word: &str) -> Option<Self> {
        NAMES.iter().find(|(_, name)| *name == word).map(|(flag, _)| *flag)
    }

    /// The names of the flags that are set; unknown bits as one hexadecimal word, like `raw 0x40`.
    pub fn words(self) -> Vec<String> {
        let mut words: Vec<String> =
            NAMES.iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, name)| (*name).to_owned()).collect();
        let known = NAMES.iter().fold(0, |bits, (flag, _)| bits | flag.bits());
        let rest = self.bits() & !known;
        if rest != 0 {
            words.push(format!("raw {rest:#x}"));
        }
        words
    }
}

impl fmt::Display for EndpointFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}

impl Serialize for EndpointFlags {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bits().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EndpointFlags {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Self::from_bits_retain)
    }
}

/// One endpoint, as configured or as dumped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The address, exactly as given or dumped: the v4-mapped form is kept.
    pub address: IpAddr,
    /// The port of a signal endpoint with its own listener. Host byte order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// 1 to 255; `None` lets the kernel choose. Never 0 in a dump.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u8>,
    /// The flags.
    pub flags: EndpointFlags,
    /// The name of the device that subflows are bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
}

impl fmt::Display for Endpoint {
    /// The words of `ip mptcp endpoint show`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if let Some(port) = self.port {
            write!(f, " port {port}")?;
        }
        if let Some(id) = self.id {
            write!(f, " id {id}")?;
        }
        for word in self.flags.words() {
            write!(f, " {word}")?;
        }
        if let Some(dev) = &self.dev {
            write!(f, " dev {dev}")?;
        }
        Ok(())
    }
}

/// The limits of a namespace. Each side of a connection enforces its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// The maximum number of additional subflows of a connection, created and accepted together. The kernel's default
    /// is 2.
    pub subflows: u32,
    /// The maximum number of accepted ADD_ADDRs of a connection, which may become subflows. The kernel's default is 0.
    pub add_addr_accepted: u32,
}

impl Default for Limits {
    /// The limits of a new network namespace (`pm_nl_init_net`, net/mptcp/pm_kernel.c).
    fn default() -> Self {
        Self { subflows: 2, add_addr_accepted: 0 }
    }
}

impl fmt::Display for Limits {
    /// The words of `ip mptcp limits show`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "add_addr_accepted {} subflows {}", self.add_addr_accepted, self.subflows)
    }
}
