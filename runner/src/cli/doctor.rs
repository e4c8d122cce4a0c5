//! `mptcplab doctor`: the features of this kernel and user, and how to get missing ones.

use crate::report::{Printer, Role, Style};
use crate::scenario::model::Feature;
use crate::session::{regression, with_signs};
use crate::text;

use super::backend::{Availability, Backend, Trouble};
use super::{Exit, hint, report_trouble};

pub(super) fn execute(backend: &dyn Backend, printer: &mut Printer) -> Exit {
    let style = printer.style();
    let kernel = nix::sys::utsname::uname().map_or_else(
        |error| format!("an unknown kernel ({error})"),
        |name| format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy()),
    );
    printer.line(&format!("mptcplab {} on {}", env!("CARGO_PKG_VERSION"), text::one_line(&kernel)));
    match backend.enter() {
        Ok(how) => printer.line(&row("privileges", &Availability::Yes, &how, style)),
        Err(trouble) => {
            let missing = Availability::No(String::new());
            printer.line(&row("privileges", &missing, "needed to create network namespaces", style));
            // This is `doctor` itself.
            let hints = trouble.hints.iter().filter(|hint| !hint.contains("mptcplab doctor")).cloned().collect();
            report_trouble(printer, &Trouble { hints, ..trouble });
            return Exit::Environment;
        }
    }
    let wanted = Feature::PLAIN.iter().map(|(_, feature)| feature.clone()).collect();
    let found = match backend.probe(&with_signs(wanted)) {
        Ok(found) => found,
        Err(trouble) => {
            report_trouble(printer, &trouble);
            return Exit::Environment;
        }
    };
    let mut can_run = false;
    for (word, feature) in &Feature::PLAIN {
        let unknown = Availability::No("it was not probed".to_owned());
        let availability = found.get(feature).unwrap_or(&unknown);
        let (meaning, advice) = about(feature);
        printer.line(&row(word, availability, meaning, style));
        if let Availability::No(_) = availability {
            let advice = regression(feature, &found).unwrap_or_else(|| advice.to_owned());
            hint(printer, &format!("{word}: {advice}"));
        }
        can_run |= *feature == Feature::Mptcp && *availability == Availability::Yes;
    }
    let watched = backend.kernel_log();
    printer.line(&row("kernel log", &watched, "watched while scenarios run: a kernel warning fails them", style));
    if let Availability::No(_) = watched {
        hint(printer, "kernel log: run as root, or let all users read it with `sysctl kernel.dmesg_restrict=0`");
    }
    if can_run { Exit::Passed } else { Exit::Environment }
}

fn row(name: &str, availability: &Availability, meaning: &str, style: Style) -> String {
    let (word, why) = match availability {
        Availability::Yes => (style.paint(Role::Good, "yes"), String::new()),
        Availability::No(reason) if reason.is_empty() => (style.paint(Role::Bad, "no "), String::new()),
        Availability::No(reason) => (style.paint(Role::Bad, "no "), format!(" ({})", text::one_line(reason))),
    };
    format!("  {word}  {name:<17}  {}{why}", text::one_line(meaning))
}

/// What a feature is for, and where to get it.
fn about(feature: &Feature) -> (&'static str, &'static str) {
    match feature {
        Feature::Mptcp => (
            "Multipath TCP",
            "build the kernel with CONFIG_MPTCP=y and CONFIG_MPTCP_IPV6=y, and set net.mptcp.enabled=1",
        ),
        Feature::ListenerEvents => ("events of listening sockets", "use Linux 6.2 or newer"),
        Feature::Laminar => ("endpoints with the laminar flag", "use Linux 6.18 or newer"),
        Feature::TokenDump => ("endpoints of a single connection, dumped by token", "use Linux 6.10 or newer"),
        Feature::MixedFamilies => {
            ("IPv4 and IPv6 subflows in one connection", "build the kernel with CONFIG_MPTCP_IPV6=y")
        }
        Feature::FamilyRules => ("the families of both addresses decide about a subflow", "use Linux 6.3 or newer"),
        Feature::FullmeshOnce => (
            "a fullmesh endpoint opens one subflow to each address",
            "some stable kernels have a bug: fill_remote_addresses_vec() ignores address IDs that it has already used",
        ),
        Feature::SubflowDevice => ("a subflow is bound to the device of its address", "use Linux 6.12 or newer"),
        Feature::EndpointErrnos => {
            ("the errno tells why an endpoint is refused", "use Linux 6.8 or newer; some stable kernels have it, too")
        }
        Feature::NoEventListener => (
            "no other process listens to path-manager events now",
            "stop `ip mptcp monitor`, mptcpd and other mptcplab runs while scenarios without a listener run",
        ),
        Feature::Nftables => (
            "packet filters, for scenarios with a middlebox",
            "build the kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET, or load the module nf_tables",
        ),
        Feature::Nat => (
            "connection tracking and address translation",
            "build the kernel with CONFIG_NFT_CT, CONFIG_NFT_NAT and CONFIG_NFT_MASQ, or load the module nft_chain_nat",
        ),
        Feature::Tbf => {
            ("rate limits on links", "build the kernel with CONFIG_NET_SCH_TBF, or load the module sch_tbf")
        }
        Feature::RoutingRules => (
            "routing tables and rules, as for source routing",
            "build the kernel with CONFIG_IP_MULTIPLE_TABLES and CONFIG_IPV6_MULTIPLE_TABLES",
        ),
        Feature::Programs => (
            "programs in scenarios, closed in",
            "programs need user namespaces, an unmasked /proc and Linux 5.12 or newer",
        ),
        Feature::ForcedMptcp => (
            "TCP sockets of programs become MPTCP sockets",
            "use Linux 5.14 or newer, built with CONFIG_SECCOMP_FILTER",
        ),
        Feature::Program(_) => ("a program", "install it, and permit it with `--allow-programs`"),
        Feature::Device(_) => ("a kind of devices", "load its module, or build the kernel with it"),
        Feature::Counter(_) => ("a counter", "a newer kernel may have it"),
        Feature::Info(_) => ("a field of struct mptcp_info", "a newer kernel may have it"),
        Feature::Option(_) => ("a socket option of MPTCP sockets", "a newer kernel may have it"),
        Feature::Sysctl(_) => ("a sysctl", "a newer kernel may have it"),
    }
}
