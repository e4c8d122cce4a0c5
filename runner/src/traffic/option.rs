//! Setting and reading socket options.

use std::io;
use std::os::fd::BorrowedFd;

use nix::libc;

use super::socket::symbol;
use crate::mptcp::{Reading, SocketOption};
use crate::recording::OptionAnswer;
use crate::scenario::model::{OptionSetting, SocketOptions};
use crate::sys::sockopt::{getsockopt_bytes, setsockopt_bytes};

/// Room for the longest value that is read.
const ROOM: usize = 64;

/// Hears what the kernel answers to each option.
pub type Hear<'a> = &'a dyn Fn(&OptionSetting, OptionAnswer);

/// Sets the options, those that the kernel must refuse, too. What came of it is told, and judged later.
pub fn set_options(socket: BorrowedFd<'_>, options: &SocketOptions, hear: Hear<'_>) -> io::Result<()> {
    let is_v6 = is_v6(socket)?;
    for setting in options.set.iter().chain(options.refused.iter().map(|(_, setting)| setting)) {
        let OptionSetting { option, value, .. } = setting;
        let (level, number) = option.number(is_v6);
        let bytes = option.form.encode(value, is_v6);
        let answer = match setsockopt_bytes(socket, level, number, &bytes) {
            Ok(()) => read_option(socket, option)?,
            Err(error) => OptionAnswer::Refused(symbol(&error)),
        };
        hear(setting, answer);
    }
    Ok(())
}

/// Reads an option.
pub fn read_option(socket: BorrowedFd<'_>, option: &SocketOption) -> io::Result<OptionAnswer> {
    if option.reading == Reading::Nothing {
        return Ok(OptionAnswer::Hidden(None));
    }
    let (level, number) = option.number(is_v6(socket)?);
    let mut buffer = [0; ROOM];
    Ok(match getsockopt_bytes(socket, level, number, &mut buffer) {
        Ok(length) => match option.form.decode(buffer.get(..length).unwrap_or_default()) {
            Some(value) => OptionAnswer::Shown(value),
            None => OptionAnswer::Hidden(None),
        },
        Err(error) => OptionAnswer::Hidden(Some(symbol(&error))),
    })
}

/// Whether the socket is of IPv6.
fn is_v6(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut domain = [0; 4];
    getsockopt_bytes(socket, libc::SOL_SOCKET, libc::SO_DOMAIN, &mut domain)?;
    Ok(i32::from_ne_bytes(domain) == libc::AF_INET6)
}
