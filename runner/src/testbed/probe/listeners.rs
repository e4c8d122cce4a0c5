//! Whether a process on this machine listens to path-manager events: [`Listeners`].
//!
//! The kernel has no interface for this, but its behaviour depends on it: with a userspace path manager, it echoes an
//! ADD_ADDR if there is a listener anywhere on the machine, and drops it otherwise (`mptcp_pm_add_addr_received`,
//! net/mptcp/pm.c, and `mptcp_userspace_pm_active`: `genl_has_listeners` looks at a table that all network namespaces
//! share). So a connection in a separate namespace announces the same address again and again.

use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket};

use super::mptcp::{HANDSHAKE_TIMEOUT, connect, endpoint, path_manager};
use super::{SCRATCH, text};
use crate::mptcp::{Endpoint, EndpointFlags};
use crate::netlink::pm::PmClient;
use crate::observe::Counters;
use crate::observe::sockets::mptcp_info;
use crate::plan::Setup;
use crate::testbed::{BaseNamespace, Node, Testbed, build};

/// The interval between two looks. A listener that stays for less may be missed.
const EACH: Duration = Duration::from_millis(2);

/// The message about a listener.
const SOMEBODY: &str = "another process on this machine listens to path-manager events: `ip mptcp monitor`, mptcpd, \
                        or mptcplab in another container?";

/// A connection that detects listeners.
pub(super) struct Listeners {
    path_manager: PmClient,
    counters: Counters,
    announced: Endpoint,
    token: u32,
    dropped: u64,
    echoed: u64,
    /// The connection's sockets.
    _open: [Socket; 3],
}

impl Listeners {
    pub(super) fn open(node: &Node) -> Result<Self, String> {
        text(node.set_sysctl("net.mptcp.pm_type", "1"))?;
        let path_manager = path_manager(node)?;
        let counters = text(text(node.run(Counters::open))?)?;
        let open = connect(node, Domain::IPV6)?;
        let [_, _, server] = &open;
        let info = text(mptcp_info(server.as_fd()))?.ok_or("the connection on lo fell back to TCP")?;
        let announced = endpoint(Ipv4Addr::new(192, 0, 2, 1).into(), EndpointFlags::SIGNAL);
        Ok(Self { path_manager, counters, announced, token: info.token, dropped: 0, echoed: 0, _open: open })
    }

    /// Whether there is a listener at some moment during this call.
    pub(super) async fn somebody(&mut self) -> Result<bool, String> {
        let begin = Instant::now();
        // The kernel refuses it while the previous one is pending; then that one serves.
        let first = self.path_manager.announce(self.token, &self.announced).await;
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        let mut looks = 0;
        loop {
            ticks.tick().await;
            let values = text(self.counters.read())?;
            let value = |name| values.get(name).copied().unwrap_or(0);
            let (dropped, echoed) = (value("MPTcpExtAddAddrDrop"), value("MPTcpExtEchoAdd"));
            let (no, yes) = (dropped > self.dropped, echoed > self.echoed);
            (self.dropped, self.echoed) = (dropped, echoed);
            if no || yes {
                return Ok(yes);
            }
            looks += 1;
            // Also a minimum number of looks: the time alone says nothing if the machine stood still.
            if begin.elapsed() > HANDSHAKE_TIMEOUT && looks > 100 {
                text(first)?;
                return Err("an ADD_ADDR on lo was neither echoed nor dropped".to_owned());
            }
        }
    }
}

/// An error if there is a listener now.
pub(super) async fn no_event_listener(node: &Node) -> Result<(), String> {
    if Listeners::open(node)?.somebody().await? { Err(SOMEBODY.to_owned()) } else { Ok(()) }
}

/// Watches for listeners until `over` is set. Calls `looked` after the first look. The calling thread must be in the
/// base namespace, in a tokio runtime.
///
/// # Errors
///
/// There was a listener (the error says when), or it can't be found out.
pub async fn watch_listeners(
    base: &Arc<BaseNamespace>,
    looked: impl FnOnce(),
    over: &AtomicBool,
) -> Result<(), String> {
    let testbed: Testbed = text(build(base, &[Setup::Namespace { name: SCRATCH.to_owned(), programs: false }], 0))?;
    let mut listeners = Listeners::open(text(testbed.node(SCRATCH))?)?;
    let begin = Instant::now();
    let mut looked = Some(looked);
    let (mut first, mut last) = (None, None);
    let mut ticks = tokio::time::interval(EACH);
    loop {
        ticks.tick().await;
        // One last look after the end.
        let last_look = over.load(Ordering::Acquire);
        if listeners.somebody().await? {
            first.get_or_insert(begin.elapsed());
            last = Some(begin.elapsed());
        }
        if let Some(looked) = looked.take() {
            looked();
        }
        if last_look {
            break;
        }
    }
    match first.zip(last) {
        None => Ok(()),
        Some((first, last)) => {
            let (first, last) = (crate::text::measured(first), crate::text::measured(last));
            Err(format!("{SOMEBODY} (observed from {first} to {last} after the watch began)"))
        }
    }
}
