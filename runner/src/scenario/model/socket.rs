//! What scenarios say of sockets. The main type is [`SocketOptions`].

use std::fmt::Write as _;

use super::Place;
use crate::mptcp::{OptionValue, SocketOption};

/// A socket option with its value.
#[derive(Debug, Clone)]
pub struct OptionSetting {
    /// The option.
    pub option: &'static SocketOption,
    /// The value.
    pub value: OptionValue,
    /// Where it is written.
    pub place: Place,
}

/// Options of a socket.
#[derive(Debug, Clone, Default)]
pub struct SocketOptions {
    /// Those that are set, in the order in which they are written.
    pub set: Vec<OptionSetting>,
    /// Those that the kernel must refuse, each with the errno.
    pub refused: Vec<(String, OptionSetting)>,
    /// Those that additional subflows must not have.
    pub not_inherited: Vec<(&'static SocketOption, Place)>,
}

impl SocketOptions {
    /// Nothing is said.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.refused.is_empty()
    }

    /// `SO_MARK 7, TCP_NODELAY on`; behind them those that must be refused, with the errno.
    pub fn words(&self) -> String {
        let words = |setting: &OptionSetting| setting.option.words(&setting.value);
        let mut text = self.set.iter().map(words).collect::<Vec<_>>().join(", ");
        for of_error in self.refused.chunk_by(|(one, _), (other, _)| one == other) {
            let refused: Vec<String> = of_error.iter().map(|(_, setting)| words(setting)).collect();
            let error = of_error.first().map_or("", |(error, _)| error);
            let between = if text.is_empty() { "" } else { ", " };
            _ = write!(text, "{between}{} (must be refused with {error})", refused.join(", "));
        }
        text
    }
}
