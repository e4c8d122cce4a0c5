//! The end of a run: closed connections must be gone before the final state is taken.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::executor::Executor;
use crate::nanos;
use crate::recording::Observation;
use crate::text;

/// A path may be cut on purpose, and then its sockets stay: what doesn't move for so long has settled.
const STILL: Duration = Duration::from_millis(50);

/// The longest that settling may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// TCP states that are the end (`include/net/tcp_states.h`): TIME_WAIT, CLOSE, LISTEN.
const AT_REST: [u8; 3] = [6, 7, 10];

impl Executor<'_> {
    /// Waits until no connection that was closed has a TCP socket left, or nothing has been observed for a while.
    pub(super) async fn settle(&mut self) -> Result<(), String> {
        let begin = nanos::now();
        let most = DEADLINE.saturating_mul(self.timeout_scale);
        let deadline = Instant::now() + most;
        loop {
            self.observe_now();
            let looked = Instant::now();
            if self.paths.busy().is_none() && self.at_rest()?
                || self.quiet_for(begin) >= STILL.saturating_mul(self.timeout_scale)
            {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!(
                    "sockets or packets were still active {} after the last step",
                    text::duration(most)
                ));
            }
            // With many sockets a look takes its time: the observers get as much.
            let next = Duration::from_millis(1).max(looked.elapsed());
            let _ = timeout(next, self.recorder.changed()).await;
        }
    }

    /// No socket of a closed connection is left. Connections that are still open have no part in it.
    fn at_rest(&self) -> Result<bool, String> {
        let open: HashSet<u32> = self
            .connections
            .values()
            .filter(|connection| connection.is_open())
            .flat_map(|connection| [connection.client_token, connection.server_token])
            .flatten()
            .collect();
        for node in self.nodes.values() {
            let subflows = node.diag.subflows(None).map_err(|error| error.to_string())?;
            let moving = |subflow: &crate::mptcp::SubflowState| {
                !AT_REST.contains(&subflow.tcp_state) && !open.contains(&subflow.token_local)
            };
            if subflows.iter().any(moving) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How often each filter that is still installed has matched.
    pub(super) fn take_filter_hits(&mut self) -> Result<(), String> {
        let installed = std::mem::take(&mut self.filters);
        for (namespace, filter) in installed {
            let packets = self.filter_hits(&namespace, &filter)?;
            self.recorder.note(Observation::FilterHits { namespace, filter, packets });
        }
        Ok(())
    }
}
