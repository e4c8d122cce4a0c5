//! States in canonical form: subflows and `MPTCP_INFO` right before the close, endpoints and limits at the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::judge::names::{Names, side_namespace};
use crate::judge::option_words::shown_option_words;
use crate::judge::render::push;
use crate::mptcp::{Endpoint, EndpointFlags, MptcpInfo, Reading, SocketOption, SubflowFlags, SubflowState, canonical};
use crate::recording::{Connection, Moment, Observation, OptionAnswer, Side};
use crate::scenario::model::SnapshotSection;

use super::alike::{Block, fold_sections};
use super::section;

/// The subflows and the `MPTCP_INFO` of each connection, or the one that the snapshot doesn't leave out.
pub(super) fn of_connections(names: &Names<'_>) -> Vec<String> {
    let has = |section| names.scenario().snapshot_has(section);
    let mut blocks = Vec::new();
    for connection in names.recording().connections() {
        let mut sections = Vec::new();
        for side in [Side::Client, Side::Server] {
            let last = names.sockets_at(&connection.name, side, &Moment::BeforeClose);
            let Some((info, subflows)) = last else { continue };
            let whose = format!("{}, {} side", connection.name, side.word());
            if has(SnapshotSection::Subflows) {
                let lines = subflow_lines(names, connection, side, subflows);
                sections.push(section(&format!("subflows of {whose}"), &lines));
            }
            let options = names.options_at(&connection.name, side, &Moment::BeforeClose);
            if let Some((options, subflows)) = options.filter(|_| has(SnapshotSection::Subflows)) {
                sections.push(section(&format!("socket options of {whose}"), &option_lines(options, subflows)));
            }
            if has(SnapshotSection::Info) {
                let userspace = names.scenario().world.namespace(side_namespace(connection, side));
                let userspace = userspace.is_some_and(|namespace| namespace.userspace_path_manager);
                let info = info.map_or_else(|| vec!["plain TCP".to_owned()], |info| info_lines(info, userspace));
                sections.push(section(&format!("info of {whose}"), &info));
            }
        }
        sections.retain(|section| !section.is_empty());
        blocks.push(Block { name: connection.name.clone(), lines: sections });
    }
    fold_sections(blocks)
}

/// The endpoints of each namespace.
pub(super) fn endpoints(names: &Names<'_>) -> Vec<String> {
    let namespaces = names.scenario().world.namespaces.iter();
    let section = |name: &str| section(&format!("endpoints of {name}"), &endpoint_lines(names, name));
    namespaces.map(|namespace| section(&namespace.name)).collect()
}

/// The limits of all namespaces.
pub(super) fn limits(names: &Names<'_>) -> String {
    let limits: Vec<String> = names
        .scenario()
        .world
        .namespaces
        .iter()
        .filter_map(|namespace| {
            names.recording().entries.iter().rev().find_map(|entry| {
                pick!(&entry.what, Observation::Limits { namespace: of, moment: Moment::End, limits }
                    if *of == namespace.name => format!("{of}: {limits}"))
            })
        })
        .collect();
    section("limits", &limits)
}

fn subflow_lines(names: &Names<'_>, connection: &Connection, side: Side, subflows: &[SubflowState]) -> Vec<String> {
    let namespace = side_namespace(connection, side);
    let mut lines: Vec<String> = subflows
        .iter()
        .filter(|subflow| subflow.is_usable())
        .map(|subflow| {
            let (local, remote) = (subflow.local.ip(), subflow.remote.ip());
            let mut text = format!("{} > {}", names.socket(subflow.local), names.socket(subflow.remote));
            push(&mut text, "local_id", Some(names.address_id(Some(namespace), Some(local), subflow.local_id)));
            let owner = names.owner(remote);
            push(&mut text, "remote_id", Some(names.address_id(owner, Some(remote), subflow.remote_id)));
            for (flag, word) in [(SubflowFlags::BKUP_LOC, "backup_local"), (SubflowFlags::BKUP_REM, "backup_remote")] {
                if subflow.flags.contains(flag) {
                    _ = write!(text, " {word}");
                }
            }
            push(&mut text, "dev", subflow.dev.as_ref());
            text
        })
        .collect();
    lines.sort();
    lines
}

/// The options that the scenario has set, and the values that subflows have, as far as the kernel shows them.
fn option_lines(options: &BTreeMap<String, OptionAnswer>, subflows: &[SubflowState]) -> Vec<String> {
    let line = |(word, answer): (&String, &OptionAnswer)| {
        let shown = shown_option_words(word, answer);
        // What the kernel changes by itself isn't the same in each run.
        let option = SocketOption::of_word(word).filter(|option| option.reading != Reading::AtFirst)?;
        let usable = || subflows.iter().filter(|subflow| subflow.is_usable());
        let values = option.on_subflow.map(|on_subflow| usable().filter_map(on_subflow));
        let mut values: Vec<String> = values.into_iter().flatten().map(|value| option.form.words(&value)).collect();
        values.sort();
        values.dedup();
        Some(if values.is_empty() { shown } else { format!("{shown}, subflows: {}", values.join(", ")) })
    };
    options.iter().filter_map(line).collect()
}

/// The fields that each kernel from 6.1 on reports and that don't count data. With a userspace path manager, the
/// limits and the numbers of endpoints are filled in by older kernels only (`mptcp_diag_fill_info`,
/// net/mptcp/sockopt.c).
fn info_lines(info: &MptcpInfo, userspace: bool) -> Vec<String> {
    let mut lines = vec![
        format!("subflows {}", info.subflows),
        format!("add_addr_signal {}", info.add_addr_signal),
        format!("add_addr_accepted {}", info.add_addr_accepted),
    ];
    if !userspace {
        lines.push(format!("subflows_max {}", info.subflows_max));
        lines.push(format!("add_addr_signal_max {}", info.add_addr_signal_max));
        lines.push(format!("add_addr_accepted_max {}", info.add_addr_accepted_max));
        lines.extend(info.local_addr_max.map(|value| format!("local_addr_max {value}")));
    }
    lines.extend(info.local_addr_used.map(|value| format!("local_addr_used {value}")));
    lines.extend(info.csum_enabled.map(|value| format!("csum_enabled {value}")));
    if info.fallback() {
        lines.push("fallback".to_owned());
    }
    lines
}

/// By id; implicit endpoints by address, if there are several.
fn endpoint_lines(names: &Names<'_>, namespace: &str) -> Vec<String> {
    let dump = names.recording().entries.iter().rev().find_map(|entry| {
        pick!(&entry.what, Observation::Endpoints { namespace: of, moment: Moment::End, endpoints }
            if of == namespace => endpoints)
    });
    let mut keyed: Vec<(u16, String)> =
        dump.into_iter().flatten().map(|endpoint| line(names, namespace, endpoint)).collect();
    keyed.sort();
    keyed.into_iter().map(|(_, text)| text).collect()
}

fn line(names: &Names<'_>, namespace: &str, endpoint: &Endpoint) -> (u16, String) {
    let Some(id) = endpoint.id else { return (u16::MAX, endpoint.to_string()) };
    let shown = names.address_id(Some(namespace), Some(endpoint.address), id);
    let address = canonical(endpoint.address);
    if shown == id.to_string() {
        return (id.into(), Endpoint { address, ..endpoint.clone() }.to_string());
    }
    // Its flag says already what its id stands for, unless somebody has taken it over.
    let text = Endpoint { address, id: None, ..endpoint.clone() }.to_string();
    let taken_over = !endpoint.flags.contains(EndpointFlags::IMPLICIT);
    (u16::MAX, if taken_over { format!("{text} id {shown}") } else { text })
}
