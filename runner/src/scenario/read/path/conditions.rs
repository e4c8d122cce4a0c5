//! The conditions of a path: delay, loss and so on.

use std::time::Duration;

use super::super::super::diagnostic::Diagnostic;
use super::super::super::grammar;
use super::super::super::model::{Chance, Conditions, Distribution, Jitter, Queue, Reorder};
use super::super::super::scalar;
use super::super::super::yaml::{Node, Value};
use super::super::{Fields, Read, Reader, Reported, all};
use super::KnownPath;

/// The new conditions of these directions: what the fields name, and for the rest what holds by now.
pub(super) fn each(
    reader: &Reader,
    fields: &Fields<'_>,
    path: &KnownPath,
    directions: &[usize],
) -> Read<[Option<Conditions>; 2]> {
    let mut new = [None, None];
    for direction in directions {
        let now = path.conditions.get(*direction).ok_or(Reported(()))?;
        let changed = one(reader, fields, now, path)?;
        if let Some(new) = new.get_mut(*direction) {
            *new = Some(changed);
        }
    }
    Ok(new)
}

fn one(reader: &Reader, fields: &Fields<'_>, now: &Conditions, path: &KnownPath) -> Read<Conditions> {
    let delay = fields.optional("delay", scalar::duration);
    let jitter = fields.get("jitter").map(|node| jitter(reader, node)).transpose();
    let rate = fields.optional("rate", scalar::rate);
    let queue = fields.get("queue").map(|node| queue(reader, node)).transpose();
    let loss = fields.get("loss").map(|node| chance(reader, node)).transpose();
    let reorder = fields.get("reorder").map(|node| reorder(reader, node)).transpose();
    let duplicate = fields.get("duplicate").map(|node| chance(reader, node)).transpose();
    let mtu = fields.optional("mtu", scalar::integer(68, 65535)).and_then(|mtu| match mtu {
        Some(mtu) if mtu >= u64::from(path.link_mtu) => Err(reader.error(
            fields.place_of("mtu"),
            format!("no packet on `{}` is larger: the link's own MTU is {}", path.link, path.link_mtu),
        )),
        mtu => Ok(mtu.and_then(|mtu| u32::try_from(mtu).ok())),
    });
    let conditions = Conditions {
        delay: delay?.unwrap_or(now.delay),
        jitter: jitter?.or(now.jitter),
        rate: rate?.or(now.rate),
        queue: queue?.unwrap_or(now.queue),
        loss: loss?.unwrap_or_else(|| now.loss.clone()),
        reorder: reorder?.unwrap_or_else(|| now.reorder.clone()),
        duplicate: duplicate?.unwrap_or_else(|| now.duplicate.clone()),
        mtu: mtu?.or(now.mtu),
    };
    check(reader, fields, &conditions)?;
    Ok(conditions)
}

/// What the conditions say together.
fn check(reader: &Reader, fields: &Fields<'_>, conditions: &Conditions) -> Read<()> {
    if let Some(jitter) = conditions.jitter
        && jitter.distribution != Distribution::Pareto
        && jitter.range > conditions.delay
    {
        return Err(reader.report(
            Diagnostic::new(
                fields.place_of("jitter"),
                "the delay varies by more than itself: no packet arrives before it was sent",
            )
            .help("a `delay:` that is at least as long; or `distribution: pareto`, which only adds to it"),
        ));
    }
    if conditions.queue != Queue::default() && conditions.rate.is_none() {
        return Err(reader.report(
            Diagnostic::new(fields.place_of("queue"), "nothing waits in this queue: the direction has no rate")
                .help("`rate:` says how fast packets leave it"),
        ));
    }
    Ok(())
}

fn jitter(reader: &Reader, node: &Node) -> Read<Jitter> {
    if !matches!(node.value, Value::Map(_)) {
        let range = reader.scalar(node, scalar::duration)?;
        return Ok(Jitter { range, distribution: Distribution::Uniform });
    }
    let fields = reader.record(node, &grammar::JITTER)?;
    let range = fields.need("range", scalar::duration);
    let word = fields.or("distribution", "uniform", scalar::word(&["uniform", "normal", "pareto"]));
    let distribution = match word? {
        "normal" => Distribution::Normal,
        "pareto" => Distribution::Pareto,
        _ => Distribution::Uniform,
    };
    Ok(Jitter { range: range?, distribution })
}

fn queue(reader: &Reader, node: &Node) -> Read<Queue> {
    let fields = reader.record(node, &grammar::QUEUE)?;
    let packets = fields.optional("packets", scalar::integer(0, u64::from(u32::MAX)));
    let bytes = fields.optional("bytes", scalar::size);
    let queue = Queue { packets: packets?.and_then(|packets| u32::try_from(packets).ok()), bytes: bytes? };
    if queue == Queue::default() && fields.node.entries().is_empty() {
        return Err(
            reader.report(Diagnostic::new(node.place, "the queue has no limit").help("`packets:`, `bytes:`, or both"))
        );
    }
    if let Some(bytes) = queue.bytes
        && bytes < 1500
    {
        let message = format!("a queue of {bytes} bytes has no room for a packet of 1500");
        return Err(reader.error(fields.place_of("bytes"), message));
    }
    Ok(queue)
}

/// Which packets; `None`: none, which is what `0 %` means.
fn chance(reader: &Reader, node: &Node) -> Read<Option<Chance>> {
    if !matches!(node.value, Value::Map(_)) {
        let share = reader.scalar(node, scalar::percent)?;
        return Ok((share > 0.0).then_some(Chance::Probability(share)));
    }
    let fields = reader.record(node, &grammar::CHANCE)?;
    let chosen = reader.choice(&fields)?;
    if chosen.key == "burst" {
        return burst(reader, &chosen.value).map(Some);
    }
    let number = |node: &Node| reader.scalar(node, scalar::integer(1, u64::MAX));
    let mut numbers = match &chosen.value.value {
        Value::List(items) if items.is_empty() => {
            return Err(reader.error(chosen.value.place, "there is no packet in this list"));
        }
        Value::List(items) => all(items.iter().map(number))?,
        _ => vec![number(&chosen.value)?],
    };
    numbers.sort_unstable();
    if numbers.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(reader.error(chosen.value.place, "a packet is in this list twice"));
    }
    Ok(Some(Chance::Nth(numbers)))
}

fn burst(reader: &Reader, node: &Node) -> Read<Chance> {
    let fields = reader.record(node, &grammar::BURST)?;
    let (enter, leave) = (fields.need("enter", scalar::percent), fields.need("leave", scalar::percent));
    let (enter, leave) = (enter?, leave?);
    for (key, value, what) in [("enter", enter, "no burst ever begins"), ("leave", leave, "the first burst never ends")]
    {
        if value == 0.0 {
            return Err(reader.error(fields.place_of(key), what));
        }
    }
    Ok(Chance::Burst { enter, leave })
}

fn reorder(reader: &Reader, node: &Node) -> Read<Option<Reorder>> {
    let fields = reader.record(node, &grammar::REORDER)?;
    let which = fields.need_node("which").and_then(|node| chance(reader, node));
    let by: Read<Duration> = fields.need("by", scalar::duration);
    let (which, by) = (which?, by?);
    Ok(which.map(|which| Reorder { which, by }))
}
