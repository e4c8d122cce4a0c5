//! A namespace with what was configured in it, and when. Main type: [`Host`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::mptcp::{Endpoint, EndpointFlags, Limits};
use crate::net::Configures;
use crate::recording::{Configured, Moment, Observation, Recording, RouteAnswer, Routed, StepOutcome};
use crate::scenario::model::{Action, Filter, FilterHook, FilterProtocol, Namespace, Operation, Scenario};
use crate::wire::Segment;

use super::configuration::Endpoints;
use super::{EndpointPeriod, LimitsPeriod, Span};

/// A namespace with what was configured in it, and when.
pub(in crate::reference) struct Host<'a> {
    /// The namespace as the scenario declares it.
    pub(in crate::reference) namespace: &'a Namespace,
    endpoints: Endpoints,
    limits: Vec<LimitsPeriod>,
    sysctls: Vec<(Span, &'a str, &'a str)>,
    /// All operations that were done in it, in their order.
    pub(in crate::reference) operations: Vec<(Span, &'a Operation)>,
    filters: Vec<(Span, Option<Span>, &'a Filter)>,
    /// The kernel's answers by which routes it would send, each time that it was asked.
    routes: Vec<(u64, &'a [RouteAnswer])>,
    /// Programs that could configure something.
    programs: Vec<Configurer<'a>>,
}

/// A program that could configure something, whatever it was.
#[derive(Debug, Clone, Copy)]
pub(in crate::reference) struct Configurer<'a> {
    /// Its name.
    pub(in crate::reference) program: &'a str,
    /// What it could configure.
    pub(in crate::reference) what: Configures,
    /// From when on.
    pub(in crate::reference) from: u64,
    /// Until when; what it left behind is known then. `u64::MAX`: until the end.
    pub(in crate::reference) until: u64,
}

/// Each namespace.
pub(super) fn all<'a>(scenario: &'a Scenario, recording: &'a Recording) -> BTreeMap<&'a str, Host<'a>> {
    let namespaces = scenario.world.namespaces.iter();
    let mut hosts: BTreeMap<&str, Host<'a>> =
        namespaces.map(|namespace| (namespace.name.as_str(), Host::new(namespace))).collect();
    let dumps: Vec<(u64, &str, &[Endpoint])> = super::dumps(recording);
    let mut started = 0;
    let mut running = None;
    for entry in &recording.entries {
        if let Observation::StepStarted { step, .. } = entry.what {
            (started, running) = (entry.at, Some(step));
        } else if let Observation::StepFinished { step, outcome } = &entry.what
            && running.take().is_some()
            && let Some(Action::Do(operation)) = scenario.steps.get(*step).map(|step| &step.action)
            && let Some(host) = hosts.get_mut(operation_namespace(operation))
        {
            // An operation that timed out in the middle may have been done.
            let finished = if *outcome == StepOutcome::Done { entry.at } else { u64::MAX };
            host.take(operation, Span { started, finished });
            let mut later =
                dumps.iter().filter(|(at, namespace, _)| *at >= entry.at && *namespace == host.namespace.name);
            if matches!(operation, Operation::AddEndpoint { .. })
                && let Some((at, _, dump)) = later.next()
            {
                host.endpoints.learn(dump, *at);
            }
        } else if let Observation::ProgramConfigures { program, namespace, what, .. } = &entry.what
            && let Some(host) = hosts.get_mut(namespace.as_str())
        {
            host.programs.push(Configurer { program, what: *what, from: entry.at, until: u64::MAX });
        } else if let Observation::Configured(configured) = &entry.what
            && let Some(host) = hosts.get_mut(configured.namespace.as_str())
        {
            host.take_configured(configured, entry.at);
        } else if let Observation::Routes { namespace, routes } = &entry.what
            && let Some(host) = hosts.get_mut(namespace.as_str())
        {
            host.routes.push((entry.at, routes));
        } else if let Observation::Endpoints { namespace, moment, endpoints } = &entry.what
            && let Some(host) = hosts.get_mut(namespace.as_str())
        {
            let own = endpoints.iter().filter(|endpoint| !endpoint.flags.contains(EndpointFlags::IMPLICIT));
            let own: Vec<Endpoint> = own.cloned().collect();
            if *moment == Moment::Start {
                host.endpoints = Endpoints::default();
                for endpoint in own {
                    host.endpoints.add(endpoint, Span::SETUP);
                }
            } else {
                host.endpoints.learn(&own, entry.at);
            }
        }
    }
    // A recording may end in the middle of a step.
    if let Some(Action::Do(operation)) = running.and_then(|step| scenario.steps.get(step)).map(|step| &step.action)
        && let Some(host) = hosts.get_mut(operation_namespace(operation))
    {
        host.take(operation, Span { started, finished: u64::MAX });
    }
    hosts
}

