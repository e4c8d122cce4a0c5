//! What the packet filters do in a real kernel: each match and each action, on real connections between two throw-away
//! namespaces. Runs as root and, in a user namespace of its own, as anybody else; as root it runs itself once more as
//! somebody else.

mod world;

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use libtest_mimic::{Completion, Failed};
use mptcplab::netlink::nft::NftClient;
use mptcplab::netlink::{NetlinkError, Refusal};
use mptcplab::scenario::model::{Filter, FilterAction, FilterHook, FilterProtocol, FlowState};
use socket2::Protocol;

use super::at_home;
use super::require::{Outcome, machine_lacks};
use world::{Place, World, run};

type Body = fn(&World);

const TCP: Protocol = Protocol::TCP;

fn mptcp() -> Protocol {
    Protocol::from(262)
}

/// The tests of this suite.
pub fn tests() -> Vec<super::Test> {
    let tests: [(&str, Body); 18] = [
        ("the_probe_says_yes", the_probe_says_yes),
        ("drop_looks_at_addresses", drop_looks_at_addresses),
        ("drop_looks_at_the_device", drop_looks_at_the_device),
        ("drop_looks_at_the_ports_and_the_protocol", drop_looks_at_the_ports_and_the_protocol),
        ("drop_looks_at_the_state", drop_looks_at_the_state),
        ("dnat_leads_elsewhere", dnat_leads_elsewhere),
        ("reject_answers_with_icmp", reject_answers_with_icmp),
        ("reject_answers_with_a_reset", reject_answers_with_a_reset),
        ("payload_length_is_exact", payload_length_is_exact),
        ("nth_acts_once", nth_acts_once),
        ("corrupt_inverts_one_byte", corrupt_inverts_one_byte),
        ("corrupt_is_seen_by_mptcp_only", corrupt_is_seen_by_mptcp_only),
        ("option_is_matched_first", option_is_matched_first),
        ("any_option_is_matched", any_option_is_matched),
        ("option_is_matched_behind_dss", option_is_matched_behind_dss),
        ("strip_removes_every_option", strip_removes_every_option),
        ("filters_act_in_their_order", filters_act_in_their_order),
        ("errors_are_the_kernels", errors_are_the_kernels),
    ];
    let mut tests: Vec<_> =
        tests.into_iter().map(|(name, body)| super::Test::new(name, move || in_a_world(body))).collect();
    if at_home::is_root() {
        tests.push(super::Test::new("all_of_it_without_root", all_of_it_without_root));
    }
    tests
}

/// Each test has a thread and a world of its own.
fn in_a_world(body: Body) -> Outcome {
    if let Err(reason) = at_home::home() {
        return machine_lacks(reason);
    }
    body(&World::new()?);
    Ok(Completion::Completed)
}

fn all_of_it_without_root() -> Result<(), Failed> {
    const NOBODY: u32 = 65534;
    let mut command = Command::new("/proc/self/exe");
    // A kernel that forbids it would have everything ignored.
    command.args(["nft::", "--test-threads=1"]).env("MPTCPLAB_REQUIRE", "all");
    let output = command.uid(NOBODY).gid(NOBODY).current_dir("/").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && text.contains(" 18 passed;") { Ok(()) } else { Err(Failed::from(text)) }
}

fn filter(hook: FilterHook, action: FilterAction) -> Filter {
    Filter::new("test", "", hook, action)
}

fn client(world: &World, place: Place) -> NftClient {
    world.at(place, NftClient::open).unwrap()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, NetlinkError>) -> Refusal {
    result.unwrap_err().refusal().cloned().unwrap()
}

fn the_probe_says_yes(world: &World) {
    assert_eq!(world.at(Place::Right, NftClient::available), Ok(()));
}

