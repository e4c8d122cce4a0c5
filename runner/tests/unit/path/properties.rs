//! What holds for all frames, all rules and all conditions.

use std::time::Duration;

use mptcplab::scenario::model::{
    Chance, Conditions, Distribution, Injected, Injection, Jitter, PacketPattern, PathRule, Queue, Reorder, Rewrite,
    RuleAction,
};
use mptcplab::wire::{MptcpOption, OPTION_WORDS};
use proptest::prelude::*;

use super::edits::captured;
use super::harness::{Arrived, Harness, MS, Seen, Tcp, any as any_packet, ip, rule};

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        (0.0..=1.0).prop_map(Chance::Probability),
        (0.0..=1.0, 0.0..=1.0).prop_map(|(enter, leave)| Chance::Burst { enter, leave }),
        prop::collection::vec(1_u64..20, 0..5).prop_map(Chance::Nth),
    ]
}

fn jitter() -> impl Strategy<Value = Jitter> {
    let distribution = prop::sample::select(vec![Distribution::Uniform, Distribution::Normal, Distribution::Pareto]);
    (0_u64..20, distribution)
        .prop_map(|(range, distribution)| Jitter { range: Duration::from_millis(range), distribution })
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let times = (0_u64..20, prop::option::of(jitter()), prop::option::of(100_000_u64..1_000_000_000));
    let queue = (prop::option::of(0_u32..10), prop::option::of(0_u64..10_000));
    let reorder = (chance(), 0_u64..20).prop_map(|(which, by)| Reorder { which, by: Duration::from_millis(by) });
    let chances = (prop::option::of(chance()), prop::option::of(reorder), prop::option::of(chance()));
    (times, queue, chances, prop::option::of(68_u32..1500)).prop_map(
        |((delay, jitter, rate), (packets, bytes), (loss, reorder, duplicate), mtu)| Conditions {
            delay: Duration::from_millis(delay),
            jitter,
            rate,
            queue: Queue { packets, bytes },
            loss,
            reorder,
            duplicate,
            mtu,
        },
    )
}

fn action() -> impl Strategy<Value = RuleAction> {
    let word = || prop::sample::select(OPTION_WORDS).prop_map(str::to_owned);
    let address = || prop::sample::select(vec![ip("10.0.1.99"), ip("fd00:1::99")]);
    let fields = (any::<Option<u8>>(), any::<Option<bool>>(), prop::option::of(address()), any::<Option<u16>>());
    let damage = (any::<bool>(), any::<bool>(), any::<Option<u32>>(), any::<Option<u32>>());
    let rewrite = (word(), fields, any::<(Option<u8>, Option<u8>)>(), damage).prop_map(
        |(option, (id, backup, address, port), (flags, reason), (damage_hmac, damage_checksum, token, offset))| {
            Rewrite {
                option,
                id,
                backup,
                address,
                port,
                flags,
                reason,
                token,
                damage_hmac,
                damage_checksum,
                data_sequence_offset: offset,
            }
        },
    );
    let injected = prop_oneof![
        Just(Injected::Reset),
        Just(Injected::Fin),
        (any::<u8>(), address(), any::<Option<u16>>()).prop_map(|(id, address, port)| Injected::AddAddr {
            id,
            address,
            port
        }),
    ];
    prop_oneof![
        Just(RuleAction::Drop),
        (0_u64..20).prop_map(|delay| RuleAction::Delay(Duration::from_millis(delay))),
        Just(RuleAction::Duplicate),
        Just(RuleAction::Hold),
        (0_u32..100).prop_map(RuleAction::Corrupt),
        prop::option::of(word()).prop_map(RuleAction::Strip),
        rewrite.prop_map(RuleAction::Rewrite),
        (address(), any::<Option<u16>>()).prop_map(|(address, port)| RuleAction::Nat { address, port }),
        (any::<bool>(), injected).prop_map(|(forward, what)| RuleAction::Inject(Injection { forward, what })),
        (0_u32..500).prop_map(RuleAction::Split),
        (0_u32..4).prop_map(RuleAction::Merge),
    ]
}

