//! Which routes are asked for: those that subflows from endpoints would take. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::mptcp::{Endpoint, EndpointFlags, canonical};
use crate::scenario::model::{Action, Operation};

use super::{Plan, Setup};

/// A source address (`None`: any), the device that the socket would be bound to, and a destination.
pub type RouteQuestion = (Option<IpAddr>, Option<String>, IpAddr);

/// Maximum number of questions for a namespace: a mesh of many endpoints has thousands of pairs.
const MOST: usize = 64;

/// The routes to ask for in each namespace: from each of its endpoints to each address of the others, and to each
/// announced one from wherever the kernel chooses.
pub(super) fn route_questions(plan: &Plan) -> BTreeMap<String, Vec<RouteQuestion>> {
    let (mut endpoints, mut addresses) = (Vec::new(), Vec::new());
    let setup = plan.setup.iter().filter_map(|setup| pick!(setup, Setup::Operation(operation) => operation));
    let steps = plan.steps.iter().filter_map(|step| pick!(&step.action, Action::Do(operation) => operation));
    for operation in setup.chain(steps) {
        if let Operation::AddEndpoint { namespace, endpoint } | Operation::Announce { namespace, endpoint, .. } =
            operation
        {
            endpoints.push((namespace.as_str(), endpoint));
        } else if let Operation::AddAddress { namespace, address, .. } = operation {
            addresses.push((namespace.as_str(), canonical(address.address)));
        }
    }
    let ends = plan.links().flat_map(|(_, ends)| ends);
    let of_ends = ends.flat_map(|end| end.addresses.iter().map(|own| (end.namespace.as_str(), canonical(own.address))));
    addresses.extend(of_ends);
    let mut questions: BTreeMap<String, Vec<RouteQuestion>> = BTreeMap::new();
    for observer in &plan.observers {
        let own = questions.entry(observer.namespace.clone()).or_default();
        for question in of(&observer.namespace, &endpoints, &addresses) {
            if own.len() < MOST && !own.contains(&question) {
                own.push(question);
            }
        }
    }
    questions.retain(|_, questions| !questions.is_empty());
    questions
}

fn of<'a>(
    namespace: &'a str,
    endpoints: &'a [(&str, &Endpoint)],
    addresses: &'a [(&str, IpAddr)],
) -> impl Iterator<Item = RouteQuestion> + 'a {
    let own = endpoints.iter().filter(move |(of, endpoint)| {
        *of == namespace
            && endpoint.flags.intersects(EndpointFlags::SUBFLOW | EndpointFlags::LAMINAR | EndpointFlags::FULLMESH)
    });
    let from_own = own.flat_map(move |(_, endpoint)| {
        let from = canonical(endpoint.address);
        let others = addresses.iter().filter(move |(of, to)| *of != namespace && to.is_ipv4() == from.is_ipv4());
        others.map(move |(_, to)| (Some(from), endpoint.dev.clone(), *to))
    });
    let announced = endpoints
        .iter()
        .filter(move |(of, endpoint)| *of != namespace && endpoint.flags.contains(EndpointFlags::SIGNAL));
    from_own.chain(announced.map(|(_, endpoint)| (None, None, canonical(endpoint.address))))
}
