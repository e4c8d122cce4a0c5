//! One order for all orders in which concurrent things can be observed.
//!
//! Each item names the things that it depends on, for reading or for writing. Two items are dependent if they name
//! the same thing and at least one of them writes it. The result is the least topological order of that relation,
//! by the items' keys: it depends on the dependent pairs only (the lexicographic normal form of a Mazurkiewicz trace).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// How an item uses a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Items that only read it may change places.
    Read,
    /// Keeps its place against all others that use it.
    Write,
}

/// Something to be put in order.
#[derive(Debug, Clone)]
pub(super) struct Item<Thing, Key> {
    /// The interval that it can't leave.
    pub(super) interval: usize,
    /// What decides among concurrent items.
    pub(super) key: Key,
    /// What it depends on.
    pub(super) uses: Vec<(Thing, Use)>,
}

/// The last users of a thing.
#[derive(Default)]
struct Users {
    writer: Option<usize>,
    readers: Vec<usize>,
}

/// The indices of the items in canonical order. Items are given in the order in which they were observed.
pub(super) fn canonical_order<Thing: Ord, Key: Ord>(items: &[Item<Thing, Key>]) -> Vec<usize> {
    let mut successors: Vec<Vec<usize>> = vec![Vec::new(); items.len()];
    let mut waiting_for: Vec<usize> = vec![0; items.len()];
    let mut users: BTreeMap<&Thing, Users> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        let mut link = |before: usize| {
            if before != index
                && let Some(list) = successors.get_mut(before)
                && let Some(count) = waiting_for.get_mut(index)
            {
                list.push(index);
                *count += 1;
            }
        };
        for (thing, how) in &item.uses {
            let users = users.entry(thing).or_default();
            users.writer.into_iter().for_each(&mut link);
            match how {
                Use::Read => users.readers.push(index),
                Use::Write => {
                    users.readers.drain(..).for_each(&mut link);
                    users.writer = Some(index);
                }
            }
        }
    }
    let key = |index: usize| items.get(index).map(|item| (item.interval, &item.key));
    let free = waiting_for.iter().enumerate().filter(|(_, count)| **count == 0);
    let mut ready: BinaryHeap<_> = free.map(|(index, _)| Reverse((key(index), index))).collect();
    let mut order = Vec::with_capacity(items.len());
    while let Some(Reverse((_, index))) = ready.pop() {
        order.push(index);
        for &next in successors.get(index).into_iter().flatten() {
            if let Some(count) = waiting_for.get_mut(next) {
                *count -= 1;
                if *count == 0 {
                    ready.push(Reverse((key(next), next)));
                }
            }
        }
    }
    order
}
