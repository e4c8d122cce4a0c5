//! YAML text to a tree in which each value and each key knows its place. The main type is [`Node`].
//!
//! Only what scenarios need: one document, scalars as text, lists, maps. Anchors, aliases and tags are refused: what
//! is shared is written in a topology or a matrix, and an alias could blow a small file up without bound.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Marker, Parser, Span};

use super::diagnostic::Diagnostic;
use super::model::Place;

/// The deepest nesting; the language itself needs about ten.
const DEPTH: usize = 48;

/// A value.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it is, cut at the end of its first line.
    pub place: Place,
    /// The bytes of the whole value, quotes included.
    pub range: Range<usize>,
    /// What it is.
    pub value: Value,
}

/// What a [`Node`] is.
#[derive(Debug, Clone)]
pub enum Value {
    /// Anything that is neither a list nor a map, without its quotes.
    Scalar {
        /// The text. Which type it has is the reader's business.
        text: String,
        /// Written without quotes.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the text, each key once.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key is.
    pub place: Place,
    /// The bytes of the key, quotes included.
    pub range: Range<usize>,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The value of that key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Both have the same content, wherever they are and however their scalars are quoted.
    pub fn says_the_same(&self, other: &Node) -> bool {
        match (&self.value, &other.value) {
            (Value::Scalar { text, .. }, Value::Scalar { text: other, .. }) => text == other,
            (Value::List(items), Value::List(others)) => {
                items.len() == others.len() && items.iter().zip(others).all(|(a, b)| a.says_the_same(b))
            }
            (Value::Map(entries), Value::Map(others)) => {
                let same = |(a, b): (&Entry, &Entry)| a.key == b.key && a.value.says_the_same(&b.value);
                entries.len() == others.len() && entries.iter().zip(others).all(same)
            }
            _ => false,
        }
    }

    /// A key without a value: `steps:`.
    pub fn is_absent(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if text.is_empty())
    }
}

/// Parses the text of the source with that index. `None` if nothing can be said about it as a whole: there is a
/// syntax error, or it is empty. What is wrong goes to `found`.
pub fn parse(source: usize, text: &str, found: &mut Vec<Diagnostic>) -> Option<Node> {
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_comments: false,
        flow_nesting_limit: DEPTH,
        block_nesting_limit: DEPTH,
    };
    let mut builder = Builder { source, text, stack: Vec::new(), root: None, found };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                if !builder.event(event, &span) {
                    return None;
                }
            }
            Err(error) => {
                let marker = *error.marker();
                let place = builder.place(&Span::new(marker, marker));
                let message = format!("this is not YAML: {}", error.kind());
                builder.found.push(Diagnostic::new(place, message).label("noticed here"));
                return None;
            }
        }
    }
    if builder.root.is_none() {
        let message = if text.trim().is_empty() { "the file is empty" } else { "the file has nothing but comments" };
        let place = Place { source, line: 1, column: 1, start: 0, end: 0 };
        builder
            .found
            .push(Diagnostic::new(place, message).help(
                "a scenario has at least `title:`, `about:` and a world: `topology:`, `links:` or `namespaces:`",
            ));
    }
    builder.root
}

/// A list or map whose end has not come yet.
enum Open {
    List { start: Place, from: usize, items: Vec<Node> },
    Map { start: Place, from: usize, entries: Vec<Entry>, seen: HashMap<String, Place>, key: Option<Node> },
}

struct Builder<'a> {
    source: usize,
    text: &'a str,
    stack: Vec<Open>,
    root: Option<Node>,
    found: &'a mut Vec<Diagnostic>,
}

