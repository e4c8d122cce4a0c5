//! Devices that aren't ends of links: VLANs, bridges and their like.

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{Kind, Shape};
use super::super::model::{self, DeviceKind};
use super::super::record::{List, part, record, words};
use super::super::scalar::{self, HostAddress, Table, VlanId};
use super::super::yaml::{Entry, Node, Value};
use super::part::Device;
use super::scope::Scope;
use super::world::Several;
use super::{At, Read, Reader, Reported};

record! {
    /// A device that isn't the end of a link.
    DeviceKeys as "host_device", "a device" then complete {
        kind: need DeviceType = "type", "What it is: vlan, bridge, dummy, vrf or macvlan; see ip-link(8).";
        on: maybe Device = "lower", "The interface that a vlan or a macvlan is on.";
        id: maybe VlanId = "id", "The tag of a vlan.";
        ports: or(Vec::new()) List<Device> = "ports", "The ports of a bridge, or the devices of a vrf.";
        table: maybe Table = "table", "The routing table of a vrf.";
        addresses: or(Vec::new()) Several<HostAddress> = "addresses", "Its addresses, like 10.0.1.2/24.";
    }
}

words! {
    /// What a device is.
    DeviceType {
        /// 802.1Q.
        Vlan = "vlan",
        /// A switch.
        Bridge = "bridge",
        /// It goes nowhere.
        Dummy = "dummy",
        /// A routing table of its own.
        Vrf = "vrf",
        /// Another interface on the same wire.
        Macvlan = "macvlan",
    }
}

part! {
    /// Devices by name.
    Devices: Vec<model::Device> = Shape::Table("device", Kind::Device, &DeviceKeys::SHAPE), |at, node| {
        at.table(node, |entry| {
            let (name, keys) = (at.reader.key(entry, scalar::device), DeviceKeys::read(at, &entry.value));
            let (name, keys) = (name?, keys?);
            Ok(model::Device { name, kind: keys.kind()?, addresses: keys.addresses })
        })
    }
}

impl DeviceKeys {
    /// What is missing was noted when it was read.
    fn kind(&self) -> Read<DeviceKind> {
        let on = || self.on.clone().ok_or(Reported(()));
        let ports = self.ports.clone();
        Ok(match self.kind {
            DeviceType::Vlan => DeviceKind::Vlan { on: on()?, id: self.id.ok_or(Reported(()))? },
            DeviceType::Macvlan => DeviceKind::Macvlan { on: on()? },
            DeviceType::Bridge => DeviceKind::Bridge { ports },
            DeviceType::Vrf => DeviceKind::Vrf { ports, table: self.table.ok_or(Reported(()))? },
            DeviceType::Dummy => DeviceKind::Dummy,
        })
    }
}

/// Each kind of devices has keys of its own.
fn complete(at: &At<'_>, keys: DeviceKeys) -> Read<DeviceKeys> {
    let (word, takes): (_, &[&str]) = match keys.kind {
        DeviceType::Vlan => ("vlan", &["lower", "id"]),
        DeviceType::Macvlan => ("macvlan", &["lower"]),
        DeviceType::Bridge => ("bridge", &["ports"]),
        DeviceType::Vrf => ("vrf", &["ports", "table"]),
        DeviceType::Dummy => ("dummy", &[]),
    };
    let given = [
        ("lower", keys.on.is_some()),
        ("id", keys.id.is_some()),
        ("ports", !keys.ports.is_empty()),
        ("table", keys.table.is_some()),
    ];
    for (key, given) in given {
        let message = match (takes.contains(&key), given) {
            (true, false) => format!("a {word} needs `{key}:`"),
            (false, true) => format!("a {word} takes no `{key}`"),
            _ => continue,
        };
        return Err(at.reader.error(at.fields.place_of(key), message));
    }
    Ok(keys)
}

/// Collects the names and addresses of devices that aren't ends of links, so that everything can be on them.
pub(super) fn declare<'n>(reader: &Reader, namespaces: impl Iterator<Item = &'n Entry>, scope: &mut Scope) -> Read<()> {
    let mut result = Ok(());
    for namespace in namespaces {
        for device in namespace.value.get("devices").map_or(&[][..], Node::entries) {
            let known = scope.devices.entry(namespace.key.clone()).or_default();
            if known.contains(&device.key) {
                let message = format!("`{}` has two interfaces called `{}`", namespace.key, device.key);
                result = Err(reader.error(device.place, message));
            }
            let below = device.value.get("lower").into_iter().chain(items(device.value.get("ports")));
            for node in below {
                let is_it = |other: &&Entry| Some(other.key.as_str()) == node.text();
                let Some(below) = namespace.value.get("devices").map_or(&[][..], Node::entries).iter().find(is_it)
                else {
                    continue;
                };
                if !known.contains(&below.key) || below.key == device.key {
                    let message = format!("`{}` can only be on a device that is made before it", device.key);
                    let diagnostic = Diagnostic::new(node.place, message).context(below.place, "this one is not");
                    result = Err(reader.report(diagnostic));
                }
            }
            let addresses = items(device.value.get("addresses")).iter();
            let addresses = addresses.filter_map(|node| scalar::host_address(node.text()?).ok());
            let own = addresses.map(|own| (namespace.key.clone(), own.address.to_canonical()));
            scope.addresses.extend(own);
            known.push(device.key.clone());
        }
    }
    result
}

/// The items of a list, if it is there and is one.
fn items(node: Option<&Node>) -> &[Node] {
    match node.map(|node| &node.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}
