//! What programs configure: it is looked at before the first program of a namespace starts, and after each step from then
//! on. What changes in between, nobody tells.

use std::collections::{BTreeMap, HashMap};
use std::io;

use super::executor::Executor;
use crate::mptcp::{Endpoint, EndpointFlags, Limits};
use crate::nanos;
use crate::recording::{Configured, Observation};
use crate::testbed::sysctl;

/// The sysctls on which the reference's rules depend.
const SYSCTLS: [&str; 6] = [
    "net.mptcp.path_manager",
    "net.mptcp.pm_type",
    "net.mptcp.add_addr_timeout",
    "net.mptcp.allow_join_initial_addr_port",
    "net.mptcp.checksum_enabled",
    "net.ipv4.tcp_rto_min_us",
];

/// How a namespace with programs was configured when it was looked at last.
#[derive(Debug, Clone)]
pub(super) struct Looked {
    at: u64,
    endpoints: Vec<Endpoint>,
    limits: Limits,
    sysctls: BTreeMap<String, String>,
}

/// The namespaces with programs.
pub(super) type LookedAt = HashMap<String, Looked>;

impl Executor<'_> {
    /// Looks at a namespace before its first program starts.
    pub(super) async fn look_before_programs(&mut self, namespace: &str) -> Result<(), String> {
        if !self.looked_at.contains_key(namespace) {
            let now = self.look_at(namespace).await?;
            self.looked_at.insert(namespace.to_owned(), now);
        }
        Ok(())
    }

    /// Records what is configured otherwise than at the last look.
    pub(super) async fn look_after_programs(&mut self) -> Result<(), String> {
        let namespaces: Vec<String> = self.looked_at.keys().cloned().collect();
        for namespace in namespaces {
            // First, so that what such a program did last is seen.
            let configuring = self.programs.configuring(&namespace);
            let now = self.look_at(&namespace).await?;
            let Some(before) = self.looked_at.insert(namespace.clone(), now.clone()) else { continue };
            let Looked { endpoints, limits, sysctls, .. } = now;
            let news = sysctls.into_iter().filter(|(name, value)| before.sysctls.get(name) != Some(value));
            let sysctls: BTreeMap<String, String> = news.collect();
            // Otherwise they are what steps made of them.
            let by_programs = configuring.is_some();
            let endpoints = Some(endpoints).filter(|endpoints| by_programs && *endpoints != before.endpoints);
            let limits = Some(limits).filter(|limits| by_programs && *limits != before.limits);
            let is_new = endpoints.is_some() || limits.is_some() || !sysctls.is_empty();
            if is_new || configuring == Some(false) {
                let may_change = configuring == Some(true);
                let (namespace, since) = (namespace.clone(), before.at);
                let configured = Configured { namespace, since, endpoints, limits, sysctls, may_change };
                self.recorder.note(Observation::Configured(Box::new(configured)));
            }
            self.ask_routes_again(&namespace)?;
        }
        Ok(())
    }

    async fn look_at(&self, namespace: &str) -> Result<Looked, String> {
        let at = nanos::now().saturating_sub(self.recorder.start());
        let pm = &self.node(namespace)?.pm;
        let mut endpoints = pm.dump_endpoints(None).await.map_err(|error| error.to_string())?;
        // Those the kernel makes up by itself.
        endpoints.retain(|endpoint| !endpoint.flags.contains(EndpointFlags::IMPLICIT));
        let limits = pm.get_limits().await.map_err(|error| error.to_string())?;
        let read = |name: &str| match sysctl::read(name) {
            Ok(value) => Ok(Some((name.to_owned(), value))),
            Err(sysctl::SysctlError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        };
        let sysctls = self.inside(namespace, || SYSCTLS.into_iter().map(read).collect::<Result<Vec<_>, _>>())??;
        Ok(Looked { at, endpoints, limits, sysctls: sysctls.into_iter().flatten().collect() })
    }
}
