//! A message of `mptcp_pm`, request or reply.

use netlink_packet_core::{DecodeError, Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};

use super::{FAMILY, PmAttribute};
use crate::mptcp::numbers::kernel_enum;

/// `MPTCP_PM_VER`. The kernel ignores it.
const VERSION: u8 = 1;

kernel_enum! {
    /// The commands (`include/uapi/linux/mptcp_pm.h`, `MPTCP_PM_CMD_*`), with the kernel functions that serve them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    PmCommand {
        /// `mptcp_pm_nl_add_addr_doit`
        AddAddr = 1, "add-addr";
        /// `mptcp_pm_nl_del_addr_doit`
        DelAddr = 2, "del-addr";
        /// `mptcp_pm_nl_get_addr_doit` and `mptcp_pm_nl_get_addr_dumpit`
        GetAddr = 3, "get-addr";
        /// `mptcp_pm_nl_flush_addrs_doit`
        FlushAddrs = 4, "flush-addrs";
        /// `mptcp_pm_nl_set_limits_doit`
        SetLimits = 5, "set-limits";
        /// `mptcp_pm_nl_get_limits_doit`
        GetLimits = 6, "get-limits";
        /// `mptcp_pm_nl_set_flags_doit`
        SetFlags = 7, "set-flags";
        /// `mptcp_pm_nl_announce_doit`
        Announce = 8, "announce";
        /// `mptcp_pm_nl_remove_doit`
        Remove = 9, "remove";
        /// `mptcp_pm_nl_subflow_create_doit`
        SubflowCreate = 10, "subflow-create";
        /// `mptcp_pm_nl_subflow_destroy_doit`
        SubflowDestroy = 11, "subflow-destroy";
    }
    /// A number that this version of mptcplab doesn't know.
    else Other
}

/// A request to the path manager, or its reply: what follows the generic netlink header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PmMessage {
    /// The command; a reply carries that of its request.
    pub command: PmCommand,
    /// The attributes, in their order.
    pub attributes: Vec<PmAttribute>,
}

impl PmMessage {
    /// A message of this command with these attributes.
    pub fn new(command: PmCommand, attributes: impl IntoIterator<Item = PmAttribute>) -> Self {
        Self { command, attributes: attributes.into_iter().collect() }
    }
}

impl GenlFamily for PmMessage {
    fn family_name() -> &'static str {
        FAMILY
    }

    fn command(&self) -> u8 {
        self.command.number()
    }

    fn version(&self) -> u8 {
        VERSION
    }
}

impl Emitable for PmMessage {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for PmMessage {
    fn parse_with_param(bytes: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Ok(Self { command: PmCommand::from_number(header.cmd), attributes: PmAttribute::parse_all(bytes)? })
    }
}
