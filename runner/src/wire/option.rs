//! MPTCP options (TCP option kind 30), all subtypes of RFC 8684.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One MPTCP option, decoded. Numbers are in host byte order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MptcpOption {
    /// Section 3.1. Which keys are present tells SYN (none), SYN/ACK (sender), ACK (both).
    MpCapable {
        /// The protocol version: 1 for RFC 8684.
        version: u8,
        /// A (0x80) checksums, B (0x40), C (0x20) no joins to this address, H (0x01) HMAC-SHA256.
        flags: u8,
        /// The sender's key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sender_key: Option<u64>,
        /// The receiver's key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        receiver_key: Option<u64>,
        /// The data length that comes with the first data segment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data_length: Option<u16>,
        /// The checksum of that data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checksum: Option<u16>,
    },
    /// Section 3.2, on a SYN.
    MpJoinSyn {
        /// B: use as backup only.
        backup: bool,
        /// The sender's address id.
        address_id: u8,
        /// The receiver's token.
        token: u32,
        /// The sender's random number.
        nonce: u32,
    },
    /// Section 3.2, on a SYN/ACK.
    MpJoinSynAck {
        /// B: use as backup only.
        backup: bool,
        /// The sender's address id.
        address_id: u8,
        /// The leftmost 64 bits of the HMAC.
        hmac: u64,
        /// The sender's random number.
        nonce: u32,
    },
    /// Section 3.2, on the third ACK.
    MpJoinAck {
        /// The leftmost 160 bits of the HMAC, in hexadecimal.
        hmac: String,
    },
    /// Section 3.3.
    Dss {
        /// F: the end of the data in this direction.
        data_fin: bool,
        /// The data ACK and whether it has 64 bits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data_ack: Option<(u64, bool)>,
        /// The mapping.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mapping: Option<DssMapping>,
    },
    /// Section 3.4.1.
    AddAddr {
        /// E: this is the echo, the confirmation of receipt.
        echo: bool,
        /// The announced address id.
        address_id: u8,
        /// What is announced.
        #[serde(flatten)]
        body: AddAddrBody,
    },
    /// Section 3.4.2.
    RemoveAddr {
        /// The address ids.
        address_ids: Vec<u8>,
    },
    /// Section 3.3.8.
    MpPrio {
        /// B: use as backup only.
        backup: bool,
    },
    /// Section 3.7.
    MpFail {
        /// The data sequence number where the trouble began.
        data_sequence: u64,
    },
    /// Section 3.5.
    MpFastclose {
        /// The receiver's key.
        receiver_key: u64,
    },
    /// Section 3.6.
    MpTcprst {
        /// T (0x1): transient. W and V besides.
        flags: u8,
        /// The reason.
        reason: u8,
    },
    /// Not one of the above, or with a length that none of them has.
    Malformed {
        /// The subtype, if there was an octet for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subtype: Option<u8>,
        /// The whole option, in hexadecimal.
        bytes: String,
    },
}

/// The address of an ADD_ADDR.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AddAddrBody {
    /// The announced address.
    pub address: IpAddr,
    /// The announced port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The rightmost 64 bits of the HMAC; an echo has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac: Option<u64>,
}

/// The mapping of a DSS.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DssMapping {
    /// The data sequence number, 32 or 64 bits.
    pub data_sequence: u64,
    /// It has 64 bits.
    pub wide: bool,
    /// The relative subflow sequence number.
    pub subflow_sequence: u32,
    /// The length; 0 is the infinite mapping.
    pub length: u16,
    /// The checksum, if checksums are in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<u16>,
}
