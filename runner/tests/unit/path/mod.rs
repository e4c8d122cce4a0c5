//! Paths: that the packet on the far side is what RFC 8684 and RFC 9293 say it should be, read by smoltcp, which shares no
//! code with us; that conditions are exact in logical time; and that no frame whatever upsets a path.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod actions;
mod conditions;
mod edits;
mod harness;
mod injection;
mod properties;
mod rules;
mod segments;
mod speed;
mod translation;
mod tshark;
