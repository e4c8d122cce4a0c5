//! Tokens, initial data sequence numbers and HMACs (RFC 8684 sections 3.1, 3.2 and 3.4.1). Keys and nonces are in host
//! byte order here, and big endian where they are hashed.

use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The token of a key: the most significant 32 bits of its SHA-256 hash (section 3.2).
pub(crate) fn token(key: u64) -> u32 {
    let hash = Sha256::digest(key.to_be_bytes());
    hash.first_chunk().map_or(0, |first| u32::from_be_bytes(*first))
}

/// The initial data sequence number of the owner of a key: the least significant 64 bits of the key's SHA-256 hash
/// (section 3.1). The first byte of data has this number plus one.
pub(crate) fn initial_data_sequence(key: u64) -> u64 {
    let hash = Sha256::digest(key.to_be_bytes());
    hash.last_chunk().map_or(0, |last| u64::from_be_bytes(*last))
}

/// The HMAC of an MP_JOIN (section 3.2): of the sender's key before the receiver's, over the sender's nonce before the
/// receiver's. A SYN/ACK carries its leftmost 64 bits, a third ACK its leftmost 160.
pub(crate) fn join_hmac(sender_key: u64, receiver_key: u64, sender_nonce: u32, receiver_nonce: u32) -> [u8; 32] {
    hmac(sender_key, receiver_key, &[&sender_nonce.to_be_bytes(), &receiver_nonce.to_be_bytes()])
}

/// The HMAC that an ADD_ADDR carries (section 3.4.1): the rightmost 64 bits, over the address ID, the address and the
/// port, which is 0 where none is announced.
pub(crate) fn add_addr_hmac(sender_key: u64, receiver_key: u64, id: u8, address: IpAddr, port: Option<u16>) -> u64 {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let whole = hmac(sender_key, receiver_key, &[&[id], &octets, &port.unwrap_or(0).to_be_bytes()]);
    whole.last_chunk().map_or(0, |last| u64::from_be_bytes(*last))
}

fn hmac(sender_key: u64, receiver_key: u64, message: &[&[u8]]) -> [u8; 32] {
    let mut key = [0; 16];
    let (first, second) = key.split_at_mut(8);
    first.copy_from_slice(&sender_key.to_be_bytes());
    second.copy_from_slice(&receiver_key.to_be_bytes());
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return [0; 32] };
    for part in message {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
