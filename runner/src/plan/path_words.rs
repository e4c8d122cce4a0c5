//! Paths in words: their conditions, their rules, and the steps about them.

use crate::scenario::model::{
    Chance, Conditions, Distribution, Injected, Injection, Link, PacketPattern, PathChange, PathPlan, PathRule, Range,
    Rewrite, RuleAction,
};
use crate::text;
use crate::wire::TcpFlags;

/// What one direction does: `10 ms ± 2 ms, 20 Mbit/s, loss 1 %`; nothing if it passes everything on as it is.
pub fn describe_conditions(conditions: &Conditions) -> String {
    let Conditions { delay, jitter, rate, queue, loss, reorder, duplicate, mtu } = conditions;
    let mut words = Vec::new();
    let jitter = jitter.map(|jitter| {
        let how = match jitter.distribution {
            Distribution::Uniform => "",
            Distribution::Normal => " normal",
            Distribution::Pareto => " pareto",
        };
        format!("± {}{how}", text::duration(jitter.range))
    });
    let delay = (!delay.is_zero()).then(|| text::duration(*delay));
    let delay: Vec<String> = delay.into_iter().chain(jitter).collect();
    if !delay.is_empty() {
        words.push(delay.join(" "));
    }
    words.extend(rate.map(text::rate));
    words.extend(queue.packets.map(|packets| format!("queue of {}", text::count(u64::from(packets), "packet"))));
    words.extend(queue.bytes.map(|bytes| format!("queue of {}", text::size(bytes))));
    words.extend(loss.as_ref().map(|which| format!("loss {}", describe_chance(which))));
    words.extend(
        reorder
            .as_ref()
            .map(|reorder| format!("reordering {} by {}", describe_chance(&reorder.which), text::duration(reorder.by))),
    );
    words.extend(duplicate.as_ref().map(|which| format!("duplication {}", describe_chance(which))));
    words.extend(mtu.map(|mtu| format!("mtu {mtu}")));
    words.join(", ")
}

fn describe_chance(chance: &Chance) -> String {
    match chance {
        Chance::Probability(share) => percent(*share),
        Chance::Burst { enter, leave } => format!("in bursts ({} begin, {} end)", percent(*enter), percent(*leave)),
        Chance::Nth(numbers) => {
            let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
            format!("of packet {}", numbers.join(", "))
        }
    }
}