fn drop_looks_at_addresses(world: &World) {
    let mut nft = client(world, Place::Right);
    for (from, other, to) in [
        ("10.0.1.1", "10.0.2.1", "10.0.1.2"),
        ("fd00:1::1", "fd00:2::1", "fd00:1::2"),
        ("10.0.1.1", "10.0.2.1", "10.0.1.2"),
    ] {
        let mut drop = filter(FilterHook::Input, FilterAction::Drop);
        drop.from = from.parse().ok();
        drop.to = to.parse().ok();
        nft.add_filter(&drop).unwrap();
        world.connect(TCP, other, to).unwrap().ping_pong();
        assert_eq!(nft.hits("test").unwrap(), 0, "from {other}");
        world.connect_in_vain(TCP, from, to);
        assert!(nft.remove_filter("test").unwrap() >= 1, "from {from}: at least one SYN");
        world.connect(TCP, from, to).unwrap().ping_pong();
    }
    // Written as IPv6, it is still the IPv4 address.
    let mut drop = filter(FilterHook::Input, FilterAction::Drop);
    drop.to = "::ffff:10.0.1.2".parse().ok();
    nft.add_filter(&drop).unwrap();
    world.connect(TCP, "fd00:1::1", "fd00:1::2").unwrap().ping_pong();
    world.connect_in_vain(TCP, "10.0.1.1", "10.0.1.2");
    assert!(nft.remove_filter("test").unwrap() >= 1);
}

fn drop_looks_at_the_device(world: &World) {
    for (hook, place) in [(FilterHook::Input, Place::Right), (FilterHook::Output, Place::Left)] {
        let mut nft = client(world, place);
        let mut drop = filter(hook, FilterAction::Drop);
        drop.device = Some("two".into());
        nft.add_filter(&drop).unwrap();
        world.connect(TCP, "10.0.1.1", "10.0.1.2").unwrap().ping_pong();
        assert_eq!(nft.hits("test").unwrap(), 0);
        world.connect_in_vain(TCP, "10.0.2.1", "10.0.2.2");
        assert!(nft.remove_filter("test").unwrap() >= 1);
    }
}

fn drop_looks_at_the_ports_and_the_protocol(world: &World) {
    let mut nft = client(world, Place::Right);
    let drop = filter(FilterHook::Input, FilterAction::Drop);
    for spared in [
        Filter { to_port: Some(9), ..drop.clone() },
        Filter { from_port: Some(9), ..drop.clone() },
        Filter { protocol: FilterProtocol::Udp, ..drop.clone() },
        Filter { protocol: FilterProtocol::Icmp, ..drop.clone() },
        Filter { mark: Some(7), ..drop.clone() },
    ] {
        nft.add_filter(&spared).unwrap();
        world.connect(TCP, "10.0.1.1", "10.0.1.2").unwrap().ping_pong();
        assert_eq!(nft.remove_filter("test").unwrap(), 0, "{spared:?}");
    }
    for (hit, from, to) in [
        (Filter { to_port: Some(world.next_port()), ..drop.clone() }, "10.0.1.1", "10.0.1.2"),
        (Filter { protocol: FilterProtocol::Any, ..drop.clone() }, "fd00:1::1", "fd00:1::2"),
        (Filter { mark: Some(0), ..drop }, "10.0.1.1", "10.0.1.2"),
    ] {
        nft.add_filter(&hit).unwrap();
        world.connect_in_vain(TCP, from, to);
        assert!(nft.remove_filter("test").unwrap() >= 1, "{hit:?}");
    }
}

fn drop_looks_at_the_state(world: &World) {
    let mut nft = client(world, Place::Right);
    let pair = world.connect(TCP, "10.0.1.1", "10.0.1.2").unwrap();
    let states = vec![FlowState::New, FlowState::Invalid];
    nft.add_filter(&Filter { states, ..filter(FilterHook::Input, FilterAction::Drop) }).unwrap();
    world.connect_in_vain(TCP, "10.0.1.1", "10.0.1.2");
    assert!(nft.remove_filter("test").unwrap() >= 1);
    let states = vec![FlowState::Related];
    nft.add_filter(&Filter { states, ..filter(FilterHook::Input, FilterAction::Drop) }).unwrap();
    pair.ping_pong();
    assert_eq!(nft.remove_filter("test").unwrap(), 0);
}

