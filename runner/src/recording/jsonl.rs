//! JSON lines: the header first, then one entry a line.

use std::io::{self, BufRead, Read as _, Write};

use super::{FORMAT, Header, Recording};

/// A stored recording could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// Reading or writing failed.
    #[error("input/output error: {0}")]
    Io(#[from] io::Error),
    /// A line is not what it should be.
    #[error("line {line}: {source}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// There is no header line.
    #[error("the file is empty: a recording begins with a header line")]
    Empty,
    /// A format from the future.
    #[error("unknown format {0}; this version of mptcplab reads formats 1 to {FORMAT}")]
    Format(u32),
}

/// Write a recording.
pub fn write(recording: &Recording, mut out: impl Write) -> Result<(), RecordingError> {
    let line = |source| RecordingError::Line { line: 0, source };
    serde_json::to_writer(&mut out, &recording.header).map_err(line)?;
    out.write_all(b"\n")?;
    for entry in &recording.entries {
        serde_json::to_writer(&mut out, entry).map_err(line)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

/// Read a recording.
pub fn read(input: impl BufRead) -> Result<Recording, RecordingError> {
    let mut lines = Lines(input).enumerate();
    let parse_error = |index: usize| move |source| RecordingError::Line { line: index + 1, source };
    let (index, first) = lines.next().ok_or(RecordingError::Empty)?;
    let header: Header = serde_json::from_str(&first?).map_err(parse_error(index))?;
    if !(1..=FORMAT).contains(&header.format) {
        return Err(RecordingError::Format(header.format));
    }
    let mut entries = Vec::new();
    for (index, line) in lines {
        let line = line?;
        if !line.trim().is_empty() {
            entries.push(serde_json::from_str(&line).map_err(parse_error(index))?);
        }
    }
    Ok(Recording { header, entries })
}

/// The longest line. The header has the scenario's text, of which a quotation mark or a control character takes up to
/// six bytes here.
const LONGEST_LINE: u64 = 16 << 20;

/// Lines of a bounded length: a file without an end of line would be one, as long as it is.
struct Lines<R>(R);

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match (&mut self.0).take(LONGEST_LINE + 1).read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => return Some(Err(error)),
        }
        if line.len() as u64 > LONGEST_LINE {
            let message = format!("a line is longer than {LONGEST_LINE} bytes");
            return Some(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
        }
        Some(String::from_utf8(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_an_end_is_not_read_to_its_end() {
        let endless = io::BufReader::new(io::repeat(b'x'));
        let error = read(endless).unwrap_err().to_string();
        assert_eq!(error, "input/output error: a line is longer than 16777216 bytes");
    }
}