fn operation_namespace(operation: &Operation) -> &str {
    match operation {
        Operation::AddEndpoint { namespace, .. }
        | Operation::DeleteEndpoint { namespace, .. }
        | Operation::ChangeEndpoint { namespace, .. }
        | Operation::FlushEndpoints { namespace }
        | Operation::SetLimits { namespace, .. }
        | Operation::SetSysctl { namespace, .. }
        | Operation::SetLink { namespace, .. }
        | Operation::DeleteDevice { namespace, .. }
        | Operation::AddAddress { namespace, .. }
        | Operation::DeleteAddress { namespace, .. }
        | Operation::AddRoute { namespace, .. }
        | Operation::DeleteRoute { namespace, .. }
        | Operation::AddRoutingRule { namespace, .. }
        | Operation::DeleteRoutingRule { namespace, .. }
        | Operation::Announce { namespace, .. }
        | Operation::RemoveAddress { namespace, .. }
        | Operation::CreateSubflow { namespace, .. }
        | Operation::DestroySubflow { namespace, .. }
        | Operation::SetSubflowBackup { namespace, .. }
        | Operation::GetEndpoint { namespace, .. }
        | Operation::RemoveFilter { namespace, .. } => namespace,
        Operation::AddFilter(filter) => &filter.namespace,
    }
}

impl<'a> Host<'a> {
    fn new(namespace: &'a Namespace) -> Self {
        let mut endpoints = Endpoints::default();
        // The kernel gives the next free ID from the highest one on (`mptcp_pm_nl_append_new_local_addr`,
        // net/mptcp/pm_kernel.c). Implicit endpoints take IDs too, but not before there is a connection.
        let (mut next, mut taken) = (1, Vec::new());
        for (endpoint, _) in &namespace.endpoints {
            let id = endpoint.id.or_else(|| (next..=u8::MAX).find(|id| !taken.contains(id)));
            next = next.max(id.unwrap_or(1));
            taken.extend(id);
            endpoints.add(Endpoint { id, ..endpoint.clone() }, Span::SETUP);
        }
        let limits = LimitsPeriod { limits: namespace.limits.unwrap_or_default(), from: Span::SETUP, until: None };
        let sysctls = namespace.sysctls.iter().map(|(name, value)| (Span::SETUP, name.as_str(), value.as_str()));
        Self {
            namespace,
            endpoints,
            limits: vec![limits],
            sysctls: sysctls.collect(),
            operations: Vec::new(),
            filters: Vec::new(),
            routes: Vec::new(),
            programs: Vec::new(),
        }
    }

    /// What was configured since the last look, by a program or by a step.
    fn take_configured(&mut self, configured: &'a Configured, at: u64) {
        let span = Span { started: configured.since, finished: at };
        if let Some(endpoints) = &configured.endpoints {
            self.endpoints.become_like(endpoints, span);
        }
        if let Some(limits) = configured.limits
            && self.limits.last().is_some_and(|last| last.limits != limits)
        {
            self.set_limits(Some(limits.subflows), Some(limits.add_addr_accepted), span);
        }
        for (name, value) in &configured.sysctls {
            if self.sysctl(name).last().is_none_or(|(_, last)| last != value) {
                self.sysctls.push((span, name, value));
            }
        }
        for program in self.programs.iter_mut().filter(|program| !configured.may_change && program.until == u64::MAX) {
            program.until = at;
        }
    }

    /// The endpoints that no step has deleted, and that are there no more, nor with other flags.
    pub(in crate::reference) fn deleted_by_programs(&self) -> impl Iterator<Item = (Span, &EndpointPeriod)> {
        let gone = self.endpoints().iter().filter_map(|period| Some((period.until?, period)));
        gone.filter(move |(span, period)| {
            let is_changed = |next: &EndpointPeriod| {
                next.changed && next.from == *span && next.endpoint.address == period.endpoint.address
            };
            !self.programs.is_empty()
                && self.operations.iter().all(|(by, _)| by != span)
                && !self.endpoints().iter().any(is_changed)
        })
    }

    /// The programs that could configure something.
    pub(in crate::reference) fn programs(&self) -> &[Configurer<'a>] {
        &self.programs
    }

    fn take(&mut self, operation: &'a Operation, at: Span) {
        self.operations.push((at, operation));
        match operation {
            Operation::AddEndpoint { endpoint, .. } => self.endpoints.add(endpoint.clone(), at),
            Operation::DeleteEndpoint { which, .. } => self.endpoints.delete(which, at),
            Operation::ChangeEndpoint { which, change, .. } => self.endpoints.change(which, *change, at),
            Operation::FlushEndpoints { .. } => {
                self.endpoints.delete(&crate::scenario::model::WhichEndpoints::All, at);
            }
            Operation::SetLimits { subflows, add_addr_accepted, .. } => {
                self.set_limits(*subflows, *add_addr_accepted, at);
            }
            Operation::SetSysctl { name, value, .. } => self.sysctls.push((at, name, value)),
            Operation::AddFilter(filter) => self.filters.push((at, None, filter)),
            Operation::RemoveFilter { name, .. } => {
                let live = self.filters.iter_mut().filter(|(_, until, filter)| until.is_none() && filter.name == *name);
                live.for_each(|(_, until, _)| *until = Some(at));
            }
            Operation::SetLink { .. }
            | Operation::DeleteDevice { .. }
            | Operation::AddAddress { .. }
            | Operation::DeleteAddress { .. }
            | Operation::AddRoute { .. }
            | Operation::DeleteRoute { .. }
            | Operation::AddRoutingRule { .. }
            | Operation::DeleteRoutingRule { .. }
            | Operation::Announce { .. }
            | Operation::RemoveAddress { .. }
            | Operation::CreateSubflow { .. }
            | Operation::DestroySubflow { .. }
            | Operation::SetSubflowBackup { .. }
            | Operation::GetEndpoint { .. } => {}
        }
    }

