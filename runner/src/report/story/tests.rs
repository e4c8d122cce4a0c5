use super::super::Style;
use super::super::example::{CLIENT, SERVER, capable, crossing, dss, entry, lost, recording, recording_of, segment};
use super::story;
use crate::plan::example;
use crate::recording::{Moment, Observation, PathDeed, PathTotals};
use crate::scenario::model::Namespace;
use crate::wire::{MptcpOption, Segment, TcpFlags};

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
    scenario.world.namespaces.insert(1, Namespace::new("router"));
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

/// What paths did stands at the segments that they did it to, also where only data was on its way.
#[test]
fn what_paths_did_is_told_where_they_did_it() {
    let rule = |rule: &str, action: &str, made: Vec<Segment>| PathDeed::Rule {
        rule: rule.to_owned(),
        action: action.to_owned(),
        made,
    };
    let deed = |at: u64, number: u64, what: PathDeed, segment: &Segment| {
        entry(
            at,
            Observation::Path {
                link: "link1".to_owned(),
                sender: "client".to_owned(),
                number,
                what,
                segment: Some(segment.clone()),
            },
        )
    };
    let syn = segment(CLIENT, SERVER, TcpFlags::SYN, capable(None));
    let stripped = segment(CLIENT, SERVER, TcpFlags::SYN, Vec::new());
    let data = Segment { payload: 1000, ..segment(CLIENT, SERVER, TcpFlags::ACK, dss(false, 1000)) };
    let outside = Segment { source: "192.0.2.1:5000".parse().unwrap(), ..syn.clone() };
    let mut entries = crossing(100, "client", "server", &stripped).to_vec();
    if let Some(Observation::Packet { segment, .. }) = entries.first_mut().map(|entry| &mut entry.what) {
        *segment = syn.clone();
    }
    entries.insert(1, deed(100, 1, rule("strip", "strip", vec![stripped]), &syn));
    entries.extend(lost(200, "client", &data));
    entries.push(deed(200, 2, rule("hole", "drop", Vec::new()), &data));
    // The same once more: this one is lost by chance, which is counted only.
    entries.extend(lost(300, "client", &data));
    entries.push(deed(300, 3, PathDeed::Lost, &data));
    let translated = crossing(400, "client", "server", &syn);
    entries.push(translated[0].clone());
    entries.push(deed(400, 4, rule("nat", "nat", vec![outside.clone()]), &syn));
    entries.push(crossing(400, "client", "server", &outside)[1].clone());
    let totals = PathTotals { entered: 4, lost: 1, dropped: 1, ..PathTotals::default() };
    let (link, sender) = ("link1".to_owned(), "client".to_owned());
    entries.push(entry(500, Observation::PathTotals { link, sender, moment: Moment::End, totals }));
    entries.push(entry(600, Observation::Ended));
    insta::assert_snapshot!(story(&example::scenario(), &recording_of(entries), UNICODE));
}
