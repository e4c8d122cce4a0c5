//! The system calls that need more than nix or std offer, wrapped so that the rest of the crate is free of
//! `unsafe`: [`privilege`] (a user namespace of our own) and [`sockopt`] (socket options as bytes).

pub mod privilege;
//! `unsafe`: [`ring`] (the receive ring of a packet socket), [`full_info`] (the one socket option that holds
//! pointers) and [`sockopt`] (socket options as bytes).

pub mod full_info;
pub mod ring;
pub mod sockopt;
