//! Requests for sockets: a program opens a TCP socket, and gets another one. Main type: [`SocketRequests`].
//!
//! The kernel stops the program in socket(2) and tells its listener (seccomp_unotify(2)), who makes a socket and hands it
//! over as the result. The arguments of socket(2) are numbers: nothing can change them meanwhile. Statically linked
//! programs, and those of Go, are no exception, and neither is what they execute.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;

use nix::errno::Errno;
use nix::libc;

use super::SandboxError;
use super::child::{Failure, Stage, check, fork};
use super::filter::Filter;
use crate::net::Configures;

/// `SECCOMP_IOCTL_NOTIF_RECV`, `_SEND` and `_ADDFD` (`include/uapi/linux/seccomp.h`).
const RECEIVE: libc::c_ulong = request(3, 0, size_of::<Notification>());
const SEND: libc::c_ulong = request(3, 1, size_of::<Response>());
const ADD_DESCRIPTOR: libc::c_ulong = request(1, 3, size_of::<Descriptor>());
/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE` (Linux 5.5): the call is made as if nobody had listened.
const GO_ON: u32 = 1;
/// `SECCOMP_ADDFD_FLAG_SEND` (Linux 5.14): the new descriptor is the result of the call.
const IS_THE_RESULT: u32 = 1 << 1;

/// `_IOC()`, for which 1 is a write and 3 both ways.
const fn request(direction: libc::c_ulong, number: libc::c_ulong, size: usize) -> libc::c_ulong {
    direction << 30 | (size as libc::c_ulong) << 16 | (b'!' as libc::c_ulong) << 8 | number
}

/// `struct seccomp_notif`
#[repr(C)]
struct Notification {
    id: u64,
    pid: u32,
    flags: u32,
    number: i32,
    architecture: u32,
    instruction: u64,
    arguments: [u64; 6],
}

/// `struct seccomp_notif_resp`
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// `struct seccomp_notif_addfd`
#[repr(C)]
struct Descriptor {
    id: u64,
    flags: u32,
    source: u32,
    number: u32,
    its_flags: u32,
}

/// A program waits for a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    id: u64,
    /// `AF_INET`, `AF_INET6` or `AF_NETLINK`.
    pub family: i32,
    /// `SOCK_STREAM` with `SOCK_CLOEXEC` and `SOCK_NONBLOCK`, as it asked.
    pub kind: i32,
    /// The protocol, as it asked.
    pub protocol: i32,
}

/// What it gets.
#[derive(Debug)]
pub enum Answer {
    /// The socket that it asked for.
    AsAsked,
    /// This socket.
    Socket(OwnedFd),
    /// An errno.
    Error(i32),
}

/// The end of a filter that hears of requests.
#[derive(Debug)]
pub struct SocketRequests(OwnedFd);

impl AsFd for SocketRequests {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl SocketRequests {
    /// Takes over the descriptor of [`Program::requests`](super::Program::requests).
    pub fn new(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// The next request. Call it only if the descriptor is readable: otherwise it waits. `None`: the program that asked has
    /// ended, or was interrupted.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn next(&self) -> io::Result<Option<Asked>> {
        let mut notification = MaybeUninit::<Notification>::zeroed();
        // SAFETY: the pointer leads to a structure of zeros of that size, as the kernel wants it.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), RECEIVE, notification.as_mut_ptr()) };
        if result < 0 {
            return match Errno::last() {
                Errno::ENOENT | Errno::EINTR => Ok(None),
                errno => Err(errno.into()),
            };
        }
        // SAFETY: it was made of zeros, which are valid, and the kernel has filled it in.
        let Notification { id, arguments: [family, kind, protocol, ..], .. } = unsafe { notification.assume_init() };
        // The kernel takes them for ints, too.
        #[expect(clippy::cast_possible_truncation, reason = "as the kernel does it")]
        Ok(Some(Asked { id, family: family as i32, kind: kind as i32, protocol: protocol as i32 }))
    }

    /// Answers it. A program that has ended meanwhile needs no answer.
    ///
    /// # Errors
    ///
    /// The kernel refuses, such as `EMFILE`: the program has too many descriptors. It gets this errno.
    pub fn answer(&self, asked: Asked, answer: &Answer) -> io::Result<()> {
        let error = match answer {
            Answer::AsAsked => 0,
            Answer::Socket(socket) => match self.hand_over(asked, socket.as_raw_fd()) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(()),
                Err(errno) => errno as i32,
            },
            Answer::Error(errno) => *errno,
        };
        let flags = if matches!(answer, Answer::AsAsked) { GO_ON } else { 0 };
        let response = Response { id: asked.id, value: 0, error: -error, flags };
        // SAFETY: the pointer leads to a structure of that size, which the kernel only reads.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), SEND, &raw const response) };
        match (Errno::result(result), answer) {
            (Err(Errno::ENOENT), _) | (Ok(_), Answer::Error(_) | Answer::AsAsked) => Ok(()),
            (Err(errno), _) => Err(errno.into()),
            (Ok(_), Answer::Socket(_)) => Err(io::Error::from_raw_os_error(error)),
        }
    }

    fn hand_over(&self, asked: Asked, socket: RawFd) -> Result<(), Errno> {
        let closed = asked.kind & libc::SOCK_CLOEXEC != 0;
        let source = u32::try_from(socket).map_err(|_| Errno::EBADF)?;
        let its_flags = if closed { u32::try_from(libc::O_CLOEXEC).unwrap_or_default() } else { 0 };
        let descriptor = Descriptor { id: asked.id, flags: IS_THE_RESULT, source, number: 0, its_flags };
        add_descriptor(self.0.as_raw_fd(), &descriptor)
    }
}

fn add_descriptor(listener: RawFd, descriptor: &Descriptor) -> Result<(), Errno> {
    // SAFETY: the pointer leads to a structure of that size, which the kernel only reads.
    let result = unsafe { libc::ioctl(listener, ADD_DESCRIPTOR, std::ptr::from_ref(descriptor)) };
    Errno::result(result).map(drop)
}

/// Opens an MPTCP socket of that family and kind in the calling thread's network namespace.
pub(super) fn mptcp_socket(asked: Asked) -> Answer {
    // SAFETY: the call has no pointers.
    let socket = unsafe { libc::socket(asked.family, asked.kind | libc::SOCK_CLOEXEC, libc::IPPROTO_MPTCP) };
    if socket < 0 {
        return Answer::Error(Errno::last_raw());
    }
    // SAFETY: the descriptor was just made, and belongs to nobody else.
    Answer::Socket(unsafe { OwnedFd::from_raw_fd(socket) })
}

impl Asked {
    /// What it can configure by this socket.
    pub fn configures(self) -> Option<Configures> {
        match (self.family, self.protocol) {
            (libc::AF_NETLINK, libc::NETLINK_NETFILTER) => Some(Configures::Netfilter),
            (libc::AF_NETLINK, _) => Some(Configures::PathManager),
            _ => None,
        }
    }

    /// What it gets instead: an MPTCP socket of the calling thread's network namespace.
    pub fn instead(self) -> Answer {
        if self.configures().is_some() { Answer::AsAsked } else { mptcp_socket(self) }
    }
}

/// Whether this kernel hands sockets over: tries it with a request that doesn't exist.
///
/// # Errors
///
/// What the kernel lacks.
pub fn can_be_forced() -> Result<(), String> {
    let filter = Filter::new(true).ok_or_else(|| SandboxError::Architecture.to_string())?;
    let tried = fork(|reporter| {
        // SAFETY: the call has no pointers.
        let installed = check(Stage::Filter, unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })
            .and_then(|_| filter.install());
        match installed {
            Err(failure) => reporter.fail(failure),
            Ok(None) => reporter.tell(Errno::EINVAL as i32),
            Ok(Some(listener)) => {
                let nobody = Descriptor { id: 0, flags: IS_THE_RESULT, source: 0, number: 0, its_flags: 0 };
                let errno = add_descriptor(listener, &nobody).err().unwrap_or(Errno::ENOENT);
                reporter.tell(errno as i32);
            }
        }
    });
    let errno = tried.and_then(|(_child, mut reports)| reports.number()).map_err(|error| error.to_string())?;
    match Errno::from_raw(errno) {
        // There is no such request; with a flag that the kernel doesn't know, it says EINVAL first.
        Errno::ENOENT => Ok(()),
        errno => Err(format!("seccomp can't hand sockets over (SECCOMP_ADDFD_FLAG_SEND, Linux 5.14): {errno}")),
    }
}

/// Room for one descriptor in a control message.
#[repr(C, align(8))]
struct Control([u8; 32]);

/// Sends a descriptor. For a process that was forked.
pub(super) fn send(socket: RawFd, descriptor: RawFd) -> Result<(), Failure> {
    let mut control = Control([0; 32]);
    let mut byte = [0_u8; 1];
    let mut vector = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: all pointers lead to local variables of the lengths given; CMSG_SPACE() of an int is at most 32.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(descriptor);
        libc::sendmsg(socket, &raw const message, 0)
    };
    check(Stage::Filter, libc::c_long::try_from(sent).unwrap_or(-1)).map(drop)
}

/// Receives the descriptor that was sent.
pub(super) fn receive(socket: &UnixDatagram) -> Result<OwnedFd, SandboxError> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

    let mut byte = [0; 1];
    let mut vector = [io::IoSliceMut::new(&mut byte)];
    let mut room = nix::cmsg_space!(RawFd);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut vector, Some(&mut room), flags)
        .map_err(SandboxError::errno("receive the listener of a filter"))?;
    let messages = received.cmsgs().map_err(SandboxError::errno("receive the listener of a filter"))?;
    for message in messages {
        if let ControlMessageOwned::ScmRights(descriptors) = message
            && let Some(descriptor) = descriptors.first()
        {
            // SAFETY: the descriptor was just received, and belongs to nobody else.
            return Ok(unsafe { OwnedFd::from_raw_fd(*descriptor) });
        }
    }
    Err(SandboxError::Vanished)
}
