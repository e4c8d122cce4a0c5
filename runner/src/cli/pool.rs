//! Doing work on several threads, and taking the results in the order of the work.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

/// Works on the items with so many threads; `each` gets the results on this thread, in the order of the items, as soon
/// as all before them are there. After a break no further item is begun, and the results of those that were begun are
/// dropped.
pub(super) fn in_order<T: Sync, R: Send>(
    items: &[T],
    workers: usize,
    work: impl Fn(&T) -> R + Sync,
    mut each: impl FnMut(&T, R) -> ControlFlow<()>,
) {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..workers.clamp(1, items.len().max(1)) {
            let (sender, next, stop, work) = (sender.clone(), &next, &stop, &work);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    // Nobody listens any more after a break.
                    if sender.send((index, work(item))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut wanted = 0;
        'results: for (index, result) in receiver {
            early.insert(index, result);
            while let Some(result) = early.remove(&wanted) {
                let Some(item) = items.get(wanted) else { break 'results };
                wanted += 1;
                if each(item, result).is_break() {
                    stop.store(true, Ordering::Relaxed);
                    break 'results;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<u32> = (0..100).collect();
        let mut seen = Vec::new();
        in_order(
            &items,
            8,
            |item| item * 2,
            |item, result| {
                seen.push((*item, result));
                ControlFlow::Continue(())
            },
        );
        assert_eq!(seen, items.iter().map(|item| (*item, item * 2)).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_begun_after_a_break() {
        let (items, begun) = ((0..1000).collect::<Vec<u32>>(), AtomicUsize::new(0));
        let mut seen = Vec::new();
        in_order(
            &items,
            1,
            |item| (begun.fetch_add(1, Ordering::Relaxed), *item),
            |item, _| {
                seen.push(*item);
                if *item == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        );
        assert_eq!(seen, [0, 1, 2, 3]);
    }

    #[test]
    fn without_items_nothing_happens() {
        in_order(&[] as &[u32], 4, |item| *item, |_, _| panic!("called without an item"));
    }
}
