//! The testbed against the real kernel: as root, or as anyone who may have a user namespace. Where neither is
//! possible, the tests are reported as ignored, with the reason.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use libtest_mimic::{Arguments, Failed, Trial};
use mptcplab::plan::{Hardware, Setup};
use mptcplab::scenario::model::{Address, LinkEnd, Route};
use mptcplab::sys::privilege;
use mptcplab::testbed::{self, Home, Testbed};

fn main() {
    // Before any thread: a user namespace can't be entered later.
    let privilege = privilege::enter();
    let arguments = Arguments::from_args();
    let tests: [(&str, fn(&Arc<Home>) -> Result<(), Failed>); 1] = [("speed", speed)];
    let home =
        privilege.map_err(|error| error.to_string()).and_then(|_| Home::create().map_err(|error| error.to_string()));
    let trials = tests.into_iter().map(|(name, test)| match &home {
        Ok(home) => {
            let home = Arc::clone(home);
            Trial::test(name, move || {
                home.enter_for_good()?;
                test(&home)
            })
        }
        Err(reason) => {
            let name = format!("{name}: {}", reason.lines().next().unwrap_or_default());
            Trial::test(name, || Ok(())).with_ignored_flag(true)
        }
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn address(text: &str) -> Address {
    let (address, prefix) = text.split_once('/').unwrap();
    Address { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Two hosts with `links` links between them, an address of either family at each end, and a route beyond each.
fn two_hosts(links: u8) -> Vec<Setup> {
    let hosts = ["client", "server"];
    let mut setup: Vec<Setup> = hosts.map(|name| Setup::Namespace { name: name.to_owned() }).to_vec();
    let device = |link: u8| format!("eth{link}");
    for link in 1..=links {
        let end = |side: u8| {
            let namespace = hosts[usize::from(side)].to_owned();
            let end = LinkEnd { namespace, device: device(link), addresses: Vec::new() };
            (end, Hardware { index: 1 + 2 * u32::from(link) + u32::from(side), mac: [2, 0, 0, 0, link, side] })
        };
        setup.push(Setup::Link { link: format!("l{link}"), mtu: None, ends: [end(0), end(1)] });
    }
    let each = || (1..=links).flat_map(|link| [0_u8, 1].map(|side| (link, side)));
    for (link, side) in each() {
        for text in [format!("10.0.{link}.{}/24", side + 1), format!("2001:db8:{link}::{}/64", side + 1)] {
            let namespace = hosts[usize::from(side)].to_owned();
            setup.push(Setup::Address { namespace, device: device(link), address: address(&text) });
        }
    }
    for (link, side) in each() {
        setup.push(Setup::LinkUp { namespace: hosts[usize::from(side)].to_owned(), device: device(link) });
    }
    for (link, side) in each() {
        let route = Route {
            to: address(&format!("10.{link}.0.0/16")),
            via: Some(ip(&format!("10.0.{link}.{}", 2 - side))),
            dev: None,
            source: None,
            metric: None,
        };
        setup.push(Setup::Route { namespace: hosts[usize::from(side)].to_owned(), route });
    }
    setup
}

fn build(home: &Arc<Home>, setup: &[Setup]) -> Result<Testbed, Failed> {
    Ok(testbed::build(home, setup)?)
}

#[expect(clippy::print_stderr, reason = "how long it takes is what this is about")]
fn speed(home: &Arc<Home>) -> Result<(), Failed> {
    let setup = two_hosts(4);
    for _ in 0..20 {
        let start = Instant::now();
        let testbed = build(home, &setup)?;
        let built = start.elapsed();
        drop(testbed);
        let gone = start.elapsed() - built;
        eprintln!("2 namespaces, 4 links, 16 addresses, 8 routes: built in {built:?}, gone in {gone:?}");
    }
    Ok(())
}
