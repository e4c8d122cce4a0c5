//! Which runs may use this machine at the same time: an exclusive run waits for all others, also those of other
//! mptcplab processes, and they wait for it ([`Machine`]). No other module deals with exclusive runs.
//!
//! Listening to path-manager events affects the whole machine, and each run of mptcplab listens. So all instances share
//! a lock that needs no file of its own, which could be left behind or be in the wrong place: flock(2) on files that
//! every user may open, and that are the same for all processes that share `/proc`. The kernel releases it with the
//! process.
//!
//! Processes with another `/proc`, such as those in other containers, don't see it. Their listeners are detected by
//! [`crate::testbed::probe::watch_listeners`].

use std::fs::File;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::engine;

/// Held shared by each run, exclusively by an exclusive one.
const ROOM: &str = "/proc/version";

/// The entrance for all runs: an exclusive run holds it while it waits for the room to empty, so that nobody else
/// enters.
const DOOR: &str = "/proc/filesystems";

/// The interval between attempts to get a lock. flock(2) could wait itself, but not with a timeout.
const AGAIN: Duration = Duration::from_millis(10);

/// The machine as this process sees it: its own runs exclude each other even where the locks between processes don't
/// work.
#[derive(Debug, Default)]
pub struct Machine(RwLock<()>);

/// A place among all runs on this machine, until it is dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "they are held, not looked at")]
pub struct Place<'a> {
    room: Option<Flock<File>>,
    here: Here<'a>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "they are held, not looked at")]
enum Here<'a> {
    Alone(RwLockWriteGuard<'a, ()>),
    Together(RwLockReadGuard<'a, ()>),
}

/// Other processes held the machine for too long, or until the run was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy(pub Duration);

impl std::fmt::Display for Busy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let most = self.0.as_secs();
        write!(f, "another mptcplab has held this machine for {most} s; is one stopped? (`lsof {ROOM}` shows which)")
    }
}

impl std::error::Error for Busy {}

impl Machine {
    /// Enters the machine. With `alone`, waits until no other run is active; otherwise until no exclusive run is. Waits
    /// for runs of this process without a timeout, and for those of others for `most`.
    ///
    /// # Errors
    ///
    /// [`Busy`]
    pub fn enter(&self, alone: bool, most: Duration) -> Result<Place<'_>, Busy> {
        // A run that panicked has left nothing relevant behind.
        let here = if alone {
            Here::Alone(self.0.write().unwrap_or_else(PoisonError::into_inner))
        } else {
            Here::Together(self.0.read().unwrap_or_else(PoisonError::into_inner))
        };
        let how = if alone { FlockArg::LockExclusiveNonblock } else { FlockArg::LockSharedNonblock };
        let end = Instant::now() + most;
        let _door = lock(DOOR, how, end).map_err(|_| Busy(most))?;
        lock(ROOM, how, end).map(|room| Place { room, here }).map_err(|_| Busy(most))
    }
}

/// The timeout has passed.
struct TooLong;

/// `None` if there is no such file, or no such lock: then there is nothing to wait for.
#[expect(
    clippy::disallowed_methods,
    reason = "flock(2) has no time-out, and a file below /proc is nothing to read here"
)]
fn lock(path: &str, how: FlockArg, end: Instant) -> Result<Option<Flock<File>>, TooLong> {
    let Ok(mut file) = File::open(path) else { return Ok(None) };
    loop {
        match Flock::lock(file, how) {
            Ok(lock) => return Ok(Some(lock)),
            Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) if Instant::now() < end && !engine::abandoned() => {
                file = back;
            }
            Err((_, Errno::EWOULDBLOCK)) => return Err(TooLong),
            Err(_) => return Ok(None),
        }
        thread::park_timeout(AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other tests of this machine may run scenarios: they are waited for.
    const LONG: Duration = Duration::from_secs(120);
    const SHORT: Duration = Duration::from_millis(50);

    /// As another mptcplab enters.
    fn enter(alone: bool, most: Duration) -> Result<Place<'static>, Busy> {
        Box::leak(Box::<Machine>::default()).enter(alone, most)
    }

    #[test]
    fn runs_of_one_process_keep_each_other_out_without_a_lock_of_all() {
        let machine = Machine::default();
        let one = machine.enter(false, LONG).unwrap();
        assert!(machine.0.try_read().is_ok() && machine.0.try_write().is_err(), "others may run, but nobody alone");
        drop(one);
        let alone = machine.enter(true, LONG).unwrap();
        assert!(machine.0.try_read().is_err());
        drop(alone);
        assert!(machine.0.try_write().is_ok());
    }

    #[test]
    fn who_is_alone_keeps_others_out_and_waits_for_them() {
        let alone = enter(true, LONG).unwrap();
        assert_eq!(enter(false, SHORT).unwrap_err(), Busy(SHORT));
        assert_eq!(enter(true, SHORT).unwrap_err(), Busy(SHORT));
        drop(alone);
        let (one, other) = (enter(false, LONG).unwrap(), enter(false, LONG).unwrap());
        assert_eq!(enter(true, SHORT).unwrap_err(), Busy(SHORT));
        drop((one, other));
        enter(true, LONG).unwrap();
    }

    #[test]
    fn nobody_new_gets_in_before_one_that_waits_to_be_alone() {
        let inside = enter(false, LONG).unwrap();
        let waits = thread::spawn(|| enter(true, LONG).map(drop));
        let end = Instant::now() + LONG;
        while enter(false, Duration::ZERO).is_ok() {
            assert!(Instant::now() < end);
            thread::park_timeout(AGAIN);
        }
        drop(inside);
        waits.join().unwrap().unwrap();
    }
}
