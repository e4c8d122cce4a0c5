//! Two namespaces with two links between them, for one thread; gone with the last file descriptor.

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Protocol, Socket, Type};

/// Where the first listener of a world listens.
const FIRST_PORT: u16 = 4711;
/// So long a connect is tried that must not succeed: shorter than the time to the second SYN, one second.
const BLOCKED_TIME: Duration = Duration::from_millis(300);
/// What must happen has happened by then, on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(10);

/// One of the two namespaces: `10.0.{1,2}.1`, `fd00:{1,2}::1`, or the same with 2 at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The client's.
    Left,
    /// The server's.
    Right,
}

pub(crate) struct World {
    left: File,
    right: File,
    /// Each listener has its own: a command that another test starts may hold a closed one open until it execs.
    next_port: Cell<u16>,
}

impl World {
    /// Leaves the thread in the left namespace.
    pub(crate) fn new() -> Result<Self, String> {
        let right = namespace()?;
        let left = namespace()?;
        let world = Self { left, right, next_port: Cell::new(FIRST_PORT) };
        let peer = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&world.right));
        for link in ["one", "two"] {
            run(&format!("ip link add {link} type veth peer name {link} netns {peer}"))?;
        }
        for place in [Place::Left, Place::Right] {
            world.at(place, || {
                ["lo", "one", "two"].iter().try_for_each(|link| run(&format!("ip link set {link} up")))
            })?;
        }
        for (place, host) in [(Place::Left, 1), (Place::Right, 2)] {
            world.at(place, || {
                for (net, link) in [(1, "one"), (2, "two")] {
                    run(&format!("ip addr add 10.0.{net}.{host}/24 dev {link}"))?;
                    run(&format!("ip addr add fd00:{net}::{host}/64 dev {link} nodad"))?;
                }
                Ok::<_, String>(())
            })?;
            world.at(place, await_ipv6);
        }
        Ok(world)
    }

    /// Does something in a namespace and comes back to the left one.
    pub(crate) fn at<T>(&self, place: Place, act: impl FnOnce() -> T) -> T {
        let file = match place {
            Place::Left => &self.left,
            Place::Right => &self.right,
        };
        setns(file, CloneFlags::CLONE_NEWNET).unwrap();
        let result = act();
        setns(&self.left, CloneFlags::CLONE_NEWNET).unwrap();
        result
    }

    /// A connection from left to right.
    pub(crate) fn connect(&self, protocol: Protocol, from: &str, to: &str) -> io::Result<Pair> {
        self.connect_within(DEADLINE, protocol, from, to)
    }

    /// There is no connection from left to right, and no answer why.
    pub(crate) fn connect_in_vain(&self, protocol: Protocol, from: &str, to: &str) {
        let error = self.connect_within(BLOCKED_TIME, protocol, from, to).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "from {from} to {to}: {error}");
    }

    /// The port of the next connection.
    pub(crate) fn next_port(&self) -> u16 {
        self.next_port.get()
    }

    /// A connection from left to right, to another port than that of the listener.
    pub(crate) fn connect_by_port(&self, port: u16, protocol: Protocol, from: &str, to: &str) -> io::Result<Pair> {
        self.connect_as(DEADLINE, protocol, from, to, Some(port))
    }

    fn connect_within(&self, time: Duration, protocol: Protocol, from: &str, to: &str) -> io::Result<Pair> {
        self.connect_as(time, protocol, from, to, None)
    }

    fn connect_as(
        &self,
        time: Duration,
        protocol: Protocol,
        from: &str,
        to: &str,
        by_port: Option<u16>,
    ) -> io::Result<Pair> {
        let port = self.next_port.get();
        self.next_port.set(port + 1);
        let (from, by, to) = (address(from, 0), address(to, by_port.unwrap_or(port)), address(to, port));
        let listener = self.at(Place::Right, || {
            let listener = Socket::new(Domain::for_address(to), Type::STREAM, Some(protocol))?;
            listener.bind(&to.into())?;
            listener.listen(1)?;
            listener.set_read_timeout(Some(DEADLINE))?;
            Ok::<_, io::Error>(listener)
        })?;
        let client = self.at(Place::Left, || Socket::new(Domain::for_address(from), Type::STREAM, Some(protocol)))?;
        client.bind(&from.into())?;
        client.connect_timeout(&by.into(), time)?;
        let (server, _) = listener.accept()?;
        for socket in [&client, &server] {
            socket.set_read_timeout(Some(DEADLINE))?;
            socket.set_tcp_nodelay(true)?;
        }
        Ok(Pair { client, server })
    }

    /// A counter of /proc/net/netstat or /proc/net/snmp, by its nstat name. 0 if it isn't there.
    pub(crate) fn counter(&self, place: Place, name: &str) -> u64 {
        let text = self.at(place, || {
            let read = |file| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
            read("netstat") + &read("snmp")
        });
        let lines: Vec<&str> = text.lines().collect();
        let found = lines.chunks(2).find_map(|pair| {
            let (prefix, names) = pair.first()?.split_once(": ")?;
            let (_, values) = pair.get(1)?.split_once(": ")?;
            let wanted = name.strip_prefix(prefix)?;
            names
                .split(' ')
                .zip(values.split(' '))
                .find_map(|(name, value)| (name == wanted).then(|| value.parse().unwrap()))
        });
        found.unwrap_or(0)
    }

    /// Waits until a counter has this value.
    pub(crate) fn await_counter(&self, place: Place, name: &str, value: u64) {
        let start = Instant::now();
        while self.counter(place, name) < value {
            assert!(start.elapsed() < DEADLINE, "{name} is {} instead of {value}", self.counter(place, name));
            std::thread::yield_now();
        }
        assert_eq!(self.counter(place, name), value, "{name}");
    }
}

