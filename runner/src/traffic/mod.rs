//! Real MPTCP and TCP sockets of a scenario, and the bytes that go through them. The main type is [`LiveConnection`].

mod call;
mod connection;
mod option;
mod socket;
mod transfer;

pub use connection::{CloseError, Deliveries, LiveConnection};
pub use option::{Hear, read_option, set_options};
pub use socket::{SocketError, Unread, accept_from, connect, listen, unread};
pub use transfer::{Delivery, Progress, Tell};
