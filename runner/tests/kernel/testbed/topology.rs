//! What is built is there, and works at once.

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed};
use mptcplab::net::{Hardware, NextHop, RouteType, RoutingRule};
use mptcplab::netlink::{NetlinkError, Refusal};
use mptcplab::plan::Setup;
use mptcplab::scenario::model::{Device, DeviceKind, Route};
use mptcplab::testbed::{BaseNamespace, Node, TestbedError, build as try_build, sysctl as read};

use super::world::{
    add_address, add_route, address, build, complaint, ip, link, namespace, route, sysctl, talks_at_once, transfer,
    two_hosts, up,
};

/// The period of the kernel's link watch, and of a first retransmission: what takes less waited for neither.
const A_SECOND: Duration = Duration::from_millis(900);

pub fn two_hosts_talk_at_once(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    // Several times: an address or a link that isn't quite ready shows only now and then.
    for _ in 0..10 {
        let testbed = build(home, &two_hosts(4))?;
        let (client, server) = (testbed.node("client")?, testbed.node("server")?);
        for number in 1..=4 {
            talks_at_once(client, server, None, &format!("2001:db8:{number}::2"))?;
            talks_at_once(server, client, None, &format!("10.0.{number}.1"))?;
        }
        talks_at_once(client, client, None, "127.0.0.1")?;
        assert_eq!(client.devices().names().collect::<Vec<_>>(), ["lo", "eth1", "eth2", "eth3", "eth4"]);
        assert_eq!(client.index("eth2")?, 4);
        let links = client.route().links()?;
        assert!(links.iter().all(|link| link.index == 1 || link.tx_bytes > 0), "{links:?}");
    }
    Ok(Completion::Completed)
}

pub fn a_source_of_another_interface_works(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let testbed = build(home, &two_hosts(2))?;
    let (client, server) = (testbed.node("client")?, testbed.node("server")?);
    talks_at_once(client, server, Some("10.0.2.1"), "10.0.1.2")?;
    // Needs a link-local address: the neighbour can't be asked for in the name of another interface's address.
    talks_at_once(client, server, Some("2001:db8:2::1"), "2001:db8:1::2")?;
    Ok(Completion::Completed)
}

pub fn a_router_forwards(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let setup = [
        namespace("client"),
        namespace("router"),
        namespace("server"),
        sysctl("router", "net.ipv4.ip_forward", "1"),
        sysctl("router", "net.ipv6.conf.all.forwarding", "1"),
        link("left", 1, ["client", "router"], None),
        link("right", 2, ["router", "server"], None),
        add_address("client", "left", "10.0.1.1/24"),
        add_address("router", "left", "10.0.1.2/24"),
        add_address("router", "right", "10.0.2.1/24"),
        add_address("server", "right", "10.0.2.2/24"),
        add_address("client", "left", "2001:db8:1::1/64"),
        add_address("router", "left", "2001:db8:1::2/64"),
        add_address("router", "right", "2001:db8:2::1/64"),
        add_address("server", "right", "2001:db8:2::2/64"),
        up("client", "left"),
        up("router", "left"),
        up("router", "right"),
        up("server", "right"),
        add_route("client", "0.0.0.0/0", "10.0.1.2"),
        add_route("server", "0.0.0.0/0", "10.0.2.1"),
        add_route("client", "::/0", "2001:db8:1::2"),
        add_route("server", "::/0", "2001:db8:2::1"),
    ];
    let testbed = build(home, &setup)?;
    let (client, server) = (testbed.node("client")?, testbed.node("server")?);
    talks_at_once(client, server, None, "10.0.2.2")?;
    talks_at_once(server, client, None, "2001:db8:1::1")?;
    Ok(Completion::Completed)
}

