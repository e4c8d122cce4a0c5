//! Which segments a rule is about, and the actions that leave them as they are.

use std::net::IpAddr;
use std::time::Duration;

use mptcplab::pattern::Pattern;
use mptcplab::scenario::model::{Chance, Conditions, PacketPattern, RuleAction, WirePattern};
use mptcplab::wire::{MptcpOption, TcpFlags};

use super::harness::{Harness, MS, Seen, Tcp, any, delay, ip, rule, wire, with_option};

fn prio(backup: bool) -> Vec<u8> {
    Tcp::ack(1).option(&MptcpOption::MpPrio { backup }).frame(0)
}

/// Whether a rule with that pattern is about the frame.
fn matches(matching: PacketPattern, from: usize, frame: &[u8]) -> bool {
    let mut harness = Harness::with_rule(matching, RuleAction::Drop);
    let gone = harness.send(from, frame).is_empty();
    assert_eq!(harness.path.rule_hits("rule"), Some(u64::from(gone)));
    assert_eq!(harness.path.totals(from).dropped, u64::from(gone));
    gone
}

#[test]
fn all_that_is_given_must_hold() {
    let frame = Tcp::data(1, &[0; 100]).option(&MptcpOption::MpPrio { backup: true }).frame(0);
    let (client, server): (Option<IpAddr>, Option<IpAddr>) = (Some(ip("10.0.1.2")), Some(ip("10.0.1.1")));
    let option = |pattern: WirePattern| PacketPattern { option: Some(pattern), ..any() };
    let backup =
        |on: bool| WirePattern { fields: Pattern::default().and("backup", on.into()).unwrap(), ..wire("mp_prio") };
    let alike = [
        any(),
        PacketPattern { direction: Some(0), from: client, to: server, ..any() },
        PacketPattern { from_port: Some(40000), to_port: Some(8080), ..any() },
        PacketPattern { flags: TcpFlags::ACK | TcpFlags::PSH, without: TcpFlags::SYN, ..any() },
        PacketPattern { payload: Some(100..=100), any_option: true, ..any() },
        option(backup(true)),
    ];
    for pattern in alike {
        assert!(matches(pattern.clone(), 0, &frame), "{pattern:?}");
    }
    let different = [
        PacketPattern { direction: Some(1), ..any() },
        PacketPattern { from: server, ..any() },
        PacketPattern { to: client, ..any() },
        PacketPattern { from_port: Some(8080), ..any() },
        PacketPattern { to_port: Some(40000), ..any() },
        PacketPattern { flags: TcpFlags::SYN, ..any() },
        PacketPattern { without: TcpFlags::PSH, ..any() },
        PacketPattern { payload: Some(101..=u64::MAX), ..any() },
        option(backup(false)),
        option(wire("add_addr")),
    ];
    for pattern in different {
        assert!(!matches(pattern.clone(), 0, &frame), "{pattern:?}");
    }
    assert!(!matches(PacketPattern { any_option: true, ..any() }, 0, &Tcp::data(1, &[0]).frame(0)));
}

#[test]
fn what_is_no_tcp_segment_meets_no_rule() {
    let mut udp = Tcp::data(1, &[0; 100]).frame(0);
    udp[23] = 17;
    assert!(!matches(any(), 0, &udp));
}

#[test]
fn the_nth_is_counted_among_those_that_match() {
    let second = PacketPattern { nth: Some(2..=2), ..with_option("mp_prio") };
    let mut harness = Harness::with_rule(second, RuleAction::Drop);
    let arrived: Vec<usize> = [Tcp::ack(1).frame(0), prio(true), Tcp::ack(2).frame(0), prio(false), prio(true)]
        .iter()
        .map(|frame| harness.send(0, frame).len())
        .collect();
    assert_eq!(arrived, [1, 1, 1, 0, 1]);
    assert_eq!(harness.path.rule_hits("rule"), Some(1));
    assert_eq!(harness.effects(), ["4 drop"]);
    assert_eq!(harness.path.rule_hits("another"), None);
}

#[test]
fn untouched_frames_arrive_as_they_are() {
    let mut harness = Harness::with_rule(with_option("add_addr"), RuleAction::Strip(None));
    let mut frame = prio(true);
    frame[50..52].fill(0xaa); // not even a wrong checksum is repaired
    assert_eq!(harness.send(0, &frame), [(1, frame.clone())]);
    assert!(harness.effects().is_empty());
}

#[test]
fn a_delayed_segment_is_overtaken() {
    let mut harness = Harness::with_rule(with_option("mp_prio"), RuleAction::Delay(Duration::from_millis(20)));
    let (first, second) = (prio(true), Tcp::data(2, &[1]).frame(0));
    assert!(harness.send(0, &first).is_empty());
    assert_eq!(harness.send(0, &second), [(1, second.clone())]);
    assert_eq!(harness.path.waiting(0), 1);
    assert!(harness.after(20 * MS - 1).is_empty());
    assert_eq!(harness.after(1), [(1, first)]);
    assert_eq!(harness.effects(), ["1 delay"]);
}

#[test]
fn the_delay_of_a_rule_and_that_of_the_path_add_up_without_waking_up() {
    let rules = vec![rule("rule", any(), RuleAction::Delay(Duration::from_millis(20)))];
    let mut harness = Harness::new([delay(Duration::from_millis(5)), Conditions::default()], rules);
    harness.send(0, &prio(true));
    assert!(harness.after(25 * MS - 1).is_empty());
    assert_eq!(harness.after(1).len(), 1, "25 ms after it came, though nobody looked at 20 ms");
}

