//! The matcher of event lists, on letters: each letter is an event, and its number the local address id of a pattern.

use proptest::prelude::*;

use crate::judge::sequence::{Outcome, match_items};
use crate::mptcp::EventKind;
use crate::scenario::model::{EventItem, EventPattern, Place, Range};

use super::fixture::with;

fn pattern(letter: char) -> EventPattern {
    with(EventPattern::of(EventKind::SubEstablished), "local_id", letter as u8)
}

fn times(letter: char, count: Range) -> EventItem {
    EventItem::One { place: Place::default(), pattern: pattern(letter), count }
}

fn list(letters: &str) -> Vec<EventItem> {
    letters.chars().map(|letter| times(letter, 1..=1)).collect()
}

fn any_order(branches: &[&str]) -> EventItem {
    EventItem::AnyOrder { place: Place::default(), branches: branches.iter().map(|branch| list(branch)).collect() }
}

fn outcome<'a>(items: &'a [EventItem], complete: bool, events: &str) -> Outcome<'a> {
    let events: Vec<char> = events.chars().collect();
    let matches =
        |pattern: &EventPattern, event: usize| events.get(event).is_some_and(|at| *pattern == self::pattern(*at));
    match_items(items, complete, events.len(), &matches)
}

fn fits(items: &[EventItem], complete: bool, events: &str) -> bool {
    matches!(outcome(items, complete, events), Outcome::Match)
}

#[test]
fn a_complete_list_takes_each_event_once() {
    let items = list("abc");
    assert!(fits(&items, true, "abc"));
    for wrong in ["", "ab", "acb", "abcc", "xabc", "abxc", "bc"] {
        assert!(!fits(&items, true, wrong), "{wrong}");
    }
    assert!(fits(&[], true, ""));
    assert!(!fits(&[], true, "a"));
}

#[test]
fn an_incomplete_list_lets_others_in_between() {
    let items = list("abc");
    for right in ["abc", "xaxbxcx", "abbc", "cbabc"] {
        assert!(fits(&items, false, right), "{right}");
    }
    for wrong in ["acb", "ab", ""] {
        assert!(!fits(&items, false, wrong), "{wrong}");
    }
}

#[test]
fn counts_are_ranges() {
    let items = [times('a', 2..=3), times('b', 0..=1), times('c', 1..=u64::MAX)];
    for right in ["aac", "aaac", "aabc", "aaaabc".get(1..).unwrap(), "aaccccc"] {
        assert!(fits(&items, true, right), "{right}");
    }
    for wrong in ["ac", "aaaac", "aabbc", "aab", "aa"] {
        assert!(!fits(&items, true, wrong), "{wrong}");
    }
}

#[test]
fn a_count_that_starts_at_nothing_limits_the_whole_list() {
    let never = [times('a', 1..=1), times('x', 0..=0)];
    assert!(fits(&never, false, "a"));
    assert!(fits(&never, false, "ba"));
    assert!(!fits(&never, false, "xa"));
    assert!(!fits(&never, false, "ax"));
    let once = [times('x', 0..=1), times('a', 1..=1)];
    assert!(fits(&once, false, "ax"));
    assert!(matches!(outcome(&once, false, "axx"), Outcome::TooMany { at: 2, .. }));
    assert!(!fits(&[times('a', 1..=u64::MAX), times('x', 0..=0)], true, "aax"));
}

#[test]
fn branches_interleave_but_keep_their_own_order() {
    let items = [times('s', 1..=1), any_order(&["ab", "cd"]), times('e', 1..=1)];
    for right in ["sabcde", "scdabe", "sacbde", "scabde"] {
        assert!(fits(&items, true, right), "{right}");
    }
    for wrong in ["sbacde", "sabce", "asbcde", "sabcdce", "sabecd"] {
        assert!(!fits(&items, true, wrong), "{wrong}");
    }
}