fn rules() -> impl Strategy<Value = Vec<PathRule>> {
    let pattern = (prop::option::of(0_usize..2), prop::option::of((1_u64..4).prop_map(|first| first..=first + 2)))
        .prop_map(|(direction, nth)| PacketPattern { direction, nth, ..any_packet() });
    prop::collection::vec((pattern, action()), 0..4).prop_map(|rules| {
        let named = |(index, (pattern, action))| rule(&format!("rule {index}"), pattern, action);
        rules.into_iter().enumerate().map(named).collect()
    })
}

fn option() -> impl Strategy<Value = MptcpOption> {
    let body = prop::collection::vec(any::<u8>(), 1..20);
    body.prop_map(|body| MptcpOption::decode(&[&[30, u8::try_from(body.len() + 2).unwrap()], body.as_slice()].concat()))
}

/// Segments with right checksums, some of them close to each other in the stream.
fn segment() -> impl Strategy<Value = Tcp> {
    let flags = prop::sample::select(vec![2_u8, 0x12, 0x10, 0x18, 0x11, 0x04]);
    let numbers = (prop_oneof![(0_u32..5).prop_map(|step| step * 100), any::<u32>()], any::<u32>());
    let payload = prop_oneof![Just(0), Just(100), 0_usize..1400];
    (any::<bool>(), 40000_u16..40003, numbers, flags, prop::option::of(option()), payload).prop_map(
        |(ipv6, port, (sequence, acknowledgment), flags, option, payload)| {
            let flags = mptcplab::wire::TcpFlags::from_bits_retain(flags);
            let payload = (0..=255).cycle().take(payload).collect();
            let options = super::harness::TIMESTAMPS.to_vec();
            let ports = (port, 8080);
            let tcp = Tcp { ipv6, ports, sequence, acknowledgment, flags, options, payload };
            option.map_or(tcp.clone(), |option| tcp.option(&option))
        },
    )
}

/// Sends frames, each some time after the one before, and lets everything arrive.
fn run(harness: &mut Harness, frames: &[(usize, u64, Vec<u8>)]) -> Vec<Arrived> {
    let mut arrived = Vec::new();
    for (from, after, frame) in frames {
        arrived.extend(harness.after(*after));
        arrived.extend(harness.send(*from, frame));
        assert_totals(harness);
    }
    arrived.extend(harness.after(3_600_000 * MS));
    assert_totals(harness);
    harness.path.finish();
    assert_totals(harness);
    assert_eq!((harness.path.next_deadline(), harness.path.waiting(0), harness.path.waiting(1)), (None, 0, 0));
    arrived
}

/// Nothing is lost that isn't accounted for.
fn assert_totals(harness: &Harness) {
    for from in 0..2 {
        let totals = harness.path.totals(from);
        let gone = totals.lost + totals.queue_full + totals.too_big + totals.dropped + totals.merged;
        assert_eq!(totals.entered + totals.added, totals.left + gone + harness.path.waiting(from), "{totals:?}");
    }
}

fn sent(segments: Vec<(usize, u64, Tcp)>) -> Vec<(usize, u64, Vec<u8>)> {
    segments.into_iter().map(|(from, after, segment)| (from, after, segment.frame(from))).collect()
}

fn traffic() -> impl Strategy<Value = Vec<(usize, u64, Vec<u8>)>> {
    prop::collection::vec((0_usize..2, 0..30 * MS, segment()), 1..20).prop_map(sent)
}

