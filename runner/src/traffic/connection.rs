//! A connection of the scenario: both of its sockets are ours.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use nix::sys::socket::{Shutdown, shutdown};
use std::os::fd::AsRawFd;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::payload::Payload;
use super::transfer::{Delivery, Progress, transfer};
use crate::recording::Side;
use crate::scenario::model::TransferPlan;

/// What the two directions of a transfer came to, the client's bytes first; `None`: nothing was to be sent that way.
pub type Deliveries = (Option<io::Result<Delivery>>, Option<io::Result<Delivery>>);

/// A connection whose two ends are both held by the runner.
#[derive(Debug)]
pub struct LiveConnection {
    /// Its name in the scenario.
    pub name: String,
    /// The namespace of the client.
    pub client_namespace: String,
    /// The namespace of the server.
    pub server_namespace: String,
    /// The addresses of the first subflow.
    pub client_address: SocketAddr,
    /// The addresses of the first subflow.
    pub server_address: SocketAddr,
    /// The client's token while it is an MPTCP socket.
    pub client_token: Option<u32>,
    /// The server's token while it is an MPTCP socket.
    pub server_token: Option<u32>,
    client: Option<Rc<TcpStream>>,
    server: Option<Rc<TcpStream>>,
    from_client: Progress,
    from_server: Progress,
    background: Option<JoinHandle<Deliveries>>,
}

/// A close did not go as it must.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// A socket operation failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The other side saw something else.
    #[error("{0}")]
    Unexpected(String),
}

impl LiveConnection {
    /// Takes over the two sockets.
    pub fn new(name: String, namespaces: (String, String), client: TcpStream, server: TcpStream) -> io::Result<Self> {
        Ok(Self {
            name,
            client_namespace: namespaces.0,
            server_namespace: namespaces.1,
            client_address: client.local_addr()?,
            server_address: client.peer_addr()?,
            client_token: None,
            server_token: None,
            client: Some(Rc::new(client)),
            server: Some(Rc::new(server)),
            from_client: Progress::default(),
            from_server: Progress::default(),
            background: None,
        })
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

    /// The side that is in this namespace.
    pub fn side_in(&self, namespace: &str) -> Option<Side> {
        if self.client_namespace == namespace {
            Some(Side::Client)
        } else if self.server_namespace == namespace {
            Some(Side::Server)
        } else {
            None
        }
    }

    /// The socket of a side while it is open.
    pub fn socket(&self, side: Side) -> Option<BorrowedFd<'_>> {
        self.stream(side).map(|stream| stream.as_fd())
    }

    /// Whether both sockets are still open.
    pub fn is_open(&self) -> bool {
        self.client.is_some() && self.server.is_some()
    }

    /// How far the bytes of this sender are.
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

    fn open_stream(&self, side: Side) -> io::Result<Rc<TcpStream>> {
        self.stream(side).cloned().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotConnected, format!("connection `{}` is closed on that side", self.name))
        })
    }

    /// Sends bytes both ways, or one way, and compares what arrives.
    pub async fn transfer(&self, plan: &TransferPlan) -> io::Result<Deliveries> {
        Ok(self.transfer_future(plan)?.await)
    }

    /// Sends a byte to the server, and then one back.
    pub async fn greet(&self) -> io::Result<(Delivery, Delivery)> {
        let (client, server) = (self.open_stream(Side::Client)?, self.open_stream(Side::Server)?);
        let there = Payload::of(&self.name, Side::Client);
        let there = transfer(&client, &server, there, 1, None, &self.from_client).await?;
        let back = Payload::of(&self.name, Side::Server);
        let back = transfer(&server, &client, back, 1, None, &self.from_server).await?;
        Ok((there, back))
    }

    /// Starts a transfer that goes on while further steps are taken. At most one at a time.
    pub fn start_transfer(&mut self, plan: &TransferPlan) -> io::Result<()> {
        if self.background.is_some() {
            return Err(io::Error::other("a transfer in the background is already running on it"));
        }
        self.background = Some(tokio::task::spawn_local(self.transfer_future(plan)?));
        Ok(())
    }

    /// Waits for the transfer in the background, if there is one.
    pub async fn finish_transfer(&mut self) -> Option<io::Result<Deliveries>> {
        let running = self.background.as_mut()?;
        let result = running.await;
        self.background = None;
        Some(result.map_err(io::Error::other))
    }

    fn transfer_future(&self, plan: &TransferPlan) -> io::Result<impl Future<Output = Deliveries> + 'static> {
        let (client, server) = (self.open_stream(Side::Client)?, self.open_stream(Side::Server)?);
        let (up, down) = (self.from_client.clone(), self.from_server.clone());
        up.begin();
        down.begin();
        let (upload, download) = (Payload::of(&self.name, Side::Client), Payload::of(&self.name, Side::Server));
        let (up_length, down_length, pace) = (plan.from_client, plan.from_server, plan.pace);
        Ok(async move {
            tokio::join!(
                async {
                    match up_length {
                        0 => None,
                        length => Some(transfer(&client, &server, upload, length, pace, &up).await),
                    }
                },
                async {
                    match down_length {
                        0 => None,
                        length => Some(transfer(&server, &client, download, length, pace, &down).await),
                    }
                }
            )
        })
    }

    /// Closes one side when everything is read; the other side when it has seen the end.
    pub async fn close_gracefully(&mut self, by: Side) -> Result<(), CloseError> {
        drop(self.take(by));
        let Some(other) = self.take(opposite(by)) else { return Ok(()) };
        let mut rest = [0; 64];
        loop {
            other.readable().await?;
            match other.try_read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    return Err(CloseError::Unexpected(format!("{count} bytes came that no transfer asked for")));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Closes one side while bytes of the other are unread there: the kernel answers with MP_FASTCLOSE
    /// (`__mptcp_close`, net/mptcp/protocol.c). The other side must see a reset.
    pub async fn close_abruptly(&mut self, by: Side) -> Result<(), CloseError> {
        let (Some(closing), Some(other)) = (self.take(by), self.take(opposite(by))) else {
            return Err(CloseError::Unexpected("the connection is already closed".to_owned()));
        };
        other.writable().await?;
        other.try_write(b"left unread")?;
        closing.readable().await?;
        if closing.peek(&mut [0; 1]).await? == 0 {
            return Err(CloseError::Unexpected("the stream ended before the close".to_owned()));
        }
        drop(closing);
        let mut rest = [0; 64];
        loop {
            other.readable().await?;
            match other.try_read(&mut rest) {
                Ok(0) => {
                    return Err(CloseError::Unexpected("the peer saw the end of the stream, not a reset".to_owned()));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Ends one direction; the other side sees the end of the stream, and both stay open.
    pub async fn half_close(&mut self, by: Side) -> Result<(), CloseError> {
        let (closing, other) = (self.open_stream(by)?, self.open_stream(opposite(by))?);
        shutdown(closing.as_raw_fd(), Shutdown::Write).map_err(io::Error::from)?;
        loop {
            other.readable().await?;
            match other.try_read(&mut [0; 1]) {
                Ok(0) => return Ok(()),
                Ok(_) => return Err(CloseError::Unexpected("bytes came that no transfer asked for".to_owned())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
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
            running.abort();
        }
    }
}

/// The other side.
fn opposite(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}
