//! A plan as the commands that a person would type, as root, to get the same world: `ip`, `sysctl`, `tc` and `nft`.
//!
//! The commands are for reading and for pasting; the runner itself speaks netlink. The namespaces are named here, so
//! that one can look into them, and the last block deletes them.

mod filter;
mod operation;
mod path;
mod quote;
mod traffic;

use std::fmt::Write as _;

use crate::scenario::model::{Action, LinkEnd, Step};
use crate::text;

use super::{Hardware, Plan, Setup, words};
use quote::quote;

/// The commands, one a line.
pub fn shell(plan: &Plan) -> String {
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
    script.comment("Clean up");
    for setup in &plan.setup {
        match setup {
            Setup::Namespace { name } => script.run(&format!("ip netns delete {}", quote(name))),
            Setup::PathLink { link, .. } => script.run(&format!("ip netns delete {}", quote(&path::namespace(link)))),
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
        // Writing to a String can't fail.
        let _ = writeln!(self.0, "# {}", text::one_line(text));
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
                    self.comment(&format!("  {hint}"));
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
