//! The filter for a program's system calls (seccomp(2)): what leads out of its namespaces, or around the filter, is refused.
//! Opening a socket that can configure the path manager or netfilter waits for this program; if its sockets are to be MPTCP
//! sockets, opening a TCP socket does, too.

use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::libc;

use super::child::{Failure, Stage, check};

/// The number of the architecture (`include/uapi/linux/audit.h`). On another one, the numbers of system calls mean
/// something else.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
pub(super) const ARCHITECTURE: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: Option<u32> = Some(0xc000_00b7);
#[cfg(target_arch = "riscv64")]
pub(super) const ARCHITECTURE: Option<u32> = Some(0xc000_00f3);
#[cfg(not(any(
    all(target_arch = "x86_64", target_pointer_width = "64"),
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
pub(super) const ARCHITECTURE: Option<u32> = None;

/// The system calls of x32 have this bit. No other architecture has such numbers.
const OTHER_NUMBERS: u32 = 0x4000_0000;

/// Refused with EPERM: io_uring opens sockets that no filter sees; keyrings belong to the user, not to a namespace; the
/// others let a program look into the kernel.
const REFUSED: [libc::c_long; 7] = [
    libc::SYS_io_uring_setup,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
];

/// Families that network namespaces separate. Not AF_VSOCK, which leads to the host of a virtual machine.
const SEPARATED: [libc::c_int; 2] = [libc::AF_UNIX, libc::AF_PACKET];
/// Netlink protocols by which path manager and netfilter are configured.
const CONFIGURING: [libc::c_int; 2] = [libc::NETLINK_GENERIC, libc::NETLINK_NETFILTER];
const INTERNET: [libc::c_int; 2] = [libc::AF_INET, libc::AF_INET6];

/// Where the parts of `struct seccomp_data` are: the number, the architecture, and the lower halves of the arguments.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

fn argument(index: u32) -> u32 {
    16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 }
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`
const NEW_LISTENER: libc::c_ulong = 1 << 3;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` (Linux 5.19): signals, of which Go sends many, don't interrupt the wait.
const WAIT_KILLABLE: libc::c_ulong = 1 << 5;

/// What waits for whoever listens to a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// Nothing.
    Never,
    /// Opening a netlink socket that can configure something.
    Netlink,
    /// That, and opening a TCP socket.
    Sockets,
}

/// A filter.
#[derive(Debug)]
pub(super) struct Filter {
    listening: Vec<libc::sock_filter>,
    /// In its place where the kernel has no listener to give, as below the filter of a container that has one.
    silent: Option<Vec<libc::sock_filter>>,
}

impl Filter {
    /// `asks`: opening a TCP socket must wait for whoever listens. `None`: not on this architecture.
    pub(super) fn new(asks: bool) -> Option<Self> {
        let architecture = ARCHITECTURE?;
        let waits = if asks { Waits::Sockets } else { Waits::Netlink };
        let silent = (!asks).then(|| program(architecture, Waits::Never));
        Some(Self { listening: program(architecture, waits), silent })
    }

    /// Installs it in the calling process, which must have given up gaining privileges. Returns the listener, if there is
    /// one.
    pub(super) fn install(&self) -> Result<Option<RawFd>, Failure> {
        let install = |program: &[libc::sock_filter], flags: libc::c_ulong| {
            let length = libc::c_ushort::try_from(program.len()).unwrap_or_default();
            let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
            // SAFETY: `program` leads to that number of instructions; the kernel only reads them.
            unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) }
        };
        let mut listener = install(&self.listening, NEW_LISTENER | WAIT_KILLABLE);
        if listener < 0 && Errno::last() == Errno::EINVAL {
            listener = install(&self.listening, NEW_LISTENER);
        }
        if let Some(silent) = self.silent.as_ref().filter(|_| listener < 0) {
            return check(Stage::Filter, install(silent, 0)).map(|_| None);
        }
        check(Stage::Filter, listener).map(|listener| RawFd::try_from(listener).ok())
    }
}

/// One instruction: what to do, with what, and how many to skip if a comparison holds or doesn't.
fn instruction(code: u32, value: u32, holds: u8, fails: u8) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap_or_default(), jt: holds, jf: fails, k: value }
}

fn load(offset: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

/// The next instruction is for those who have this value.
fn if_equal(value: u32) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, 0, 1)
}

fn answer(action: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, action, 0, 0)
}

fn refuse(errno: Errno) -> libc::sock_filter {
    answer(libc::SECCOMP_RET_ERRNO | u32::try_from(errno as i32).unwrap_or_default())
}

fn word(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

fn program(architecture: u32, waits: Waits) -> Vec<libc::sock_filter> {
    let wait = || answer(libc::SECCOMP_RET_USER_NOTIF);
    let allow = || answer(libc::SECCOMP_RET_ALLOW);
    let mut program = vec![
        load(ARCH),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, architecture, 1, 0),
        refuse(Errno::ENOSYS),
        load(NUMBER),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, OTHER_NUMBERS, 0, 1),
        refuse(Errno::ENOSYS),
    ];
    for call in REFUSED {
        program.extend([if_equal(word(call)), refuse(Errno::EPERM)]);
    }
    // Past the next one, for what is no socket.
    program.extend([
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, word(libc::SYS_socket), 1, 0),
        allow(),
        load(argument(0)),
    ]);
    for family in SEPARATED {
        program.extend([if_equal(word(family)), allow()]);
    }
    program.extend(netlink(waits, [allow, wait]));
    let [four, six] = INTERNET.map(word);
    program.extend([
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, four, 2, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, six, 1, 0),
        refuse(Errno::EAFNOSUPPORT),
    ]);
    if waits == Waits::Sockets {
        program.extend([
            load(argument(1)),
            // SOCK_TYPE_MASK (include/linux/net.h): the rest are flags.
            instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0xf, 0, 0),
            instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, word(libc::SOCK_STREAM), 1, 0),
            allow(),
            load(argument(2)),
            if_equal(0),
            wait(),
            if_equal(word(libc::IPPROTO_TCP)),
            wait(),
        ]);
    }
    program.push(allow());
    program
}

