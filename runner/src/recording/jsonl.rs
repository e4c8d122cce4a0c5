//! JSON lines: the header first, then one entry a line.

use std::io::{self, BufRead, Write};

use super::{Header, Recording};

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
    #[error("format {0} is not known to this version of mptcplab, which reads format 1")]
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
    let mut lines = input.lines().enumerate();
    let parse_error = |index: usize| move |source| RecordingError::Line { line: index + 1, source };
    let (index, first) = lines.next().ok_or(RecordingError::Empty)?;
    let header: Header = serde_json::from_str(&first?).map_err(parse_error(index))?;
    if header.format != 1 {
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
