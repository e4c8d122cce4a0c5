//! The picture of a scenario's world: two namespaces side by side, or a list when there are more.

use crate::plan::describe_path;
use crate::scenario::model::{Link, LinkEnd, Namespace, Scenario, World};
use crate::text;

use super::Style;
use super::style::Role;

/// Namespaces, links, addresses, limits and endpoints.
pub fn topology(scenario: &Scenario, style: Style) -> String {
    let world = &scenario.world;
    let picture = match world.namespaces.as_slice() {
        [left, right] => side_by_side(world, left, right, style),
        _ => list(world, style),
    };
    style.finish(picture)
}

/// One row of the picture: what stands in the left box, on the wire, and in the right box.
#[derive(Default)]
struct Row {
    left: String,
    wire: Option<String>,
    right: String,
}

fn side_by_side(world: &World, left: &Namespace, right: &Namespace, style: Style) -> String {
    let mut rows = Vec::new();
    for link in &world.links {
        rows.extend(link_rows(world, link, left));
    }
    rows.push(Row::default());
    let (mut of_left, mut of_right) = (properties(left).into_iter(), properties(right).into_iter());
    loop {
        match (of_left.next(), of_right.next()) {
            (None, None) => break,
            (left, right) => {
                let (left, right) = (left.unwrap_or_default(), right.unwrap_or_default());
                rows.push(Row { left, wire: None, right });
            }
        }
    }
    while rows.last().is_some_and(|row| row.left.is_empty() && row.right.is_empty() && row.wire.is_none()) {
        rows.pop();
    }
    draw(&rows, &text::one_line(&left.name), &text::one_line(&right.name), style)
}

/// The rows of a link. An end in neither place (a link from a namespace to itself) goes to the right.
fn link_rows(world: &World, link: &Link, left: &Namespace) -> Vec<Row> {
    let [first, second] = &link.ends;
    let (to_left, to_right) =
        if second.namespace == left.name && first.namespace != left.name { (second, first) } else { (first, second) };
    let (left, right) = (end_lines(to_left), end_lines(to_right));
    let height = left.len().max(right.len());
    let row = |lines: &[String], index: usize| lines.get(index).cloned().unwrap_or_default();
    (0..height)
        .map(|index| Row {
            left: row(&left, index),
            wire: (index == 0).then(|| wire_label(world, link)),
            right: row(&right, index),
        })
        .collect()
}

/// The device with its first address, then the other addresses below it.
fn end_lines(end: &LinkEnd) -> Vec<String> {
    let device = text::one_line(&end.device);
    let indent = " ".repeat(device.chars().count());
    let mut lines: Vec<String> =
        end.addresses.iter().map(|address| format!("{indent} {}/{}", address.address, address.prefix)).collect();
    match lines.first_mut() {
        Some(first) => first.replace_range(..indent.len(), &device),
        None => lines.push(device),
    }
    lines
}

fn wire_label(world: &World, link: &Link) -> String {
    let name = text::one_line(&link.name);
    let rate = link.rate.map(|rate| format!(", {}", text::rate(rate))).unwrap_or_default();
    let mtu = link.mtu.map(|mtu| format!(", mtu {mtu}")).unwrap_or_default();
    let path = world.paths.iter().find(|path| path.link == link.name);
    let path = path.map(|path| format!(", {}", text::one_line(&describe_path(path, link)))).unwrap_or_default();
    format!("{name}{rate}{mtu}{path}")
}

/// What a namespace has besides its links, a line each.
fn properties(namespace: &Namespace) -> Vec<String> {
    let mut lines = Vec::new();
    if namespace.userspace_path_manager {
        lines.push("userspace path manager".to_owned());
    }
    if namespace.forwarding {
        lines.push("forwards packets".to_owned());
    }
    if namespace.real_defaults {
        lines.push("settings of a real host".to_owned());
    }
    lines.extend(namespace.devices.iter().map(|device| {
        let addresses: Vec<String> = device.addresses.iter().map(ToString::to_string).collect();
        text::one_line(&format!("{device} {}", addresses.join(" "))).trim_end().to_owned()
    }));
    if namespace.source_routing {
        lines.push("source routing".to_owned());
    } else {
        lines.extend(namespace.rules.iter().map(|rule| text::one_line(&format!("rule {rule}"))));
    }
    if let Some(limits) = namespace.limits {
        lines.push(format!("limits {limits}"));
    }
    lines.extend(namespace.endpoints.iter().map(|(endpoint, _)| text::one_line(&format!("endpoint {endpoint}"))));
    lines.extend(namespace.sysctls.iter().map(|(name, value)| text::one_line(&format!("{name} = {value}"))));
    lines
}

fn draw(rows: &[Row], left: &str, right: &str, style: Style) -> String {
    let widest = |of: fn(&Row) -> &str, name: &str| {
        rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0).max(name.chars().count())
    };
    let (left_width, right_width) = (widest(|row| &row.left, left), widest(|row| &row.right, right));
    let wire_width =
        rows.iter().filter_map(|row| row.wire.as_ref()).map(|wire| wire.chars().count()).max().unwrap_or(0) + 6;
    let gap = " ".repeat(wire_width);
    let top = |name: &str, width: usize| {
        let rest = "─".repeat(width - name.chars().count());
        format!("┌ {} {rest}┐", style.paint(Role::Heading, name))
    };
    let bottom = |width: usize| format!("└{}┘", "─".repeat(width + 2));
    let mut picture = vec![format!("{}{gap}{}", top(left, left_width), top(right, right_width))];
    picture.extend(rows.iter().map(|row| {
        let (wire, ends) = match &row.wire {
            Some(label) => (centre(label, wire_width), ("├", "┤")),
            None => (gap.clone(), ("│", "│")),
        };
        let (left, right) = (pad(&row.left, left_width), pad(&row.right, right_width));
        format!("│ {left} {}{wire}{} {right} │", ends.0, ends.1)
    }));
    picture.push(format!("{}{gap}{}", bottom(left_width), bottom(right_width)));
    picture.join("\n") + "\n"
}

/// The label in the middle of a line.
fn centre(label: &str, width: usize) -> String {
    let rest = width.saturating_sub(label.chars().count() + 2);
    format!("{} {label} {}", "─".repeat(rest / 2), "─".repeat(rest - rest / 2))
}

/// Rust's own padding counts characters, too, but not after painting: pad first.
fn pad(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

fn list(world: &World, style: Style) -> String {
    let heading = |name: &str| style.paint(Role::Heading, name);
    let mut lines = Vec::new();
    for namespace in &world.namespaces {
        lines.push(heading(&text::one_line(&namespace.name)));
        let ends = world.links.iter().flat_map(|link| &link.ends).filter(|end| end.namespace == namespace.name);
        lines.extend(ends.flat_map(end_lines).chain(properties(namespace)).map(|line| format!("  {line}")));
    }
    if !world.links.is_empty() {
        lines.push(heading("links"));
    }
    for link in &world.links {
        let [first, second] = &link.ends;
        let end = |end: &LinkEnd| text::one_line(&format!("{} {}", end.namespace, end.device));
        lines.push(format!("  {} ── {} ── {}", end(first), wire_label(world, link), end(second)));
    }
    lines.join("\n") + "\n"
}
