//! The user namespace of a host, and the network namespace that it owns. Main type: [`Enclosure`].

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::libc;
use nix::unistd::geteuid;

use super::SandboxError;
use super::child::{Stage, check, fork};
use crate::files;

/// The user and group ids of root's programs: 65536 of them from this one, which no convention gives to anybody (systemd's
/// “Users, Groups, UIDs and GIDs”).
const UNUSED: u32 = 0x7000_0000;
/// How many: `nobody` and `www-data` are among them.
const IDS: u32 = 1 << 16;
/// `nobody`, where the range isn't there.
const NOBODY: u32 = 65534;

/// A user namespace, and a network namespace that it owns.
#[derive(Debug)]
pub struct Enclosure {
    users: OwnedFd,
    network: OwnedFd,
}

impl Enclosure {
    /// Creates both. The calling thread stays where it is; the network namespace is created from its own.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn create() -> Result<Self, SandboxError> {
        let (lifeline, held) = super::child::pipe()?;
        let lifeline_in_child = lifeline.as_raw_fd();
        let held_in_child = held.as_raw_fd();
        let (child, mut reports) = fork(move |reporter| {
            // SAFETY: the calls have no pointers, but one to a local variable of that size. The descriptor is this
            // process's copy.
            unsafe {
                libc::close(held_in_child);
                match check(Stage::Namespaces, libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)) {
                    Ok(_) => reporter.tell(0),
                    Err(failure) => reporter.fail(failure),
                }
                // Until the parent has opened them.
                let mut byte = 0_u8;
                libc::read(lifeline_in_child, (&raw mut byte).cast(), 1);
            }
        })?;
        reports.number()?;
        let process = format!("/proc/{}", child.pid());
        for (which, own) in [("uid", "/proc/self/uid_map"), ("gid", "/proc/self/gid_map")] {
            let map = files::kernel::read_text(own).map_err(SandboxError::call("read the map of user ids"))?;
            let map = mapping(&map, geteuid().as_raw());
            files::kernel::write(format!("{process}/{which}_map"), &map)
                .map_err(SandboxError::call("map the user ids of programs"))?;
        }
        let open = |name: &str| {
            files::kernel::open(format!("{process}/ns/{name}")).map_err(SandboxError::call("open a namespace"))
        };
        let (users, network) = (open("user")?.into(), open("net")?.into());
        drop(held);
        Ok(Self { users, network })
    }

    /// The user namespace.
    pub fn users(&self) -> BorrowedFd<'_> {
        self.users.as_fd()
    }

    /// The network namespace, for other purposes.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn network(&self) -> std::io::Result<OwnedFd> {
        self.network.try_clone()
    }
}

/// Which ids the programs have, for a process with this map of its own ids: the first id is root's in the namespace.
fn mapping(own: &str, effective: u32) -> String {
    let extents = own.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().ok());
        let (first, _, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some(first..first.checked_add(count)?)
    });
    let extents: Vec<_> = extents.collect();
    let has = |first: u32, count: u32| {
        extents
            .iter()
            .any(|extent| extent.start <= u64::from(first) && u64::from(first) + u64::from(count) <= extent.end)
    };
    if has(UNUSED, IDS) {
        format!("0 {UNUSED} {IDS}")
    } else if effective == 0 && has(NOBODY, 1) {
        format!("0 {NOBODY} 1")
    } else {
        format!("0 {effective} 1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_program_has_the_ids_of_root() {
        assert_eq!(mapping("         0          0 4294967295\n", 0), "0 1879048192 65536");
        assert_eq!(mapping("0 100000 65536\n", 0), "0 65534 1");
        assert_eq!(mapping("0 0 1000\n1000 1000 65536\n", 0), "0 65534 1");
        // An ordinary user has one id, which is mapped to 0.
        assert_eq!(mapping("0 1000 1\n", 0), "0 0 1");
    }
}
