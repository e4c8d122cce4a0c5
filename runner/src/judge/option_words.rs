//! Socket options in words.

use crate::mptcp::{OptionValue, SocketOption, SubflowState, answer_of_word};
use crate::recording::{OptionAnswer, OptionCall, OptionReply, OptionSocket};
use crate::text;

/// Whether the kernel answered as it was asked; a refusal may be what the scenario expects.
pub(crate) fn is_as_asked(call: &OptionCall) -> bool {
    match (&call.answer, SocketOption::of_word(&call.option)) {
        (OptionAnswer::Shown(shown), Some(option)) => option.agrees(&call.asked, shown),
        (OptionAnswer::Hidden(error), _) => error.is_none(),
        (OptionAnswer::Refused(_), _) => true,
        (OptionAnswer::Shown(_), None) => false,
    }
}

/// `the client's socket of main: SO_MARK 7`
pub(crate) fn option_words(call: &OptionCall) -> String {
    let socket = socket_words(&call.socket);
    let asked = setting_words(&call.option, &call.asked);
    let from = if call.passed_on { " from its listener" } else { "" };
    match &call.answer {
        OptionAnswer::Refused(error) => format!("{socket}: the kernel refused {asked} with {error}"),
        OptionAnswer::Hidden(None) => format!("{socket}: {asked}{from}, which can't be read back"),
        OptionAnswer::Hidden(Some(error)) => format!("{socket}: {asked}{from}, but reading it fails with {error}"),
        OptionAnswer::Shown(shown) if *shown == call.asked => format!("{socket}: {asked}{from}"),
        OptionAnswer::Shown(shown) => format!("{socket}: {asked}{from}; reads {}", value_words(&call.option, shown)),
    }
}

/// `the client's getsockopt(MPTCP_TCPINFO) on main in 16 bytes returned 16 bytes: 16 2 248 0`
pub(crate) fn reply_words(reply: &OptionReply) -> String {
    let OptionReply { connection, side, option, length, error, returned, numbers, arrays, beyond } = reply;
    let symbol = answer_of_word(option, false).map_or(option.as_str(), |(symbol, _)| symbol);
    let call = format!("the {}'s getsockopt({symbol}) on {connection} in {}", side.word(), bytes_word(*length));
    if let Some(error) = error {
        return format!("{call} failed with {error}");
    }
    let list = |numbers: &[u32]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let shown = numbers.get(..numbers.len().min(SHOWN)).unwrap_or_default();
    let more = if numbers.len() > SHOWN { " …" } else { "" };
    let shown = if shown.is_empty() { String::new() } else { format!(": {}{more}", list(shown)) };
    let arrays = if arrays.is_empty() { String::new() } else { format!(", arrays of {} bytes", list(arrays)) };
    let beyond = if *beyond { ", and wrote behind them" } else { "" };
    format!("{call} returned {}{shown}{arrays}{beyond}", bytes_word(*returned))
}

/// The most numbers of an answer that are shown.
const SHOWN: usize = 12;

fn bytes_word(count: u32) -> String {
    text::count(count, "byte")
}

/// The option of that word with what getsockopt() says of it.
pub(crate) fn shown_option_words(word: &str, answer: &OptionAnswer) -> String {
    match answer {
        OptionAnswer::Shown(value) => setting_words(word, value),
        OptionAnswer::Hidden(None) => format!("{} can't be read", symbol(word)),
        OptionAnswer::Hidden(Some(error)) | OptionAnswer::Refused(error) => format!("{}: {error}", symbol(word)),
    }
}

/// Whose socket it is.
pub(crate) fn socket_words(socket: &OptionSocket) -> String {
    match socket {
        OptionSocket::Listener { namespace, address } => {
            format!("the listener of {namespace} on {}", text::socket(*address))
        }
        OptionSocket::Connection { connection, side } => format!("the {}'s socket of {connection}", side.word()),
    }
}

fn symbol(word: &str) -> &str {
    SocketOption::of_word(word).map_or(word, |option| option.symbol)
}

fn setting_words(word: &str, value: &OptionValue) -> String {
    format!("{} {}", symbol(word), value_words(word, value))
}

fn value_words(word: &str, value: &OptionValue) -> String {
    match (SocketOption::of_word(word), value) {
        (Some(option), value) => option.form.words(value),
        (None, OptionValue::Number(number)) => number.to_string(),
        (None, OptionValue::Text(text)) => text.clone(),
    }
}

/// Which subflows have which values of an option; `None` if the kernel shows none of them.
/// `SO_MARK 7 on each of 2 subflows`, or `SO_MARK 7 on 10.0.1.2 → 10.0.1.1, 0 on 10.0.2.2 → 10.0.1.1`.
pub(crate) fn on_subflows_words(option: &SocketOption, subflows: &[SubflowState]) -> Option<String> {
    let shown = option.on_subflow?;
    let values = subflows.iter().filter(|subflow| subflow.is_usable());
    let values: Vec<_> = values.filter_map(|subflow| Some((subflow, shown(subflow)?))).collect();
    let (_, first) = values.first()?;
    if values.iter().all(|(_, value)| value == first) {
        let count = text::count(values.len() as u64, "subflow");
        let each = if values.len() == 1 { format!("on {count}") } else { format!("on each of {count}") };
        return Some(format!("{} {each}", option.words(first)));
    }
    let each =
        values.iter().map(|(subflow, value)| format!("{} on {}", option.form.words(value), subflow_ends(subflow)));
    Some(format!("{} {}", option.symbol, each.collect::<Vec<_>>().join(", ")))
}

/// `10.0.2.2 → 10.0.1.1`
pub(crate) fn subflow_ends(subflow: &SubflowState) -> String {
    format!("{} → {}", subflow.local.ip().to_canonical(), subflow.remote.ip().to_canonical())
}
