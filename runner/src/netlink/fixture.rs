//! Captured messages for tests (`fixtures/netlink/`): one a line in hexadecimal, `#` begins a comment.

/// The messages of a file.
pub(super) fn messages(text: &str) -> Vec<Vec<u8>> {
    text.lines().filter(|line| !line.starts_with('#')).map(bytes).collect()
}

fn bytes(line: &str) -> Vec<u8> {
    assert!(line.len().is_multiple_of(2), "odd number of digits: {line}");
    (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect()
}
