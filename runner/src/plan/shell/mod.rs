//! A plan as the commands that a person would type, as root, to get the same world: `ip`, `sysctl`, `tc` and `nft`.
//!
//! The commands are for reading and for pasting; the runner itself speaks netlink. The namespaces are named here, so
//! that one can look into them, and the last block, in comments, deletes them.

mod filter;
mod operation;
mod path;
mod quote;
mod traffic;

use crate::scenario::model::{Action, LinkEnd, Step};

use super::{Hardware, Plan, Setup, words};
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

/// What the commands take.
fn needs(body: &str) -> Vec<String> {
    let tools = [
        (" sysctl -w", "sysctl of procps"),
        ("tc -n", "tc of iproute2 with netem and tbf"),
        (" nft ", "nft 1.0.5 or newer, for the options of MPTCP"),
        (" ethtool ", "ethtool"),
        ("mptcpize", "mptcpize of mptcpd, and nc, for the traffic"),
        ("pm_nl_ctl", "pm_nl_ctl of the kernel selftests, for the userspace path manager"),
    ];
    let used = tools.iter().filter(|(trace, _)| body.contains(trace)).map(|(_, tool)| format!("  {tool}"));
    let first = "Needs a shell of root, best in a network namespace of its own: unshare --net".to_owned();
    let ip = "  ip of iproute2 5.19 or newer, for mptcp; flags of newer kernels need a newer one".to_owned();
    let drive =
        "Steps that need traffic are comments: run their commands in a second shell. They stay open until Ctrl-C.";
    [first, ip].into_iter().chain(used).chain([drive.to_owned()]).collect()
}

fn body(plan: &Plan) -> String {
    let mut script = Script::default();
    script.comment("Set up");
    for setup in &plan.setup {
        script.setup(setup);
    }
    for (index, step) in plan.steps.iter().enumerate() {
        script.blank();
        script.step(index, step);
    }
    script.blank();
    script.comment("Clean up: run these without the leading number sign");
    for setup in &plan.setup {
        match setup {
            Setup::Namespace { name } => script.command_comment(&format!("ip netns delete {}", quote(name))),
            Setup::PathLink { link, .. } => {
                script.command_comment(&format!("ip netns delete {}", quote(&path::namespace(link))));
            }
            _ => {}
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

    /// A command that isn't run. What comes from a scenario is quoted in it.
    fn command_comment(&mut self, command: &str) {
        self.run(&format!("# {command}"));
    }

    fn blank(&mut self) {
        self.0.push('\n');
    }

    fn setup(&mut self, setup: &Setup) {
        match setup {
            Setup::Namespace { name } => {
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
            Setup::PathLink { link, mtu, ends, inner } => self.path_link(link, *mtu, ends, *inner),
            Setup::RealFrames { link, ends } => self.real_frames(link, ends),
            Setup::GsoMaxSize { link: _, ends, bytes } => self.gso_max_size(ends, *bytes),
            Setup::Path(path) => self.path(path),
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
            Setup::Operation(operation) => self.operation(operation),
        }
    }

    fn step(&mut self, index: usize, step: &Step) {
        self.comment(&format!("Step {}: {}", index + 1, words::describe(&step.action)));
        match &step.action {
            Action::Do(operation) | Action::ExpectError { operation, .. } => self.operation(operation),
            Action::SetPath(change) => self.change_path(change),
            traffic => {
                for hint in traffic::hints(traffic) {
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
