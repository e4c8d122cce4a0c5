//! Changes of the configuration: endpoints, limits, links, addresses, routes, packet filters, and what a userspace path
//! manager tells the kernel. Main type: [`Operation`].

use std::net::IpAddr;

use super::super::read::operation::{Announced, Asked, Id0Address, IsUp, NewFlags, Token, Which, fits_its_hook};
use super::super::read::part::{Device, Namespace};
use super::super::read::routing::{RouteKeys, RoutingRuleKeys};
use super::super::read::world::EndpointKeys;
use super::super::record::{List, choice, record, words};
use super::super::scalar::{Bytes, HostAddress, Ip, Line, Name, Number, Octet, Ordinal, Port, Subtype, Switch, Sysctl};

/// Which endpoints an operation is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhichEndpoints {
    /// By id; id 0 goes with the address of the initial subflow.
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

choice! {
    /// A change of the configuration. What the kernel accepts is read back and compared.
    Operation as "operation", "an operation" {
        AddEndpoint = an "add_endpoint" "`ip mptcp endpoint add`"; {
            namespace: group Namespace;
            endpoint: group EndpointKeys;
        }
        DeleteEndpoint = a "delete_endpoint" "`ip mptcp endpoint delete`"; {
            namespace: group Namespace;
            which: group Which;
        }
        ChangeEndpoint = a "change_endpoint" "`ip mptcp endpoint change`"; {
            namespace: group Namespace;
            which: group Which;
            change: need NewFlags = "to",
                "The new flags. The kernel overwrites both: a flag that is not named is cleared.";
        }
        FlushEndpoints = a "flush_endpoints" "`ip mptcp endpoint flush`"; {
            namespace: group Namespace;
        }
        SetLimits = a "set_limits" "`ip mptcp limits set`"; {
            namespace: group Namespace;
            subflows: maybe Number = "subflows", "The most additional subflows of a connection; 2 by default.";
            add_addr_accepted: maybe Number = "add_addr_accepted",
                "The most ADD_ADDRs of a connection that may become subflows; 0 by default.";
        }
        SetSysctl = a "set_sysctl" "`sysctl -w`"; {
            namespace: group Namespace;
            name: need Sysctl = "name", "Its name with dots; it begins with `net.`.";
            value: need Line = "value", "What to write.";
        }
        SetLink = a "link_down" "`ip link set DEVICE down`", a "link_up" "`ip link set DEVICE up`"; {
            namespace: group Namespace;
            device: need Device = "device", "The interface.";
            up: group IsUp;
        }
        DeleteDevice = a "delete_device" "`ip link delete DEVICE`. The other end of a link disappears with it."; {
            namespace: group Namespace;
            device: need Device = "device", "The interface.";
        }
        AddAddress = an "add_address" "`ip address add`"; {
            namespace: group Namespace;
            device: need Device = "device", "The interface.";
            address: need HostAddress = "address", "The address, like 10.0.1.7/24.";
        }
        DeleteAddress = a "delete_address" "`ip address delete`"; {
            namespace: group Namespace;
            device: need Device = "device", "The interface.";
            address: need HostAddress = "address", "The address, like 10.0.1.7/24.";
        }
        AddRoute = an "add_route" "`ip route add`"; {
            namespace: group Namespace;
            route: group RouteKeys;
        }
        DeleteRoute = a "delete_route" "`ip route delete`"; {
            namespace: group Namespace;
            route: group RouteKeys;
        }
        AddRoutingRule = an "add_routing_rule" "`ip rule add`"; {
            namespace: group Namespace;
            rule: group RoutingRuleKeys;
        }
        DeleteRoutingRule = a "delete_routing_rule" "`ip rule delete`"; {
            namespace: group Namespace;
            rule: group RoutingRuleKeys;
        }
        Announce = an "announce" "Userspace path manager: announces an address."; {
            namespace: group Namespace;
            token: group Token;
            endpoint: group Announced;
        }
        RemoveAddress = a "remove_address" "Userspace path manager: removes an address."; {
            namespace: group Namespace;
            token: group Token;
            id: need Octet = "id", "The address id.";
        }
        CreateSubflow = a "create_subflow" "Userspace path manager: opens a subflow."; {
            namespace: group Namespace;
            token: group Token;
            endpoint: group Id0Address;
            remote: need Ip = "remote", "The peer's address.";
            remote_port: maybe Port = "remote_port",
                "The peer's port; by default, the server's port of the initial subflow.";
        }
        DestroySubflow = a "destroy_subflow" "Userspace path manager: closes a subflow."; {
            namespace: group Namespace;
            token: group Token;
            local: need Ip = "local", "The local address, as this side sees it.";
            local_port: maybe Port = "local_port", "The local port; by default, that of the matching subflow.";
            remote: need Ip = "remote", "The remote address, as this side sees it.";
            remote_port: maybe Port = "remote_port", "The remote port; by default, that of the matching subflow.";
        }
        SetSubflowBackup = a "set_subflow_backup" "Userspace path manager: sends MP_PRIO."; {
            namespace: group Namespace;
            token: group Token;
            local: need Ip = "local", "The local address, as this side sees it.";
            remote: need Ip = "remote", "The remote address, as this side sees it.";
            backup: need Switch = "backup", "Whether the peer shall use it as a backup only.";
        }
        GetEndpoint = a "get_endpoint" "Queries one endpoint, which must exist."; {
            namespace: group Namespace;
            token: group Asked;
            id: need Octet = "id", "The address id.";
        }
        AddFilter = an "add_filter" "Installs a packet filter, or a rule that translates addresses."; (Filter)
        RemoveFilter = a "remove_filter" "Removes a packet filter."; {
            namespace: group Namespace;
            name: need Name = "name", "Its name.";
        }
    }
}