/// Frames of all kinds, with octets that are wrong.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let frames: Vec<Vec<u8>> = captured().into_iter().map(|(_, frame)| frame).collect();
    let whole = prop_oneof![
        prop::sample::select(frames),
        segment().prop_map(|segment| segment.frame(0)),
        prop::collection::vec(any::<u8>(), 0..200),
    ];
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (whole, damage, prop::option::of(any::<prop::sample::Index>())).prop_map(|(mut frame, damage, cut)| {
        for (at, octet) in damage {
            if !frame.is_empty() {
                let at = at.index(frame.len());
                frame[at] = octet;
            }
        }
        if let Some(cut) = cut {
            frame.truncate(cut.index(frame.len() + 1));
        }
        frame
    })
}

proptest! {
    #[test]
    fn no_frame_upsets_a_path(
        conditions in [conditions(), conditions()],
        rules in rules(),
        frames in prop::collection::vec((0_usize..2, 0..30 * MS, damaged()), 1..20),
    ) {
        run(&mut Harness::new(conditions, rules), &frames);
    }

    #[test]
    fn whatever_is_done_to_a_segment_its_lengths_and_checksums_are_right(rules in rules(), frames in traffic()) {
        for arrived in run(&mut Harness::new(Default::default(), rules), &frames) {
            Seen::read(&arrived);
        }
    }

    #[test]
    fn what_nobody_touches_arrives_byte_for_byte(
        frames in prop::collection::vec((Just(0_usize), Just(0), damaged()), 1..20),
        delay in 0_u64..2,
    ) {
        let never = PacketPattern { to_port: Some(1), from_port: Some(1), ..any_packet() };
        let rules = vec![rule("rule", never, RuleAction::Strip(None))];
        let conditions = Conditions { delay: Duration::from_millis(delay), ..Conditions::default() };
        let mut harness = Harness::new([conditions, Conditions::default()], rules);
        let arrived: Vec<Vec<u8>> = run(&mut harness, &frames).into_iter().map(|(_, frame)| frame).collect();
        prop_assert_eq!(arrived, frames.into_iter().map(|(_, _, frame)| frame).collect::<Vec<_>>());
    }

    #[test]
    fn the_same_seed_brings_the_same_fates_whenever_packets_come(
        conditions in conditions(),
        frames in traffic(),
        other_times in prop::collection::vec(0..30 * MS, 20),
    ) {
        // What the queue does depends on time, of course.
        let conditions = Conditions { queue: Queue::default(), ..conditions };
        let fates = |frames: &[(usize, u64, Vec<u8>)]| {
            let mut harness = Harness::new([conditions.clone(), Conditions::default()], Vec::new());
            run(&mut harness, frames);
            harness.effects()
        };
        let later: Vec<_> =
            frames.iter().zip(other_times).map(|((from, _, frame), after)| (*from, after, frame.clone())).collect();
        prop_assert_eq!(fates(&frames), fates(&later));
    }

    #[test]
    fn a_caller_who_comes_late_sees_the_same(conditions in [conditions(), conditions()], rules in rules(), frames in traffic()) {
        let total: u64 = frames.iter().map(|(_, after, _)| after).sum();
        let mut punctual = Harness::new(conditions.clone(), rules.clone());
        let mut late = Harness::new(conditions, rules);
        let mut arrived = [Vec::new(), Vec::new()];
        let mut now = punctual.now;
        for (from, after, frame) in &frames {
            now += after;
            // Wakes up for each deadline; the other one only when a frame comes.
            while let Some(next) = punctual.path.next_deadline().filter(|next| *next < now) {
                arrived[0].extend(punctual.until(next));
            }
            punctual.now = now;
            late.now = now;
            arrived[0].extend(punctual.send(*from, frame));
            arrived[1].extend(late.send(*from, frame));
        }
        let end = now + total + 3_600_000 * MS;
        while let Some(next) = punctual.path.next_deadline().filter(|next| *next < end) {
            arrived[0].extend(punctual.until(next));
        }
        arrived[1].extend(late.until(end));
        prop_assert_eq!(&arrived[0], &arrived[1]);
        prop_assert_eq!(punctual.path.take_effects(), late.path.take_effects());
    }
}
