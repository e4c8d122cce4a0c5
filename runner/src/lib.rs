//! mptcplab: a network-namespace testbed and scenario runner for Multipath TCP.
//!
//! Data flows one way: a scenario file is parsed into a [`scenario::model::Scenario`], planned into a
//! [`plan::Plan`], run into a [`recording::Recording`], judged into a [`judge::Verdict`], and reported.
//! Only [`sys`], [`netlink`], [`observe`], [`traffic`], [`processors`], [`testbed`], [`forward`], [`engine`],
//! [`instances`], [`session`], `here` and [`vm`] touch the kernel's network; [`cli`] enters the privileges, and handles signals.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

#[macro_use]
mod pick;

pub mod cli;
pub mod comparison;
pub mod engine;
pub mod errno;
pub mod evidence;
mod files;
mod flight;
pub mod forward;
mod here;
pub mod import;
pub mod instances;
pub mod judge;
#[cfg(test)]
mod layers;
pub mod mptcp;
mod nanos;
pub mod net;
pub mod netlink;
pub mod observe;
pub mod path;
pub mod pattern;
pub mod payload;
pub mod plan;
pub mod processors;
pub mod recording;
pub mod reference;
pub mod report;
pub mod results;
pub mod scenario;
pub mod session;
pub mod sys;
pub mod testbed;
mod text;
pub mod traffic;
pub mod vm;
pub mod wire;
