//! Small safe wrappers around what only unsafe code can do. The one module with unsafe blocks; each says why it is
//! sound.

#![allow(unsafe_code)]

pub mod env;