impl Builder<'_> {
    /// Takes one event; `false` if it makes no sense to go on.
    fn event(&mut self, event: Event<'_>, span: &Span) -> bool {
        let (anchor, tagged) = match &event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(_, anchor, tag)
            | Event::MappingStart(_, anchor, tag) => (*anchor, tag.is_some()),
            Event::Alias(anchor) => (*anchor, false),
            _ => (0, false),
        };
        if anchor != 0 || tagged {
            return self.refuse_property(span, tagged);
        }
        let range = offset(&span.start)..offset(&span.end);
        match event {
            Event::Scalar(text, style, ..) => {
                let plain = style == granit_parser::ScalarStyle::Plain;
                // The parser says `~` where nothing is written.
                let text = if range.is_empty() { String::new() } else { text.into_owned() };
                let value = Value::Scalar { text, plain };
                self.complete(Node { place: self.place(span), range, value });
            }
            Event::SequenceStart(..) => {
                self.stack.push(Open::List { start: self.place(span), from: range.start, items: Vec::new() });
            }
            Event::MappingStart(..) => {
                let start = self.place(span);
                let (entries, seen) = (Vec::new(), HashMap::new());
                self.stack.push(Open::Map { start, from: range.start, entries, seen, key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(range.end),
            Event::DocumentStart(..) if self.root.is_some() => {
                let diagnostic = Diagnostic::new(self.place(span), "a second document begins here")
                    .help("a file holds one scenario; variants of it go into `matrix:`");
                self.found.push(diagnostic);
                return false;
            }
            _ => {}
        }
        true
    }

    fn refuse_property(&mut self, span: &Span, tagged: bool) -> bool {
        let (message, span) = if tagged {
            ("tags (`!name`) are not part of the scenario language", span.tag_span().unwrap_or(*span))
        } else {
            ("anchors and aliases (`&name`, `*name`) are not part of the scenario language", *span)
        };
        let diagnostic = Diagnostic::new(self.place(&span), message)
            .help("write what scenarios share into a topology, and what variants differ in into `matrix:`");
        self.found.push(diagnostic);
        false
    }

    /// Ends the innermost list or map.
    fn close(&mut self, end: usize) {
        let (start, from, value, last) = match self.stack.pop() {
            Some(Open::List { start, from, items, .. }) => {
                let last = items.last().map_or(from, |item| item.range.end);
                (start, from, Value::List(items), last)
            }
            Some(Open::Map { start, from, entries, .. }) => {
                let last = entries.last().map_or(from, |entry| entry.value.range.end.max(entry.range.end));
                (start, from, Value::Map(entries), last)
            }
            None => return,
        };
        // A block collection "ends" where the next token begins; a flow one at its bracket.
        let flow = matches!(self.text.as_bytes().get(from), Some(b'[' | b'{')) && end > last;
        let range = from..if flow { end } else { last };
        let place = self.clip(Place { end: range.end, ..start });
        self.complete(Node { place, range, value });
    }

    /// Puts a finished node where it belongs.
    fn complete(&mut self, node: Node) {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, seen, key, .. }) => match key.take() {
                None => *key = Some(node),
                Some(name) => {
                    let Value::Scalar { text, .. } = name.value else {
                        self.found.push(
                            Diagnostic::new(name.place, "a key must be a word, not a list or a map")
                                .help("quote it if it is meant as text: a `{` or `[` begins a map or a list"),
                        );
                        return;
                    };
                    if let Some(first) = seen.get(&text) {
                        self.found.push(
                            Diagnostic::new(name.place, format!("the key `{text}` is given twice"))
                                .label("again here")
                                .context(*first, "first given here"),
                        );
                        return;
                    }
                    seen.insert(text.clone(), name.place);
                    entries.push(Entry { key: text, place: name.place, range: name.range, value: node });
                }
            },
        }
    }

    fn place(&self, span: &Span) -> Place {
        self.clip(Place {
            source: self.source,
            line: span.start.line(),
            column: span.start.col() + 1,
            start: offset(&span.start).min(self.text.len()),
            end: offset(&span.end),
        })
    }

    /// The place cut at the end of its first line, so that it can be shown with one row of carets.
    fn clip(&self, place: Place) -> Place {
        let end = place.end.clamp(place.start, self.text.len());
        let within = self.text.get(place.start..end).unwrap_or_default();
        let first = within.lines().next().unwrap_or_default().trim_end();
        Place { end: place.start + first.len(), ..place }
    }
}

/// The byte offset; always there when a text is parsed.
fn offset(marker: &Marker) -> usize {
    marker.byte_offset().unwrap_or_default()
}

/// What a reader of YAML 1.1 (PyYAML, Ruby, yaml.v2 for Go) takes a plain scalar for, if a reader of YAML 1.2's core
/// schema takes it for something else.
///
/// By the types of yaml.org/type, which is what those readers have in common, and a little more: each of them differs in
/// some corner. In the pattern of floats, though, a number has one point, as in all of them: the address 10.0.1.1 is text.
pub fn in_yaml_1_1(text: &str) -> Option<&'static str> {
    const SWITCHES: [&str; 6] = ["y", "yes", "n", "no", "on", "off"];
    match text {
        "=" => return Some("a default value"),
        "<<" => return Some("a merge key"),
        _ if SWITCHES.contains(&text.to_ascii_lowercase().as_str()) => return Some("a boolean"),
        _ if is_date(text) => return Some("a date"),
        _ => {}
    }
    let number = text.strip_prefix(['-', '+']).unwrap_or(text);
    if number.contains(':') {
        return is_sexagesimal(number).then_some("a number in base 60");
    }
    let signed = number.len() < text.len();
    is_odd_number(number, signed).then_some("another number, or as text")
}

/// A number of one of the two versions that is none, or another one, in the other version.
fn is_odd_number(number: &str, signed: bool) -> bool {
    let all = |digits: &str, radix: u32| {
        let bare = digits.replace(['_', ','], "");
        !bare.is_empty() && bare.chars().all(|digit| digit.is_digit(radix))
    };
    let separated = number.contains(['_', ',']);
    match number.get(..2) {
        Some("0x") => return all(&number[2..], 16) && (separated || signed),
        Some("0o") => return all(&number[2..], 8),
        Some("0b") => return all(&number[2..], 2),
        _ => {}
    }
    let (mantissa, exponent) =
        number.split_once(['e', 'E']).map_or((number, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let unsigned = exponent.is_some_and(|exponent| !exponent.starts_with(['-', '+']));
    if exponent.is_some_and(|exponent| !all(exponent.trim_start_matches(['-', '+']), 10)) {
        return false;
    }
    match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            let is_float = all(&format!("{whole}{fraction}"), 10);
            is_float && (separated || unsigned || (signed && whole.is_empty()))
        }
        None => {
            all(mantissa, 10) && (separated || exponent.is_some() || (mantissa.len() > 1 && mantissa.starts_with('0')))
        }
    }
}

