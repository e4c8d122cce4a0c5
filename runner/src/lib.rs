//! mptcplab: a network-namespace testbed and scenario runner for Multipath TCP.
//!
//! Data flows one way: a scenario file is parsed into a [`scenario::model::Scenario`], planned into a
//! [`plan::Plan`], run into a [`recording::Recording`], judged into a [`judge::Verdict`], and reported.
//! Only [`netlink`], [`testbed`], [`traffic`], [`observe`] and [`engine`] touch the kernel.

pub mod judge;
pub mod mptcp;
pub mod plan;
pub mod recording;
pub mod scenario;
pub mod sys;
pub mod wire;