#[test]
fn a_choice_that_was_wrong_is_taken_back() {
    // Taking the first `a` for the first branch would leave its `b` without a place.
    let items = [any_order(&["ab", "ac"])];
    assert!(fits(&items, true, "acab"));
    assert!(fits(&items, true, "aabc"));
    assert!(fits(&items, true, "aacb"));
    assert!(!fits(&items, true, "abab"));
    let greedy = [times('a', 1..=3), times('a', 1..=1), times('b', 1..=1)];
    assert!(fits(&greedy, true, "aab"));
    assert!(fits(&greedy, true, "aaaab"));
    assert!(!fits(&greedy, true, "ab"));
}

#[test]
fn branches_nest() {
    let inner = EventItem::AnyOrder { place: Place::default(), branches: vec![list("b"), list("c")] };
    let branch = vec![times('a', 1..=1), inner, times('d', 1..=1)];
    let items = [EventItem::AnyOrder { place: Place::default(), branches: vec![branch, list("x")] }];
    assert!(fits(&items, true, "acxbd"));
    assert!(fits(&items, true, "xabcd"));
    assert!(!fits(&items, true, "xabdc"));
}

#[test]
fn the_difference_tells_how_far_it_went() {
    let items = [times('a', 1..=1), any_order(&["b", "c"]), times('d', 2..=2)];
    let Outcome::Mismatch(mismatch) = outcome(&items, true, "acdd") else { unreachable!() };
    assert_eq!(mismatch.at, 2);
    let matched: Vec<usize> = mismatch.matched.iter().map(|(event, _)| *event).collect();
    assert_eq!(matched, [0, 1]);
    assert_eq!(mismatch.missing.len(), 3, "b, and d twice");
}

#[test]
fn many_alike_branches_don_t_explode() {
    let branches = vec!["aaaa"; 24];
    let items = [any_order(&branches)];
    let events = "a".repeat(96);
    assert!(matches!(outcome(&items, true, &events), Outcome::Match | Outcome::TooAmbiguous));
    let distinct: Vec<String> = ('A'..='Z').map(|letter| format!("{letter}{letter}")).collect();
    let distinct: Vec<&str> = distinct.iter().map(String::as_str).collect();
    let items = [any_order(&distinct)];
    let events: String = ('A'..='Z').chain('A'..='Z').collect();
    assert!(fits(&items, true, &events));
}

/// A state with many branches is large: only those at the front are kept, and not too many of them.
#[test]
fn many_branches_take_bounded_memory() {
    let letters: Vec<char> = ('\u{1}'..='\u{fa}').collect();
    let branches: Vec<String> = letters.iter().map(char::to_string).collect();
    let branches: Vec<&str> = branches.iter().map(String::as_str).collect();
    let items = [any_order(&branches)];
    let backwards: String = letters.iter().rev().collect();
    assert!(fits(&items, true, &backwards));
    assert!(!fits(&items, true, &backwards.chars().skip(1).collect::<String>()));
    let alike = [any_order(&vec!["a"; 5_000])];
    assert!(matches!(outcome(&alike, true, &"a".repeat(5_000)), Outcome::TooAmbiguous));
}

/// The plain definition, by trying everything.
fn fits_by_definition(branches: &[Vec<char>], events: &[char]) -> bool {
    let Some((first, rest)) = events.split_first() else { return branches.iter().all(Vec::is_empty) };
    branches.iter().enumerate().any(|(index, branch)| {
        branch.first() == Some(first) && {
            let mut left = branches.to_vec();
            left[index].remove(0);
            fits_by_definition(&left, rest)
        }
    })
}

proptest! {
    #[test]
    fn interleaving_agrees_with_its_definition(
        branches in prop::collection::vec("[abc]{0,3}", 0..4),
        events in "[abc]{0,8}",
    ) {
        let refs: Vec<&str> = branches.iter().map(String::as_str).collect();
        let letters: Vec<Vec<char>> = branches.iter().map(|branch| branch.chars().collect()).collect();
        let events_letters: Vec<char> = events.chars().collect();
        prop_assert_eq!(
            fits(&[any_order(&refs)], true, &events),
            fits_by_definition(&letters, &events_letters)
        );
    }
}
