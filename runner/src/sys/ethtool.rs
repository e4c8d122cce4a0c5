//! Device features over the ethtool ioctl (`SIOCETHTOOL`, `net/ethtool/ioctl.c`): offloads on and off.
#![allow(unsafe_code)]

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::libc;

use crate::net::Offload;

/// The commands that read and set it (`include/uapi/linux/ethtool.h`).
fn commands(offload: Offload) -> (u32, u32) {
    match offload {
        Offload::TransmitChecksum => (0x16, 0x17),
        Offload::TcpSegmentation => (0x1e, 0x1f),
        Offload::GenericSegmentation => (0x23, 0x24),
        Offload::GenericReceive => (0x2b, 0x2c),
    }
}

/// `struct ethtool_value`
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ifreq` with the pointer of its union, padded to its size.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    data: *mut Value,
    padding: [u8; 16],
}

/// Whether the offload is on, for a device in the calling thread's network namespace.
///
/// # Errors
///
/// `ENODEV`: there is no such device.
pub fn offload(device: &str, offload: Offload) -> io::Result<bool> {
    ask(device, commands(offload).0, false)
}

/// Sets it for a device in the calling thread's network namespace. Read it back: the kernel acknowledges even what the
/// device can't change.
///
/// # Errors
///
/// `ENODEV`: there is no such device. `EPERM`: without CAP_NET_ADMIN in the user namespace that owns the network.
pub fn set_offload(device: &str, offload: Offload, on: bool) -> io::Result<()> {
    ask(device, commands(offload).1, on).map(drop)
}

fn ask(device: &str, command: u32, on: bool) -> io::Result<bool> {
    // Any socket will do; it only selects the network namespace.
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut value = Value { command, data: u32::from(on) };
    let mut request = Request { name: [0; libc::IFNAMSIZ], data: &raw mut value, padding: [0; 16] };
    // The last byte stays 0.
    let room = request.name.len() - 1;
    let name = request.name.get_mut(..device.len()).filter(|name| name.len() <= room);
    name.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?.copy_from_slice(device.as_bytes());
    // SAFETY: `request` has the layout and at least the size of the kernel's `struct ifreq`, and its pointer leads to a
    // `struct ethtool_value`, which is all that these commands read and write; both live for the whole call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value.data != 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_device_is_said() {
        for name in ["nosuchdevice", "a-name-that-is-too-long-for-a-device", ""] {
            let error = offload(name, Offload::GenericReceive).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENODEV), "{name}");
        }
    }

    #[test]
    fn lo_can_be_asked() {
        assert!(offload("lo", Offload::TransmitChecksum).is_ok());
    }
}
