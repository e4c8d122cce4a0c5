//! A connection of the scenario, with both of its sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::pin;
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, yield_now};

use super::socket::symbol;
use super::transfer::{Delivery, Flow, Progress, Tell, TransferWays, poll_once};
use crate::mptcp::SocketOption;
use crate::payload::Payload;
use crate::recording::{CallEnd, Calls, Got, Side, SocketCall};
use crate::scenario::model::{Direction, SocketOptions, TransferPlan};
use crate::sys::sockopt::disconnect;

/// The results of the two directions of a transfer, the client's bytes first; `None`: nothing was to be sent.
pub type Deliveries = [Option<Delivery>; 2];

/// A connection of which the runner holds both ends.
#[derive(Debug)]
pub struct LiveConnection {
    /// Its name in the scenario.
    pub name: String,
    /// The namespace of the client.
    pub client_namespace: String,
    /// The namespace of the server.
    pub server_namespace: String,
    /// The addresses of the initial subflow.
    pub client_address: SocketAddr,
    /// The addresses of the initial subflow.
    pub server_address: SocketAddr,
    /// The client's token while it is an MPTCP socket.
    pub client_token: Option<u32>,
    /// The server's token while it is an MPTCP socket.
    pub server_token: Option<u32>,
    client: Option<Rc<TcpStream>>,
    server: Option<Rc<TcpStream>>,
    /// Nobody has accepted it.
    waits: bool,
    from_client: Progress,
    from_server: Progress,
    background: Option<Background>,
    tell: Tell,
    /// The options that were set, the client's first.
    declared: [Vec<&'static SocketOption>; 2],
}

/// The directions of a transfer, the client's bytes first.
struct Flows([Option<Flow>; 2]);

/// A transfer that continues during further steps.
struct Background {
    task: JoinHandle<()>,
    flows: Rc<Flows>,
}

/// A close had an unexpected result.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// A call of one of the two applications had an unexpected result.
    #[error("a call of the {} had an unexpected result", .0.side.word())]
    Application(CallEnd),
    /// It is closed already.
    #[error("it is already closed")]
    Closed,
}

impl Flows {
    /// Until all bytes have arrived, or one direction has failed.
    async fn run(&self) {
        let [up, down] = self.0.each_ref().map(|flow| async move {
            match flow {
                None => true,
                Some(flow) => flow.run().await,
            }
        });
        let (mut up, mut down) = (pin!(up), pin!(down));
        tokio::select! {
            biased;
            good = &mut up => if good { down.await; } else { see_the_same(down).await },
            good = &mut down => if good { up.await; } else { see_the_same(up).await },
        }
    }

    fn deliveries(&self) -> Deliveries {
        self.0.each_ref().map(|flow| flow.as_ref().map(Flow::delivered))
    }
}

/// Called when one direction has failed: the cause may have ended the other one, too, which then reports it.
async fn see_the_same<T>(other: std::pin::Pin<&mut impl Future<Output = T>>) {
    yield_now().await;
    poll_once(other).await;
}

impl std::fmt::Debug for Background {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Background").field("task", &self.task).field("flows", &self.flows.deliveries()).finish()
    }
}

/// As captures and path-manager events show an address: its interface is another field there.
fn unscoped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

impl LiveConnection {
    /// Takes over the client's socket, connected to `server_address`; nobody has accepted the connection yet. `tell` hears at
    /// once of calls that get no bytes, or wrong ones.
    pub fn new(
        name: String,
        namespaces: (String, String),
        (client, server_address): (TcpStream, SocketAddr),
        tell: Tell,
    ) -> io::Result<Self> {
        Ok(Self {
            name,
            client_namespace: namespaces.0,
            server_namespace: namespaces.1,
            client_address: unscoped(client.local_addr()?),
            // Without a SYN yet, the socket has no peer.
            server_address: unscoped(client.peer_addr().unwrap_or(server_address)),
            client_token: None,
            server_token: None,
            client: Some(Rc::new(client)),
            server: None,
            waits: true,
            from_client: Progress::default(),
            from_server: Progress::default(),
            background: None,
            tell,
            declared: [Vec::new(), Vec::new()],
        })
    }