/// Where nobody listens.
fn dnat_leads_elsewhere(world: &World) {
    let mut nft = client(world, Place::Right);
    for (from, to, elsewhere) in [("10.0.1.1", "10.0.1.2", "10.0.2.2"), ("fd00:1::1", "fd00:1::2", "fd00:2::2")] {
        let dnat = filter(FilterHook::Prerouting, FilterAction::Dnat);
        nft.add_filter(&Filter { to: to.parse().ok(), address: elsewhere.parse().ok(), ..dnat.clone() }).unwrap();
        let error = world.connect(TCP, from, to).err().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{to}: {error}");
        assert_eq!(nft.remove_filter("test").unwrap(), 1, "one connection");
        let port = Some(world.next_port());
        nft.add_filter(&Filter { to_port: Some(9), address: to.parse().ok(), port, ..dnat }).unwrap();
        world.connect_by_port(9, TCP, from, to).unwrap().ping_pong();
        assert_eq!(nft.remove_filter("test").unwrap(), 1, "one connection");
    }
}

fn reject_answers_with_icmp(world: &World) {
    rejects(world, FilterAction::RejectIcmp);
}

fn reject_answers_with_a_reset(world: &World) {
    rejects(world, FilterAction::RejectReset);
    // In the middle of a connection, too.
    let pair = world.connect(TCP, "10.0.1.1", "10.0.1.2").unwrap();
    pair.ping_pong();
    let mut reject = filter(FilterHook::Input, FilterAction::RejectReset);
    reject.min_payload = Some(1);
    client(world, Place::Right).add_filter(&reject).unwrap();
    pair.send(b"x");
    let error = std::io::Read::read(&mut &pair.client, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

fn rejects(world: &World, action: FilterAction) {
    for (hook, place) in [(FilterHook::Input, Place::Right), (FilterHook::Output, Place::Left)] {
        for (from, to) in [("10.0.1.1", "10.0.1.2"), ("fd00:1::1", "fd00:1::2")] {
            let mut nft = client(world, place);
            nft.add_filter(&filter(hook, action)).unwrap();
            let error = world.connect(TCP, from, to).err().unwrap();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{hook:?} {to}: {error}");
            let hits = nft.remove_filter("test").unwrap();
            // The first ICMP answer is too early to be taken seriously, see the documentation of the module.
            let expected = if action == FilterAction::RejectIcmp { 1..=2 } else { 1..=1 };
            assert!(expected.contains(&hits), "{hook:?} {to}: {hits} segments");
        }
    }
}

fn payload_length_is_exact(world: &World) {
    let mut nft = client(world, Place::Left);
    for (least, from, to) in [(50, "10.0.1.1", "10.0.1.2"), (1000, "fd00:1::1", "fd00:1::2")] {
        let pair = world.connect(TCP, from, to).unwrap();
        let mut drop = filter(FilterHook::Output, FilterAction::Drop);
        drop.min_payload = Some(least);
        nft.add_filter(&drop).unwrap();
        let length = usize::from(least);
        pair.send(&vec![1; length - 1]);
        assert_eq!(pair.receive(length - 1), vec![1; length - 1]);
        assert_eq!(nft.hits("test").unwrap(), 0);
        pair.send(&vec![2; length]);
        assert!(nft.hits("test").unwrap() >= 1, "{least} bytes");
        nft.remove_filter("test").unwrap();
        assert_eq!(pair.receive(length), vec![2; length], "offered again");
    }
}

fn nth_acts_once(world: &World) {
    let pair = world.connect(TCP, "10.0.1.1", "10.0.1.2").unwrap();
    let mut nft = client(world, Place::Right);
    let mut drop = filter(FilterHook::Input, FilterAction::Drop);
    drop.min_payload = Some(1);
    drop.nth = Some(3);
    nft.add_filter(&drop).unwrap();
    for (number, retransmissions) in [(1, 0), (2, 0), (3, 1), (4, 1)] {
        pair.send(&[number]);
        assert_eq!(pair.receive(1), [number]);
        assert_eq!(nft.hits("test").unwrap(), retransmissions, "after segment {number}");
        assert_eq!(world.counter(Place::Left, "TcpRetransSegs"), retransmissions, "after segment {number}");
    }
    assert_eq!(nft.remove_filter("test").unwrap(), 1);
}

fn corrupt_inverts_one_byte(world: &World) {
    for (hook, place) in [(FilterHook::Input, Place::Right), (FilterHook::Output, Place::Left)] {
        for (from, to) in [("10.0.1.1", "10.0.1.2"), ("fd00:1::1", "fd00:1::2")] {
            let pair = world.connect(TCP, from, to).unwrap();
            let mut nft = client(world, place);
            let mut corrupt = filter(hook, FilterAction::Corrupt);
            corrupt.min_payload = Some(100);
            corrupt.nth = Some(2);
            nft.add_filter(&corrupt).unwrap();
            let sent: Vec<u8> = (0..=199).collect();
            for number in 1..=3 {
                pair.send(&sent[..99]); // too short to be counted
                assert_eq!(pair.receive(99), &sent[..99]);
                pair.send(&sent);
                let mut expected = sent.clone();
                if number == 2 {
                    expected[49] = !expected[49];
                }
                assert_eq!(pair.receive(200), expected, "segment {number} at {hook:?}, {to}");
            }
            assert_eq!(nft.remove_filter("test").unwrap(), 1);
        }
    }
    assert_eq!(world.counter(Place::Right, "TcpInCsumErrors"), 0);
}

fn corrupt_is_seen_by_mptcp_only(world: &World) {
    for place in [Place::Left, Place::Right] {
        world.at(place, || std::fs::write("/proc/sys/net/mptcp/checksum_enabled", "1")).unwrap();
    }
    for (count, from, to) in [(1, "10.0.1.1", "10.0.1.2"), (2, "fd00:1::1", "fd00:1::2")] {
        let pair = world.connect(mptcp(), from, to).unwrap();
        pair.ping_pong();
        let mut nft = client(world, Place::Left);
        let mut corrupt = filter(FilterHook::Output, FilterAction::Corrupt);
        corrupt.min_payload = Some(100);
        corrupt.nth = Some(1);
        nft.add_filter(&corrupt).unwrap();
        pair.send(&[7; 200]);
        world.await_counter(Place::Right, "MPTcpExtDataCsumErr", count);
        assert_eq!(nft.remove_filter("test").unwrap(), 1);
    }
    assert_eq!(world.counter(Place::Right, "TcpInCsumErrors"), 0);
}

fn option_is_matched_first(world: &World) {
    let mut nft = client(world, Place::Left);
    let mut drop = filter(FilterHook::Output, FilterAction::Drop);
    drop.option = Some(Some(0)); // MP_CAPABLE
    nft.add_filter(&drop).unwrap();
    world.connect(TCP, "10.0.1.1", "10.0.1.2").unwrap().ping_pong();
    assert_eq!(nft.hits("test").unwrap(), 0);
    world.connect_in_vain(mptcp(), "10.0.1.1", "10.0.1.2");
    assert!(nft.remove_filter("test").unwrap() >= 1);

    drop.option = Some(Some(1)); // MP_JOIN
    nft.add_filter(&drop).unwrap();
    world.connect(mptcp(), "10.0.1.1", "10.0.1.2").unwrap().ping_pong();
    assert_eq!(nft.remove_filter("test").unwrap(), 0);
}

fn any_option_is_matched(world: &World) {
    let mut nft = client(world, Place::Right);
    let mut drop = filter(FilterHook::Input, FilterAction::Drop);
    drop.option = Some(None);
    nft.add_filter(&drop).unwrap();
    world.connect(TCP, "10.0.1.1", "10.0.1.2").unwrap().ping_pong();
    assert_eq!(nft.hits("test").unwrap(), 0);
    world.connect_in_vain(mptcp(), "10.0.1.1", "10.0.1.2");
    assert!(nft.remove_filter("test").unwrap() >= 1);
}

fn option_is_matched_behind_dss(world: &World) {
    run("ip mptcp endpoint add 10.0.1.1 id 1 subflow").unwrap();
    run("ip mptcp endpoint add 10.0.2.1 id 2 signal").unwrap();
    let pair = world.connect(mptcp(), "10.0.1.1", "10.0.1.2").unwrap();
    pair.ping_pong();
    world.await_counter(Place::Left, "MPTcpExtEchoAdd", 1);
    let mut nft = client(world, Place::Left);
    for (name, subtype) in [("RM_ADDR", 4), ("MP_PRIO", 5)] {
        let mut drop = filter(FilterHook::Output, FilterAction::Drop);
        drop.name = name.into();
        drop.option = Some(Some(subtype));
        nft.add_filter(&drop).unwrap();
    }
    pair.ping_pong();
    run("ip mptcp endpoint change id 1 backup").unwrap();
    run("ip mptcp endpoint delete id 2").unwrap();
    assert_eq!(world.counter(Place::Left, "MPTcpExtMPPrioTx"), 1);
    assert_eq!(world.counter(Place::Left, "MPTcpExtRmAddrTx"), 1);
    pair.ping_pong();
    assert_eq!(nft.remove_filter("MP_PRIO").unwrap(), 1);
    assert_eq!(nft.remove_filter("RM_ADDR").unwrap(), 1);
    assert_eq!(world.counter(Place::Right, "MPTcpExtMPPrioRx"), 0);
    assert_eq!(world.counter(Place::Right, "MPTcpExtRmAddr"), 0);
}

fn strip_removes_every_option(world: &World) {
    for (count, hook, place, from, to) in [
        (1, FilterHook::Output, Place::Left, "10.0.1.1", "10.0.1.2"),
        (2, FilterHook::Input, Place::Right, "fd00:1::1", "fd00:1::2"),
    ] {
        let mut nft = client(world, place);
        nft.add_filter(&filter(hook, FilterAction::StripMptcp)).unwrap();
        world.connect(TCP, from, to).unwrap().ping_pong();
        assert_eq!(nft.hits("test").unwrap(), 0, "there was nothing to strip");
        world.connect(mptcp(), from, to).unwrap().ping_pong();
        assert_eq!(world.counter(Place::Left, "MPTcpExtMPCapableFallbackSYNACK"), count);
        assert_eq!(world.counter(Place::Right, "MPTcpExtMPCapableSYNRX"), 0);
        assert_eq!(nft.remove_filter("test").unwrap(), 1, "only the SYN had one");
    }
    assert_eq!(world.counter(Place::Right, "TcpInCsumErrors"), 0);
}

fn filters_act_in_their_order(world: &World) {
    let strip = Filter { name: "strip".into(), ..filter(FilterHook::Output, FilterAction::StripMptcp) };
    let drop = Filter { name: "drop".into(), option: Some(None), ..filter(FilterHook::Output, FilterAction::Drop) };
    let mut nft = client(world, Place::Left);
    nft.add_filter(&strip).unwrap();
    nft.add_filter(&drop).unwrap();
    world.connect(mptcp(), "10.0.1.1", "10.0.1.2").unwrap().ping_pong();
    assert_eq!(nft.remove_filter("strip").unwrap(), 1);
    assert_eq!(nft.remove_filter("drop").unwrap(), 0, "nothing was left to drop");

    nft.add_filter(&drop).unwrap();
    nft.add_filter(&strip).unwrap();
    world.connect_in_vain(mptcp(), "10.0.1.1", "10.0.1.2");
    assert_eq!(nft.remove_filter("strip").unwrap(), 0, "nothing was left to strip");
    assert!(nft.remove_filter("drop").unwrap() >= 1);
}

fn errors_are_the_kernels(world: &World) {
    let mut nft = client(world, Place::Right);
    let drop = filter(FilterHook::Input, FilterAction::Drop);
    assert_eq!(refusal(nft.hits("test")).symbol(), "ENOENT");
    assert_eq!(refusal(nft.remove_filter("test")).symbol(), "ENOENT");
    nft.add_filter(&drop).unwrap();
    assert_eq!(refusal(nft.add_filter(&drop)).symbol(), "EEXIST");
    assert_eq!(nft.hits("test").unwrap(), 0, "the first one is still there");
    nft.remove_filter("test").unwrap();
    assert_eq!(refusal(nft.hits("test")).symbol(), "ENOENT");

    // A name is a name, whatever it looks like.
    for name in ["x; drop", "\"{", "é", "action/test", &"n".repeat(248)] {
        let odd = Filter { name: name.into(), ..drop.clone() };
        nft.add_filter(&odd).unwrap();
        assert_eq!(nft.remove_filter(name).unwrap(), 0);
    }
    for name in ["", "a\0b", &"n".repeat(249)] {
        let bad = Filter { name: name.into(), ..drop.clone() };
        assert!(nft.add_filter(&bad).unwrap_err().to_string().contains("1 to 248 bytes"));
    }
}
