use super::super::Style;
use super::super::example::{CLIENT, SERVER, capable, crossing, entry, lost, recording, recording_of, segment};
use super::story;
use crate::plan::example;
use crate::recording::Observation;
use crate::wire::{MptcpOption, TcpFlags};

const UNICODE: Style = Style { colour: false, unicode: true };

#[test]
fn the_story_of_a_run() {
    insta::assert_snapshot!(story(&example::scenario(), &recording(), UNICODE));
}

#[test]
fn the_story_in_ascii() {
    let text = story(&example::scenario(), &recording(), Style::default());
    assert!(text.is_ascii(), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn the_story_in_colour() {
    let text = story(&example::scenario(), &recording(), Style { colour: true, unicode: true });
    assert_eq!(anstream::adapter::strip_str(&text).to_string(), story(&example::scenario(), &recording(), UNICODE));
    insta::assert_snapshot!(text.replace('\u{1b}', "ESC"));
}

#[test]
fn a_segment_across_a_router_is_one_arrow() {
    let mut scenario = example::scenario();
    scenario.world.namespaces.insert(1, example::namespace("router"));
    let syn = segment(CLIENT, SERVER, TcpFlags::SYN, capable(None));
    let stripped = segment(CLIENT, SERVER, TcpFlags::SYN, Vec::new());
    let mut entries = crossing(100, "client", "router", &syn).to_vec();
    entries.extend(crossing(200, "router", "server", &stripped));
    entries.extend(lost(300, "server", &segment(SERVER, CLIENT, TcpFlags::SYN | TcpFlags::ACK, Vec::new())));
    entries.push(entry(400, Observation::Ended));
    insta::assert_snapshot!(story(&scenario, &recording_of(entries), UNICODE));
}

#[test]
fn a_recording_that_was_cut_off_says_so() {
    let text = story(&example::scenario(), &recording_of(Vec::new()), UNICODE);
    assert!(text.contains("it was cut off"), "{text}");
}

#[test]
fn foreign_text_does_not_reach_the_terminal_as_it_is() {
    let line = "\u{1b}]0;title\u{7}".to_owned();
    let entries = vec![entry(1, Observation::KernelLog { line }), entry(2, Observation::Ended)];
    assert!(!story(&example::scenario(), &recording_of(entries), UNICODE).contains('\u{1b}'));
}

#[test]
fn options_in_words() {
    let fastclose = vec![MptcpOption::MpFastclose { receiver_key: 1 }, MptcpOption::MpTcprst { flags: 0, reason: 1 }];
    let reset = segment(CLIENT, SERVER, TcpFlags::RST | TcpFlags::ACK, fastclose);
    assert_eq!(super::segment_words(&reset), "RST MP_FASTCLOSE, MP_TCPRST reason 1 (MPTCP-specific error)");
}
