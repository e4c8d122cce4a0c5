//! A spliced link as commands: where mptcplab forwards itself, a bridge does, and the inner sides wait for `tc netem`.

use crate::plan::{Hardware, INNER_DEVICES};
use crate::scenario::model::LinkEnd;
use crate::sys::ethtool::Offload;

use super::{Script, quote, veth};

/// The namespace that stands for a path.
pub(super) fn namespace(link: &str) -> String {
    format!("path-{link}")
}

impl Script {
    pub(super) fn path_link(
        &mut self,
        link: &str,
        mtu: Option<u32>,
        ends: &[(LinkEnd, Hardware); 2],
        inner: [Hardware; 2],
    ) {
        let path = namespace(link);
        let mtu = mtu.map(|mtu| format!(" mtu {mtu}")).unwrap_or_default();
        self.comment(&format!("The link {link} has a path: mptcplab forwards its frames itself. Here a bridge does."));
        self.run(&format!("ip netns add {}", quote(&path)));
        self.run(&format!("ip -n {} link add bridge up type bridge", quote(&path)));
        for (((end, outer), device), inner) in ends.iter().zip(INNER_DEVICES).zip(inner) {
            self.run(&veth([(&end.namespace, &end.device, *outer), (&path, device, inner)], &mtu));
            self.run(&format!("ip -n {} link set dev {device} master bridge up", quote(&path)));
        }
    }

    pub(super) fn real_frames(&mut self, link: &str, ends: &[LinkEnd; 2]) {
        self.comment("Frames as a wire would carry them");
        let path = namespace(link);
        let outer = ends.iter().map(|end| (end.namespace.as_str(), end.device.as_str()));
        for (namespace, device) in outer.chain(INNER_DEVICES.map(|device| (path.as_str(), device))) {
            let off: Vec<String> = Offload::ALL.iter().map(|offload| format!("{} off", offload.word())).collect();
            let (namespace, device) = (quote(namespace), quote(device));
            self.run(&format!("ip netns exec {namespace} ethtool -K {device} {}", off.join(" ")));
        }
    }
}