/// `1:30`, `190:20:30.15`.
fn is_sexagesimal(number: &str) -> bool {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.chars().all(|digit| digit.is_ascii_digit() || digit == '_');
    let mut parts = whole.split(':');
    parts.next().is_some_and(|first| first.starts_with(|digit: char| digit.is_ascii_digit()) && digits(first))
        && parts.all(|part| part.len() <= 2 && part.parse::<u8>().is_ok_and(|part| part < 60))
        && digits(fraction)
}

/// `2026-11-27`, with a time or without.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let mut number = |lengths: std::ops::RangeInclusive<usize>| {
        let part = parts.next().unwrap_or_default();
        let digits = part.len() - part.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
        lengths.contains(&digits).then(|| part.split_at(digits).1)
    };
    number(4..=4) == Some("")
        && number(1..=2) == Some("")
        && number(1..=2).is_some_and(|rest| rest.is_empty() || rest.starts_with(['T', 't', ' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> (Option<Node>, Vec<Diagnostic>) {
        let mut found = Vec::new();
        let root = parse(0, text, &mut found);
        (root, found)
    }

    fn items(node: &Node) -> &[Node] {
        match &node.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    #[test]
    fn places_are_exact_in_bytes_and_characters() {
        let text = "über: { 'a b': [ \"ö\", zwei ] } # Ende\nblock:\n  inner: |\n    text\n  last: x\n";
        let (root, found) = tree(text);
        let root = root.unwrap();
        assert!(found.is_empty());
        let slice = |node: &Node| text[node.range.clone()].to_owned();
        let uber = root.get("über").unwrap();
        assert_eq!(slice(uber), "{ 'a b': [ \"ö\", zwei ] }");
        let entry = &uber.entries()[0];
        assert_eq!(&text[entry.range.clone()], "'a b'");
        assert_eq!((entry.place.line, entry.place.column), (1, 9));
        assert_eq!(slice(&entry.value), "[ \"ö\", zwei ]");
        assert_eq!(slice(&items(&entry.value)[0]), "\"ö\"");
        assert_eq!(items(&entry.value)[1].place.column, 23);
        let block = root.get("block").unwrap();
        assert_eq!(slice(block), "inner: |\n    text\n  last: x");
        assert_eq!(&text[block.place.start..block.place.end], "inner: |");
    }

    #[test]
    fn every_duplicate_key_is_reported() {
        let (root, found) = tree("a: 1\na: 2\nb: { c: 1, c: 2 }\n");
        assert!(root.is_some());
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn aliases_tags_and_second_documents_are_refused() {
        for text in ["a: &x 1\nb: *x\n", "a: !!str 1\n", "a: 1\n---\nb: 2\n", "%YAML 1.1\n---\na: 1\n"] {
            let (root, found) = tree(text);
            assert!(root.is_none(), "{text}");
            assert_eq!(found.len(), 1, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let (root, found) = tree(&"[".repeat(100_000));
        assert!(root.is_none());
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn what_yaml_1_1_reads_in_another_way_is_known() {
        let boolean = ["on", "Off", "YES", "n"];
        let sixty = ["1:30", "-1:30", "190:20:30", "190:20:30.15", "02:00:00:00:00:01", "1_0:20"];
        let number = ["010", "08", "0o17", "0b101", "1_000", "1,000", "0x_4", "-0x4", "1e3", "1.5e3", "1_0.5", "-.5"];
        let date = ["2026-11-27", "2026-1-7T10:00:00Z", "2026-11-27 10:00:00"];
        let lists = [(&boolean[..], "a boolean"), (&sixty, "a number in base 60"), (&date, "a date")];
        for (texts, read_as) in lists.into_iter().chain([(&number[..], "another number, or as text")]) {
            for text in texts {
                assert_eq!(in_yaml_1_1(text), Some(read_as), "{text}");
            }
        }
        assert!(in_yaml_1_1("=").is_some() && in_yaml_1_1("<<").is_some());
        for text in [
            "",
            "true",
            "FALSE",
            "null",
            "~",
            "0",
            "-1",
            "+12",
            "0x4f",
            "1.5",
            ".5",
            "5.",
            "1.5e+3",
            ".inf",
            ".nan",
            "one",
            "10.0.1.1",
            "10.0.1.1/24",
            "1..3",
            "50 ms",
            "dead:beef::1",
            "1::2",
            "1:2:3:4:5:6:7:88",
            "aa:bb:cc:dd:ee:ff",
            "client",
            "yes it is",
            "2026-11",
            "2026-11-271",
            "12-11-27",
            "-",
            "+",
            ".",
            "e3",
            "0x",
            "main:8080",
            "<",
            "é",
        ] {
            assert_eq!(in_yaml_1_1(text), None, "{text}");
        }
    }
}
