//! `mptcplab doctor`: what this kernel and this user can do, and how to get what is missing.

use crate::report::{Printer, Role, Style};
use crate::scenario::model::Feature;
use crate::text;

use super::lab::{Availability, Lab, Trouble};
use super::{Exit, hint, report_trouble};

pub(super) fn execute(lab: &dyn Lab, printer: &mut Printer) -> Exit {
    let style = printer.style();
    let kernel = nix::sys::utsname::uname().map_or_else(
        |error| format!("an unknown kernel ({error})"),
        |name| format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy()),
    );
    printer.line(&format!("mptcplab {} on {}", env!("CARGO_PKG_VERSION"), text::one_line(&kernel)));
    match lab.enter() {
        Ok(how) => printer.line(&row("privileges", &Availability::Yes, &how, style)),
        Err(trouble) => {
            let missing = Availability::No(String::new());
            printer.line(&row("privileges", &missing, "needed to make network namespaces", style));
            // It is `doctor` itself that tells.
            let hints = trouble.hints.iter().filter(|hint| !hint.contains("mptcplab doctor")).cloned().collect();
            report_trouble(printer, &Trouble { hints, ..trouble });
            return Exit::Environment;
        }
    }
    let wanted = Feature::PLAIN.iter().map(|(_, feature)| feature.clone()).collect();
    let found = match lab.probe(&wanted) {
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
            hint(printer, &format!("{word}: {advice}"));
        }
        can_run |= *feature == Feature::Mptcp && *availability == Availability::Yes;
    }
    let watched = lab.kernel_log();
    printer.line(&row(
        "kernel log",
        &watched,
        "watched while scenarios run: a warning of the kernel fails them",
        style,
    ));
    if let Availability::No(_) = watched {
        hint(printer, "kernel log: run as root, or let everybody read it with `sysctl kernel.dmesg_restrict=0`");
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
        Feature::ListenerEvents => ("events of listening sockets", "Linux 6.2 and newer have them"),
        Feature::Laminar => ("endpoints with the laminar flag", "Linux 6.18 and newer have it"),
        Feature::TokenDump => ("endpoints of a single connection", "Linux 6.10 and newer dump them by token"),
        Feature::MixedFamilies => {
            ("IPv4 and IPv6 subflows in one connection", "build the kernel with CONFIG_MPTCP_IPV6=y")
        }
        Feature::FamilyRules => ("the families of both addresses decide over a subflow", "Linux 6.3 and newer do so"),
        Feature::FullmeshOnce => (
            "a fullmesh endpoint opens one subflow to each address",
            "a defect of some stable kernels: fill_remote_addresses_vec() doesn't heed the ids that it has taken",
        ),
        Feature::SubflowDevice => ("a subflow is bound to the device of its address", "Linux 6.12 and newer do so"),
        Feature::EndpointErrnos => {
            ("the errno tells why an endpoint is refused", "Linux 6.8 and newer tell it, and some stable kernels")
        }
        Feature::NoEventListener => (
            "nobody else listens to path-manager events now",
            "end `ip mptcp monitor`, mptcpd and other runs of mptcplab while scenarios without a listener run",
        ),
        Feature::Nftables => (
            "packet filters, for scenarios with a middlebox",
            "build the kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET, or load the module nf_tables",
        ),
        Feature::Tbf => {
            ("rate limits on links", "build the kernel with CONFIG_NET_SCH_TBF, or load the module sch_tbf")
        }
        Feature::Counter(_) => ("a counter", "a newer kernel may have it"),
        Feature::Info(_) => ("a field of struct mptcp_info", "a newer kernel may have it"),
        Feature::Sysctl(_) => ("a sysctl", "a newer kernel may have it"),
    }
}
