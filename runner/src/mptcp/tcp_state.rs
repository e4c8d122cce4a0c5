//! The states of a TCP socket, as the kernel numbers them (`include/net/tcp_states.h`).

/// The connection is open.
pub const TCP_ESTABLISHED: u8 = 1;

/// A SYN was sent, and no answer has come.
pub const TCP_SYN_SENT: u8 = 2;

/// The name of a state in the words of RFC 9293 and `ss`: `SYN-SENT`.
pub fn tcp_state_word(number: u8) -> String {
    const WORDS: [&str; 12] = [
        "ESTABLISHED",
        "SYN-SENT",
        "SYN-RECEIVED",
        "FIN-WAIT-1",
        "FIN-WAIT-2",
        "TIME-WAIT",
        "CLOSED",
        "CLOSE-WAIT",
        "LAST-ACK",
        "LISTEN",
        "CLOSING",
        "NEW-SYN-RECV",
    ];
    let word = usize::from(number).checked_sub(1).and_then(|index| WORDS.get(index));
    word.map_or_else(|| format!("state {number}"), |word| (*word).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_the_names_of_the_rfc() {
        assert_eq!([1, 2, 4, 7].map(tcp_state_word), ["ESTABLISHED", "SYN-SENT", "FIN-WAIT-1", "CLOSED"]);
        assert_eq!([0, 13].map(tcp_state_word), ["state 0", "state 13"]);
    }
}
