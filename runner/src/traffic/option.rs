//! Setting and reading socket options.

use std::io;
use std::os::fd::BorrowedFd;

use nix::libc;

use super::socket::symbol;
use crate::mptcp::{FULL_INFO, Reading, SocketOption, answer_of_word};
use crate::recording::{OptionAnswer, OptionReply};
use crate::scenario::model::{OptionQuery, OptionSetting, SocketOptions};
use crate::sys::query::{Query, query};
use crate::sys::sockopt::{getsockopt_bytes, setsockopt_bytes};

/// The most numbers of an answer that are recorded.
const MOST_NUMBERS: usize = 64;
/// Room for the longest value that is read.
const ROOM: usize = 64;

/// Hears what the kernel answers to each option.
pub type Hear<'a> = &'a dyn Fn(&OptionSetting, OptionAnswer);

/// Sets the options, those that the kernel must refuse, too. What came of it is told, and judged later.
pub fn set_options(socket: BorrowedFd<'_>, options: &SocketOptions, hear: Hear<'_>) -> io::Result<()> {
    set_options_in(socket, options, None, hear)
}

/// The same, with a length that the kernel is told in place of the value's own; what is behind the value is 0.
pub fn set_options_in(
    socket: BorrowedFd<'_>,
    options: &SocketOptions,
    length: Option<u32>,
    hear: Hear<'_>,
) -> io::Result<()> {
    let is_v6 = is_v6(socket)?;
    for setting in options.set.iter().chain(options.refused.iter().map(|(_, setting)| setting)) {
        let OptionSetting { option, value, .. } = setting;
        let (level, number) = option.number(is_v6);
        let mut bytes = option.form.encode(value, is_v6);
        if let Some(length) = length.and_then(|length| usize::try_from(length).ok()) {
            bytes.resize(length, 0);
        }
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

/// Calls getsockopt(2) with a buffer of that length.
pub fn ask_option(socket: BorrowedFd<'_>, plan: &OptionQuery) -> io::Result<OptionReply> {
    let OptionQuery { connection, side, option, length, head, .. } = plan;
    let unknown = || io::Error::other(format!("unknown socket option `{option}`"));
    let (_, number) = answer_of_word(option, is_v6(socket)?).ok_or_else(unknown)?;
    let has_arrays = *option == FULL_INFO;
    let (option, length) = ((*option).to_owned(), *length);
    let mut reply = OptionReply {
        connection: connection.clone(),
        side: *side,
        option,
        length,
        error: None,
        returned: 0,
        numbers: Vec::new(),
        arrays: Vec::new(),
        beyond: false,
    };
    match query(socket, &Query { number, length, head, has_arrays }) {
        Err(error) => reply.error = Some(symbol(&error)),
        Ok(answer) => {
            reply.returned = size(answer.length);
            reply.numbers = answer.bytes.chunks(4).take(MOST_NUMBERS).map(number_of).collect();
            reply.arrays = if has_arrays { answer.arrays.map(size).to_vec() } else { Vec::new() };
            reply.beyond = answer.beyond;
        }
    }
    Ok(reply)
}

fn size(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A number in host order, of four bytes or less.
fn number_of(bytes: &[u8]) -> u32 {
    let mut number = [0; 4];
    let unused = if cfg!(target_endian = "big") { number.len().saturating_sub(bytes.len()) } else { 0 };
    number.iter_mut().skip(unused).zip(bytes).for_each(|(place, byte)| *place = *byte);
    u32::from_ne_bytes(number)
}

/// Whether the socket is of IPv6.
fn is_v6(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut domain = [0; 4];
    getsockopt_bytes(socket, libc::SOL_SOCKET, libc::SO_DOMAIN, &mut domain)?;
    Ok(i32::from_ne_bytes(domain) == libc::AF_INET6)
}
