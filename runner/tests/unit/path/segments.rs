//! Splitting and merging.

use std::time::Duration;

use mptcplab::scenario::model::{PacketPattern, RuleAction};
use mptcplab::wire::{MptcpOption, TcpFlags};

use super::edits::dss;
use super::harness::{Harness, MS, Seen, Tcp, any, delay, only, rule};

const FIN: TcpFlags = TcpFlags::ACK.union(TcpFlags::FIN).union(TcpFlags::PSH);

#[test]
fn parts_have_all_options_and_the_right_places_in_the_stream() {
    for ipv6 in [false, true] {
        let payload: Vec<u8> = (0..=249).collect();
        let segment = Tcp { flags: FIN, ..Tcp::data(u32::MAX - 99, &payload) }.option(&dss(None)).six(ipv6);
        let mut harness = Harness::with_rule(any(), RuleAction::Split(100));
        let parts: Vec<Seen> = harness.send(0, &segment.frame(0)).iter().map(Seen::read).collect();
        let sequences: Vec<u32> = parts.iter().map(|part| part.sequence).collect();
        assert_eq!(sequences, [u32::MAX - 99, 0, 100], "modulo 2^32");
        let flags: Vec<&str> = parts.iter().map(|part| part.flags.as_str()).collect();
        assert_eq!(flags, ["A", "A", "FPA"], "the stream ends with the last one");
        assert_eq!(parts.iter().flat_map(|part| part.payload.clone()).collect::<Vec<_>>(), payload);
        for part in &parts {
            assert_eq!((part.mptcp(), part.timestamps), (vec![dss(None)], Some((7, 9))));
            assert_eq!((part.acknowledgment, part.window), (5000, 512));
        }
        assert_eq!(harness.effects(), ["1 split → 3"]);
        assert_eq!(
            (harness.path.totals(0).entered, harness.path.totals(0).added, harness.path.totals(0).left),
            (1, 2, 3)
        );
    }
}

#[test]
fn what_nobody_has_cut_passes_only_where_nothing_happens_to_it() {
    let frame = Tcp::data(1, &[7; 3000]).option(&dss(None)).frame(0);
    let enter = |harness: &mut Harness| {
        let mut arrived = Vec::new();
        let passed =
            harness.path.enter_whole(harness.now, 0, &frame, 1400, &mut |to, frame| arrived.push((to, frame.to_vec())));
        (passed, arrived)
    };
    let mut open = Harness::new(Default::default(), Vec::new());
    assert_eq!(enter(&mut open), (true, vec![(1, frame.clone())]));
    let mut cut = Harness::with_rule(any(), RuleAction::Split(1400));
    cut.send(0, &frame);
    let (whole, parts) = (open.path.totals(0), cut.path.totals(0));
    assert_eq!((whole.entered, whole.left, whole.left_bytes), (3, parts.left, parts.left_bytes));
    // The next one has the number that it would have.
    open.path.add_rule(&rule("rule", any(), RuleAction::Drop));
    open.send(0, &frame);
    assert_eq!(open.effects(), ["4 drop"]);
    let late = || delay(Duration::from_millis(1));
    for mut harness in [open, cut, Harness::new([late(), late()], Vec::new())] {
        let before = harness.path.totals(0);
        assert_eq!(enter(&mut harness), (false, Vec::new()));
        assert_eq!(harness.path.totals(0), before);
    }
}

#[test]
fn what_is_small_enough_or_opens_stays_whole() {
    let syn = Tcp { flags: TcpFlags::SYN, ..Tcp::data(1, &[0; 200]) };
    for segment in [Tcp::data(1, &[0; 100]), Tcp::ack(1), syn] {
        let mut harness = Harness::with_rule(any(), RuleAction::Split(100));
        assert_eq!(harness.send(0, &segment.frame(0)), [(1, segment.frame(0))]);
        assert_eq!(harness.path.rule_hits("rule"), Some(0));
    }
}

#[test]
fn parts_of_ipv4_have_different_identifications() {
    let mut harness = Harness::with_rule(any(), RuleAction::Split(100));
    let arrived = harness.send(0, &Tcp::data(1, &[0; 300]).frame(0));
    let mut identifications: Vec<_> = arrived.iter().map(|(_, frame)| frame[18..20].to_vec()).collect();
    identifications.dedup();
    assert_eq!(identifications.len(), 3);
}

fn merging(count: u32) -> Harness {
    Harness::with_rule(any(), RuleAction::Merge(count))
}

