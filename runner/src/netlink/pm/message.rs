//! A message of `mptcp_pm`, request or reply.

use netlink_packet_core::{DecodeError, Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};

use super::{FAMILY, PmAttribute};

/// `MPTCP_PM_VER`. The kernel doesn't look at it.
const VERSION: u8 = 1;

/// The commands (`include/uapi/linux/mptcp_pm.h`, `MPTCP_PM_CMD_*`), with the kernel functions that serve them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PmCommand {
    /// 1, `mptcp_pm_nl_add_addr_doit`
    AddAddr,
    /// 2, `mptcp_pm_nl_del_addr_doit`
    DelAddr,
    /// 3, `mptcp_pm_nl_get_addr_doit` and `mptcp_pm_nl_get_addr_dumpit`
    GetAddr,
    /// 4, `mptcp_pm_nl_flush_addrs_doit`
    FlushAddrs,
    /// 5, `mptcp_pm_nl_set_limits_doit`
    SetLimits,
    /// 6, `mptcp_pm_nl_get_limits_doit`
    GetLimits,
    /// 7, `mptcp_pm_nl_set_flags_doit`
    SetFlags,
    /// 8, `mptcp_pm_nl_announce_doit`
    Announce,
    /// 9, `mptcp_pm_nl_remove_doit`
    Remove,
    /// 10, `mptcp_pm_nl_subflow_create_doit`
    SubflowCreate,
    /// 11, `mptcp_pm_nl_subflow_destroy_doit`
    SubflowDestroy,
    /// A number that this version of mptcplab has no name for.
    Other(u8),
}

impl PmCommand {
    /// The kernel's number.
    pub fn number(self) -> u8 {
        match self {
            Self::AddAddr => 1,
            Self::DelAddr => 2,
            Self::GetAddr => 3,
            Self::FlushAddrs => 4,
            Self::SetLimits => 5,
            Self::GetLimits => 6,
            Self::SetFlags => 7,
            Self::Announce => 8,
            Self::Remove => 9,
            Self::SubflowCreate => 10,
            Self::SubflowDestroy => 11,
            Self::Other(number) => number,
        }
    }

    /// The command with the kernel's number.
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::AddAddr,
            2 => Self::DelAddr,
            3 => Self::GetAddr,
            4 => Self::FlushAddrs,
            5 => Self::SetLimits,
            6 => Self::GetLimits,
            7 => Self::SetFlags,
            8 => Self::Announce,
            9 => Self::Remove,
            10 => Self::SubflowCreate,
            11 => Self::SubflowDestroy,
            other => Self::Other(other),
        }
    }
}

/// A request to the path manager, or its reply: what follows the generic netlink header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PmMessage {
    /// The command; a reply bears that of its request.
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