pub fn a_rate_limits(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    const BYTES: usize = 200_000;
    let mut setup = two_hosts(2);
    let rate = 8_000_000;
    setup.push(Setup::Rate { namespace: "client".into(), device: "eth1".into(), rate });
    let testbed = build(home, &setup)?;
    let (client, server) = (testbed.node("client")?, testbed.node("server")?);
    // 0.2 s at that rate, of which what the bucket holds and what waits in it may come off.
    let slow = transfer(client, server, None, "10.0.1.2", BYTES)?;
    let unlimited = transfer(client, server, None, "10.0.2.2", BYTES)?;
    assert!(slow > Duration::from_millis(150), "{slow:?}");
    assert!(unlimited < slow, "{unlimited:?}");
    let queues = client.route().queues()?;
    let tbf = queues.iter().find(|queue| queue.kind == "tbf").ok_or("no tbf")?;
    assert_eq!((tbf.index, tbf.rate), (2, Some(rate)));
    Ok(Completion::Completed)
}

pub fn an_mtu_is_set(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let hosts = ["client", "server"];
    let mut setup = hosts.map(namespace).to_vec();
    setup.push(link("eth1", 1, hosts, Some(1400)));
    let testbed = build(home, &setup)?;
    for node in testbed.nodes() {
        let links = node.route().links()?;
        let link = links.iter().find(|link| link.name == "eth1").ok_or("no link")?;
        assert_eq!((link.mtu, link.up, link.running), (1400, false, false));
    }
    Ok(Completion::Completed)
}

pub fn a_link_goes_down_and_up(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let testbed = build(home, &two_hosts(2))?;
    let (client, server) = (testbed.node("client")?, testbed.node("server")?);
    for end in ["client", "server", "client"] {
        let (near, far) = if end == "client" { (client, server) } else { (server, client) };
        let start = Instant::now();
        testbed.set_link(end, "eth1", false)?;
        let went_down = start.elapsed();
        let beyond = if end == "client" { "10.0.1.2" } else { "10.0.1.1" };
        assert!(transfer(near, far, None, beyond, 1).is_err());
        let start = Instant::now();
        testbed.set_link(end, "eth1", true)?;
        let noticed = went_down.max(start.elapsed());
        assert!(noticed < A_SECOND, "noticed late, after {noticed:?}");
        talks_at_once(client, server, None, "10.0.1.2")?;
        talks_at_once(client, server, None, "2001:db8:1::2")?;
        talks_at_once(server, client, Some("2001:db8:2::2"), "2001:db8:1::1")?;
    }
    // With one end down, the other has no carrier, and that is no failure.
    testbed.set_link("client", "eth1", false)?;
    testbed.set_link("server", "eth1", false)?;
    testbed.set_link("server", "eth1", true)?;
    testbed.set_link("client", "lo", false)?;
    testbed.set_link("client", "lo", true)?;
    assert_eq!(
        complaint(testbed.set_link("client", "eth9", true)),
        "look for eth9 in client: no device eth9; expected one of: lo, eth1, eth2"
    );
    Ok(Completion::Completed)
}

pub fn a_device_disappears_at_both_ends(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let testbed = build(home, &two_hosts(2))?;
    let (client, server) = (testbed.node("client")?, testbed.node("server")?);
    testbed.delete_device("client", "eth2")?;
    for node in [client, server] {
        assert!(node.is_deleted("eth2") && !node.is_deleted("eth1"));
        assert!(node.route().links()?.iter().all(|link| link.name != "eth2"));
    }
    // The rest works as before.
    testbed.set_link("client", "eth1", false)?;
    testbed.set_link("client", "eth1", true)?;
    talks_at_once(client, server, None, "10.0.1.2")?;
    assert!(complaint(testbed.delete_device("client", "eth2")).contains("ENODEV"), "it was there once");
    Ok(Completion::Completed)
}

