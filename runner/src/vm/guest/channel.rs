//! The channel to the host: a virtio port if there is one, else a serial line. Main types: [`Incoming`], [`Outgoing`].

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use crate::files;
use crate::vm::frame::{Decoder, Frame};
use crate::vm::places::PORT;

/// Ports appear a moment after their driver (`control_work_handler`, drivers/char/virtio_console.c).
const PORT_TIMEOUT: Duration = Duration::from_secs(2);

/// Frames from the host.
pub(super) struct Incoming {
    file: File,
    decoder: Decoder,
    /// To acknowledge what was read.
    outgoing: Outgoing,
}

/// Frames to the host, from any thread.
#[derive(Clone)]
pub(super) struct Outgoing {
    file: Arc<Mutex<File>>,
}

/// Opens the port, or the serial line `line`.
pub(super) fn open(line: &str) -> Result<(Incoming, Outgoing), String> {
    let port = wait_for_port();
    let path = port.clone().unwrap_or_else(|| PathBuf::from("/dev").join(line));
    let refused = |error: io::Error| format!("can't open the channel to the host, {}: {error}", path.display());
    let file = files::kernel::open_to_write(&path).map_err(refused)?;
    if port.is_none() {
        make_raw(&file).map_err(|errno| refused(errno.into()))?;
    }
    let copy = file.try_clone().map_err(refused)?;
    let outgoing = Outgoing { file: Arc::new(Mutex::new(copy)) };
    Ok((Incoming { file, decoder: Decoder::default(), outgoing: outgoing.clone() }, outgoing))
}

impl Incoming {
    /// Waits for the next frame. `None`: the host is gone.
    pub(super) fn receive(&mut self) -> Result<Option<Frame>, String> {
        let mut bytes = vec![0; 16 << 10];
        loop {
            if let Some(frame) = self.decoder.take().map_err(|error| error.to_string())? {
                return Ok(Some(frame));
            }
            let length = self.file.read(&mut bytes).map_err(|error| format!("can't read from the host: {error}"))?;
            if length == 0 {
                return Ok(None);
            }
            self.decoder.push(bytes.get(..length).unwrap_or_default());
            self.outgoing.send(&Frame::Got(u32::try_from(length).unwrap_or(u32::MAX)));
        }
    }
}

impl Outgoing {
    /// Sends a frame.
    pub(super) fn send(&self, frame: &Frame) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = frame.write(&mut *file) {
            // Without a host, only the console is left for the error.
            let _ = files::kernel::write("/dev/console", &format!("mptcplab: can't send to the host: {error}\n"));
        }
    }
}

/// The port, if the machine has virtio at all.
fn wait_for_port() -> Option<PathBuf> {
    let has_virtio = || fs::read_dir("/sys/bus/virtio/devices").is_ok_and(|mut devices| devices.next().is_some());
    let deadline = Instant::now() + PORT_TIMEOUT;
    loop {
        if let Some(port) = find_port() {
            return Some(port);
        }
        if !has_virtio() || Instant::now() > deadline {
            return None;
        }
        // Only uevents would announce the device; it takes milliseconds.
        let _ = poll(&mut [], PollTimeout::from(1_u8));
    }
}

fn find_port() -> Option<PathBuf> {
    let ports = fs::read_dir("/sys/class/virtio-ports").ok()?;
    ports.filter_map(Result::ok).find_map(|port| {
        let name = files::kernel::read_text(port.path().join("name")).ok()?;
        let device = PathBuf::from("/dev").join(port.file_name());
        (name.trim() == PORT && device.exists()).then_some(device)
    })
}

/// Lets bytes pass unchanged.
fn make_raw(line: &File) -> nix::Result<()> {
    let mut settings = tcgetattr(line)?;
    cfmakeraw(&mut settings);
    tcsetattr(line, SetArg::TCSANOW, &settings)
}