#[test]
fn a_duplicated_segment_comes_twice() {
    let mut harness = Harness::with_rule(any(), RuleAction::Duplicate);
    let frame = prio(true);
    assert_eq!(harness.send(0, &frame), [(1, frame.clone()), (1, frame)]);
    assert_eq!(harness.effects(), ["1 duplicate → 1"]);
    assert_eq!((harness.path.totals(0).entered, harness.path.totals(0).added, harness.path.totals(0).left), (1, 1, 2));
}

#[test]
fn held_segments_go_on_in_their_order_when_they_are_released() {
    let mut harness = Harness::with_rule(with_option("mp_prio"), RuleAction::Hold);
    let held = [prio(true), prio(false)];
    for frame in &held {
        assert!(harness.send(0, frame).is_empty());
    }
    assert_eq!(harness.send(0, &Tcp::ack(1).frame(0)).len(), 1);
    assert_eq!(harness.path.waiting(0), 2);
    assert_eq!(harness.path.release("rule"), Some(2));
    assert_eq!(harness.path.release("another"), None);
    assert_eq!(harness.path.next_deadline(), Some(harness.now));
    assert_eq!(harness.after(0), held.map(|frame| (1, frame)));
    // What matches from now on is held again, and dropped at the end.
    assert!(harness.send(0, &prio(true)).is_empty());
    harness.path.finish();
    assert_eq!(harness.effects(), ["1 hold", "2 hold", "1 release", "2 release", "4 hold", "4 drop"]);
    assert_eq!((harness.path.totals(0).dropped, harness.path.waiting(0)), (1, 0));
}

#[test]
fn a_removed_rule_drops_what_it_holds_and_tells_how_often_it_matched() {
    let mut harness = Harness::with_rule(with_option("mp_prio"), RuleAction::Hold);
    harness.send(0, &prio(true));
    assert_eq!(harness.path.remove_rule("rule"), Some(1));
    assert_eq!(harness.path.remove_rule("rule"), None);
    assert_eq!(harness.path.totals(0).dropped, 1);
    assert_eq!(harness.send(0, &prio(true)).len(), 1);
}

#[test]
fn rules_stand_in_a_row_along_the_link() {
    let first = rule("first", any(), RuleAction::Duplicate);
    let second = rule("second", PacketPattern { nth: Some(2..=2), ..any() }, RuleAction::Drop);
    let mut harness = Harness::new(Default::default(), vec![first, second]);
    assert_eq!(harness.send(0, &prio(true)).len(), 1, "the second rule sees both");
    assert_eq!(harness.send(1, &Tcp::ack(1).frame(1)).len(), 2, "the other way it comes first: its third");
    assert_eq!((harness.path.rule_hits("first"), harness.path.rule_hits("second")), (Some(2), Some(1)));
}

#[test]
fn what_was_kept_goes_on_behind_its_rule_whatever_rules_come_and_go() {
    let mut harness = Harness::with_rule(any(), RuleAction::Hold);
    harness.path.add_rule(&rule("second", any(), RuleAction::Drop));
    harness.path.add_rule(&rule("third", any(), RuleAction::Duplicate));
    harness.send(0, &prio(true));
    harness.path.remove_rule("second");
    harness.path.release("rule");
    assert_eq!(harness.after(0).len(), 2);
}

#[test]
fn a_packet_keeps_its_fate_whatever_the_rules_do() {
    let lossy = Conditions { loss: Some(Chance::Nth(vec![1])), ..Conditions::default() };
    let mut harness =
        Harness::new([lossy, Conditions::default()], vec![rule("rule", with_option("mp_prio"), RuleAction::Hold)]);
    harness.send(0, &prio(true));
    assert_eq!(
        harness.send(0, &Tcp::ack(7).frame(0)).len(),
        1,
        "the second packet, though the first to come to the loss"
    );
    harness.path.release("rule");
    assert!(harness.after(0).is_empty());
    assert_eq!(harness.effects(), ["1 hold", "1 release", "1 Lost"]);
}

#[test]
fn copies_have_fates_of_their_own_where_they_are_a_matter_of_probability() {
    let lossy = Conditions { loss: Some(Chance::Probability(0.5)), ..Conditions::default() };
    let mut harness = Harness::new([lossy, Conditions::default()], vec![rule("rule", any(), RuleAction::Duplicate)]);
    let both: Vec<usize> = (0..200).map(|number| harness.send(0, &Tcp::ack(number).frame(0)).len()).collect();
    for count in 0..=2 {
        assert!(both.iter().filter(|arrived| **arrived == count).count() > 30, "{count}");
    }
}

#[test]
fn ipv6_segments_are_matched_too() {
    let pattern = PacketPattern { from: Some(ip("fd00:1::2")), ..any() };
    assert!(matches(pattern, 0, &Tcp::ack(1).six(true).frame(0)));
    let mut harness = Harness::with_rule(any(), RuleAction::Duplicate);
    let arrived = harness.send(0, &Tcp::ack(1).six(true).frame(0));
    assert!(arrived.iter().all(|arrived| Seen::read(arrived).sequence == 1));
}
