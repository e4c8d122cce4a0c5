//! Words that the tests share.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use mptcplab::net::Hardware;
use mptcplab::plan::Setup;
use mptcplab::scenario::model::{Address, LinkEnd, Route};
use mptcplab::testbed::{self, BaseNamespace, Node, Testbed};
use socket2::{Domain, Socket, Type};

/// A lost SYN is sent again after a second: what takes less lost none.
const NO_LOSS: Duration = Duration::from_millis(900);

pub fn address(text: &str) -> Address {
    let (address, prefix) = text.split_once('/').unwrap();
    Address { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn namespace(name: &str) -> Setup {
    Setup::Namespace { name: name.to_owned(), programs: false }
}

/// A link between two namespaces. The ends are called after the link, with different indices.
pub fn link(name: &str, number: u8, [near, far]: [&str; 2], mtu: Option<u32>) -> Setup {
    let end = |namespace: &str, side: u8| {
        let end = LinkEnd { namespace: namespace.to_owned(), device: name.to_owned(), addresses: Vec::new() };
        (end, Hardware { index: 2 * u32::from(number) + u32::from(side), mac: [2, 0, 0, 0, number, side] })
    };
    Setup::Link { link: name.to_owned(), mtu, ends: [end(near, 0), end(far, 1)] }
}

pub fn add_address(namespace: &str, device: &str, text: &str) -> Setup {
    Setup::Address { namespace: namespace.to_owned(), device: device.to_owned(), address: address(text) }
}

pub fn up(namespace: &str, device: &str) -> Setup {
    Setup::LinkUp { namespace: namespace.to_owned(), device: device.to_owned() }
}

pub fn sysctl(namespace: &str, name: &str, value: &str) -> Setup {
    Setup::Sysctl { namespace: namespace.to_owned(), name: name.to_owned(), value: value.to_owned() }
}

pub fn route(to: &str, via: &str) -> Route {
    Route { via: Some(ip(via)), ..Route::new(address(to)) }
}

pub fn add_route(namespace: &str, to: &str, via: &str) -> Setup {
    Setup::Route { namespace: namespace.to_owned(), route: route(to, via) }
}

/// `client` (.1) and `server` (.2) with links `eth1`… between them, and a route beyond each of them.
pub fn two_hosts(links: u8) -> Vec<Setup> {
    const HOSTS: [&str; 2] = ["client", "server"];
    let devices: Vec<(u8, String)> = (1..=links).map(|number| (number, format!("eth{number}"))).collect();
    let ends = || devices.iter().flat_map(|(number, device)| [1, 2].map(|side| (*number, device.as_str(), side)));
    let mut setup = HOSTS.map(namespace).to_vec();
    setup.extend(devices.iter().map(|(number, device)| link(device, *number, HOSTS, None)));
    for (number, device, side) in ends() {
        let host = HOSTS[side - 1];
        setup.push(add_address(host, device, &format!("10.0.{number}.{side}/24")));
        setup.push(add_address(host, device, &format!("2001:db8:{number}::{side}/64")));
    }
    setup.extend(ends().map(|(_, device, side)| up(HOSTS[side - 1], device)));
    setup.extend(ends().map(|(number, _, side)| {
        add_route(HOSTS[side - 1], &format!("10.{number}.0.0/16"), &format!("10.0.{number}.{}", 3 - side))
    }));
    setup
}

pub fn build(home: &Arc<BaseNamespace>, setup: &[Setup]) -> Result<Testbed, Failed> {
    Ok(testbed::build(home, setup, 0)?)
}

/// Opens a TCP connection, sends that many bytes from client to server, and says how long all of it took.
pub fn transfer(client: &Node, server: &Node, from: Option<&str>, to: &str, bytes: usize) -> Result<Duration, Failed> {
    let listener = server.run(|| TcpListener::bind((ip(to), 0)))??;
    let target: SocketAddr = listener.local_addr()?;
    let mut socket = client.run(|| Socket::new(Domain::for_address(target), Type::STREAM, None))??;
    if let Some(from) = from {
        socket.bind(&SocketAddr::new(ip(from), 0).into())?;
    }
    let start = Instant::now();
    socket.connect_timeout(&target.into(), Duration::from_secs(5))?;
    let (mut accepted, _) = listener.accept()?;
    let reader = std::thread::spawn(move || accepted.read_to_end(&mut Vec::new()));
    socket.write_all(&vec![7; bytes])?;
    drop(socket);
    assert_eq!(reader.join().unwrap()?, bytes);
    Ok(start.elapsed())
}

/// A byte gets through without the loss of a single segment.
pub fn talks_at_once(client: &Node, server: &Node, from: Option<&str>, to: &str) -> Result<(), Failed> {
    let took = transfer(client, server, from, to, 1)?;
    if took < NO_LOSS { Ok(()) } else { Err(format!("{from:?} to {to}: took {took:?}").into()) }
}

pub fn complaint<T: std::fmt::Debug, E: std::fmt::Display>(result: Result<T, E>) -> String {
    result.err().map_or_else(|| "nothing went wrong".to_owned(), |error| error.to_string())
}
