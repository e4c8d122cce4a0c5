//! A spliced link as commands: where mptcplab forwards itself, a bridge does, and `tc netem` stands for the conditions as
//! far as it knows them. What has no command is said in a comment.

use std::time::Duration;

use crate::net::{Hardware, Offload};
use crate::plan::INNER_DEVICES;
use crate::scenario::model::{Chance, Conditions, Distribution, LinkEnd, PathChange, PathPlan};

use super::{Script, quote, veth};

/// The namespace that stands for a path.
pub(super) fn namespace(link: &str) -> String {
    format!("path-{link}")
}

impl Script {
    pub(super) fn path_link(
        &mut self,
        link: &str,
        mtu: Option<u32>,
        ends: &[(LinkEnd, Hardware); 2],
        inner: [Hardware; 2],
    ) {
        let path = namespace(link);
        let mtu = mtu.map(|mtu| format!(" mtu {mtu}")).unwrap_or_default();
        self.comment(&format!("Link {link} has a path: mptcplab forwards its frames itself. Here, a bridge does."));
        self.run(&format!("ip netns add {}", quote(&path)));
        self.run(&format!("ip -n {} link add bridge up type bridge", quote(&path)));
        for (((end, outer), device), inner) in ends.iter().zip(INNER_DEVICES).zip(inner) {
            self.run(&veth([(&end.namespace, &end.device, *outer), (&path, device, inner)], &mtu));
            self.run(&format!("ip -n {} link set dev {device} master bridge up", quote(&path)));
        }
    }

    pub(super) fn real_frames(&mut self, link: &str, ends: &[LinkEnd; 2]) {
        self.comment("Frames as a wire would carry them");
        let path = namespace(link);
        let outer = ends.iter().map(|end| (end.namespace.as_str(), end.device.as_str()));
        for (namespace, device) in outer.chain(INNER_DEVICES.map(|device| (path.as_str(), device))) {
            let off: Vec<String> = Offload::ALL.iter().map(|offload| format!("{} off", offload.word())).collect();
            let (namespace, device) = (quote(namespace), quote(device));
            self.run(&format!("ip netns exec {namespace} ethtool -K {device} {}", off.join(" ")));
        }
    }

    pub(super) fn gso_max_size(&mut self, ends: &[LinkEnd; 2], bytes: u32) {
        self.comment("Several segments in one frame, as on a plain veth pair, but no more than the path takes");
        for LinkEnd { namespace, device, .. } in ends {
            self.run(&format!("ip -n {} link set dev {} gso_max_size {bytes}", quote(namespace), quote(device)));
        }
    }

    /// What a path does from the start.
    pub(super) fn path(&mut self, path: &PathPlan) {
        for (from, conditions) in path.conditions.iter().enumerate() {
            if *conditions != Conditions::default() {
                self.conditions(&path.link, from, conditions);
            }
        }
        for rule in &path.rules {
            let (link, action) = (&path.link, rule.action.word());
            self.comment(&format!(
                "The path of {link} has the rule {}: {action}. No kernel tool does that.",
                rule.name
            ));
        }
    }

    pub(super) fn change_path(&mut self, change: &PathChange) {
        for (from, conditions) in change.conditions.iter().enumerate() {
            if let Some(conditions) = conditions {
                self.conditions(&change.link, from, conditions);
            }
        }
    }

    /// What happens to the packets that an end sends, where they leave the path: at the other inner side.
    fn conditions(&mut self, link: &str, from: usize, conditions: &Conditions) {
        let [first, second] = INNER_DEVICES;
        let device = if from == 0 { second } else { first };
        let netem = netem(conditions);
        self.run(&format!("tc -n {} qdisc replace dev {device} root netem{netem}", quote(&namespace(link))));
        for missing in missing(conditions) {
            self.comment(&format!("  netem cannot do this: {missing}"));
        }
    }
}

/// The options of tc-netem(8), each with a space before it. No seed: the same one gives other fates than in mptcplab, and
/// tc knows the word since 6.6 only.
fn netem(conditions: &Conditions) -> String {
    let Conditions { delay, jitter, rate, queue, loss, reorder: _, duplicate, mtu: _ } = conditions;
    let delay = (!delay.is_zero() || jitter.is_some()).then(|| format!("delay {}", time(*delay)));
    let jitter = jitter.map(|jitter| {
        let distribution = match jitter.distribution {
            Distribution::Uniform => "",
            Distribution::Normal => " distribution normal",
            Distribution::Pareto => " distribution pareto",
        };
        format!("{}{distribution}", time(jitter.range))
    });
    let loss = match loss {
        Some(Chance::Probability(share)) => Some(format!("loss {}", percent(*share))),
        Some(Chance::Burst { enter, leave }) => Some(format!("loss gemodel {} {}", percent(*enter), percent(*leave))),
        Some(Chance::Nth(_)) | None => None,
    };
    let duplicate = match duplicate {
        Some(Chance::Probability(share)) => Some(format!("duplicate {}", percent(*share))),
        _ => None,
    };
    let rate = rate.map(|rate| format!("rate {rate}bit"));
    let limit = queue.packets.map(|packets| format!("limit {packets}"));
    let words = [delay, jitter, loss, duplicate, rate, limit];
    words.into_iter().flatten().map(|word| format!(" {word}")).collect::<Vec<_>>().concat()
}

/// The conditions that netem doesn't know.
fn missing(conditions: &Conditions) -> Vec<String> {
    let Conditions { delay: _, jitter: _, rate: _, queue, loss, reorder, duplicate, mtu } = conditions;
    let list = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let mut missing = Vec::new();
    if let Some(Chance::Nth(numbers)) = loss {
        missing.push(format!("lose exactly these packets: {}", list(numbers)));
    }
    match duplicate {
        Some(Chance::Nth(numbers)) => missing.push(format!("duplicate exactly these packets: {}", list(numbers))),
        Some(Chance::Burst { .. }) => missing.push("duplicate packets in bursts".to_owned()),
        Some(Chance::Probability(_)) | None => {}
    }
    if let Some(reorder) = reorder {
        missing.push(format!("delay some packets by another {}, so that others overtake them", time(reorder.by)));
    }
    if let Some(bytes) = queue.bytes {
        missing.push(format!("limit the queue to {bytes} bytes"));
    }
    if let Some(mtu) = mtu {
        missing.push(format!("drop packets larger than {mtu} bytes and answer with ICMP"));
    }
    missing
}

/// As tc(8) reads it.
fn time(duration: Duration) -> String {
    let micros = duration.as_micros();
    if micros.is_multiple_of(1000) { format!("{}ms", micros / 1000) } else { format!("{micros}us") }
}

fn percent(share: f64) -> String {
    format!("{}%", (share * 1e8).round() / 1e6)
}