/// The part for netlink sockets.
fn netlink(waits: Waits, [allow, wait]: [impl Fn() -> libc::sock_filter; 2]) -> Vec<libc::sock_filter> {
    if waits == Waits::Never {
        return vec![if_equal(word(libc::AF_NETLINK)), allow()];
    }
    let [generic, netfilter] = CONFIGURING.map(word);
    vec![
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, word(libc::AF_NETLINK), 0, 6),
        load(argument(2)),
        if_equal(generic),
        wait(),
        if_equal(netfilter),
        wait(),
        allow(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter answers, by an interpreter of the few instructions that it has.
    fn run(program: &[libc::sock_filter], data: &[u8; 64]) -> u32 {
        let (mut at, mut accumulator) = (0, 0_u32);
        loop {
            let libc::sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let code = u32::from(code);
            if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS {
                let offset = k as usize;
                accumulator = u32::from_ne_bytes(data[offset..offset + 4].try_into().unwrap());
            } else if code == libc::BPF_ALU | libc::BPF_AND | libc::BPF_K {
                accumulator &= k;
            } else if code == libc::BPF_RET | libc::BPF_K {
                return k;
            } else {
                let holds = if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K {
                    accumulator == k
                } else {
                    accumulator >= k
                };
                at += usize::from(if holds { jt } else { jf });
            }
        }
    }

    fn call(waits: Waits, architecture: u32, number: libc::c_long, arguments: [i32; 3]) -> u32 {
        let mut data = [0; 64];
        data[0..4].copy_from_slice(&i32::try_from(number).unwrap().to_ne_bytes());
        data[4..8].copy_from_slice(&architecture.to_ne_bytes());
        for (index, value) in arguments.into_iter().enumerate() {
            data[16 + 8 * index..24 + 8 * index].copy_from_slice(&i64::from(value).to_ne_bytes());
        }
        run(&program(ARCHITECTURE.unwrap(), waits), &data)
    }

    #[test]
    fn only_separated_families_can_be_opened() {
        let own = ARCHITECTURE.unwrap();
        let refused = |errno: Errno| libc::SECCOMP_RET_ERRNO | u32::try_from(errno as i32).unwrap();
        for listens in [Waits::Never, Waits::Netlink, Waits::Sockets] {
            let socket = |family| call(listens, own, libc::SYS_socket, [family, libc::SOCK_DGRAM, 0]);
            for family in [libc::AF_UNIX, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_INET, libc::AF_INET6] {
                assert_eq!(socket(family), libc::SECCOMP_RET_ALLOW, "{family}");
            }
            for family in [libc::AF_VSOCK, libc::AF_ALG, libc::AF_BLUETOOTH, 0, -1] {
                assert_eq!(socket(family), refused(Errno::EAFNOSUPPORT), "{family}");
            }
            for number in REFUSED {
                assert_eq!(call(listens, own, number, [0; 3]), refused(Errno::EPERM), "{number}");
            }
            for (architecture, number) in [(0x4000_0003, libc::SYS_write), (own, libc::SYS_write | 0x4000_0000)] {
                assert_eq!(call(listens, architecture, number, [0; 3]), refused(Errno::ENOSYS));
            }
            assert_eq!(call(listens, own, libc::SYS_execve, [0; 3]), libc::SECCOMP_RET_ALLOW);
        }
    }

    #[test]
    fn opening_a_tcp_socket_waits() {
        let own = ARCHITECTURE.unwrap();
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        for family in INTERNET {
            for (kind, protocol, waits) in [
                (libc::SOCK_STREAM, 0, true),
                (libc::SOCK_STREAM | flags, libc::IPPROTO_TCP, true),
                (libc::SOCK_STREAM, 262, false),
                (libc::SOCK_STREAM, libc::IPPROTO_SCTP, false),
                (libc::SOCK_DGRAM | flags, 0, false),
                (libc::SOCK_RAW, libc::IPPROTO_TCP, false),
            ] {
                let expected = if waits { libc::SECCOMP_RET_USER_NOTIF } else { libc::SECCOMP_RET_ALLOW };
                let call = |waits| call(waits, own, libc::SYS_socket, [family, kind, protocol]);
                assert_eq!(call(Waits::Sockets), expected, "{kind} {protocol}");
                assert_eq!(call(Waits::Netlink), libc::SECCOMP_RET_ALLOW);
            }
        }
    }

    #[test]
    fn opening_a_socket_that_configures_waits() {
        for waits in [Waits::Never, Waits::Netlink, Waits::Sockets] {
            for (protocol, configures) in [
                (libc::NETLINK_GENERIC, true),
                (libc::NETLINK_NETFILTER, true),
                (libc::NETLINK_ROUTE, false),
                (libc::NETLINK_SOCK_DIAG, false),
            ] {
                let arguments = [libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol];
                let answer = call(waits, ARCHITECTURE.unwrap(), libc::SYS_socket, arguments);
                let waits = configures && waits != Waits::Never;
                assert_eq!(answer, if waits { libc::SECCOMP_RET_USER_NOTIF } else { libc::SECCOMP_RET_ALLOW });
            }
        }
    }
}