pub fn devices_on_devices_carry_packets(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let device = |namespace: &str, index, name: &str, kind, address: &str| Setup::Device {
        namespace: namespace.to_owned(),
        device: Device { name: name.to_owned(), kind, addresses: vec![self::address(address)] },
        hardware: Hardware { index, mac: [2, 2, 0, 0, 0, index.to_le_bytes()[0]] },
    };
    let bridge = DeviceKind::Bridge { ports: vec!["eth1".to_owned()] };
    let macvlan = DeviceKind::Macvlan { on: "eth1".to_owned() };
    let mut setup = two_hosts(1);
    setup.extend([
        device("client", 20, "br0", bridge, "10.7.0.1/24"),
        device("server", 21, "mac0", macvlan, "10.7.0.2/24"),
        add_address("client", "br0", "10.7.0.1/24"),
        add_address("server", "mac0", "10.7.0.2/24"),
        up("client", "br0"),
        up("server", "mac0"),
    ]);
    let testbed = build(home, &setup)?;
    let (client, server) = (testbed.node("client")?, testbed.node("server")?);
    transfer(client, server, Some("10.7.0.1"), "10.7.0.2", 1000)?;
    assert_eq!(client.upper(), [client.index("br0")?], "what it carries is captured at eth1");
    testbed.set_link("client", "br0", false)?;
    assert!(transfer(client, server, Some("10.7.0.1"), "10.7.0.2", 1).is_err());
    Ok(Completion::Completed)
}

/// Nobody asks for a neighbour: the kernel lists those that it was told, and found out about none by itself.
pub fn neighbours_are_known(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    /// `ATF_COM | ATF_PERM` (include/uapi/linux/if_arp.h)
    const FOR_GOOD: &str = "0x6";
    let testbed = build(home, &two_hosts(1))?;
    let (client, server) = (testbed.node("client")?, testbed.node("server")?);
    for round in 0..2 {
        for beyond in ["10.0.1.2", "2001:db8:1::2"] {
            talks_at_once(client, server, None, beyond)?;
        }
        for (node, far) in [(client, ["10.0.1.2", "2001:db8:1::2"]), (server, ["10.0.1.1", "2001:db8:1::1"])] {
            let known: Vec<IpAddr> =
                node.route().neighbours()?.into_iter().map(|state| state.neighbour.address).collect();
            assert!(far.map(ip).iter().all(|address| known.contains(address)), "round {round}: {known:?}");
            let table = node.run(|| fs::read_to_string("/proc/thread-self/net/arp"))??;
            let flags: Vec<&str> = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(2)).collect();
            assert_eq!(flags, [FOR_GOOD], "{table}");
        }
        // An address that is added.
        for (own, beyond) in [("10.0.9.2/32", "10.0.9.2"), ("2001:db8:9::2/128", "2001:db8:9::2")] {
            if round == 1 {
                testbed.add_address("server", "eth1", address(own))?;
            }
            let known = client.route().neighbours()?.into_iter().any(|state| state.neighbour.address == ip(beyond));
            assert_eq!(known, round == 1, "{beyond}");
        }
        // The kernel forgets them.
        testbed.set_link("client", "eth1", false)?;
        assert_eq!(client.route().neighbours()?, []);
        testbed.set_link("client", "eth1", true)?;
    }
    Ok(Completion::Completed)
}

/// Where both ends have the same index, the kernel takes its time to notice a carrier (`linkwatch_urgent_event`,
/// `net/core/link_watch.c`). A plan should give them different ones; it works all the same.
pub fn equal_indices_work_but_are_noticed_late(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let mut setup = two_hosts(1);
    for step in &mut setup {
        if let Setup::Link { ends, .. } = step {
            for (side, (_, hardware)) in ends.iter_mut().enumerate() {
                *hardware = Hardware { index: 2, mac: [2, 0, 0, 0, 1, u8::try_from(side)?] };
            }
        }
    }
    let testbed = build(home, &setup)?;
    talks_at_once(testbed.node("client")?, testbed.node("server")?, None, "2001:db8:1::2")?;
    Ok(Completion::Completed)
}