    /// The server has accepted it.
    pub fn accepted(&mut self, server: TcpStream) {
        self.server = Some(Rc::new(server));
        self.waits = false;
    }

    /// Whether nobody has accepted it.
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// The options that were set on the socket of a side.
    pub fn declared(&self, side: Side) -> &[&'static SocketOption] {
        let [client, server] = &self.declared;
        match side {
            Side::Client => client,
            Side::Server => server,
        }
    }

    /// These options were set on the socket of a side.
    pub fn declare(&mut self, side: Side, options: &SocketOptions) {
        let [client, server] = &mut self.declared;
        let known = match side {
            Side::Client => client,
            Side::Server => server,
        };
        for setting in &options.set {
            if !known.iter().any(|option| option.word == setting.option.word) {
                known.push(setting.option);
            }
        }
    }

    /// The namespace of a side.
    pub fn namespace(&self, side: Side) -> &str {
        match side {
            Side::Client => &self.client_namespace,
            Side::Server => &self.server_namespace,
        }
    }

    /// The token of a side.
    pub fn token(&self, side: Side) -> Option<u32> {
        match side {
            Side::Client => self.client_token,
            Side::Server => self.server_token,
        }
    }

    /// The socket of a side while it is open.
    pub fn socket(&self, side: Side) -> Option<BorrowedFd<'_>> {
        self.stream(side).map(|stream| stream.as_fd())
    }

    /// Whether both sockets are still open, or the client's while nobody has accepted the connection.
    pub fn is_open(&self) -> bool {
        self.client.is_some() && (self.server.is_some() || self.waits)
    }

    /// The progress of this sender's bytes.
    pub fn progress(&self, sender: Side) -> &Progress {
        match sender {
            Side::Client => &self.from_client,
            Side::Server => &self.from_server,
        }
    }

    fn stream(&self, side: Side) -> Option<&Rc<TcpStream>> {
        match side {
            Side::Client => self.client.as_ref(),
            Side::Server => self.server.as_ref(),
        }
    }

    pub(super) fn open_stream(&self, side: Side) -> io::Result<Rc<TcpStream>> {
        self.stream(side).cloned().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotConnected, format!("connection `{}` is closed on this side", self.name))
        })
    }

    /// Sends bytes both ways, or one way, and compares what arrives.
    pub async fn transfer(&self, plan: &TransferPlan) -> io::Result<Deliveries> {
        let flows = self.flows((plan.from_client, plan.from_server), TransferWays::of(plan))?;
        flows.run().await;
        Ok(flows.deliveries())
    }

    /// Writes the first byte of a client whose connect() leaves the SYN to the first write() (`TCP_FASTOPEN_CONNECT`). If the
    /// SYN takes no data along, write() fails with EINPROGRESS (`mptcp_sendmsg_fastopen`, net/mptcp/protocol.c), and has to
    /// be called again when the connection stands.
    pub fn begin_by_writing(&self) -> io::Result<()> {
        let client = self.open_stream(Side::Client)?;
        let mut byte = [0];
        Payload::of(&self.name, Side::Client).fill(0, &mut byte);
        // Not through tokio, which waits until there is a connection.
        match send(client.as_raw_fd(), &byte, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
            Ok(count) => self.from_client.add_sent(count),
            Err(Errno::EINPROGRESS) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    /// Sends a byte to the server, and then one back. The first one may be in flight already.
    pub async fn greet(&self) -> io::Result<Deliveries> {
        let there = self.flows((1, 0), TransferWays { already: self.from_client.sent(), ..TransferWays::default() })?;
        there.run().await;
        let [up, _] = there.deliveries();
        if up.as_ref().is_some_and(|up| up.bytes < up.expected) {
            return Ok([up, None]);
        }
        let back = self.flows((0, 1), TransferWays::default())?;
        back.run().await;
        let [_, down] = back.deliveries();
        Ok([up, down])
    }

    /// Starts a transfer that continues during further steps. At most one at a time.
    pub fn start_transfer(&mut self, plan: &TransferPlan) -> io::Result<()> {
        if self.background.is_some() {
            return Err(io::Error::other("another background transfer is already running on it"));
        }
        let flows = Rc::new(self.flows((plan.from_client, plan.from_server), TransferWays::of(plan))?);
        let running = Rc::clone(&flows);
        let task = tokio::task::spawn_local(async move { running.run().await });
        self.background = Some(Background { task, flows });
        Ok(())
    }

    /// Waits for the background transfer, if there is one.
    pub async fn finish_transfer(&mut self) -> Option<io::Result<Deliveries>> {
        let running = self.background.as_mut()?;
        let ended = (&mut running.task).await;
        let deliveries = running.flows.deliveries();
        self.background = None;
        Some(ended.map(|()| deliveries).map_err(io::Error::other))
    }

    /// Aborts the background transfer, if there is one; then only the connection uses its sockets.
    async fn abort_transfer(&mut self) -> Option<Deliveries> {
        let Background { task, flows } = self.background.take()?;
        task.abort();
        // The error only says that it was cancelled.
        let _ = task.await;
        Some(flows.deliveries())
    }

    /// What ended the background transfer before all bytes had arrived.
    pub fn stopped(&self) -> Option<CallEnd> {
        let running = self.background.as_ref().filter(|running| running.task.is_finished())?;
        let short = |delivery: Delivery| delivery.stopped.filter(|_| delivery.bytes < delivery.expected);
        running.flows.deliveries().into_iter().flatten().find_map(short)
    }

    fn flows(&self, (from_client, from_server): (u64, u64), ways: TransferWays) -> io::Result<Flows> {
        let both = from_client > 0 && from_server > 0;
        let flow = |from: Side, length: u64, progress: &Progress| {
            let (sender, receiver) = (self.open_stream(from)?, self.open_stream(from.other())?);
            progress.begin();
            let (progress, tell, one_way) = (progress.clone(), self.tell.clone(), !both);
            let (connection, delivery) = (self.name.clone(), Rc::default());
            let flow = Flow { connection, from, sender, receiver, length, ways, one_way, progress, tell, delivery };
            Ok::<_, io::Error>((length > 0).then_some(flow))
        };
        Ok(Flows([
            flow(Side::Client, from_client, &self.from_client)?,
            flow(Side::Server, from_server, &self.from_server)?,
        ]))
    }

    /// Closes one side after everything is read, and the other side after it has seen the end.
    pub async fn close_gracefully(&mut self, by: Side) -> Result<(), CloseError> {
        drop(self.take(by));
        self.waits = false;
        let Some(other) = self.take(by.other()) else { return Ok(()) };
        self.expect_end(by.other(), &other).await
    }

    /// Closes one side while bytes of the other are unread there: the kernel answers with MP_FASTCLOSE
    /// (`__mptcp_close`, net/mptcp/protocol.c). The other side must see a reset. A background transfer is aborted;
    /// returns its result.
    pub async fn close_abruptly(&mut self, by: Side) -> Result<Option<Deliveries>, CloseError> {
        let cut_off = self.abort_transfer().await;
        let (Some(closing), Some(other)) = (self.take(by), self.take(by.other())) else {
            return Err(CloseError::Closed);
        };
        self.leave_unread(by, &closing, &other).await?;
        drop(closing);
        self.expect_reset(by.other(), &other).await?;
        Ok(cut_off)
    }

    /// Reads what has arrived, and then a reset.
    async fn expect_reset(&self, side: Side, stream: &TcpStream) -> Result<(), CloseError> {
        let mut rest = [0; 4096];
        loop {
            match read(stream, &mut rest).await {
                Ok(0) => return Err(self.failed(side, SocketCall::Read, Got::EndOfStream)),
                Ok(_) => {}
                Err(error) => {
                    let failed = self.failed(side, SocketCall::Read, Got::Error(symbol(&error)));
                    let is_reset = matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe);
                    return if is_reset { Ok(()) } else { Err(failed) };
                }
            }
        }
    }

    /// Makes sure that there are unread bytes in the socket to close: those of an aborted transfer, or some that the
    /// other side writes. If it can't write, bytes are already in flight.
    async fn leave_unread(&self, by: Side, closing: &TcpStream, other: &TcpStream) -> Result<(), CloseError> {
        // Not through tokio, which first has to notice that there is room.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(other.as_raw_fd(), b"left unread", flags) {
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(self.failed(by.other(), SocketCall::Write, Got::Error(symbol(&errno.into())))),
        }
        match closing.peek(&mut [0; 1]).await {
            Ok(0) => Err(self.failed(by, SocketCall::Read, Got::EndOfStream)),
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(by, SocketCall::Read, Got::Error(symbol(&error)))),
        }
    }

    /// Disconnects one side by connect() with `AF_UNSPEC`: the kernel sends MP_FASTCLOSE (`mptcp_disconnect`,
    /// net/mptcp/protocol.c). The other side must see a reset. Returns the result of a background transfer, and the socket
    /// that was disconnected.
    pub async fn disconnect(&mut self, by: Side) -> Result<(Option<Deliveries>, Option<TcpStream>), CloseError> {
        let cut_off = self.abort_transfer().await;
        let Some(closing) = self.take(by) else { return Err(CloseError::Closed) };
        if let Err(error) = disconnect(closing.as_fd()) {
            return Err(self.failed(by, SocketCall::Disconnect, Got::Error(symbol(&error))));
        }
        if let Some(other) = self.take(by.other()) {
            self.expect_reset(by.other(), &other).await?;
        }
        self.waits = false;
        Ok((cut_off, Rc::into_inner(closing)))
    }

    /// shutdown(2), and nothing else.
    pub fn shutdown(&self, by: Side, direction: Direction) -> io::Result<Calls> {
        let stream = self.open_stream(by)?;
        let how = match direction {
            Direction::Write => Shutdown::Write,
            Direction::Read => Shutdown::Read,
            Direction::Both => Shutdown::Both,
        };
        let mut calls = Calls::of(&self.name, by, SocketCall::Shutdown, 0);
        if let Err(errno) = shutdown(stream.as_raw_fd(), how) {
            let (connection, got) = (self.name.clone(), Got::Error(symbol(&errno.into())));
            calls.end = Some(CallEnd { connection, side: by, call: SocketCall::Shutdown, got, bytes: 0 });
        }
        Ok(calls)
    }

    /// Shuts down one direction; the other side sees the end of the stream, and both stay open.
    pub async fn half_close(&mut self, by: Side) -> Result<(), CloseError> {
        let closed = |_| CloseError::Closed;
        let (closing, other) = (self.open_stream(by).map_err(closed)?, self.open_stream(by.other()).map_err(closed)?);
        if let Err(errno) = shutdown(closing.as_raw_fd(), Shutdown::Write) {
            return Err(self.failed(by, SocketCall::Shutdown, Got::Error(symbol(&errno.into()))));
        }
        self.expect_end(by.other(), &other).await
    }

    /// The next thing that this side reads must be the end of the stream.
    async fn expect_end(&self, side: Side, stream: &TcpStream) -> Result<(), CloseError> {
        let got = match read(stream, &mut [0; 64]).await {
            Ok(0) => return Ok(()),
            Ok(count) => Got::Bytes(count as u64),
            Err(error) => Got::Error(symbol(&error)),
        };
        Err(self.failed(side, SocketCall::Read, got))
    }

    /// Reports how a call ended.
    fn failed(&self, side: Side, call: SocketCall, got: Got) -> CloseError {
        let end = CallEnd { connection: self.name.clone(), side, call, got, bytes: 0 };
        self.tell.tell(end.clone());
        CloseError::Application(end)
    }

    fn take(&mut self, side: Side) -> Option<Rc<TcpStream>> {
        match side {
            Side::Client => self.client.take(),
            Side::Server => self.server.take(),
        }
    }
}

impl Drop for LiveConnection {
    fn drop(&mut self) {
        if let Some(running) = self.background.take() {
            running.task.abort();
        }
    }
}

/// One blocking read().
async fn read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            got => return got,
        }
    }
}
