//! The conditions of a path: delay, loss and so on.

use super::super::super::diagnostic::Diagnostic;
use super::super::super::grammar::{Key, Kind, Shape};
use super::super::super::model::{Chance, Conditions, Distribution, Jitter, Queue, Reorder};
use super::super::super::record::{Group as _, choice, group, keys, part, record};
use super::super::super::scalar::{self, FromOne, Rate, Share, Switch, Time};
use super::super::super::yaml::Value;
use super::super::{At, Read, Reported, all};
use super::direction;

record! {
    /// What one direction does from now on; the rest stays as it is.
    Changes as "conditions", "a direction of a path" {
        delay: maybe Time = "delay", "Each packet arrives this much later.";
        jitter: maybe Varying = "jitter",
            "How much the delay varies. Packets stay in order.";
        rate: maybe Rate = "rate", "Packets leave at this rate.";
        queue: maybe Queue = "queue", "Capacity of the queue before the rate limit; packets beyond it are dropped.";
        loss: maybe Which = "loss", "Which packets are lost.";
        reorder: maybe Late = "reorder", "Which packets are delayed, and by how much, so that others overtake them.";
        duplicate: maybe Which = "duplicate", "Which packets are duplicated; the copy follows immediately.";
        mtu: maybe SmallerMtu = "mtu", "Larger packets are refused with an ICMP message that tells the sender this MTU.";
    }
}

record! {
    /// Which packets are held back.
    ReorderKeys as "reorder", "a reordering" {
        which: need Which = "which", "Which packets are held back.";
        by: need Time = "by", "For how long, in addition to the delay.";
    }
}

choice! {
    /// The long form of a chance.
    LongChance as "chance", "a chance" {
        Nth = a "nth" "Exactly these packets of the direction, counted from 1 since the start of the run."; => Numbers;
        Burst = a "burst" "In bursts." as "burst", "a burst"; {
            enter: need Share = "enter", "Probability that a packet begins a burst.";
            leave: need Share = "leave", "Probability that a packet of a burst ends it.";
        }
    }
}

part! {
    /// How the delay varies, in short or in full.
    Varying: Jitter = Shape::Either(&[Shape::Scalar(Kind::Duration), Jitter::SHAPE]), |at, node| {
        if let Value::Map(_) = node.value {
            return Jitter::read(at, node);
        }
        Ok(Jitter { range: at.reader.scalar(node, scalar::duration)?, distribution: Distribution::Uniform })
    }
}

part! {
    /// Which packets; `None`: none, which is what `0 %` means.
    Which: Option<Chance> = Shape::Either(&[Shape::Scalar(Kind::Percent), LongChance::SHAPE]), |at, node| {
        let Value::Map(entries) = &node.value else {
            let share = at.reader.scalar(node, scalar::percent)?;
            return Ok((share > 0.0).then_some(Chance::Probability(share)));
        };
        match LongChance::read(at, node)? {
            LongChance::Nth(numbers) => Ok(Some(Chance::Nth(numbers))),
            LongChance::Burst { enter, leave } => {
                let burst = entries.first().map_or(node, |entry| &entry.value);
                for (key, value, what) in
                    [("enter", enter, "no burst ever begins: expected more than 0 %"), ("leave", leave, "the first burst never ends: expected more than 0 %")]
                {
                    if value == 0.0 {
                        return Err(at.reader.error(burst.get(key).unwrap_or(burst).place, what));
                    }
                }
                Ok(Some(Chance::Burst { enter, leave }))
            }
        }
    }
}

part! {
    /// Numbers of packets: one, or several that differ.
    Numbers: Vec<u64> =
        Shape::Either(&[Shape::Scalar(Kind::Integer(1, u64::MAX)), Shape::List(&Shape::Scalar(Kind::Integer(1, u64::MAX)))]),
    |at, node| {
        let mut numbers = match &node.value {
            Value::List(items) if items.is_empty() => {
                return Err(at.reader.error(node.place, "the list is empty; expected numbers of packets"));
            }
            Value::List(items) => all(items.iter().map(|item| FromOne::read(at, item)))?,
            Value::Scalar { .. } | Value::Map(_) => vec![FromOne::read(at, node)?],
        };
        numbers.sort_unstable();
        if numbers.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(at.reader.error(node.place, "the list contains a packet twice"));
        }
        Ok(numbers)
    }
}

