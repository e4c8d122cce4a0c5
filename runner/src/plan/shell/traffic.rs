//! What a person can do in place of the steps that open sockets, send bytes and wait.

use std::net::{IpAddr, SocketAddr};

use crate::scenario::model::{Action, Condition, ConnectPlan, ListenPlan, SocketProtocol};

use super::quote::quote;

/// Comments for a step that is no command.
pub(super) fn hints(action: &Action) -> Vec<String> {
    match action {
        Action::Listen(plan) => vec![listen(plan)],
        Action::Connect(plan) => {
            plan.implicit_listener.iter().map(listen).chain(std::iter::once(connect(plan))).collect()
        }
        Action::Wait { conditions, .. } => conditions.iter().filter_map(look).collect(),
        _ => Vec::new(),
    }
}

fn listen(plan: &ListenPlan) -> String {
    let socket = SocketAddr::new(plan.address, plan.port);
    let (namespace, program) = (quote(&plan.namespace), netcat(plan.protocol));
    format!("ip netns exec {namespace} {program} -l -k {} {} > /dev/null &", socket.ip(), socket.port())
}

fn connect(plan: &ConnectPlan) -> String {
    let source = plan.source.map(|source: IpAddr| format!(" -s {source}")).unwrap_or_default();
    let (namespace, program) = (quote(&plan.from), netcat(plan.protocol));
    format!("ip netns exec {namespace} {program}{source} {} {}", plan.address.ip().to_canonical(), plan.address.port())
}

fn netcat(protocol: SocketProtocol) -> &'static str {
    match protocol {
        SocketProtocol::Mptcp => "mptcpize run nc",
        SocketProtocol::Tcp => "nc",
    }
}

/// Where to look for what a wait waits for.
fn look(condition: &Condition) -> Option<String> {
    let in_namespace = |namespace: &str, command: &str| Some(format!("ip netns exec {} {command}", quote(namespace)));
    match condition {
        Condition::Event { namespace, .. } => in_namespace(namespace, "ip mptcp monitor"),
        Condition::Counter { namespace, name, .. } => in_namespace(namespace, &format!("nstat -asz {}", quote(name))),
        Condition::Endpoint { namespace, .. } => in_namespace(namespace, "ip mptcp endpoint show"),
        Condition::Wire { pattern, .. } => in_namespace(&pattern.sender, "tcpdump -i any -n tcp"),
        Condition::Subflows { .. } | Condition::Subflow { .. } => Some("ss -tinM in both namespaces".to_owned()),
        Condition::Transferred { .. } | Condition::Rule { .. } => None,
    }
}
