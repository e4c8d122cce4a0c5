//! Text reports, line by line. Each line tells by itself what it is, so that the outputs of several commands may stand
//! in one file, as in the report of `mptcp-get-debug`. Headings and everything else are skipped.

use std::io::Read;

use serde_json::{Map, Value};

use crate::text as words;

use super::ImportError;
use super::configuration;
use super::seen::{Kind, Seen};
use super::sockets::{self, Shown};
use crate::mptcp::{Endpoint, PmEvent};

/// The most bytes that are read of a text.
const MOST_BYTES: u64 = 16 << 20;

/// Reads a text report.
pub(super) fn read(input: impl Read) -> Result<Seen, ImportError> {
    let mut bytes = Vec::new();
    input.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    let mut reader = Reader::default();
    if bytes.len() as u64 > MOST_BYTES {
        bytes.truncate(usize::try_from(MOST_BYTES).unwrap_or(usize::MAX));
        let size = words::size(MOST_BYTES);
        reader.seen.unread.ended(format!("reading ended after {size}, the most that is read of a text"));
    }
    reader.all(&bytes);
    if reader.seen.kinds.is_empty() {
        return Err(ImportError::Unknown);
    }
    Ok(reader.seen)
}

#[derive(Default)]
struct Reader {
    seen: Seen,
    line: usize,
    /// The input ends with an array.
    in_json: bool,
    /// A socket whose lines are not complete yet, and where it began.
    socket: Option<(usize, String)>,
}

