//! The system calls that need more than nix or std offer, wrapped so that the rest of the crate is free of
//! `unsafe`: [`privilege`] (a user namespace of our own), [`readiness`] (waiting for a
//! descriptor), [`ring`] (the receive ring of a packet socket),
//! [`full_info`] (the one socket option that holds pointers) and [`sockopt`] (socket options as bytes).

#![allow(unsafe_code, reason = "the one place for it")]

pub mod full_info;
pub mod privilege;
pub mod readiness;
pub mod ring;
pub mod sockopt;
//! Small safe wrappers around what only unsafe code can do. The one module with unsafe blocks; each says why it is
//! sound.

#![allow(unsafe_code)]

pub mod env;
