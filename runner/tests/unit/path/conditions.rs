//! Conditions, in logical time: nothing is about right here, everything is exact.

use std::time::Duration;

use mptcplab::recording::PathTotals;
use mptcplab::scenario::model::{Chance, Conditions, Distribution, Jitter, Queue, Reorder};
use smoltcp::wire::{EthernetFrame, Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet, Ipv4Packet, Ipv6Packet};

use super::harness::{Arrived, Harness, MS, Seen, Tcp, delay};

/// A frame whose IP packet has exactly so many bytes, and which bears a number.
fn sized(number: u32, bytes: usize) -> Vec<u8> {
    Tcp::data(number, &vec![7; bytes - 20 - 32]).frame(0)
}

fn first(conditions: Conditions) -> Harness {
    Harness::new([conditions, Conditions::default()], Vec::new())
}

/// The numbers of what arrived.
fn numbers(arrived: &[Arrived]) -> Vec<u32> {
    arrived.iter().map(|arrived| Seen::read(arrived).sequence).collect()
}

/// Lets everything arrive, each at its time: (after how many nanoseconds, number).
fn arrivals(harness: &mut Harness) -> Vec<(u64, u32)> {
    let begin = harness.now;
    let mut all = Vec::new();
    while let Some(next) = harness.path.next_deadline() {
        all.extend(numbers(&harness.until(next)).into_iter().map(|number| (next - begin, number)));
    }
    all
}

#[test]
fn without_conditions_a_frame_arrives_at_once_and_as_it_is() {
    let mut harness = first(Conditions::default());
    let frame = sized(1, 1000);
    assert_eq!(harness.send(0, &frame), [(1, frame.clone())]);
    assert_eq!(harness.send(1, &frame), [(0, frame)]);
    assert_eq!((harness.path.totals(0).left, harness.path.totals(1).left_bytes), (1, 1000));
    assert_eq!(harness.path.next_deadline(), None);
}

#[test]
fn the_delay_is_exact_and_of_one_direction() {
    let mut harness = first(delay(Duration::from_millis(10)));
    assert!(harness.send(0, &sized(1, 100)).is_empty());
    assert_eq!(harness.send(1, &sized(2, 100)).len(), 1, "the other direction has no delay");
    assert_eq!(harness.path.next_deadline(), Some(harness.now + 10 * MS));
    assert!(harness.after(10 * MS - 1).is_empty());
    assert_eq!(numbers(&harness.after(1)), [1]);
}

#[test]
fn the_rate_counts_ip_bytes_and_late_wakeups_do_not_add_up() {
    // 1000 bytes at 8 Mbit/s: 1 ms each.
    let mut harness = first(Conditions { rate: Some(8_000_000), ..delay(Duration::from_millis(5)) });
    for number in 1..=3 {
        harness.send(0, &sized(number, 1000));
    }
    // Nobody looks before 6.7 ms are over.
    assert_eq!(numbers(&harness.after(6_700_000)), [1]);
    harness.send(0, &sized(4, 1000));
    let from_now = arrivals(&mut harness);
    assert_eq!(from_now, [(300_000, 2), (1_300_000, 3), (6_000_000, 4)]);
}

#[test]
fn a_rate_is_kept_over_many_packets() {
    let mut harness = first(Conditions { rate: Some(10_000_000), ..Conditions::default() });
    for number in 1..=1000 {
        harness.send(0, &sized(number, 1250));
    }
    let all = arrivals(&mut harness);
    assert_eq!(all.len(), 1000);
    assert_eq!(all.last().unwrap().0, 1000 * MS, "1.25 MB at 10 Mbit/s take 1 s");
}

#[test]
fn a_full_queue_drops_what_comes_last() {
    let limits = [
        Queue { packets: Some(2), bytes: None },
        Queue { packets: None, bytes: Some(2000) },
        Queue { packets: Some(9), bytes: Some(2999) },
    ];
    for queue in limits {
        let mut harness = first(Conditions { rate: Some(8_000_000), queue, ..Conditions::default() });
        // One is being sent, two wait.
        for number in 1..=5 {
            harness.send(0, &sized(number, 1000));
        }
        assert_eq!(harness.effects(), ["4 QueueFull", "5 QueueFull"]);
        assert_eq!(numbers(&harness.after(MS)), [1]);
        // Number 2 doesn't wait any more.
        harness.send(0, &sized(6, 1000));
        harness.send(0, &sized(7, 1000));
        assert_eq!(harness.effects(), ["7 QueueFull"]);
        assert_eq!(numbers(&harness.after(10 * MS)), [2, 3, 6]);
        assert_eq!(harness.path.totals(0).queue_full, 3);
    }
}

