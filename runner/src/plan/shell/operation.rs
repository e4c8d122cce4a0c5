//! Operations as commands.

use crate::mptcp::Endpoint;
use crate::scenario::model::{Operation, Route, RoutingRule, TokenChoice, WhichEndpoints};

use super::super::words::{change_words, endpoint_arguments};
use super::quote::quote;
use super::{Script, filter, sysctl};

impl Script {
    pub(super) fn operation(&mut self, operation: &Operation) {
        match operation {
            Operation::AddEndpoint { namespace, endpoint } => self.add_endpoint(namespace, endpoint),
            Operation::DeleteEndpoint { namespace, which } => {
                self.run(&for_endpoints(namespace, which, |id| format!("delete {id}")));
            }
            Operation::ChangeEndpoint { namespace, which, change } => {
                let (backup, fullmesh) = change_words(change.backup, change.fullmesh);
                self.run(&for_endpoints(namespace, which, |id| format!("change {id} {backup} {fullmesh}")));
            }
            Operation::FlushEndpoints { namespace } => self.run(&mptcp(namespace, "endpoint flush")),
            Operation::SetLimits { namespace, subflows, add_addr_accepted } => {
                let value =
                    |name, value: Option<u32>| value.map(|value| format!(" {name} {value}")).unwrap_or_default();
                let limits = value("subflows", *subflows) + &value("add_addr_accepted", *add_addr_accepted);
                self.run(&mptcp(namespace, &format!("limits set{limits}")));
            }
            Operation::GetEndpoint { namespace, token: None, id } => {
                self.run(&mptcp(namespace, &format!("endpoint show id {id}")));
            }
            Operation::SetSysctl { namespace, name, value } => self.run(&sysctl(namespace, name, value)),
            Operation::DeleteDevice { namespace, device } => {
                self.run(&format!("ip -n {} link delete {}", quote(namespace), quote(device)));
            }
            Operation::SetLink { namespace, device, up } => {
                let state = if *up { "up" } else { "down" };
                self.run(&format!("ip -n {} link set dev {} {state}", quote(namespace), quote(device)));
            }
            Operation::AddAddress { namespace, device, address } => {
                let nodad = if address.address.is_ipv6() { " nodad" } else { "" };
                let (namespace, device) = (quote(namespace), quote(device));
                self.run(&format!("ip -n {namespace} address add {address} dev {device}{nodad}"));
            }
            Operation::DeleteAddress { namespace, device, address } => {
                let (namespace, device) = (quote(namespace), quote(device));
                self.run(&format!("ip -n {namespace} address delete {address} dev {device}"));
            }
            Operation::AddRoute { namespace, route: of } => self.run(&route(namespace, "add", of)),
            Operation::DeleteRoute { namespace, route: of } => self.run(&route(namespace, "delete", of)),
            Operation::AddRoutingRule { namespace, rule: of } => self.run(&rule(namespace, "add", of)),
            Operation::DeleteRoutingRule { namespace, rule: of } => self.run(&rule(namespace, "delete", of)),
            Operation::AddFilter(filter) => filter::add(filter).iter().for_each(|command| self.run(command)),
            Operation::RemoveFilter { namespace, name } => self.run(&filter::remove(namespace, name)),
            Operation::Announce { namespace, token, endpoint } => {
                let options = endpoint_options("id", endpoint);
                self.pm_nl_ctl(namespace, &format!("ann {} {}{options}", endpoint.address, of(token)));
            }
            Operation::RemoveAddress { namespace, token, id } => {
                self.pm_nl_ctl(namespace, &format!("rem {} id {id}", of(token)));
            }
            Operation::CreateSubflow { namespace, token, endpoint, remote, remote_port } => {
                let port = port("rport", *remote_port);
                let local = format!("lip {}{}", endpoint.address, endpoint_options("lid", endpoint));
                self.pm_nl_ctl(namespace, &format!("csf {local} rip {remote}{port} {}", of(token)));
            }
            Operation::DestroySubflow { namespace, token, local, local_port, remote, remote_port } => {
                let (local_port, remote_port) = (port("lport", *local_port), port("rport", *remote_port));
                let (local, remote) = (format!("lip {local}{local_port}"), format!("rip {remote}{remote_port}"));
                self.pm_nl_ctl(namespace, &format!("dsf {local} {remote} {}", of(token)));
            }
            Operation::SetSubflowBackup { namespace, token, local, remote, backup } => {
                let (flags, _) = change_words(*backup, false);
                self.pm_nl_ctl(namespace, &format!("set {local} flags {flags} {} rip {remote}", of(token)));
            }
            Operation::GetEndpoint { namespace, token: Some(token), id } => {
                self.pm_nl_ctl(namespace, &format!("get {id} {}", of(token)));
            }
        }
    }