pub fn addresses_and_routes_come_and_go(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let testbed = build(home, &two_hosts(1))?;
    let (client, server) = (testbed.node("client")?, testbed.node("server")?);
    for (own, network, via) in
        [("10.7.0.2/32", "10.7.0.0/24", "10.0.1.2"), ("2001:db8:7::2/128", "2001:db8:7::/64", "2001:db8:1::2")]
    {
        let beyond = own.split('/').next().unwrap_or_default();
        testbed.add_address("server", "eth1", address(own))?;
        let route = Route { metric: Some(7), dev: Some("eth1".into()), ..route(network, via) };
        client.add_route(&route)?;
        talks_at_once(client, server, None, beyond)?;
        assert_eq!(client.add_route(&route).unwrap_err().symbol().as_deref(), Some("EEXIST"));
        client.delete_route(&route)?;
        assert_eq!(client.delete_route(&route).unwrap_err().symbol().as_deref(), Some("ESRCH"));
        assert!(transfer(client, server, None, beyond, 1).is_err());
        server.delete_address("eth1", address(own))?;
        let error = server.delete_address("eth1", address(own)).unwrap_err();
        assert_eq!(error.symbol().as_deref(), Some("EADDRNOTAVAIL"), "{error}");
    }
    // The metric and the source address of a route.
    let source = Route { source: Some(ip("10.0.1.1")), metric: Some(100), ..route("10.8.0.0/24", "10.0.1.2") };
    client.add_route(&source)?;
    let routes = client.route().routes()?;
    let found = routes.iter().find(|route| route.to == source.to).ok_or("no route")?;
    assert_eq!((found.source, found.metric, found.device), (source.source, Some(100), Some(2)));
    Ok(Completion::Completed)
}

/// The index of the interface by which a packet from this address to a network beyond would leave, or the errno.
fn leaves_by(node: &Node, to: &str, from: &str) -> Result<u32, String> {
    let route = node.route().route_to(ip(to), Some(ip(from)), None, false);
    let symbol = |error: NetlinkError| error.refusal().map_or_else(|| error.to_string(), Refusal::symbol);
    route.map_err(symbol).map(|route| route.device.unwrap_or(0))
}