#[test]
fn exactly_the_packets_that_are_named_are_lost() {
    let mut harness = first(Conditions { loss: Some(Chance::Nth(vec![4, 2])), ..Conditions::default() });
    let arrived: Vec<_> = (1..=5).flat_map(|number| harness.send(0, &sized(number, 100))).collect();
    assert_eq!(numbers(&arrived), [1, 3, 5]);
    let effects = harness.path.take_effects();
    assert_eq!(effects.iter().map(|effect| effect.number).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(effects[0].segment.as_ref().unwrap().sequence, 2);
}

#[test]
fn neighbours_find_each_other_whatever_the_loss() {
    let always = Conditions { loss: Some(Chance::Probability(1.0)), ..delay(Duration::from_millis(1)) };
    let mut harness = first(always);
    let arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 2], &[8, 6], &[0; 28]].concat();
    let icmpv6 = |kind: u8, source: &[u8; 16]| {
        let ip = [&[0x60, 0, 0, 0, 0, 24, 58, 255][..], source, &[0xfd; 16], &[kind, 0, 0, 0], &[0; 20]].concat();
        [&[2; 12][..], &[0x86, 0xdd], &ip].concat()
    };
    let global = [0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    let link_local = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    let spared = [arp, icmpv6(135, &global), icmpv6(128, &link_local)];
    for frame in &spared {
        assert!(harness.send(0, frame).is_empty(), "it is delayed");
        assert_eq!(harness.after(MS), [(1, frame.clone())]);
    }
    assert_eq!(harness.path.totals(0), PathTotals::default(), "and not counted");
    // An echo request of a global address is a packet like any other.
    harness.send(0, &icmpv6(128, &global));
    assert_eq!((harness.path.totals(0).entered, harness.path.totals(0).lost), (1, 1));
}

#[test]
fn reordered_packets_are_overtaken() {
    let reorder = Reorder { which: Chance::Nth(vec![2]), by: Duration::from_millis(3) };
    let mut harness = first(Conditions { reorder: Some(reorder), ..delay(Duration::from_millis(1)) });
    for number in 1..=4 {
        harness.send(0, &sized(number, 100));
    }
    assert_eq!(arrivals(&mut harness), [(MS, 1), (MS, 3), (MS, 4), (4 * MS, 2)]);
    assert_eq!(harness.effects(), ["2 Reordered"]);
}

#[test]
fn duplicates_follow_their_originals_and_take_their_time() {
    let duplicate = Some(Chance::Nth(vec![1]));
    let mut harness = first(Conditions { duplicate, rate: Some(8_000_000), ..Conditions::default() });
    harness.send(0, &sized(1, 1000));
    harness.send(0, &sized(2, 1000));
    assert_eq!(arrivals(&mut harness), [(MS, 1), (2 * MS, 1), (3 * MS, 2)]);
    let totals = harness.path.totals(0);
    assert_eq!((totals.entered, totals.duplicated, totals.added, totals.left), (2, 1, 1, 3));
}

#[test]
fn jitter_stays_within_its_bounds_and_overtakes_nobody() {
    let ranges = [(Distribution::Uniform, 8, 12), (Distribution::Normal, 4, 16), (Distribution::Pareto, 10, 30)];
    for (distribution, least, most) in ranges {
        let jitter = Some(Jitter { range: Duration::from_millis(2), distribution });
        let mut harness = first(Conditions { jitter, ..delay(Duration::from_millis(10)) });
        let mut delays = Vec::new();
        // Far enough apart that none has to wait for another.
        for number in 1..=2000 {
            harness.send(0, &sized(number, 100));
            delays.push(harness.path.next_deadline().unwrap() - harness.now);
            harness.after(100 * MS);
        }
        assert!(delays.iter().all(|delay| (least * MS..=most * MS).contains(delay)), "{distribution:?}");
        let mean = delays.iter().sum::<u64>() / 2000;
        let expected = if distribution == Distribution::Pareto { 12 * MS } else { 10 * MS };
        assert!(mean.abs_diff(expected) < MS / 5, "{distribution:?}: {mean}");
        assert!(delays.iter().any(|delay| delay.abs_diff(mean) > MS), "{distribution:?} varies");

        for number in 1..=100 {
            harness.send(0, &sized(number, 100));
        }
        let order: Vec<u32> = arrivals(&mut harness).into_iter().map(|(_, number)| number).collect();
        assert_eq!(order, (1..=100).collect::<Vec<_>>(), "{distribution:?}");
    }
}

