//! Words that the tests share.

use std::io;

use mptcplab::mptcp::{Endpoint, EndpointFlags, IPPROTO_MPTCP};
use mptcplab::netlink::pm::PmClient;
use mptcplab::netlink::{DeviceNames, NetlinkError};
use socket2::{Domain, Protocol, Socket, Type};

pub async fn loopback_up() {
    let (connection, handle, _) = rtnetlink::new_connection().unwrap();
    tokio::spawn(connection);
    handle.link().set(rtnetlink::LinkUnspec::new_with_index(1).up().build()).execute().await.unwrap();
}

pub fn mptcp_socket(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM, Some(Protocol::from(IPPROTO_MPTCP)))
}

pub fn devices() -> DeviceNames {
    [(1, "lo")].into_iter().collect()
}

pub fn client() -> PmClient {
    PmClient::open("here", devices()).unwrap()
}

pub fn endpoint(address: &str, flags: EndpointFlags) -> Endpoint {
    Endpoint { address: address.parse().unwrap(), port: None, id: None, flags, dev: None }
}

/// `EINVAL: address not found`, or `done`. Nothing but an answer of the kernel will do.
pub fn outcome<T>(result: Result<T, NetlinkError>) -> String {
    match result {
        Ok(_) => "done".into(),
        Err(error) => error.refusal().map_or_else(|| panic!("no answer of the kernel: {error}"), ToString::to_string),
    }
}

#[track_caller]
pub fn assert_refused<T>(result: Result<T, NetlinkError>, expected: &str) {
    assert_eq!(outcome(result), expected);
}

/// Kernels differ: the outcomes that are known, the newest kernel's first.
#[track_caller]
pub fn assert_one_of<T>(result: Result<T, NetlinkError>, expected: &[&str]) {
    let outcome = outcome(result);
    assert!(expected.contains(&outcome.as_str()), "{outcome:?} is none of {expected:?}");
}

/// The errno of a refusal, and its words.
#[track_caller]
pub fn refusal<T>(result: Result<T, NetlinkError>) -> (String, String) {
    let error = result.map(drop).unwrap_err();
    let refusal = error.refusal().unwrap_or_else(|| panic!("no answer of the kernel: {error}"));
    (refusal.symbol(), refusal.message.clone().unwrap_or_default())
}
