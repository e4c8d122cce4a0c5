//! A plan as the commands that a person would type, as root, to get the same world: `ip`, `sysctl`, `tc` and `nft`.
//!
//! The commands are for reading and for pasting; the runner itself speaks netlink. The namespaces are named here, so
//! that one can look into them, and the last block, in comments, deletes them.

mod filter;
mod operation;
mod path;
mod quote;
mod traffic;

use crate::net::Hardware;
use crate::scenario::model::{Action, Device, DeviceKind, LinkEnd, Operation, Step};
use crate::text;

use super::{Plan, Setup, words};
use quote::quote;

/// The commands, one a line, of a scenario with this label and title.
pub fn shell(label: &str, title: &str, plan: &Plan) -> String {
    let mut script = Script::default();
    script.comment(label);
    script.comment(title);
    script.blank();
    let body = body(plan);
    for line in needs(&body) {
        script.comment(&line);
    }
    script.blank();
    script.0 += &body;
    script.0
}

/// What the commands take, and how to use them. Only characters that [`quote::comment`] leaves as they are.
fn needs(body: &str) -> Vec<String> {
    let tools = [
        (" laminar", "an ip that knows the flag laminar: see ip mptcp help"),
        (" sysctl -w", "sysctl of procps"),
        (" netem", "tc of iproute2, and a kernel with sch_netem"),
        (" tbf ", "tc of iproute2, and a kernel with sch_tbf"),
        (" nft ", "nft 1.0.5 or newer, for the options of MPTCP"),
        (" ethtool ", "ethtool"),
        (" | awk ", "awk"),
        (" | xargs ", "xargs"),
        (" nc ", "nc of OpenBSD, for the traffic"),
        ("mptcpize", "mptcpize of mptcpd, for traffic with MPTCP"),
        (" ss ", "ss of iproute2, to look at sockets"),
        (" nstat ", "nstat of iproute2, to read counters"),
        ("tcpdump", "tcpdump, to look at segments"),
        ("pm_nl_ctl", "pm_nl_ctl of the kernel selftests, for the userspace path manager"),
    ];
    let used = tools.iter().filter(|(trace, _)| body.contains(trace)).map(|(_, tool)| format!("  {tool}"));
    let mut lines = vec!["Needs a root shell, and:".to_owned(), "  ip of iproute2 5.19 or newer".to_owned()];
    lines.extend(used);
    lines.push(
        "Nothing else is set. A testbed sets more: see What a namespace starts from in scenarios/README.md.".to_owned(),
    );
    if body.contains("\n! ") {
        lines.push("The kernel must refuse each command that follows an exclamation mark.".to_owned());
    }
    if body.contains(" nc ") {
        lines.push("Steps with traffic are comments: run their commands in a second root shell.".to_owned());
        lines.push("A client sends what you type, and stays open until Ctrl-C.".to_owned());
    }
    lines
}

fn body(plan: &Plan) -> String {
    let mut script = Script::default();
    script.comment("Set up");
    for setup in &plan.setup {
        script.setup(setup);
    }
    for (index, step) in plan.steps.iter().enumerate() {
        script.blank();
        script.step(index, step, &plan.steps);
    }
    script.blank();
    script.comment("Clean up: run these without the leading number sign");
    for setup in &plan.setup {
        match setup {
            Setup::Namespace { name, .. } => script.command_comment(&format!("ip netns delete {}", quote(name))),
            Setup::PathLink { link, .. } => {
                script.command_comment(&format!("ip netns delete {}", quote(&path::namespace(link))));
            }
            Setup::Sysctl { .. }
            | Setup::PathManager { .. }
            | Setup::Link { .. }
            | Setup::Device { .. }
            | Setup::RealFrames { .. }
            | Setup::GsoMaxSize { .. }
            | Setup::Path(_)
            | Setup::Address { .. }
            | Setup::LinkUp { .. }
            | Setup::Rate { .. }
            | Setup::Route { .. }
            | Setup::Rule { .. }
            | Setup::Operation(_) => {}
        }
    }
    script.0
}

/// The text so far.
#[derive(Default)]
struct Script(String);

impl Script {
    fn run(&mut self, command: &str) {
        self.0 += command;
        self.0.push('\n');
    }

    fn comment(&mut self, text: &str) {
        self.run(&quote::comment(text));
    }

    /// What the kernel must refuse: the commands of the operation, of which the last one must fail. All shells know `!`.
    fn refused(&mut self, operation: &Operation) {
        let mut commands = Self::default();
        commands.operation(operation);
        let last = commands.0.trim_end().rfind('\n').map_or(0, |line_feed| line_feed + 1);
        if !commands.0[last..].starts_with('#') {
            commands.0.insert_str(last, "! ");
        }
        self.0 += &commands.0;
    }

    /// A command that isn't run. What comes from a scenario is quoted in it.
    fn command_comment(&mut self, command: &str) {
        self.run(&format!("# {command}"));
    }

    fn blank(&mut self) {
        self.0.push('\n');
    }