    /// A call of the tool in tools/testing/selftests/net/mptcp of the kernel's source. The commands of a userspace path
    /// manager need it or a daemon, and the token of a running connection: they are only shown.
    fn pm_nl_ctl(&mut self, namespace: &str, arguments: &str) {
        self.command_comment(&format!("  ip netns exec {} ./pm_nl_ctl {arguments}", quote(namespace)));
    }

    fn add_endpoint(&mut self, namespace: &str, endpoint: &Endpoint) {
        let arguments: Vec<String> = endpoint_arguments(endpoint).iter().map(|word| quote(word)).collect();
        let command = mptcp(namespace, &format!("endpoint add {}", arguments.join(" ")));
        match endpoint.flags.words().iter().find(|word| word.starts_with("raw ")) {
            None => self.run(&command),
            // Without the flag it would be another endpoint.
            Some(raw) => {
                self.comment(&format!("  with the flags {raw}, for which ip has no word:"));
                self.command_comment(&format!("  {command}"));
            }
        }
    }
}

fn mptcp(namespace: &str, arguments: &str) -> String {
    format!("ip -n {} mptcp {arguments}", quote(namespace))
}

/// `ip route add` or `delete`.
pub(super) fn route(namespace: &str, verb: &str, route: &Route) -> String {
    routing(namespace, route.to.address.is_ipv4(), &format!("route {verb}"), &route.words())
}

/// `ip rule add` or `delete`.
pub(super) fn rule(namespace: &str, verb: &str, rule: &RoutingRule) -> String {
    routing(namespace, rule.is_ipv4().unwrap_or(true), &format!("rule {verb}"), &rule.words())
}

/// The family is said, since `default` has none of its own.
fn routing(namespace: &str, is_ipv4: bool, command: &str, words: &[(&str, String)]) -> String {
    let family = if is_ipv4 { "" } else { " -6" };
    let mut command = format!("ip -n {}{family} {command}", quote(namespace));
    for (name, value) in words {
        let space = if name.is_empty() { "" } else { " " };
        command.extend([space, name, " ", &quote(value)]);
    }
    command
}

/// A command for one endpoint, or for each of them: a loop would be written differently in fish. ip-mptcp(8) deletes by
/// id only, so an address is looked up first: `ip mptcp endpoint show` prints `ADDRESS [port PORT ]id ID FLAGS`.
fn for_endpoints(namespace: &str, which: &WhichEndpoints, command: impl Fn(&str) -> String) -> String {
    let ids = |condition: String| {
        format!(
            "{} | awk '{condition}{{ for (i = 2; i < NF; i++) if ($i == \"id\") print $(i + 1) }}'",
            mptcp(namespace, "endpoint show")
        )
    };
    let each = |id: &str| mptcp(namespace, &format!("endpoint {}", command(id)));
    match which {
        WhichEndpoints::Id { id, address } => {
            let address = address.map(|address| format!(" {address}")).unwrap_or_default();
            each(&format!("id {id}{address}"))
        }
        WhichEndpoints::Address { address, port } => {
            let port = port.map(|port| format!(" && $2 == \"port\" && $3 == {port}")).unwrap_or_default();
            each(&format!("id \"$({})\"", ids(format!("$1 == \"{address}\"{port} "))))
        }
        WhichEndpoints::All => {
            format!("{} | xargs -I ID {}", ids(String::new()), each("id ID"))
        }
    }
}

fn of(token: &TokenChoice) -> String {
    match token {
        TokenChoice::Connection(_) => "token $TOKEN".to_owned(),
        TokenChoice::Number(number) => format!("token {number}"),
    }
}

fn port(name: &str, port: Option<u16>) -> String {
    port.map(|port| format!(" {name} {port}")).unwrap_or_default()
}

fn endpoint_options(id_name: &str, endpoint: &Endpoint) -> String {
    let id = endpoint.id.map(|id| format!(" {id_name} {id}"));
    let dev = endpoint.dev.as_ref().map(|dev| format!(" dev {}", quote(dev)));
    let port = endpoint.port.map(|port| format!(" port {port}"));
    [id, dev, port].into_iter().flatten().collect()
}
