//! The system calls that need more than nix or std offer, wrapped so that the rest of the crate is free of
//! `unsafe`: [`privilege`] (a user namespace of our own) and [`sockopt`] (socket options as bytes).

pub mod privilege;
pub mod sockopt;
