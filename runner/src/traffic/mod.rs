//! Real MPTCP and TCP sockets of a scenario, and the bytes that go through them. The main type is [`LiveConnection`].

mod call;
mod connection;
mod option;
mod socket;
mod transfer;
mod zero_copy;

pub use connection::{CloseError, Deliveries, LiveConnection};
pub use option::{Hear, ask_option, read_option, set_options, set_options_in};
pub use socket::{SocketError, Unread, accept_from, connect, listen, unread};
pub use transfer::{Delivery, Progress, Tell};