impl Reader {
    fn all(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            self.line += 1;
            let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
            let (line, after) = rest.split_at(length);
            let text = String::from_utf8_lossy(line);
            if text.contains('\u{fffd}') {
                self.seen.unread.add(format!("line {}: not UTF-8", self.line), "");
            }
            rest = if starts_json(rest, &text) {
                self.json(rest, bytes.len() - rest.len())
            } else {
                self.in_json = false;
                self.one(text.trim_end_matches(['\r', '\n']));
                after
            };
        }
        self.end_socket();
        if !self.in_json && bytes.last().is_some_and(|last| *last != b'\n') {
            self.seen.open.push("Whether the last line is whole: it has no end.".to_owned());
        }
    }

    fn one(&mut self, line: &str) {
        if let Some((_, socket)) = &mut self.socket
            && line.starts_with([' ', '\t'])
        {
            if socket.len() + line.len() < 64 << 10 {
                socket.push_str(line);
            }
            return;
        }
        self.end_socket();
        if sockets::begins(line) {
            self.socket = Some((self.line, line.to_owned()));
        } else if let Some(event) = PmEvent::from_monitor_line(line) {
            self.event(event);
        } else if let Some(endpoint) = configuration::endpoint(line) {
            self.endpoint(endpoint);
        } else if let Some(limits) = configuration::limits(line) {
            self.seen.kinds.insert(Kind::Limits);
            self.seen.limits = Some(limits);
        } else if let Some((name, value)) = configuration::sysctl(line) {
            self.seen.kinds.insert(Kind::Sysctls);
            if self.seen.sysctls.len() < 100 {
                self.seen.sysctls.insert(name.to_owned(), value.to_owned());
            }
        } else if let Some(release) = configuration::release(line) {
            self.seen.kernel = Some(release.to_owned());
        } else if line.contains("ip mptcp endpoint show") {
            // Nothing below this heading: there is no endpoint.
            self.seen.endpoints.get_or_insert_default();
        }
    }

    fn event(&mut self, event: Result<PmEvent, String>) {
        self.seen.kinds.insert(Kind::Monitor);
        match event {
            Ok(event) if self.seen.has_room(self.seen.events.len()) => self.seen.events.push(event),
            Ok(_) => {}
            Err(problem) => self.problem(self.line, "an event", &problem),
        }
    }

    fn endpoint(&mut self, endpoint: Result<Endpoint, String>) {
        self.seen.kinds.insert(Kind::Endpoints);
        match endpoint {
            Ok(endpoint) => {
                let known = self.seen.endpoints.get_or_insert_default();
                // 255 address IDs, and more than once if the file has several dumps.
                if known.len() < 512 && !known.contains(&endpoint) {
                    known.push(endpoint);
                }
            }
            Err(problem) => self.problem(self.line, "an endpoint", &problem),
        }
    }

    fn end_socket(&mut self) {
        let Some((line, socket)) = self.socket.take() else { return };
        match sockets::socket(&socket) {
            Ok(Shown::Mptcp(pair, socket)) => {
                self.seen.kinds.insert(Kind::Sockets);
                if self.seen.has_room(self.seen.sockets.len()) {
                    self.seen.sockets.insert(pair, socket);
                }
            }
            Ok(Shown::Subflow(pair, subflow)) => {
                self.seen.kinds.insert(Kind::Sockets);
                if self.seen.has_room(self.seen.subflows.len()) {
                    self.seen.subflows.insert(pair, subflow);
                }
            }
            Ok(Shown::Listening(port)) => {
                self.seen.kinds.insert(Kind::Sockets);
                self.seen.listening.insert(port);
            }
            Ok(Shown::Other) => _ = self.seen.kinds.insert(Kind::Sockets),
            Err(problem) => self.problem(line, "a socket", &problem),
        }
    }

    fn problem(&mut self, line: usize, what: &str, problem: &str) {
        self.seen.unread.add(format!("line {line}: {what} that can't be read"), problem);
    }

    /// Reads the objects of an array. Returns what follows it.
    fn json<'a>(&mut self, array: &'a [u8], start: usize) -> &'a [u8] {
        self.end_socket();
        self.in_json = true;
        let mut rest = array;
        loop {
            let blank = rest.iter().take_while(|byte| b"[, \t\r\n".contains(byte)).count();
            rest = rest.get(blank..).unwrap_or_default();
            let at = start + array.len() - rest.len();
            if let Some(after) = rest.strip_prefix(b"]") {
                return self.after_json(array, after);
            }
            if rest.is_empty() {
                self.seen.unread.ended(format!("the JSON array has no end: the input ends at byte {at}"));
                return rest;
            }
            let mut objects = serde_json::Deserializer::from_slice(rest).into_iter::<Map<String, Value>>();
            match objects.next() {
                Some(Ok(object)) => {
                    let length = objects.byte_offset();
                    self.object(&object, at);
                    rest = rest.get(length..).unwrap_or_default();
                }
                other => {
                    let reason = other.and_then(Result::err).map(|error| error.to_string()).unwrap_or_default();
                    self.seen.unread.ended(format!("reading ended at byte {at}: not JSON: {reason}"));
                    return &[];
                }
            }
        }
    }

    /// What follows an array; counts its lines.
    fn after_json<'a>(&mut self, array: &[u8], after: &'a [u8]) -> &'a [u8] {
        let read = array.get(..array.len() - after.len()).unwrap_or_default();
        self.line += read.split(|byte| *byte == b'\n').count().saturating_sub(1);
        after.strip_prefix(b"\n").unwrap_or(after)
    }

    fn object(&mut self, object: &Map<String, Value>, at: usize) {
        if let Some(event) = PmEvent::from_monitor_object(object) {
            self.seen.kinds.insert(Kind::Monitor);
            match event {
                Ok(event) if self.seen.has_room(self.seen.events.len()) => self.seen.events.push(event),
                Ok(_) => {}
                Err(problem) => self.seen.unread.add(format!("byte {at}: an event that can't be read"), problem),
            }
        } else if let Some(endpoint) = configuration::endpoint_object(object) {
            self.endpoint(endpoint);
        } else if let Some(limits) = configuration::limits_object(object) {
            self.seen.kinds.insert(Kind::Limits);
            self.seen.limits = Some(limits);
        } else {
            let what = format!("byte {at}: an object that is neither an event, nor an endpoint, nor limits");
            self.seen.unread.add(what, "");
        }
    }
}

/// An array of objects begins here. The brackets of an event are followed by its name.
fn starts_json(rest: &[u8], line: &str) -> bool {
    line.trim_start().starts_with('[') && {
        let next = rest.iter().filter(|byte| !byte.is_ascii_whitespace()).nth(1);
        matches!(next, Some(b'{' | b']')) || line.trim() == "["
    }
}
