//! Whether somebody on this machine listens to path-manager events: [`Listeners`].
//!
//! The kernel doesn't tell, but it acts on it: a userspace path manager's side echoes an ADD_ADDR if there is a listener,
//! wherever on the machine, and drops it otherwise (`mptcp_pm_add_addr_received`, net/mptcp/pm.c, and
//! `mptcp_userspace_pm_active`: `genl_has_listeners` looks at a table that all network namespaces share). So a connection in
//! a namespace of its own announces the same address again and again.

use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket};

use super::mptcp::{PATIENCE, connect, endpoint, path_manager};
use super::{SCRATCH, text};
use crate::mptcp::{Endpoint, EndpointFlags};
use crate::netlink::pm::PmClient;
use crate::observe::Counters;
use crate::observe::sockets::mptcp_info;
use crate::plan::Setup;
use crate::testbed::{Home, Node, Testbed, build};

/// How often it is looked. A listener that is there for less may not be seen.
const EACH: Duration = Duration::from_millis(2);

/// What is said of a listener.
const SOMEBODY: &str = "another process on this machine listens to path-manager events: `ip mptcp monitor`, mptcpd, \
                        or mptcplab in another container?";

/// A connection that is made to find out.
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

    /// Whether somebody listens, at a moment of this call.
    pub(super) async fn somebody(&mut self) -> Result<bool, String> {
        let begin = Instant::now();
        // It is refused while the one before is still to be sent: then that one tells.
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
            // Looked at often enough that the kernel could have done it: the time alone says nothing, if it stood still.
            if begin.elapsed() > PATIENCE && looks > 100 {
                text(first)?;
                return Err("an ADD_ADDR on lo was neither echoed nor dropped".to_owned());
            }
        }
    }
}

/// Whether somebody listens now.
pub(super) async fn no_event_listener(node: &Node) -> Result<(), String> {
    if Listeners::open(node)?.somebody().await? { Err(SOMEBODY.to_owned()) } else { Ok(()) }
}

/// Watches for listeners until it is over; says when there was one. `looked` is called when it has looked once. The calling
/// thread must be at home, in a tokio runtime.
///
/// # Errors
///
/// Somebody listened, or it can't be found out.
pub async fn watch_listeners(home: &Arc<Home>, looked: impl FnOnce(), over: &AtomicBool) -> Result<(), String> {
    let testbed: Testbed = text(build(home, &[Setup::Namespace { name: SCRATCH.to_owned() }], 0))?;
    let mut listeners = Listeners::open(text(testbed.node(SCRATCH))?)?;
    let begin = Instant::now();
    let mut looked = Some(looked);
    let (mut first, mut last) = (None, None);
    let mut ticks = tokio::time::interval(EACH);
    loop {
        ticks.tick().await;
        // Looked at once more after the end.
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
