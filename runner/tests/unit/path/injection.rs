//! Segments that nobody sent.

use mptcplab::scenario::model::{Conditions, Injected, Injection, PacketPattern, RuleAction};
use mptcplab::wire::{AddAddrBody, MptcpOption, TcpFlags};

use super::harness::{Arrived, Harness, Seen, Tcp, any, ip, rule, with_option};

/// Injects where the payload is `!`.
fn injecting(forward: bool, what: Injected) -> Harness {
    let matching = PacketPattern { payload: Some(3..=3), ..any() };
    Harness::with_rule(matching, RuleAction::Inject(Injection { forward, what }))
}

fn read(arrived: &[Arrived]) -> Vec<Seen> {
    arrived.iter().map(Seen::read).collect()
}

/// A connection on which the client has sent up to 110 and the server up to 5020.
fn conversation(harness: &mut Harness, ipv6: bool) {
    harness.send(0, &Tcp::data(100, &[0; 10]).six(ipv6).frame(0));
    let back = Tcp { acknowledgment: 110, ..Tcp::data(5000, &[0; 20]) };
    harness.send(1, &back.six(ipv6).frame(1));
}

#[test]
fn a_reset_for_the_receiver_has_exactly_the_number_that_it_expects() {
    for ipv6 in [false, true] {
        let mut harness = injecting(true, Injected::Reset);
        conversation(&mut harness, ipv6);
        let [_, reset] = read(&harness.send(0, &Tcp::data(110, b"abc").six(ipv6).frame(0))).try_into().unwrap();
        // RFC 5961 section 3.2: anything else is only challenged.
        assert_eq!((reset.sequence, reset.flags.as_str(), reset.to), (113, "RA", 1));
        assert_eq!((reset.source.port(), reset.destination.port()), (40000, 8080));
        assert_eq!((reset.mptcp(), reset.timestamps), (vec![], Some((7, 9))));
        assert_eq!(harness.effects(), ["2 inject → 1"]);
    }
}

#[test]
fn a_retransmission_does_not_mislead_it() {
    let mut harness = injecting(true, Injected::Reset);
    harness.send(0, &Tcp::data(100, &[0; 50]).frame(0));
    let [_, reset] = read(&harness.send(0, &Tcp::data(100, b"abc").frame(0))).try_into().unwrap();
    assert_eq!(reset.sequence, 150);
}

#[test]
fn what_never_went_on_is_not_expected_any_further() {
    let inject = RuleAction::Inject(Injection { forward: true, what: Injected::Reset });
    let matching = PacketPattern { payload: Some(3..=3), ..any() };
    let drop = rule("drop", matching.clone(), RuleAction::Drop);
    let mut harness = Harness::new(Default::default(), vec![rule("inject", matching, inject), drop]);
    conversation(&mut harness, false);
    let [reset] = read(&harness.send(0, &Tcp::data(110, b"abc").frame(0))).try_into().unwrap();
    assert_eq!(reset.sequence, 110);
}

#[test]
fn a_reset_for_the_sender_is_what_its_peer_would_send() {
    for ipv6 in [false, true] {
        let mut harness = injecting(false, Injected::Reset);
        conversation(&mut harness, ipv6);
        // It has not yet seen, or acknowledged, what the server sent.
        let [onward, reset] = read(&harness.send(0, &Tcp::data(110, b"abc").six(ipv6).frame(0))).try_into().unwrap();
        assert_eq!((onward.to, reset.to), (1, 0));
        assert_eq!((reset.sequence, reset.flags.as_str()), (5020, "R"), "RFC 9293 section 3.10.7.1");
        assert_eq!((reset.source, reset.destination), (onward.destination, onward.source));
        assert_eq!(reset.timestamps, Some((9, 7)), "as its peer would echo them");
    }
}

#[test]
fn without_a_history_the_segment_itself_tells() {
    let mut harness = injecting(false, Injected::Reset);
    let [_, reset] = read(&harness.send(0, &Tcp::data(110, b"abc").frame(0))).try_into().unwrap();
    assert_eq!((reset.sequence, reset.flags.as_str()), (5000, "R"));
}