    fn setup(&mut self, setup: &Setup) {
        match setup {
            Setup::Namespace { name, .. } => {
                let name = quote(name);
                self.run(&format!("ip netns add {name}"));
                self.run(&format!("ip -n {name} link set dev lo up"));
            }
            Setup::Sysctl { namespace, name, value } => self.run(&sysctl(namespace, name, value)),
            Setup::PathManager { namespace } => {
                let newer = sysctl(namespace, "net.mptcp.path_manager", "userspace");
                let older = sysctl(namespace, "net.mptcp.pm_type", "1");
                self.run(&format!("{newer} || {older}"));
            }
            Setup::Link { link: _, mtu, ends } => self.run(&link(*mtu, ends)),
            Setup::Device { namespace, device, hardware } => self.device(namespace, device, *hardware),
            Setup::PathLink { link, mtu, ends, inner } => self.path_link(link, *mtu, ends, *inner),
            Setup::RealFrames { link, ends } => self.real_frames(link, ends),
            Setup::GsoMaxSize { link: _, ends, bytes } => self.gso_max_size(ends, *bytes),
            Setup::Path(setup) => self.path(&setup.path),
            Setup::Address { namespace, device, address } => {
                let nodad = if address.address.is_ipv6() { " nodad" } else { "" };
                let address = format!("{}/{}", address.address, address.prefix);
                self.run(&format!("ip -n {} address add {address} dev {}{nodad}", quote(namespace), quote(device)));
            }
            Setup::LinkUp { namespace, device } => {
                self.run(&format!("ip -n {} link set dev {} up", quote(namespace), quote(device)));
            }
            Setup::Rate { namespace, device, rate } => self.run(&format!(
                "tc -n {} qdisc add dev {} root tbf rate {rate}bit burst 64kb latency 50ms",
                quote(namespace),
                quote(device)
            )),
            Setup::Route { namespace, route } => self.run(&operation::route(namespace, "add", route)),
            Setup::Rule { namespace, rule } => self.run(&operation::rule(namespace, "add", rule)),
            Setup::Operation(operation) => self.operation(operation),
        }
    }

    /// A device, with what it is on and its ports.
    fn device(&mut self, namespace: &str, device: &Device, hardware: Hardware) {
        let (namespace, name) = (quote(namespace), quote(&device.name));
        let on = device.kind.on().map(|on| format!(" link {}", quote(on))).unwrap_or_default();
        let details = match &device.kind {
            DeviceKind::Vlan { id, .. } => format!(" id {id}"),
            DeviceKind::Vrf { table, .. } => format!(" table {table}"),
            DeviceKind::Macvlan { .. } => " mode bridge".to_owned(),
            DeviceKind::Bridge { .. } | DeviceKind::Dummy => String::new(),
        };
        let (index, mac, kind) = (hardware.index, text::mac(&hardware.mac), device.kind.word());
        self.run(&format!("ip -n {namespace} link add {name}{on} index {index} address {mac} type {kind}{details}"));
        for port in device.kind.ports() {
            self.run(&format!("ip -n {namespace} link set dev {} master {name}", quote(port)));
        }
    }

    fn step(&mut self, index: usize, step: &Step, steps: &[Step]) {
        self.comment(&format!("Step {}: {}", index + 1, words::describe(&step.action)));
        match &step.action {
            Action::Do(operation) => self.operation(operation),
            Action::ExpectError { operation, .. } => self.refused(operation),
            Action::SetPath(change) => self.change_path(change),
            Action::Listen(_)
            | Action::StopListening { .. }
            | Action::Connect(_)
            | Action::Transfer(_)
            | Action::FinishTransfer { .. }
            | Action::Wait { .. }
            | Action::Quiet { .. }
            | Action::Close { .. }
            | Action::SetOptions { .. }
            | Action::GetOption(_)
            | Action::Accept { .. }
            | Action::Shutdown { .. }
            | Action::Write { .. }
            | Action::Read { .. }
            | Action::Check(_)
            | Action::Start(_)
            | Action::Run(_)
            | Action::Signal { .. }
            | Action::FinishProgram { .. }
            | Action::Stop { .. }
            | Action::AddRule { .. }
            | Action::RemoveRule { .. }
            | Action::Release { .. } => {
                for hint in traffic::hints(&step.action, steps) {
                    self.command_comment(&format!("  {hint}"));
                }
            }
        }
    }
}

fn sysctl(namespace: &str, name: &str, value: &str) -> String {
    format!("ip netns exec {} sysctl -w {}", quote(namespace), quote(&format!("{name}={value}")))
}

/// One command for both ends, as the kernel takes it in one message.
fn link(mtu: Option<u32>, ends: &[(LinkEnd, Hardware); 2]) -> String {
    let mtu = mtu.map(|mtu| format!(" mtu {mtu}")).unwrap_or_default();
    let [first, second] = ends.each_ref().map(|(end, hardware)| (&*end.namespace, &*end.device, *hardware));
    veth([first, second], &mtu)
}

/// Namespace, device and hardware of both ends.
fn veth(ends: [(&str, &str, Hardware); 2], mtu: &str) -> String {
    let end = |word: &str, (namespace, device, hardware): (&str, &str, Hardware)| {
        let mac: Vec<String> = hardware.mac.iter().map(|octet| format!("{octet:02x}")).collect();
        let (device, namespace) = (quote(device), quote(namespace));
        format!("{word} {device} index {} address {}{mtu} netns {namespace}", hardware.index, mac.join(":"))
    };
    let [first, second] = ends;
    format!("ip link add {} type veth {}", end("dev", first), end("peer name", second))
}

#[cfg(test)]
mod tests;