    fn set_limits(&mut self, subflows: Option<u32>, add_addr_accepted: Option<u32>, at: Span) {
        let Some(last) = self.limits.last_mut() else { return };
        last.until = Some(at);
        let limits = Limits {
            subflows: subflows.unwrap_or(last.limits.subflows),
            add_addr_accepted: add_addr_accepted.unwrap_or(last.limits.add_addr_accepted),
        };
        self.limits.push(LimitsPeriod { limits, from: at, until: None });
    }

    /// By which route it would send at this time, if the kernel was asked that: from this address (`None`: any), by a
    /// socket bound to this device.
    pub(in crate::reference) fn route(
        &self,
        at: u64,
        from: Option<IpAddr>,
        bound_to: Option<&str>,
        to: IpAddr,
    ) -> Option<&'a Routed> {
        let (_, answers) = self.routes.iter().rfind(|(asked, _)| *asked <= at)?;
        let is_asked =
            |answer: &&RouteAnswer| answer.from == from && answer.bound_to.as_deref() == bound_to && answer.to == to;
        answers.iter().find(is_asked).map(|answer| &answer.answer)
    }

    /// The endpoints over time, without implicit ones, in the order in which they were added.
    pub(in crate::reference) fn endpoints(&self) -> &[EndpointPeriod] {
        &self.endpoints.0
    }

    /// The limits over time.
    pub(in crate::reference) fn limits(&self) -> &[LimitsPeriod] {
        &self.limits
    }

    /// The values that a sysctl was set to, with the times; empty: the kernel's default.
    pub(in crate::reference) fn sysctl(&self, wanted: &str) -> impl Iterator<Item = (Span, &'a str)> {
        self.sysctls.iter().filter(move |(_, name, _)| *name == wanted).map(|(at, _, value)| (*at, *value))
    }

    /// Whether a connection that is created at this time has a userspace path manager (`mptcp_pm_data_reset`,
    /// net/mptcp/pm.c, samples it); `None` if it is being changed at that moment.
    pub(in crate::reference) fn has_userspace_path_manager(&self, at: u64) -> Option<bool> {
        let mut userspace = self.namespace.userspace_path_manager;
        for (span, name, value) in &self.sysctls {
            if !matches!(*name, "net.mptcp.path_manager" | "net.mptcp.pm_type") || span.started > at {
                continue;
            }
            if span.finished > at {
                return None;
            }
            userspace = matches!(*value, "userspace" | "1");
        }
        Some(userspace)
    }

    /// Whether a filter may have kept a segment that was captured from reaching TCP as it is: netfilter comes after the
    /// capture on the way in.
    pub(in crate::reference) fn may_not_reach_tcp(&self, segment: &Segment, at: u64) -> bool {
        self.filter_before_tcp(segment, at).is_some()
    }

    /// That filter.
    pub(in crate::reference) fn filter_before_tcp(&self, segment: &Segment, at: u64) -> Option<&'a Filter> {
        let is = |wanted: Option<IpAddr>, shown: SocketAddr| {
            wanted.is_none_or(|wanted| wanted.to_canonical() == shown.ip().to_canonical())
        };
        self.filters(FilterHook::Input, at, at).find(|filter| {
            matches!(filter.protocol, FilterProtocol::Tcp | FilterProtocol::Any)
                && is(filter.from, segment.source)
                && is(filter.to, segment.destination)
                && filter.from_port.is_none_or(|port| port == segment.source.port())
                && filter.to_port.is_none_or(|port| port == segment.destination.port())
        })
    }

    /// Whether TCP may have sent something in this period that no capture saw, or that it saw changed: netfilter comes
    /// before the capture on the way out.
    pub(in crate::reference) fn may_send_unseen(&self, from: u64, to: u64) -> bool {
        self.filters(FilterHook::Output, from, to).next().is_some()
    }

    /// The filters of a hook that may have been installed at some time in this period.
    pub(in crate::reference) fn filters(
        &self,
        hook: FilterHook,
        from: u64,
        to: u64,
    ) -> impl Iterator<Item = &'a Filter> {
        let all = self.filters.iter().filter(move |(since, until, filter)| {
            filter.hook == hook && since.started <= to && until.is_none_or(|until| until.finished >= from)
        });
        all.map(|(_, _, filter)| *filter)
    }
}
