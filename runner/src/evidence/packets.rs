//! The packets of a namespace, for Wireshark and similar tools.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::engine::NamespaceFrames;
use crate::observe::pcapng::Writer;

/// Writes a pcapng file with an interface for each device with captured frames.
pub(super) fn write(frames: &NamespaceFrames, out: impl Write) -> io::Result<()> {
    let mut writer = Writer::new(out)?;
    let mut interfaces = BTreeMap::new();
    for frame in frames.frames.iter() {
        let interface = if let Some(interface) = interfaces.get(&frame.ifindex) {
            *interface
        } else {
            let name = format!("{}/{}", frames.namespace, frames.devices.name(frame.ifindex));
            let interface = writer.interface(&name)?;
            interfaces.insert(frame.ifindex, interface);
            interface
        };
        writer.packet(interface, &frame)?;
    }
    writer.finish().map(drop)
}