/// `0.5 %`, without the noise of binary fractions.
fn percent(share: f64) -> String {
    let digits = format!("{:.6}", share * 100.0);
    format!("{} %", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// What both directions do, for the picture of a link.
pub fn describe_path(path: &PathPlan, link: &Link) -> String {
    let [first, second] = path.conditions.each_ref().map(describe_conditions);
    let mut words = Vec::new();
    if first == second {
        words.extend((!first.is_empty()).then_some(first));
    } else {
        for (end, conditions) in link.ends.iter().zip([first, second]) {
            let conditions = if conditions.is_empty() { "unchanged".to_owned() } else { conditions };
            words.push(format!("from {}: {conditions}", end.namespace));
        }
    }
    if !path.rules.is_empty() {
        words.push(text::count(path.rules.len() as u64, "rule"));
    }
    if words.is_empty() { "a path".to_owned() } else { words.join(", ") }
}

/// A change of a path.
pub fn describe_change(change: &PathChange) -> String {
    let words = |conditions: &Conditions| match describe_conditions(conditions) {
        nothing if nothing.is_empty() => "forwards packets unchanged".to_owned(),
        words => format!("has {words}"),
    };
    let link = &change.link;
    let from = change.from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
    let new: Vec<String> = change.conditions.iter().flatten().map(words).collect();
    match new.as_slice() {
        [both, other] if both == other => format!("the path of {link} now {both}"),
        [one] => format!("the path of {link}{from} now {one}"),
        several => format!("the path of {link} now {}", several.join(" one way, and the other way ")),
    }
}

/// A rule: its name, which segments, and what happens to them.
pub fn describe_rule(rule: &PathRule) -> String {
    format!("{}: {} {}", rule.name, describe_action(&rule.action), describe_pattern(&rule.matching))
}

/// What a rule did to a segment, by the word of its action in a recording.
pub fn describe_done(action: &str) -> &str {
    match action {
        "drop" => "dropped",
        "delay" => "delayed",
        "duplicate" => "duplicated",
        "hold" => "held",
        "release" => "released",
        "corrupt" => "corrupted",
        "strip" => "stripped",
        "rewrite" => "rewritten",
        "nat" => "translated",
        "inject" => "injected",
        "split" => "split",
        "merge" => "merged with others",
        other => other,
    }
}

fn describe_action(action: &RuleAction) -> String {
    match action {
        RuleAction::Drop => "drops".to_owned(),
        RuleAction::Delay(by) => format!("delays by {}", text::duration(*by)),
        RuleAction::Duplicate => "duplicates".to_owned(),
        RuleAction::Hold => "holds".to_owned(),
        RuleAction::Corrupt(offset) => format!("corrupts payload byte {offset} of"),
        RuleAction::Strip(None) => "strips the MPTCP options of".to_owned(),
        RuleAction::Strip(Some(option)) => format!("strips {option} of"),
        RuleAction::Rewrite(rewrite) => format!("rewrites {} of", describe_rewrite(rewrite)),
        RuleAction::Nat { address, port } => {
            let port = port.map(|port| format!(" port {port}")).unwrap_or_default();
            format!("translates the source to {}{port} in", address.to_canonical())
        }
        RuleAction::Inject(Injection { forward, what }) => {
            let what = match what {
                Injected::Reset => "a RST".to_owned(),
                Injected::Fin => "a FIN".to_owned(),
                Injected::AddAddr { id, address, port } => {
                    let port = port.map(|port| format!(" port {port}")).unwrap_or_default();
                    format!("a forged ADD_ADDR id {id} {address}{port}")
                }
            };
            format!("injects {what} {} on", if *forward { "forward" } else { "back" })
        }
        RuleAction::Split(size) => format!("splits every {}", text::count(u64::from(*size), "byte")),
        RuleAction::Merge(count) => format!("merges {count} at a time of"),
    }
}

fn describe_rewrite(rewrite: &Rewrite) -> String {
    let mut words = vec![rewrite.option.clone()];
    words.extend(rewrite.id.map(|id| format!("id {id}")));
    words.extend(rewrite.backup.map(|backup| format!("backup {}", if backup { "on" } else { "off" })));
    words.extend(rewrite.address.map(|address| format!("address {address}")));
    words.extend(rewrite.port.map(|port| format!("port {port}")));
    words.extend(rewrite.flags.map(|flags| format!("flags {flags:#04x}")));
    words.extend(rewrite.reason.map(|reason| format!("reason {reason}")));
    words.extend(rewrite.token.map(|token| format!("token {token:#010x}")));
    words.extend(rewrite.damage_hmac.then(|| "damaged hmac".to_owned()));
    words.extend(rewrite.damage_checksum.then(|| "damaged checksum".to_owned()));
    words.extend(rewrite.data_sequence_offset.map(|shift| format!("data sequence number + {shift}")));
    words.join(" ")
}

fn describe_pattern(pattern: &PacketPattern) -> String {
    let which = pattern.nth.as_ref().map_or_else(|| "segments".to_owned(), |nth| format!("segment {}", range(nth)));
    let mut words = vec![which];
    words.extend(pattern.from.map(|address| format!("from {}", address.to_canonical())));
    words.extend(pattern.from_port.map(|port| format!("from port {port}")));
    words.extend(pattern.to.map(|address| format!("to {}", address.to_canonical())));
    words.extend(pattern.to_port.map(|port| format!("to port {port}")));
    words.extend(flag_words(pattern.flags).map(|flags| format!("with {flags}")));
    words.extend(flag_words(pattern.without).map(|flags| format!("without {flags}")));
    words.extend(pattern.payload.as_ref().map(|payload| format!("with payload {}", range(payload))));
    words.extend(pattern.option.as_ref().map(|option| format!("with {option}")));
    words.extend(pattern.any_option.then(|| "with MPTCP options".to_owned()));
    words.join(" ")
}

fn flag_words(flags: TcpFlags) -> Option<String> {
    let known = [
        (TcpFlags::SYN, "SYN"),
        (TcpFlags::ACK, "ACK"),
        (TcpFlags::FIN, "FIN"),
        (TcpFlags::RST, "RST"),
        (TcpFlags::PSH, "PSH"),
    ];
    let words: Vec<&str> = known.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, word)| *word).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn range(range: &Range) -> String {
    match (*range.start(), *range.end()) {
        (least, most) if least == most => least.to_string(),
        (least, u64::MAX) => format!("from {least} on"),
        (0, most) => format!("up to {most}"),
        (least, most) => format!("{least} to {most}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::scenario::model::{Jitter, Queue, Reorder};

    #[test]
    fn each_action_has_a_participle() {
        let without: Vec<_> = RuleAction::words().filter(|word| describe_done(word) == *word).collect();
        // The participle of `split` is `split`.
        assert_eq!(without, ["split"]);
    }

    #[test]
    fn conditions_are_told_completely() {
        assert_eq!(describe_conditions(&Conditions::default()), "");
        let all = Conditions {
            delay: Duration::from_millis(10),
            jitter: Some(Jitter { range: Duration::from_millis(2), distribution: Distribution::Normal }),
            rate: Some(20_000_000),
            queue: Queue { packets: Some(100), bytes: Some(65536) },
            loss: Some(Chance::Burst { enter: 0.01, leave: 0.3 }),
            reorder: Some(Reorder { which: Chance::Probability(0.002), by: Duration::from_millis(5) }),
            duplicate: Some(Chance::Nth(vec![3, 7])),
            mtu: Some(1400),
        };
        assert_eq!(
            describe_conditions(&all),
            "10 ms ± 2 ms normal, 20 Mbit/s, queue of 100 packets, queue of 64 KiB, loss in bursts (1 % begin, 30 % \
             end), reordering 0.2 % by 5 ms, duplication of packet 3, 7, mtu 1400"
        );
    }
}