record! {
    /// A packet filter, or a rule that translates addresses.
    Filter then fits_its_hook {
        name: need Name = "name", "Its name, unique in the namespace.";
        namespace: group Namespace;
        hook: need FilterHook = "hook",
            "Packets for (`input`), from (`output`) or through this namespace (`forward`); to translate addresses, \
             packets before (`prerouting`) or after their routing (`postrouting`).";
        protocol: or(FilterProtocol::Tcp) FilterProtocol = "protocol",
            "Only packets of this protocol: tcp (the default), udp, icmp (of both families), or any.";
        from: maybe Ip = "from", "Only packets from this address.";
        to: maybe Ip = "to", "Only packets to this address.";
        from_port: maybe Port = "from_port", "Only packets from this port.";
        to_port: maybe Port = "to_port", "Only packets to this port.";
        device: maybe Device = "device",
            "Only packets through this interface. At the hook `forward`: packets that arrive by it.";
        out_device: maybe Device = "out_device", "Hook `forward`: only packets that leave by this interface.";
        states: or(Vec::new()) List<FlowState> = "states",
            "Only packets in one of these states of connection tracking: new, established, related or invalid.";
        mark: maybe Number = "mark", "Only packets with this mark.";
        option: maybe Subtype = "option", "Only segments with this MPTCP option.";
        min_payload: maybe Bytes = "min_payload", "Only segments with at least this number of payload bytes.";
        nth: maybe Ordinal = "nth", "Only the n-th packet that matches all of the above.";
        action: need FilterAction = "action",
            "drop; reject_icmp (port unreachable); reject_reset (TCP reset); corrupt (inverts a payload byte); \
             strip_mptcp (removes MPTCP options); masquerade (the source becomes the address of the outgoing \
             interface); snat or dnat (the source or the destination becomes `address`).";
        address: maybe Ip = "address", "The new address, with `snat` and `dnat`.";
        port: maybe Port = "port", "The new port, with `snat` and `dnat`.";
        may_be_unused: or(false) Switch = "may_be_unused", "true: no error if nothing matches.";
    }
}

impl Filter {
    /// One that applies to all TCP segments there.
    pub fn new(name: &str, namespace: &str, hook: FilterHook, action: FilterAction) -> Self {
        Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            hook,
            protocol: FilterProtocol::Tcp,
            from: None,
            to: None,
            from_port: None,
            to_port: None,
            device: None,
            out_device: None,
            states: Vec::new(),
            mark: None,
            option: None,
            min_payload: None,
            nth: None,
            action,
            address: None,
            port: None,
            may_be_unused: false,
        }
    }

    /// Whether connection tracking must see the packets.
    pub fn tracks(&self) -> bool {
        self.action.translates() || !self.states.is_empty()
    }
}

words! {
    /// Where a filter looks.
    FilterHook {
        /// Packets for this namespace.
        Input = "input",
        /// Packets from this namespace.
        Output = "output",
        /// Packets that this namespace forwards.
        Forward = "forward",
        /// Packets that arrive, before their route is looked up.
        Prerouting = "prerouting",
        /// Packets that leave, after their route was looked up.
        Postrouting = "postrouting",
    }
}

words! {
    /// The transport protocol of the packets that a filter looks at.
    FilterProtocol {
        /// TCP, and MPTCP with it.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// ICMP and ICMPv6.
        Icmp = "icmp",
        /// Whatever it is.
        Any = "any",
    }
}

words! {
    /// What connection tracking knows about the connection of a packet.
    FlowState {
        /// It is the first one, or there was no answer yet.
        New = "new",
        /// There were packets in both directions.
        Established = "established",
        /// It belongs to another connection, like an ICMP error.
        Related = "related",
        /// It belongs to no connection that could exist.
        Invalid = "invalid",
    }
}

words! {
    /// What a filter does.
    FilterAction {
        /// Nothing comes through.
        Drop = "drop",
        /// ICMP port unreachable.
        RejectIcmp = "reject_icmp",
        /// TCP reset.
        RejectReset = "reject_reset",
        /// Inverts one byte of the payload. Checksum offload on veth keeps the TCP checksum right.
        Corrupt = "corrupt",
        /// Removes the MPTCP options.
        StripMptcp = "strip_mptcp",
        /// Replaces the source by the address of the outgoing interface.
        Masquerade = "masquerade",
        /// Replaces the source.
        Snat = "snat",
        /// Replaces the destination.
        Dnat = "dnat",
    }
}

impl FilterAction {
    /// Whether it translates addresses: of the first packet of a connection, and from then on of all others.
    pub fn translates(self) -> bool {
        matches!(self, Self::Masquerade | Self::Snat | Self::Dnat)
    }
}
