//! The names of a namespace's devices: netlink uses indices where people use names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The devices of one network namespace: interface index and name. Collected from `(index, name)` pairs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNames(BTreeMap<u32, String>);

impl DeviceNames {
    /// The name of the device with that index; `if7`, as ip(8) writes it, if it isn't known.
    pub fn name(&self, index: u32) -> String {
        self.0.get(&index).cloned().unwrap_or_else(|| format!("if{index}"))
    }

    /// The index of the device with that name.
    pub fn index(&self, name: &str) -> Option<u32> {
        self.0.iter().find(|(_, known)| *known == name).map(|(index, _)| *index)
    }

    /// All names, ordered by index.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }
}

impl<N: Into<String>> FromIterator<(u32, N)> for DeviceNames {
    fn from_iter<I: IntoIterator<Item = (u32, N)>>(devices: I) -> Self {
        Self(devices.into_iter().map(|(index, name)| (index, name.into())).collect())
    }
}