/// Both ends of a connection.
pub(crate) struct Pair {
    pub(crate) client: Socket,
    pub(crate) server: Socket,
}

impl Pair {
    /// Sends from client to server in one segment, without waiting.
    pub(crate) fn send(&self, bytes: &[u8]) {
        assert_eq!(self.client.send(bytes).unwrap(), bytes.len());
    }

    /// Receives so many bytes at the server.
    pub(crate) fn receive(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        io::Read::read_exact(&mut &self.server, &mut bytes).unwrap();
        bytes
    }

    /// Sends a byte each way: after this, both sides are fully established.
    pub(crate) fn ping_pong(&self) {
        self.send(b"?");
        assert_eq!(self.receive(1), b"?");
        assert_eq!(self.server.send(b"!").unwrap(), 1);
        let mut byte = [0];
        io::Read::read_exact(&mut &self.client, &mut byte).unwrap();
        assert_eq!(&byte, b"!");
    }
}

fn address(text: &str, port: u16) -> SocketAddr {
    SocketAddr::new(text.parse::<IpAddr>().unwrap(), port)
}

/// Waits until both links have their IPv6 addresses: the link-local one comes when the kernel's link watch has told of
/// a carrier, which is a little later.
fn await_ipv6() {
    let start = Instant::now();
    let ready = || {
        let text = fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
        let has = |prefix, link| text.lines().any(|line| line.starts_with(prefix) && line.ends_with(link));
        ["one", "two"].iter().all(|link| has("fe80", link) && has("fd00", link))
    };
    while !ready() {
        assert!(start.elapsed() < DEADLINE, "IPv6 doesn't come up");
        std::thread::yield_now();
    }
}

fn namespace() -> Result<File, String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("no network namespace: {errno}"))?;
    // No waiting for duplicates of addresses.
    fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").map_err(|error| format!("accept_dad: {error}"))?;
    File::open("/proc/thread-self/ns/net").map_err(|error| error.to_string())
}

/// Runs a command in the namespace of this thread.
pub(crate) fn run(command: &str) -> Result<(), String> {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap_or_default())
        .args(words)
        .output()
        .map_err(|error| format!("{command}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}
