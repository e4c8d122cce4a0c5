//! What a person can do in place of the steps that open sockets, send bytes and wait.

use std::net::IpAddr;

use crate::scenario::model::{
    Action, Condition, ConnectPlan, ListenPlan, Program, RunPlan, SocketProtocol, Sockets, StartPlan, Step,
};

use super::quote::quote;

/// Comments for a step that is no command. All steps are given, to find connections by name.
pub(super) fn hints(action: &Action, steps: &[Step]) -> Vec<String> {
    match action {
        Action::Listen(plan) => vec![listen(plan)],
        Action::Connect(plan) => {
            plan.implicit_listener.iter().map(listen).chain(std::iter::once(connect(plan))).collect()
        }
        Action::Wait { conditions, .. } => {
            let mut hints: Vec<String> = conditions.iter().flat_map(|condition| look(condition, steps)).collect();
            hints.sort();
            hints.dedup();
            hints
        }
        Action::Start(StartPlan { program, .. }) => vec![format!("{} &", run(program))],
        Action::Run(RunPlan { program, .. }) => vec![run(program)],
        Action::Signal { signal, .. } => vec![format!("kill -{} PID", signal.trim_start_matches("SIG"))],
        Action::Stop { .. } => vec!["kill PID".to_owned()],
        Action::FinishProgram { .. } => vec!["wait PID".to_owned()],
        Action::StopListening { .. }
        | Action::Transfer(_)
        | Action::FinishTransfer { .. }
        | Action::Quiet { .. }
        | Action::Close { .. }
        | Action::SetOptions { .. }
        | Action::GetOption(_)
        | Action::Accept { .. }
        | Action::Shutdown { .. }
        | Action::Write { .. }
        | Action::Read { .. }
        | Action::Check(_)
        | Action::SetPath(_)
        | Action::AddRule { .. }
        | Action::RemoveRule { .. }
        | Action::Release { .. }
        | Action::Do(_)
        | Action::ExpectError { .. } => Vec::new(),
    }
}

fn run(program: &Program) -> String {
    let forced = if program.sockets == Sockets::Forced { "mptcpize run " } else { "" };
    let environment = program.environment.iter().map(|(name, value)| format!("{} ", quote(&format!("{name}={value}"))));
    let environment: String = environment.collect();
    let environment = if environment.is_empty() { environment } else { format!("env {environment}") };
    let words: Vec<String> =
        std::iter::once(&program.command).chain(&program.arguments).map(|word| quote(word)).collect();
    format!("ip netns exec {} {environment}{forced}{}", quote(&program.namespace), words.join(" "))
}

fn listen(plan: &ListenPlan) -> String {
    let address = scoped(plan.address, plan.scope.as_deref());
    let (namespace, program) = (quote(&plan.namespace), netcat(plan.protocol));
    format!("ip netns exec {namespace} {program} -l -k {address} {} > /dev/null &", plan.port)
}

fn connect(plan: &ConnectPlan) -> String {
    let source = plan.source.map(|source: IpAddr| format!(" -s {source}")).unwrap_or_default();
    let port = plan.source_port.map(|port| format!(" -p {port}")).unwrap_or_default();
    let (namespace, program) = (quote(&plan.from), netcat(plan.protocol));
    format!(
        "ip netns exec {namespace} {program}{source}{port} {} {}",
        scoped(plan.address.ip().to_canonical(), plan.scope.as_deref()),
        plan.address.port()
    )
}

/// An address with its interface.
fn scoped(address: IpAddr, interface: Option<&str>) -> String {
    interface.map_or_else(|| address.to_string(), |interface| quote(&format!("{address}%{interface}")))
}

fn netcat(protocol: SocketProtocol) -> &'static str {
    match protocol {
        SocketProtocol::Mptcp => "mptcpize run nc",
        SocketProtocol::Tcp => "nc",
    }
}

/// Where to look for what a wait waits for.
fn look(condition: &Condition, steps: &[Step]) -> Vec<String> {
    let within = |namespace: &str, command: &str| vec![format!("ip netns exec {} {command}", quote(namespace))];
    match condition {
        Condition::Event { namespace, .. } => within(namespace, "ip mptcp monitor"),
        Condition::Counter { namespace, name, .. } => within(namespace, &format!("nstat -asz {}", quote(name))),
        Condition::Endpoint { namespace, .. } => within(namespace, "ip mptcp endpoint show"),
        Condition::Wire { pattern, .. } => within(&pattern.sender, "tcpdump -i any -n tcp"),
        Condition::Subflows { connection, .. } | Condition::Subflow { connection, .. } => {
            let named = steps.iter().find_map(
                |step| pick!(&step.action, Action::Connect(connect) if connect.name == *connection => connect),
            );
            let sides = named.into_iter().flat_map(|connect| [&connect.from, &connect.to]);
            sides.flat_map(|namespace| within(namespace, "ss -tinM")).collect()
        }
        Condition::Sockets { namespace, .. } => within(namespace, "ss -aniM"),
        Condition::Transferred { .. } | Condition::Rule { .. } | Condition::Queue { .. } | Condition::Output { .. } => {
            Vec::new()
        }
    }
}