#[test]
fn a_change_holds_for_what_enters_from_then_on() {
    let mut harness = first(delay(Duration::from_millis(10)));
    harness.send(0, &sized(1, 100));
    harness.path.set_conditions(0, &delay(Duration::from_millis(1)));
    harness.send(0, &sized(2, 100));
    assert_eq!(arrivals(&mut harness), [(10 * MS, 1), (10 * MS, 2)], "in their order");
    harness.send(0, &sized(3, 100));
    assert_eq!(arrivals(&mut harness), [(MS, 3)]);
    harness.path.set_conditions(0, &Conditions { loss: Some(Chance::Nth(vec![5])), ..Conditions::default() });
    let arrived: Vec<_> = (4..=6).flat_map(|number| harness.send(0, &sized(number, 100))).collect();
    assert_eq!(numbers(&arrived), [4, 6], "packets are counted since the start");
}

#[test]
fn too_large_packets_are_answered_as_rfc_1191_says() {
    let mut harness = first(Conditions { mtu: Some(1000), ..Conditions::default() });
    assert_eq!(harness.send(0, &sized(1, 1000)).len(), 1, "what fits, fits");
    let big = sized(77, 1001);
    let arrived = harness.send(0, &big);
    let [(0, answer)] = arrived.as_slice() else { panic!("no answer: {arrived:?}") };
    let ethernet = EthernetFrame::new_checked(answer.as_slice()).unwrap();
    assert_eq!((ethernet.dst_addr().0[5], ethernet.src_addr().0[5]), (2, 1));
    let ip = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
    assert!(ip.verify_checksum() && usize::from(ip.total_len()) == answer.len() - 14);
    assert!(ip.total_len() <= 576);
    assert_eq!((ip.src_addr().octets(), ip.dst_addr().octets()), ([10, 0, 1, 1], [10, 0, 1, 2]));
    let icmp = Icmpv4Packet::new_checked(&answer[34..]).unwrap();
    assert!(icmp.verify_checksum());
    assert_eq!((icmp.msg_type(), icmp.msg_code()), (Icmpv4Message::DstUnreachable, 4));
    assert_eq!(answer[40..42], 1000_u16.to_be_bytes(), "next-hop MTU");
    assert_eq!(answer[42..42 + 28], big[14..42], "it quotes the packet");
    assert_eq!(harness.effects(), ["2 TooBig"]);
    // No error about an error.
    let error = [&answer[..], &[0; 600]].concat();
    assert_eq!(harness.send(0, &error), []);
    assert_eq!(harness.path.totals(0).too_big, 2);
    assert_eq!((harness.path.totals(1).added, harness.path.totals(1).left), (1, 1));
}

#[test]
fn too_large_packets_are_answered_as_rfc_8201_says() {
    let mut harness = first(Conditions { mtu: Some(1280), ..Conditions::default() });
    let big = Tcp::data(77, &[0; 1400]).six(true).frame(0);
    let arrived = harness.send(0, &big);
    let [(0, answer)] = arrived.as_slice() else { panic!("no answer: {arrived:?}") };
    let ip = Ipv6Packet::new_checked(&answer[14..]).unwrap();
    assert_eq!(ip.total_len(), 1280, "as much as fits into the least MTU (RFC 4443 section 2.4)");
    let icmp = Icmpv6Packet::new_checked(&answer[54..]).unwrap();
    assert!(icmp.verify_checksum(&ip.src_addr(), &ip.dst_addr()));
    assert_eq!(icmp.msg_type(), Icmpv6Message::PktTooBig);
    assert_eq!(icmp.pkt_too_big_mtu(), 1280);
    assert_eq!(answer[62..], big[14..14 + 1280 - 48]);
}