part! {
    /// Which packets come later; `None`: none.
    Late: Option<Reorder> = ReorderKeys::SHAPE, |at, node| {
        let ReorderKeys { which, by } = ReorderKeys::read(at, node)?;
        Ok(which.map(|which| Reorder { which, by }))
    }
}

part! {
    /// An MTU that is smaller than that of the link.
    SmallerMtu: u32 = Shape::Scalar(Kind::Integer(68, 65535)), |at, node| {
        let (mtu, path) = (scalar::Mtu::read(at, node)?, at.path()?);
        if mtu < path.link_mtu {
            return Ok(mtu);
        }
        let message = format!("this MTU has no effect on `{}`: the link's own MTU is {}", path.link, path.link_mtu);
        Err(at.reader.error(node.place, message))
    }
}

group! {
    /// The new conditions of the directions that a `set_path` step is about.
    NewConditions: [Option<Conditions>; 2] = keys!(
        &[Key::of::<Switch>("clear", "true: conditions that this step does not name are removed.")],
        Changes::KEYS,
    ),
    |at| {
        let clear = at.maybe::<Switch>("clear")?.unwrap_or(false);
        let mut entries = at.fields.node.entries().iter();
        if !clear && !entries.any(|entry| Changes::RECORD.key(&entry.key).is_some()) {
            return Err(at.reader.report(
                Diagnostic::new(at.fields.place(), "expected a change")
                    .help("add `delay:`, `loss:` and so on, or `clear: true` to remove all conditions"),
            ));
        }
        let directions = match at.fields.get("from").and_then(|node| Some((node.text()?, node.place))) {
            Some((namespace, place)) => vec![direction(at.reader, at.path()?, namespace, place)?],
            None => vec![0, 1],
        };
        each(at, &directions, clear)
    }
}

/// The new conditions of these directions: what the fields name, and for the rest what holds by now.
pub(super) fn each(at: &At<'_>, directions: &[usize], clear: bool) -> Read<[Option<Conditions>; 2]> {
    let (changes, path) = (Changes::from_keys(at)?, at.path()?);
    let mut new = [None, None];
    for direction in directions {
        let now = path.conditions.get(*direction).ok_or(Reported(()))?;
        let after = if clear { changes.over(&Conditions::default()) } else { changes.over(now) };
        check(at, &after)?;
        if let Some(new) = new.get_mut(*direction) {
            *new = Some(after);
        }
    }
    Ok(new)
}

impl Changes {
    /// What holds with these changes.
    fn over(&self, now: &Conditions) -> Conditions {
        Conditions {
            delay: self.delay.unwrap_or(now.delay),
            jitter: self.jitter.or(now.jitter),
            rate: self.rate.or(now.rate),
            queue: self.queue.unwrap_or(now.queue),
            loss: self.loss.clone().unwrap_or_else(|| now.loss.clone()),
            reorder: self.reorder.clone().unwrap_or_else(|| now.reorder.clone()),
            duplicate: self.duplicate.clone().unwrap_or_else(|| now.duplicate.clone()),
            mtu: self.mtu.or(now.mtu),
        }
    }
}

/// What the conditions say together.
fn check(at: &At<'_>, conditions: &Conditions) -> Read<()> {
    if let Some(jitter) = conditions.jitter
        && jitter.distribution != Distribution::Pareto
        && jitter.range > conditions.delay
    {
        return Err(at.reader.report(
            Diagnostic::new(
                at.fields.place_of("jitter"),
                "the jitter exceeds the delay, so packets would arrive before they were sent",
            )
            .help("use a longer `delay:`, or `distribution: pareto`, which only adds to it"),
        ));
    }
    if conditions.queue != Queue::default() && conditions.rate.is_none() {
        return Err(at.reader.report(
            Diagnostic::new(at.fields.place_of("queue"), "the queue has no effect: the direction has no rate")
                .help("add `rate:`"),
        ));
    }
    Ok(())
}

/// A queue has a limit that a packet fits in.
pub fn has_room(at: &At<'_>, queue: Queue) -> Read<Queue> {
    if queue == Queue::default() && at.fields.node.entries().is_empty() {
        let diagnostic = Diagnostic::new(at.fields.place(), "expected a limit of the queue");
        return Err(at.reader.report(diagnostic.help("add `packets:`, `bytes:`, or both")));
    }
    match queue.bytes {
        Some(bytes) if bytes < 1500 => {
            let message = format!("a queue of {bytes} bytes can't hold a packet of 1500 bytes");
            Err(at.reader.error(at.fields.place_of("bytes"), message))
        }
        _ => Ok(queue),
    }
}
