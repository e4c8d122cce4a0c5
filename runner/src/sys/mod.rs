//! System calls beyond nix and std, wrapped so that the rest of the crate is free of `unsafe`: [`child`] (a process
//! that ends with its parent), [`ethtool`] (offloads), [`full_info`] (the one socket option with pointers), [`port`] (a
//! packet socket that forwards), [`privilege`] (a user namespace), [`query`] (getsockopt(2) with any length), [`queue`]
//! (bytes that wait in a socket),
//! [`readiness`] (waiting for a descriptor), [`ring`] (a packet socket that observes), [`sandbox`] (programs, closed
//! in), [`signals`] (the exit code of signals), [`slots`] (the receive ring of both packet sockets) and [`sockopt`]
//! (socket options as bytes).

#![allow(unsafe_code, reason = "the one place for it")]

pub mod child;
pub mod ethtool;
pub mod full_info;
mod packet;
pub mod port;
pub mod privilege;
pub mod query;
pub mod queue;
pub mod readiness;
pub mod ring;
pub mod sandbox;
pub mod signals;
pub mod slots;
pub mod sockopt;
