//! Events, sockets and the userspace path manager, with connections inside one namespace.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use libtest_mimic::Completion;
use mptcplab::mptcp::{Endpoint, EndpointFlags, EventKind, PmEvent, SubflowFlags};
use mptcplab::netlink::diag::{DiagSocket, Listener};
use mptcplab::netlink::events::{EventSocket, Received};
use mptcplab::netlink::pm::{self, PmClient, PmMessage};
use netlink_sys::AsyncSocket as _;
use socket2::{Domain, Socket};

use super::world::{assert_one_of, assert_refused, client, devices, endpoint, mptcp_socket, refusal};

/// An event that is due comes at once; this only ends a test that fails.
const DEADLINE: Duration = Duration::from_secs(5);

/// Both ends of a connection, after a byte each way: both sides are fully established.
struct Connection {
    _listener: Socket,
    client: Socket,
    server: Socket,
    server_address: SocketAddr,
}

fn socket_address(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

fn listen(address: SocketAddr) -> Socket {
    let listener = mptcp_socket(Domain::for_address(address)).unwrap();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&address.into()).unwrap();
    listener.listen(16).unwrap();
    listener
}

fn connect() -> Connection {
    let listener = listen(([127, 0, 0, 1], 0).into());
    let server_address = socket_address(&listener);
    let mut client = mptcp_socket(Domain::IPV4).unwrap();
    client.connect(&server_address.into()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut byte = [0];
    client.write_all(b"?").unwrap();
    server.read_exact(&mut byte).unwrap();
    server.write_all(b"!").unwrap();
    client.read_exact(&mut byte).unwrap();
    Connection { _listener: listener, client, server, server_address }
}

fn event(received: Received) -> PmEvent {
    match received {
        Received::Event(event) => event,
        other => panic!("no event but {other:?}"),
    }
}

async fn next_event(events: &mut EventSocket) -> PmEvent {
    let reception = tokio::time::timeout(DEADLINE, events.next()).await.expect("no event in time").unwrap();
    event(reception.what)
}

async fn event_of_kind(events: &mut EventSocket, kind: EventKind, token: u32) -> PmEvent {
    loop {
        let event = next_event(events).await;
        if event.kind == kind && event.token == Some(token) {
            return event;
        }
    }
}

fn drained(events: &mut EventSocket) -> Vec<PmEvent> {
    events.drain().unwrap().into_iter().map(|reception| event(reception.what)).collect()
}

fn created(seen: &[PmEvent], server_side: bool) -> &PmEvent {
    seen.iter()
        .find(|event| event.kind == EventKind::Created && event.server_side == server_side)
        .unwrap_or_else(|| panic!("no CREATED with server side {server_side} in {seen:#?}"))
}

fn parts(address: SocketAddr) -> (Option<IpAddr>, Option<u16>) {
    (Some(address.ip()), Some(address.port()))
}

pub async fn an_unbound_socket_hears_nothing() -> Completion {
    let (connection, handle, _) = genetlink::new_connection().unwrap();
    tokio::spawn(connection);
    let family = handle.resolve_family::<PmMessage>().await.unwrap();
    let group = family.multicast_groups[pm::EVENT_GROUP];
    let mut unbound = netlink_sys::TokioSocket::new(netlink_sys::protocols::NETLINK_GENERIC).unwrap();
    unbound.socket_mut().add_membership(group).unwrap();
    let mut bound = EventSocket::open("here", devices()).unwrap();

    let _connection = connect();
    assert!(!drained(&mut bound).is_empty());
    let heard = unbound.socket_ref().recv_from(&mut Vec::with_capacity(4096), 0);
    assert_eq!(heard.map(drop).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    Completion::Completed
}

pub async fn events_tell_of_a_connection() -> Completion {
    let mut events = EventSocket::open("here", devices()).unwrap();
    assert_eq!(drained(&mut events), []);
    let connection = connect();
    let client_address = socket_address(&connection.client);
    let seen = drained(&mut events);
    assert!(seen.iter().all(|event| event.unknown.is_empty()), "{seen:#?}");
    // Listeners have events since Linux 6.2.
    let listener = seen.iter().find(|event| event.kind == EventKind::ListenerCreated);
    if let Some(listener) = listener {
        assert_eq!((listener.local, listener.local_port), parts(connection.server_address));
        assert_eq!((listener, listener.token), (&seen[0], None));
    }

    let (client, server) = (created(&seen, false), created(&seen, true));
    assert_eq!((client.local, client.local_port), parts(client_address));
    assert_eq!((client.remote, client.remote_port), parts(connection.server_address));
    assert_eq!((server.local, server.local_port), parts(connection.server_address));
    assert_eq!((server.remote, server.remote_port), parts(client_address));
    assert_eq!((client.local_id, client.remote_id, client.family), (Some(0), Some(0), Some(2)));
    assert_ne!(client.token, server.token, "each side has its own token");
    for side in [client, server] {
        let established = PmEvent { kind: EventKind::Established, ..side.clone() };
        assert!(seen.contains(&established), "{established:#?} in {seen:#?}");
    }

    let subflows = DiagSocket::open("here", devices()).unwrap().subflows(client.token).unwrap();
    let [subflow] = subflows.as_slice() else { panic!("{subflows:#?}") };
    assert_eq!((subflow.local, subflow.remote), (client_address, connection.server_address));
    assert_eq!((subflow.tcp_state, subflow.local_id, subflow.remote_id), (1, 0, 0));
    assert!(subflow.flags.contains(SubflowFlags::MCAP_LOC | SubflowFlags::FULLY_ESTABLISHED));

    drop(connection.client);
    event_of_kind(&mut events, EventKind::Closed, client.token.unwrap()).await;
    drop(connection.server);
    event_of_kind(&mut events, EventKind::Closed, server.token.unwrap()).await;
    Completion::Completed
}

pub async fn lost_events_are_reported() -> Completion {
    let mut events = EventSocket::open("here", devices()).unwrap();
    drop(listen(([127, 0, 0, 1], 0).into()));
    if drained(&mut events).is_empty() {
        return Completion::ignored_with("this kernel has no listener events to make so many of");
    }
    // Each event takes more than 512 bytes of the buffer; two for each listener.
    for _ in 0..events.buffer_size().unwrap() / 1024 {
        drop(listen(([127, 0, 0, 1], 0).into()));
    }
    let received = events.drain().unwrap();
    assert_eq!(received.iter().filter(|reception| reception.what == Received::Lost).count(), 1);
    // After that it goes on.
    let _listener = listen(([127, 0, 0, 1], 0).into());
    assert_eq!(next_event(&mut events).await.kind, EventKind::ListenerCreated);
    Completion::Completed
}

/// From now on, new sockets of this namespace are the userspace path manager's.
fn select_userspace() {
    std::fs::write("/proc/sys/net/mptcp/pm_type", "1").unwrap();
}

/// `GET_ADDR` minds the token, and `SUBFLOW_CREATE` flags and device. Linux 6.1 does neither.
async fn is_thorough(client: &PmClient, wrong_token: u32) -> bool {
    client.dump_endpoints(Some(wrong_token)).await.is_err()
}

/// A connection of the userspace path manager, and the tokens of client and server.
fn userspace_connection(events: &mut EventSocket) -> (Connection, u32, u32) {
    select_userspace();
    let connection = connect();
    let seen = drained(events);
    (connection, created(&seen, false).token.unwrap(), created(&seen, true).token.unwrap())
}

pub async fn the_userspace_path_manager_announces() -> Completion {
    let client = client();
    let mut events = EventSocket::open("here", devices()).unwrap();
    let (_connection, client_token, server_token) = userspace_connection(&mut events);

    let announced = Endpoint { id: Some(10), ..endpoint("127.0.0.3", EndpointFlags::SIGNAL) };
    client.announce(server_token, &announced).await.unwrap();
    let event = event_of_kind(&mut events, EventKind::Announced, client_token).await;
    assert_eq!((event.remote, event.remote_id), (Some(announced.address), Some(10)));
    if is_thorough(&client, 1).await {
        assert_eq!(client.get_endpoint(10, Some(server_token)).await.unwrap(), announced);
        assert_eq!(client.dump_endpoints(Some(server_token)).await.unwrap(), [announced]);
    }
    client.remove(server_token, 10).await.unwrap();
    let event = event_of_kind(&mut events, EventKind::Removed, client_token).await;
    assert_eq!(event.remote_id, Some(10));
    Completion::Completed
}

pub async fn the_userspace_path_manager_makes_subflows() -> Completion {
    let (client, diag) = (client(), DiagSocket::open("here", devices()).unwrap());
    let mut events = EventSocket::open("here", devices()).unwrap();
    let (connection, client_token, server_token) = userspace_connection(&mut events);
    let server = connection.server_address;

    let local = Endpoint { id: Some(5), dev: Some("lo".into()), ..endpoint("127.0.0.2", EndpointFlags::BACKUP) };
    client.create_subflow(client_token, &local, server).await.unwrap();
    let joined = event_of_kind(&mut events, EventKind::SubEstablished, server_token).await;
    assert_eq!((joined.remote, joined.remote_id), (Some(local.address), Some(5)));
    let subflows = diag.subflows(Some(client_token)).unwrap();
    let subflow = subflows.iter().find(|subflow| subflow.local_id == 5).expect("a subflow with id 5");
    assert_eq!((subflow.local.ip(), subflow.remote), (local.address, server));
    assert!(subflow.flags.contains(SubflowFlags::JOIN_LOC), "{:?}", subflow.flags);
    if is_thorough(&client, 1).await {
        assert_eq!((joined.backup, subflow.dev.as_deref()), (Some(1), Some("lo")));
        assert!(subflow.flags.contains(SubflowFlags::BKUP_LOC), "{:?}", subflow.flags);
    }
    assert_eq!((subflows.len(), diag.subflows(None).unwrap().len()), (2, 4), "one side, both sides");

    let no_backup = EndpointFlags::empty();
    client.set_subflow_flags(client_token, (local.address, 0).into(), server, no_backup).await.unwrap();
    assert_eq!(event_of_kind(&mut events, EventKind::SubPriority, server_token).await.backup, Some(0));
    client.destroy_subflow(client_token, subflow.local, subflow.remote).await.unwrap();
    event_of_kind(&mut events, EventKind::SubClosed, server_token).await;
    let (errno, _) = refusal(client.destroy_subflow(client_token, subflow.local, subflow.remote).await);
    assert_eq!(errno, "ESRCH");
    Completion::Completed
}

pub async fn the_userspace_path_manager_refuses() -> Completion {
    let mut events = EventSocket::open("here", devices()).unwrap();
    let _in_kernel = connect();
    let kernel_token = created(&drained(&mut events), false).token.unwrap();
    let (_connection, token, _) = userspace_connection(&mut events);
    let (client, wrong) = (client(), token ^ 1);

    let remote: SocketAddr = ([127, 0, 0, 1], 9).into();
    let signal = Endpoint { id: Some(1), ..endpoint("127.0.0.2", EndpointFlags::SIGNAL) };
    assert_refused(client.announce(wrong, &signal).await, "EINVAL: invalid token");
    assert_refused(client.remove(wrong, 1).await, "EINVAL: invalid token");
    let (errno, words) = refusal(client.announce(kernel_token, &signal).await);
    assert_eq!(errno, "EINVAL");
    assert!(words.ends_with("userspace PM not selected"), "{words}");
    let (errno, words) = refusal(client.announce(token, &Endpoint { id: None, ..signal.clone() }).await);
    assert_eq!(errno, "EINVAL");
    assert!(words.starts_with("invalid addr id"), "{words}");
    let (errno, words) = refusal(client.remove(token, 77).await);
    assert_eq!(errno, "EINVAL");
    assert!(words.starts_with("address with"), "{words}");
    // Linux 6.1 ignores the flags here, and the token there.
    assert_one_of(client.create_subflow(token, &signal, remote).await, &["EINVAL: invalid addr flags", "done"]);
    assert_one_of(client.dump_endpoints(Some(wrong)).await, &["EINVAL: invalid token", "done"]);
    Completion::Completed
}

pub async fn listeners_are_listed() -> Completion {
    let diag = DiagSocket::open("here", devices()).unwrap();
    drop(listen(([127, 0, 0, 1], 0).into()));
    assert_eq!(diag.listeners().unwrap(), [], "closed again");
    let (v4, v6) = (listen(([127, 0, 0, 1], 0).into()), listen("[::]:0".parse().unwrap()));
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = Endpoint { port: Some(10100), ..endpoint("127.0.0.1", EndpointFlags::SIGNAL) };
    client().add_endpoint(&port).await.unwrap();

    let mut listeners = diag.listeners().unwrap();
    let mut expected = [
        Listener { address: socket_address(&v4), mptcp: true },
        Listener { address: socket_address(&v6), mptcp: true },
        Listener { address: ([127, 0, 0, 1], 10100).into(), mptcp: true },
        Listener { address: plain.local_addr().unwrap(), mptcp: false },
    ];
    listeners.sort_by_key(|listener| listener.address);
    expected.sort_by_key(|listener| listener.address);
    assert_eq!(listeners, expected);
    assert_eq!(diag.subflows(None).unwrap(), [], "a listening socket is no subflow");
    Completion::Completed
}
