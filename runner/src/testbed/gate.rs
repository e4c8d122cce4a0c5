//! A limit on the number of worlds that are built at the same time. Main type: [`Gate`].
//!
//! The kernel changes links and addresses under one lock for the whole machine (RTNL), and a single worker notices
//! carriers (linkwatch). If a thousand worlds are built at once, they wait for one another until none is ready in time;
//! one after the other, each is ready at once.

use std::sync::{Condvar, Mutex, PoisonError};

/// More at a time wouldn't be ready any faster.
const AT_ONCE: usize = 16;

/// A gate that admits a limited number at a time.
#[derive(Debug)]
pub(super) struct Gate {
    free: Mutex<usize>,
    left: Condvar,
}

impl Gate {
    /// The gate for building worlds.
    pub(super) fn new() -> Self {
        Self { free: Mutex::new(AT_ONCE), left: Condvar::new() }
    }

    /// Waits to be admitted; dropping the pass admits the next one.
    pub(super) fn enter(&self) -> Pass<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.left.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free = free.saturating_sub(1);
        Pass(self)
    }
}

/// A place behind the gate.
#[derive(Debug)]
pub(super) struct Pass<'a>(&'a Gate);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = free.saturating_add(1);
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn never_more_than_so_many_are_inside_and_all_get_in() {
        let (gate, inside, most, all) = (Gate::new(), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 * AT_ONCE {
                scope.spawn(|| {
                    let _pass = gate.enter();
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    all.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert!(most.into_inner() <= AT_ONCE);
        assert_eq!(all.into_inner(), 4 * AT_ONCE);
    }

    #[test]
    fn a_full_gate_is_shut() {
        let gate = Gate::new();
        let passes: Vec<_> = (0..AT_ONCE).map(|_| gate.enter()).collect();
        assert_eq!(*gate.free.lock().unwrap(), 0);
        drop(passes);
        assert_eq!(*gate.free.lock().unwrap(), AT_ONCE);
    }
}