pub fn tables_rules_and_types_of_routes_work(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let testbed = build(home, &two_hosts(2))?;
    let client = testbed.node("client")?;
    let (eth1, eth2) = (client.index("eth1")?, client.index("eth2")?);
    for (own, beyond, network, via) in [
        ("10.0.2.1", "198.51.100.9", "198.51.100.0/24", ["10.0.1.2", "10.0.2.2"]),
        ("2001:db8:2::1", "2001:db8:99::9", "2001:db8:99::/64", ["2001:db8:1::2", "2001:db8:2::2"]),
    ] {
        let whole = if ip(own).is_ipv4() { "32" } else { "128" };
        let from_own = Some(address(&format!("{own}/{whole}")));
        client.add_route(&route(network, via[0]))?;
        assert_eq!(leaves_by(client, beyond, own)?, eth1, "by the destination");
        // A table beyond what the header has room for, and one that it has.
        for table in [1000, 7] {
            let by_second = Route { table: Some(table), ..route(network, via[1]) };
            let rule = RoutingRule { from: from_own, table: Some(table), ..RoutingRule::default() };
            client.add_route(&by_second)?;
            assert_eq!(leaves_by(client, beyond, own)?, eth1, "no rule selects the table");
            client.add_rule(&rule)?;
            assert_eq!(leaves_by(client, beyond, own)?, eth2);
            client.add_rule(&rule)?;
            client.delete_rule(&rule)?;
            assert_eq!(leaves_by(client, beyond, own)?, eth2, "there were two of them");
            client.delete_rule(&rule)?;
            assert_eq!(client.delete_rule(&rule).unwrap_err().symbol().as_deref(), Some("ENOENT"));
            client.delete_route(&by_second)?;
        }
        for (kind, errno) in [
            (RouteType::Blackhole, "EINVAL"),
            (RouteType::Unreachable, "EHOSTUNREACH"),
            (RouteType::Prohibit, "EACCES"),
        ] {
            let refusing = Route { kind, table: Some(7), ..Route::new(address(network)) };
            let rule = RoutingRule { from: from_own, table: Some(7), priority: Some(9), ..RoutingRule::default() };
            client.add_route(&refusing)?;
            client.add_rule(&rule)?;
            assert_eq!(client.add_rule(&rule).unwrap_err().symbol().as_deref(), Some("EEXIST"));
            assert_eq!(leaves_by(client, beyond, own), Err(errno.to_owned()), "{kind:?}");
            client.delete_rule(&rule)?;
            let rule = RoutingRule { from: from_own, kind: Some(kind), ..RoutingRule::default() };
            client.add_rule(&rule)?;
            // A rule of IPv4 says ENETUNREACH for `unreachable`.
            let refused = leaves_by(client, beyond, own).unwrap_err();
            assert!(refused == errno || (kind == RouteType::Unreachable && refused == "ENETUNREACH"), "{refused}");
            client.delete_rule(&rule)?;
            client.delete_route(&refusing)?;
        }
        let hop = |via: &str, weight| NextHop { via: Some(ip(via)), dev: None, weight };
        let nexthops = vec![hop(via[0], None), hop(via[1], Some(256))];
        let multipath = Route { nexthops, metric: Some(5), ..Route::new(address(network)) };
        client.add_route(&multipath)?;
        client.delete_route(&multipath)?;
    }
    Ok(Completion::Completed)
}

/// A scenario that sets a link up again adds the routes that it needs: the kernel flushes those of all tables
/// (`fib_sync_down_dev`, net/ipv4/fib_semantics.c; `rt6_disable_ip`, net/ipv6/route.c), and restores only connected
/// ones. Rules stay.
pub fn a_link_that_goes_down_takes_the_routes_of_all_tables(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let testbed = build(home, &two_hosts(1))?;
    let client = testbed.node("client")?;
    for (network, via) in [("198.51.100.0/24", "10.0.1.2"), ("2001:db8:99::/64", "2001:db8:1::2")] {
        client.add_route(&Route { table: Some(7), ..route(network, via) })?;
        client.add_rule(&RoutingRule { to: Some(address(network)), table: Some(7), ..RoutingRule::default() })?;
    }
    let of_table =
        || -> Result<usize, Failed> { Ok(client.route().routes()?.iter().filter(|route| route.table == 7).count()) };
    assert_eq!(of_table()?, 2);
    testbed.set_link("client", "eth1", false)?;
    testbed.set_link("client", "eth1", true)?;
    assert_eq!(of_table()?, 0);
    assert_eq!(client.route().rules()?.iter().filter(|rule| rule.table == Some(7)).count(), 2);
    Ok(Completion::Completed)
}

pub fn refusals_have_the_kernels_words(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let mut setup = two_hosts(1);
    build(home, &setup)?;
    setup.push(add_route("client", "10.9.0.0/16", "10.99.0.1"));
    assert_eq!(
        complaint(try_build(home, &setup, 0)),
        "add route 10.9.0.0/16 via 10.99.0.1 in client: ENETUNREACH: Nexthop has invalid gateway"
    );
    setup.pop();
    setup.push(add_address("client", "eth1", "10.0.1.1/24"));
    assert_eq!(
        complaint(try_build(home, &setup, 0)),
        "add address 10.0.1.1/24 to eth1 in client: EEXIST: ipv4: Address already assigned"
    );
    setup.pop();
    setup.push(Setup::Rate { namespace: "client".into(), device: "eth1".into(), rate: 7 });
    assert_eq!(complaint(try_build(home, &setup, 0)), "limit eth1 in client to 7 bit/s: the minimum is 8 bit/s");
    setup.pop();
    setup.push(add_address("nowhere", "eth1", "10.0.1.9/24"));
    assert_eq!(complaint(try_build(home, &setup, 0)), "no namespace nowhere; expected one of: client, server");
    setup.pop();
    setup.push(link("eth1", 7, ["client", "server"], None));
    let error = try_build(home, &setup, 0).unwrap_err();
    assert_eq!(error.symbol().as_deref(), Some("EEXIST"), "{error}");
    Ok(Completion::Completed)
}