#[test]
fn so_many_segments_become_one_with_the_options_of_the_first() {
    for ipv6 in [false, true] {
        let mut harness = merging(3);
        let first = Tcp::data(u32::MAX, b"ab").option(&dss(None)).six(ipv6);
        assert!(harness.send(0, &first.frame(0)).is_empty());
        assert!(
            harness
                .send(0, &Tcp::data(1, b"c").option(&MptcpOption::MpPrio { backup: true }).six(ipv6).frame(0))
                .is_empty()
        );
        let last = Tcp { flags: FIN, acknowledgment: 6000, ..Tcp::data(2, b"de").six(ipv6) };
        let seen = only(&harness.send(0, &last.frame(0)));
        assert_eq!((seen.sequence, seen.payload.as_slice(), seen.flags.as_str()), (u32::MAX, &b"abcde"[..], "FPA"));
        assert_eq!((seen.acknowledgment, seen.mptcp()), (6000, vec![dss(None)]));
        assert_eq!(harness.effects(), ["1 merge", "2 merge", "3 merge → 1"]);
        let totals = harness.path.totals(0);
        assert_eq!((totals.entered, totals.merged, totals.left, harness.path.rule_hits("rule")), (3, 2, 1, Some(3)));
    }
}

#[test]
fn a_segment_does_not_wait_for_ever() {
    let mut harness = merging(3);
    let frame = Tcp::data(1, b"ab").frame(0);
    assert!(harness.send(0, &frame).is_empty());
    assert_eq!((harness.path.next_deadline(), harness.path.waiting(0)), (Some(harness.now + 50 * MS), 1));
    assert!(harness.after(50 * MS - 1).is_empty());
    assert_eq!(harness.after(1), [(1, frame)], "as it was");
    assert!(harness.effects().is_empty(), "nothing was done to it");
    assert_eq!(harness.path.next_deadline(), None);
}

#[test]
fn what_does_not_follow_lets_go_what_waits() {
    let first = Tcp::data(1, b"ab").frame(0);
    // A hole, a retransmission, an acknowledgment without data, too much for one packet.
    for other in [Tcp::data(9, b"x"), Tcp::data(1, b"ab"), Tcp::ack(3), Tcp::data(3, &[0; 1447])] {
        let mut harness = merging(2);
        assert!(harness.send(0, &first).is_empty());
        let mut arrived = harness.send(0, &other.frame(0));
        arrived.extend(harness.after(50 * MS));
        assert_eq!(arrived, [(1, first.clone()), (1, other.frame(0))], "{other:?}");
        assert!(harness.effects().is_empty());
    }
}

#[test]
fn nothing_is_made_that_does_not_fit_through_the_link() {
    for (mtu, count) in [(1403, 2), (1404, 1), (9000, 1)] {
        let mut harness = merging(2);
        harness.path.set_link_mtu(mtu);
        let mut arrived = harness.send(0, &Tcp::data(1, &[0; 1000]).frame(0));
        arrived.extend(harness.send(0, &Tcp::data(1001, &[0; 352]).frame(0)));
        arrived.extend(harness.after(50 * MS));
        assert_eq!(arrived.len(), count, "{mtu}");
    }
}

#[test]
fn other_connections_and_the_other_direction_have_nothing_to_do_with_it() {
    let mut harness = merging(2);
    assert!(harness.send(0, &Tcp::data(1, b"ab").frame(0)).is_empty());
    assert!(harness.send(0, &Tcp { ports: (40001, 8080), ..Tcp::data(3, b"xy") }.frame(0)).is_empty());
    assert!(harness.send(1, &Tcp::data(3, b"zz").frame(1)).is_empty());
    assert_eq!(only(&harness.send(0, &Tcp::data(3, b"cd").frame(0))).payload, b"abcd");
    assert_eq!(harness.after(50 * MS).len(), 2);
}

#[test]
fn what_a_removed_rule_was_merging_goes_on() {
    let mut harness = merging(3);
    harness.send(0, &Tcp::data(1, b"ab").frame(0));
    harness.send(0, &Tcp::data(3, b"cd").frame(0));
    assert_eq!(harness.path.remove_rule("rule"), Some(2));
    assert_eq!(only(&harness.after(0)).payload, b"abcd");
    assert_eq!(harness.effects(), ["1 merge", "2 merge → 1"]);
}

#[test]
fn parts_of_one_segment_can_be_merged_again() {
    let rules = vec![
        super::harness::rule("split", any(), RuleAction::Split(100)),
        super::harness::rule("merge", PacketPattern { direction: Some(0), ..any() }, RuleAction::Merge(3)),
    ];
    let mut harness = Harness::new(Default::default(), rules);
    let segment = Tcp { flags: FIN, ..Tcp::data(1, &[7; 300]) }.option(&dss(None));
    assert_eq!(harness.send(0, &segment.frame(0)), [(1, segment.frame(0))]);
}
