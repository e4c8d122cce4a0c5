//! Other mptcplabs on this machine: who needs the whole of it waits for them, and they for it ([`Instances`]).
//!
//! That somebody listens to path-manager events is true for the whole machine, and each of our runs listens. So there is a
//! lock that all instances know, without a file of ours that could be left behind or be in a wrong place: flock(2) on files
//! that every user may open, and that are the same for all who share `/proc`. The kernel takes it away with the process.
//!
//! Processes with another `/proc`, those in other containers, don't know of it. What they do is seen by
//! [`crate::testbed::probe::watch_listeners`].

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::engine;

/// Held shared by each run, and alone by one that needs the machine.
const ROOM: &str = "/proc/version";

/// Whoever wants in goes through here: one that waits for the room to be empty holds it, so that it will be.
const DOOR: &str = "/proc/filesystems";

/// How often a lock that others have is tried. flock(2) could wait itself, but not with an end.
const AGAIN: Duration = Duration::from_millis(10);

/// A place among all runs on this machine, until it is dropped.
#[derive(Debug)]
pub struct Instances {
    /// Held, not looked at.
    _room: Option<Flock<File>>,
}

/// Others kept the machine for too long, or for longer than the run is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy(pub Duration);

impl std::fmt::Display for Busy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let most = self.0.as_secs();
        write!(f, "another mptcplab kept this machine for {most} s; is one stopped? (`lsof {ROOM}` shows which)")
    }
}

impl std::error::Error for Busy {}

impl Instances {
    /// `alone`: as soon as no run of another instance is on. Otherwise among others, as soon as nobody needs the machine for
    /// itself.
    ///
    /// # Errors
    ///
    /// [`Busy`]
    pub fn enter(alone: bool, most: Duration) -> Result<Self, Busy> {
        let how = if alone { FlockArg::LockExclusiveNonblock } else { FlockArg::LockSharedNonblock };
        let end = Instant::now() + most;
        let _door = lock(DOOR, how, end).map_err(|_| Busy(most))?;
        lock(ROOM, how, end).map(|room| Self { _room: room }).map_err(|_| Busy(most))
    }
}

/// The time is over.
struct TooLong;

/// `None` where there is no such file, or no such lock: then there is nothing to wait for.
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

    #[test]
    fn who_is_alone_keeps_others_out_and_waits_for_them() {
        let alone = Instances::enter(true, LONG).unwrap();
        assert_eq!(Instances::enter(false, SHORT).unwrap_err(), Busy(SHORT));
        assert_eq!(Instances::enter(true, SHORT).unwrap_err(), Busy(SHORT));
        drop(alone);
        let (one, other) = (Instances::enter(false, LONG).unwrap(), Instances::enter(false, LONG).unwrap());
        assert_eq!(Instances::enter(true, SHORT).unwrap_err(), Busy(SHORT));
        drop((one, other));
        Instances::enter(true, LONG).unwrap();
    }

    #[test]
    fn nobody_new_gets_in_before_one_that_waits_to_be_alone() {
        let inside = Instances::enter(false, LONG).unwrap();
        let waits = thread::spawn(|| Instances::enter(true, LONG).map(drop));
        let end = Instant::now() + LONG;
        while Instances::enter(false, Duration::ZERO).is_ok() {
            assert!(Instant::now() < end);
            thread::park_timeout(AGAIN);
        }
        drop(inside);
        waits.join().unwrap().unwrap();
    }
}