#[test]
fn a_reset_answers_a_syn_as_a_closed_port_does() {
    let join = MptcpOption::MpJoinSyn { backup: false, address_id: 1, token: 2, nonce: 3 };
    let action = RuleAction::Inject(Injection { forward: false, what: Injected::Reset });
    let drop = rule("drop", with_option("mp_join_syn"), RuleAction::Drop);
    let mut harness = Harness::new(Default::default(), vec![rule("reset", with_option("mp_join_syn"), action), drop]);
    let [reset] = read(&harness.send(0, &Tcp::syn(u32::MAX).option(&join).frame(0))).try_into().unwrap();
    assert_eq!((reset.sequence, reset.acknowledgment, reset.flags.as_str(), reset.to), (0, 0, "RA", 0));
}

#[test]
fn a_forged_fin_takes_its_place_in_the_stream() {
    for (forward, expected) in [(true, (113, 5000, 1)), (false, (5020, 110, 0))] {
        let mut harness = injecting(forward, Injected::Fin);
        conversation(&mut harness, false);
        let [_, fin] = read(&harness.send(0, &Tcp::data(110, b"abc").frame(0))).try_into().unwrap();
        assert_eq!(fin.flags, "FA");
        assert_eq!((fin.sequence, fin.acknowledgment, fin.to), expected);
        assert_eq!(fin.window, 512);
    }
}

#[test]
fn an_announcement_is_forged_in_both_families() {
    for (address, port) in [("10.9.9.9", None), ("10.9.9.9", Some(5)), ("fd09::9", None), ("fd09::9", Some(5))] {
        for ipv6 in [false, true] {
            let mut harness = injecting(true, Injected::AddAddr { id: 6, address: ip(address), port });
            conversation(&mut harness, ipv6);
            let [_, forged] = read(&harness.send(0, &Tcp::data(110, b"abc").six(ipv6).frame(0))).try_into().unwrap();
            let body = AddAddrBody { address: ip(address), port, hmac: Some(0) };
            assert_eq!(forged.mptcp(), [MptcpOption::AddAddr { echo: false, address_id: 6, body }]);
            assert_eq!((forged.sequence, forged.acknowledgment, forged.flags.as_str()), (113, 5000, "A"));
            let room = !(address.contains(':') && port.is_some());
            assert_eq!(forged.timestamps, room.then_some((7, 9)), "40 octets are not enough for all");
            assert!(forged.payload.is_empty());
        }
    }
}

#[test]
fn what_is_injected_is_counted_and_spared() {
    let lossy =
        || Conditions { loss: Some(mptcplab::scenario::model::Chance::Probability(1.0)), ..Conditions::default() };
    let action = RuleAction::Inject(Injection { forward: false, what: Injected::Reset });
    let mut harness = Harness::new([lossy(), lossy()], vec![rule("reset", any(), action)]);
    let [reset] = read(&harness.send(0, &Tcp::data(110, b"abc").frame(0))).try_into().unwrap();
    assert_eq!((reset.to, reset.flags.as_str()), (0, "R"));
    assert_eq!((harness.path.totals(1).entered, harness.path.totals(1).added, harness.path.totals(1).left), (0, 1, 1));
    assert_eq!(harness.path.rule_hits("reset"), Some(1), "it met no rule");
}

#[test]
fn flags_of_the_match_do_not_leak() {
    let mut harness = injecting(true, Injected::AddAddr { id: 6, address: ip("10.9.9.9"), port: None });
    let fin = Tcp { flags: TcpFlags::FIN | TcpFlags::ACK | TcpFlags::PSH, ..Tcp::data(110, b"abc") };
    let [_, forged] = read(&harness.send(0, &fin.frame(0))).try_into().unwrap();
    assert_eq!((forged.flags.as_str(), forged.sequence), ("A", 114));
}
