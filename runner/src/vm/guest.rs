//! The guest's part: mptcplab as the first process of a machine. [`is_init`] detects that, [`main`] does its work.
//!
//! It mounts what a run needs, loads the modules, and then carries out the host's requests, each on its own thread. The
//! host notices every failure: at worst, the machine ends.

mod channel;
mod kernel;
mod work;

use std::path::Path;
use std::sync::Arc;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::{getpid, pause};

use super::frame::Frame;
use super::places::LINE;
use crate::files;
use crate::observe::KernelLog;

use channel::{Incoming, Outgoing};

/// Maximum time between signs of life to the host, in milliseconds.
const BEAT: u16 = 1000;

/// Whether this process is the first one of a machine that mptcplab has started.
pub fn is_init() -> bool {
    getpid().as_raw() == 1 && Path::new(LINE).exists()
}

/// The whole life of the machine. Never returns: at the end, the machine is off.
pub fn main() -> ! {
    if let Err(trouble) = live() {
        // The console is the only channel left, and the host reads it.
        let _ = files::kernel::write("/dev/console", &format!("mptcplab: {trouble}\n"));
    }
    loop {
        let _ = reboot(RebootMode::RB_POWER_OFF);
        // Powering off failed. The host has been told everything, and ends the machine.
        pause();
    }
}

/// Everything from the mounts to the last question.
fn live() -> Result<(), String> {
    kernel::mount_all()?;
    let mut modules = kernel::modules()?;
    // The channel to the host may need the first of them.
    let first = modules.iter().take_while(|module| module.is_virtio()).count();
    let mut troubles: Vec<String> = modules.drain(..first).filter_map(|module| module.load().err()).collect();
    let line = files::kernel::read_text(LINE).map_err(|error| format!("can't read {LINE}: {error}"))?;
    let (mut incoming, outgoing) = channel::open(&line)?;
    outgoing.send(&Frame::Hello(kernel::release()));
    let (log, teller) = (KernelLog::from_start(), outgoing.clone());
    // Starting a thread fails only for lack of memory, and then there is nothing to report either.
    let _ = thread::Builder::new().name("log".to_owned()).spawn(move || tell_the_log(log, &teller));
    troubles.extend(modules.into_iter().filter_map(|module| module.load().err()));
    for trouble in troubles {
        outgoing.send(&Frame::Trouble(trouble));
    }
    answer_all(&mut incoming, &outgoing)
}

/// Sends the kernel log, and regular signs of life.
fn tell_the_log(log: Result<KernelLog, impl std::fmt::Display>, outgoing: &Outgoing) {
    let mut log = log.map_err(|error| outgoing.send(&Frame::Trouble(error.to_string()))).ok();
    loop {
        let ready = match &log {
            Some(log) => {
                use std::os::fd::AsFd as _;
                poll(&mut [PollFd::new(log.as_fd(), PollFlags::POLLIN)], PollTimeout::from(BEAT))
            }
            None => poll(&mut [], PollTimeout::from(BEAT)),
        };
        match log.as_mut().filter(|_| ready != Ok(0)).map(KernelLog::drain) {
            Some(Ok(drained)) => {
                let lost = if drained.overrun { "(lines were lost here)\n" } else { "" };
                let lines: Vec<String> = drained.lines.iter().map(|line| format!("{line}\n")).collect();
                outgoing.send(&Frame::Log(format!("{lost}{}", lines.concat())));
            }
            Some(Err(error)) => {
                outgoing.send(&Frame::Trouble(error.to_string()));
                log = None;
            }
            None => outgoing.send(&Frame::Beat),
        }
    }
}

/// Answers questions until the host closes the channel.
fn answer_all(incoming: &mut Incoming, outgoing: &Outgoing) -> Result<(), String> {
    let worker = Arc::new(work::Worker::default());
    while let Some(frame) = incoming.receive()? {
        let Frame::Ask(number, question) = frame else { continue };
        let (worker, teller) = (Arc::clone(&worker), outgoing.clone());
        let started = thread::Builder::new()
            .name("question".to_owned())
            .spawn(move || teller.send(&Frame::Answer(number, worker.answer(&question))));
        if let Err(error) = started {
            outgoing
                .send(&Frame::Answer(number, work::trouble(&format!("can't start a thread in the guest: {error}"))));
        }
    }
    Ok(())
}
