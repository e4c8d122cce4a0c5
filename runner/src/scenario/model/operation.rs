//! Changes of the configuration: endpoints, limits, links, addresses, routes, packet filters, and what a userspace path
//! manager tells the kernel. Main type: [`Operation`].

use std::net::IpAddr;

use crate::mptcp::Endpoint;

use super::{Address, Route};

/// Which endpoints an operation is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhichEndpoints {
    /// By id; id 0 goes with the address of the first subflow.
    Id {
        /// 0 to 255.
        id: u8,
        /// Only with id 0.
        address: Option<IpAddr>,
    },
    /// By address and port.
    Address {
        /// The address.
        address: IpAddr,
        /// The port of a signal endpoint with one.
        port: Option<u16>,
    },
    /// Each one that the namespace has at that moment, one after the other, in the order of the dump. After each
    /// deletion the runner waits until the peer has processed the REMOVE_ADDR, where there is one: the kernel has
    /// a single slot for it.
    All,
}

/// The flags of `ip mptcp endpoint change`. The kernel overwrites both properties each time
/// (`mptcp_pm_nl_set_flags`, net/mptcp/pm_kernel.c): what is not set is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlagChange {
    /// backup / nobackup.
    pub backup: bool,
    /// fullmesh / nofullmesh.
    pub fullmesh: bool,
}

/// The token that a userspace path manager's command bears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenChoice {
    /// That of the connection, on the side of the namespace.
    Connection(String),
    /// This number.
    Number(u32),
}

/// A change of the configuration. What the kernel accepts is read back and compared.
#[derive(Debug, Clone)]
pub enum Operation {
    /// `ip mptcp endpoint add`
    AddEndpoint {
        /// The namespace.
        namespace: String,
        /// What to add.
        endpoint: Endpoint,
    },
    /// `ip mptcp endpoint delete`
    DeleteEndpoint {
        /// The namespace.
        namespace: String,
        /// Which.
        which: WhichEndpoints,
    },
    /// `ip mptcp endpoint change`
    ChangeEndpoint {
        /// The namespace.
        namespace: String,
        /// Which.
        which: WhichEndpoints,
        /// To what.
        change: FlagChange,
    },
    /// `ip mptcp endpoint flush`
    FlushEndpoints {
        /// The namespace.
        namespace: String,
    },
    /// `ip mptcp limits set`; an absent value is left as it is.
    SetLimits {
        /// The namespace.
        namespace: String,
        /// SUBFLOW_NR
        subflows: Option<u32>,
        /// ADD_ADDR_ACCEPTED_NR
        add_addr_accepted: Option<u32>,
    },
    /// `sysctl -w`
    SetSysctl {
        /// The namespace.
        namespace: String,
        /// With dots.
        name: String,
        /// The text to write.
        value: String,
    },
    /// `ip link set up` or `down`
    SetLink {
        /// The namespace.
        namespace: String,
        /// The interface.
        device: String,
        /// `true`: up.
        up: bool,
    },
    /// `ip address add`
    AddAddress {
        /// The namespace.
        namespace: String,
        /// The interface.
        device: String,
        /// The address.
        address: Address,
    },
    /// `ip address delete`
    DeleteAddress {
        /// The namespace.
        namespace: String,
        /// The interface.
        device: String,
        /// The address.
        address: Address,
    },
    /// `ip route add`
    AddRoute {
        /// The namespace.
        namespace: String,
        /// The route.
        route: Route,
    },
    /// `ip route delete`
    DeleteRoute {
        /// The namespace.
        namespace: String,
        /// The route.
        route: Route,
    },
    /// Userspace path manager: ANNOUNCE.
    Announce {
        /// The namespace.
        namespace: String,
        /// The connection.
        token: TokenChoice,
        /// Address, id, port, device.
        endpoint: Endpoint,
    },
    /// Userspace path manager: REMOVE.
    RemoveAddress {
        /// The namespace.
        namespace: String,
        /// The connection.
        token: TokenChoice,
        /// The address id.
        id: u8,
    },
    /// Userspace path manager: SUBFLOW_CREATE.
    CreateSubflow {
        /// The namespace.
        namespace: String,
        /// The connection.
        token: TokenChoice,
        /// Address, id, flags (backup), device.
        endpoint: Endpoint,
        /// The peer's address.
        remote: IpAddr,
        /// The peer's port; `None`: the server's port of the first subflow.
        remote_port: Option<u16>,
    },
    /// Userspace path manager: SUBFLOW_DESTROY. Ports that are not given are looked up in the subflow set.
    DestroySubflow {
        /// The namespace.
        namespace: String,
        /// The connection.
        token: TokenChoice,
        /// The local address.
        local: IpAddr,
        /// The local port.
        local_port: Option<u16>,
        /// The peer's address.
        remote: IpAddr,
        /// The peer's port.
        remote_port: Option<u16>,
    },
    /// Userspace path manager: SET_FLAGS with a token (MP_PRIO on one subflow).
    SetSubflowBackup {
        /// The namespace.
        namespace: String,
        /// The connection.
        token: TokenChoice,
        /// The local address.
        local: IpAddr,
        /// The peer's address.
        remote: IpAddr,
        /// To what.
        backup: bool,
    },
    /// GET_ADDR for one endpoint, which must be there; with a token: of a connection.
    GetEndpoint {
        /// The namespace.
        namespace: String,
        /// The connection.
        token: Option<TokenChoice>,
        /// The id.
        id: u8,
    },
    /// Installs a packet filter (nf_tables).
    AddFilter(Filter),
    /// Removes it.
    RemoveFilter {
        /// The namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// A packet filter for TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Its name, unique in the namespace.
    pub name: String,
    /// The namespace.
    pub namespace: String,
    /// Where.
    pub hook: FilterHook,
    /// Only from this address.
    pub from: Option<IpAddr>,
    /// Only to this address.
    pub to: Option<IpAddr>,
    /// Only through this interface.
    pub device: Option<String>,
    /// Only segments that carry an MPTCP option of this subtype; `Some(None)`: any MPTCP option.
    pub option: Option<Option<u8>>,
    /// Only segments with at least so many payload bytes.
    pub min_payload: Option<u16>,
    /// Only the n-th segment that all of the above match, from 1.
    pub nth: Option<u32>,
    /// What happens to them.
    pub action: FilterAction,
    /// It is no error if it never matches.
    pub may_be_unused: bool,
}

/// Where a filter looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterHook {
    /// Segments for this namespace.
    Input,
    /// Segments from this namespace.
    Output,
}

/// What a filter does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterAction {
    /// Nothing comes through.
    Drop,
    /// ICMP port unreachable.
    RejectIcmp,
    /// TCP reset.
    RejectReset,
    /// Inverts one byte of the payload. Checksum offload on veth keeps the TCP checksum right.
    Corrupt,
    /// Removes the MPTCP options.
    StripMptcp,
}
