//! Asking the kernel by which routes subflows would leave: after the set-up, and after each step that may change it.

use super::executor::Executor;
use crate::netlink::route::RouteClient;
use crate::netlink::{DeviceNames, Refusal};
use crate::plan::RouteQuestion;
use crate::recording::{Observation, RouteAnswer, Routed};
use crate::scenario::model::Operation;

impl Executor<'_> {
    /// Asks for all routes, and records the answers.
    pub(super) fn ask_routes(&self) -> Result<(), String> {
        for (namespace, questions) in &self.plan.route_questions {
            self.ask_routes_of(namespace, questions)?;
        }
        Ok(())
    }

    /// Asks for the routes of a namespace in which an operation may have changed them.
    pub(super) fn ask_changed_routes(&self, operation: &Operation) -> Result<(), String> {
        let Some(changed) = rerouted(operation) else { return Ok(()) };
        match self.plan.route_questions.get(changed) {
            Some(questions) => self.ask_routes_of(changed, questions),
            None => Ok(()),
        }
    }

    /// Asks for the routes of a namespace in which programs may have changed them, and records them if they did.
    pub(super) fn ask_routes_again(&self, namespace: &str) -> Result<(), String> {
        let Some(questions) = self.plan.route_questions.get(namespace) else { return Ok(()) };
        let routes = self.answers(namespace, questions)?;
        let is_known = self.recorder.with_entries(|entries| {
            let last = entries.iter().rev().find_map(
                |entry| pick!(&entry.what, Observation::Routes { namespace: of, routes } if of == namespace => routes),
            );
            last == Some(&routes)
        });
        if !is_known {
            self.recorder.note(Observation::Routes { namespace: namespace.to_owned(), routes });
        }
        Ok(())
    }

    fn ask_routes_of(&self, namespace: &str, questions: &[RouteQuestion]) -> Result<(), String> {
        let routes = self.answers(namespace, questions)?;
        self.recorder.note(Observation::Routes { namespace: namespace.to_owned(), routes });
        Ok(())
    }

    fn answers(&self, namespace: &str, questions: &[RouteQuestion]) -> Result<Vec<RouteAnswer>, String> {
        let node = self.testbed.node(namespace).map_err(|error| error.to_string())?;
        let devices = node.devices();
        Ok(questions.iter().map(|question| ask(&devices, node.route(), question)).collect())
    }
}

fn ask(devices: &DeviceNames, route: &RouteClient, (from, bound_to, to): &RouteQuestion) -> RouteAnswer {
    let index = bound_to.as_ref().and_then(|device| devices.index(device));
    let answer = match route.route_to(*to, *from, index, false) {
        Ok(found) => Routed::By {
            device: found.device.map_or_else(|| "no device".to_owned(), |index| devices.name(index)),
            source: found.source,
        },
        Err(error) => Routed::Refused(error.refusal().map_or_else(|| error.to_string(), Refusal::symbol)),
    };
    RouteAnswer { from: *from, bound_to: bound_to.clone(), to: *to, answer }
}

/// The namespace whose routes an operation may change.
fn rerouted(operation: &Operation) -> Option<&str> {
    match operation {
        Operation::SetLink { namespace, .. }
        | Operation::DeleteDevice { namespace, .. }
        | Operation::AddAddress { namespace, .. }
        | Operation::DeleteAddress { namespace, .. }
        | Operation::AddRoute { namespace, .. }
        | Operation::DeleteRoute { namespace, .. }
        | Operation::AddRoutingRule { namespace, .. }
        | Operation::DeleteRoutingRule { namespace, .. } => Some(namespace),
        Operation::AddEndpoint { .. }
        | Operation::DeleteEndpoint { .. }
        | Operation::ChangeEndpoint { .. }
        | Operation::FlushEndpoints { .. }
        | Operation::SetLimits { .. }
        | Operation::SetSysctl { .. }
        | Operation::Announce { .. }
        | Operation::RemoveAddress { .. }
        | Operation::CreateSubflow { .. }
        | Operation::DestroySubflow { .. }
        | Operation::SetSubflowBackup { .. }
        | Operation::GetEndpoint { .. }
        | Operation::AddFilter(_)
        | Operation::RemoveFilter { .. } => None,
    }
}
