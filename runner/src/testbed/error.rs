//! What can go wrong with a testbed.

use thiserror::Error;

use crate::netlink::NetlinkError;
use crate::recording::Contradiction;

use super::NamespaceError;
use super::sysctl::SysctlError;

/// What can go wrong when a testbed is built or changed.
#[derive(Debug, Error)]
pub enum TestbedError {
    /// A namespace can't be created or entered.
    #[error("namespace {name}: {source}")]
    Namespace {
        /// Its name.
        name: String,
        /// What happened.
        source: NamespaceError,
    },
    /// There is no such namespace.
    #[error("no namespace {name}; expected one of: {known}")]
    UnknownNamespace {
        /// Its name.
        name: String,
        /// The existing names.
        known: String,
    },
    /// A request over netlink failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A sysctl can't be set.
    #[error("{source} (in {namespace})")]
    Sysctl {
        /// The namespace.
        namespace: String,
        /// What happened.
        source: SysctlError,
    },
    /// A rate too low for a token bucket.
    #[error("limit {device} in {namespace} to {rate} bit/s: the minimum is 8 bit/s")]
    Rate {
        /// The namespace.
        namespace: String,
        /// The interface.
        device: String,
        /// Bits per second.
        rate: u64,
    },
    /// The kernel accepted the request to switch an offload off, but it is still on.
    #[error("ethtool -K {device} {offload} off in {namespace}: the kernel accepted it, but the offload is still on")]
    OffloadStays {
        /// The namespace.
        namespace: String,
        /// The interface.
        device: String,
        /// As ethtool(8) calls it.
        offload: &'static str,
    },
    /// An offload can't be switched off.
    #[error("ethtool -K {device} {offload} off in {namespace}: {source}")]
    Offload {
        /// The namespace.
        namespace: String,
        /// The interface.
        device: String,
        /// As ethtool(8) calls it.
        offload: &'static str,
        /// What happened.
        source: std::io::Error,
    },
    /// The kernel acknowledged everything, but the configuration isn't the requested one.
    #[error("the configuration read back in {namespace} isn't the one requested:\n  {}", told(differences, held.as_deref()))]
    Differs {
        /// The namespace.
        namespace: String,
        /// One sentence each.
        differences: Vec<String>,
        /// What delayed the kernel, if anything did.
        held: Option<String>,
    },
}

fn told(differences: &[String], held: Option<&str>) -> String {
    differences.iter().map(String::as_str).chain(held).collect::<Vec<_>>().join("\n  ")
}

impl TestbedError {
    /// The contradiction, if what the kernel shows contradicts what it answered; the error itself otherwise.
    ///
    /// # Errors
    ///
    /// It is another one.
    pub fn into_contradiction(self) -> Result<Contradiction, Self> {
        Ok(match self {
            // A delayed kernel may just be late.
            Self::Differs { namespace, differences, held: None } => Contradiction {
                asked: format!("configure the links, addresses and routes of {namespace}"),
                answered: "an ACK to each request".to_owned(),
                shown: differences,
            },
            Self::Sysctl { namespace, source: SysctlError::Differs { name, value, read } } => Contradiction {
                asked: format!("set sysctl {name}={value} in {namespace}"),
                answered: "success".to_owned(),
                shown: vec![format!("it reads {read}")],
            },
            Self::OffloadStays { namespace, device, offload } => Contradiction {
                asked: format!("ethtool -K {device} {offload} off in {namespace}"),
                answered: "success".to_owned(),
                shown: vec!["the offload is on".to_owned()],
            },
            other => return Err(other),
        })
    }

    /// The symbolic errno of the kernel's refusal (`EEXIST`), if it is one.
    pub fn symbol(&self) -> Option<String> {
        match self {
            Self::Netlink(error) => error.refusal().map(crate::netlink::Refusal::symbol),
            Self::Sysctl { source, .. } => source.symbol(),
            _ => None,
        }
    }

    /// The kernel's own words for its refusal, if it had any.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Netlink(error) => error.refusal().and_then(|refusal| refusal.message.as_deref()),
            _ => None,
        }
    }
}