pub fn sysctls_are_read_back(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let setup = [namespace("client"), sysctl("client", "net.ipv4.tcp_rmem", "4096 5000  6000")];
    let testbed = build(home, &setup)?;
    let node = testbed.node("client")?;
    assert_eq!(node.run(|| read::read("net.ipv4.tcp_rmem"))??, "4096\t5000\t6000");
    for (name, value, symbol) in [
        ("net.ipv4.ip_default_ttl", "0", Some("EINVAL")),
        ("net.ipv4.tcp_syncookies", "no", Some("EINVAL")),
        ("net.ipv4.no_such_thing", "1", Some("ENOENT")),
        ("kernel.hostname", "oops", None),
    ] {
        let error = node.set_sysctl(name, value).unwrap_err();
        assert!(matches!(error, TestbedError::Sysctl { .. }));
        assert_eq!(error.symbol().as_deref(), symbol, "{error}");
    }
    Ok(Completion::Completed)
}

pub fn a_namespace_starts_from_the_baseline(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let testbed = build(home, &two_hosts(1))?;
    let values = testbed.node("client")?.run(|| {
        [
            "ipv4/conf/eth1/rp_filter",
            "ipv4/ip_forward",
            "ipv6/conf/eth1/accept_ra",
            "ipv6/conf/eth1/addr_gen_mode",
            "ipv4/tcp_congestion_control",
            "ipv4/tcp_rmem",
        ]
        .map(|file| fs::read_to_string(format!("/proc/sys/net/{file}")))
    })?;
    let values = values.into_iter().collect::<Result<Vec<String>, _>>()?;
    assert_eq!(values.concat(), "0\n0\n0\n1\nreno\n4096\t131072\t6291456\n");
    Ok(Completion::Completed)
}

#[expect(clippy::print_stderr, reason = "how long it takes is what this is about")]
pub fn it_is_quick(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let setup = two_hosts(4);
    let mut times = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        let testbed = build(home, &setup)?;
        let built = start.elapsed();
        drop(testbed);
        times.push((built, start.elapsed().saturating_sub(built)));
    }
    times.sort();
    let (built, gone) = times[times.len() / 2];
    eprintln!("2 namespaces, 4 links, 16 addresses, 8 routes: built in {built:?}, gone in {gone:?} (median of 20)");
    // A hundred times what it takes: only what waits for the kernel's timer of a second takes longer.
    assert!(built < A_SECOND, "{times:?}");
    Ok(Completion::Completed)
}

#[expect(clippy::print_stderr, reason = "how long it takes is what this is about")]
pub fn many_at_a_time(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    const THREADS: usize = 50;
    let start = Instant::now();
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let home = Arc::clone(home);
            thread::spawn(move || -> Result<_, Failed> {
                home.enter_for_good()?;
                let testbed = build(&home, &two_hosts(4))?;
                let built = start.elapsed();
                talks_at_once(testbed.node("client")?, testbed.node("server")?, None, "2001:db8:4::2")?;
                Ok(built)
            })
        })
        .collect();
    let mut last = Duration::ZERO;
    for thread in threads {
        last = last.max(thread.join().unwrap()?);
    }
    eprintln!("{THREADS} testbeds at a time: the last one was built after {last:?}");
    Ok(Completion::Completed)
}
