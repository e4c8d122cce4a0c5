//! Drawing the lines of a story: the time, a lane for each namespace, and the words.

use std::time::Duration;

use crate::text;

use super::super::Style;
use super::super::style::Role;
use super::arrow::Arrow;
use super::{Fate, Line};

/// The width of the time: seconds of a long run still fit.
const TIME_WIDTH: usize = 10;
/// Room for an arrow between two lanes.
const MIN_LANE: usize = 14;
const MAX_LANE: usize = 24;
/// Words longer than this don't push the addresses of all other lines to the right.
const MAX_WORDS: usize = 36;

/// What the mark of events means.
const LEGEND: &str = "  (≤: at or before this time)";

/// The text.
pub(super) fn draw(namespaces: &[&str], lines: &[Line<'_>], style: Style) -> String {
    let ladder = Ladder::new(namespaces, lines, style);
    let mut drawing = ladder.header();
    for line in lines {
        drawing += ladder.line(line).trim_end();
        drawing.push('\n');
    }
    drawing
}

struct Ladder<'a> {
    namespaces: &'a [&'a str],
    /// There are events.
    events: bool,
    /// The column of each lane, in the part between time and words.
    columns: Vec<usize>,
    words_width: usize,
    style: Style,
}

impl<'a> Ladder<'a> {
    fn new(namespaces: &'a [&'a str], lines: &[Line<'_>], style: Style) -> Self {
        let mut columns = Vec::new();
        let mut column = 0;
        for namespace in namespaces {
            columns.push(column);
            column += (text::one_line(namespace).chars().count() + 3).clamp(MIN_LANE, MAX_LANE);
        }
        let words = lines.iter().filter_map(|line| match line {
            Line::Arrow(arrow) => Some(arrow_words(arrow).chars().count()),
            _ => None,
        });
        let words_width = words.filter(|width| *width <= MAX_WORDS).max().unwrap_or(0);
        let events = lines.iter().any(|line| matches!(line, Line::Event { .. }));
        Self { namespaces, events, columns, words_width, style }
    }

    fn lane(&self, namespace: &str) -> Option<usize> {
        let index = self.namespaces.iter().position(|name| *name == namespace)?;
        self.columns.get(index).copied()
    }

    fn header(&self) -> String {
        let mut names = String::new();
        for (namespace, column) in self.namespaces.iter().zip(&self.columns) {
            let name: String = text::one_line(namespace).chars().take(MAX_LANE - 1).collect();
            let blanks = column.saturating_sub(names.chars().count());
            names += &" ".repeat(blanks);
            names += &name;
        }
        let names = self.style.paint(Role::Heading, names);
        let legend = if self.events { self.style.paint(Role::Faint, LEGEND) } else { String::new() };
        format!("{}\n", format!("{:>TIME_WIDTH$}  {names}{legend}", "ms").trim_end())
    }

    fn line(&self, line: &Line<'_>) -> String {
        match line {
            Line::Heading { text } => {
                format!("{:>TIME_WIDTH$}  {}", "", self.style.paint(Role::Heading, format!("── {text}")))
            }
            Line::Arrow(arrow) => self.arrow(arrow),
            Line::Event { until, namespace, text: words } => {
                let mut lanes = self.lifelines();
                if let Some(column) = self.lane(namespace) {
                    put(&mut lanes, column, '●');
                }
                let words = format!("{}: {words}", text::one_line(namespace));
                self.row(&format!("≤{}", time(*until)), &lanes, &words, Role::Event)
            }
            Line::Data { segments, bytes, lost } => self.data(*segments, bytes, *lost),
            Line::Note { at, text, good } => {
                let role = if *good { Role::Good } else { Role::Bad };
                self.row(&time(*at), &self.lifelines(), text, role)
            }
        }
    }

    fn arrow(&self, arrow: &Arrow<'_>) -> String {
        let mut lanes = self.lifelines();
        let last = arrow.to.and_then(|to| self.lane(to));
        match (self.lane(arrow.from), last) {
            (Some(from), _) if arrow.fate != Fate::Arrived => {
                let seen = last.unwrap_or(from);
                let tip = self.halfway(seen, arrow.toward);
                shaft(&mut lanes, from, tip, arrow.fate);
                // Back again, where the lanes don't stand in the order of the way.
                if (seen > from) != (tip > seen) && seen != from {
                    shaft(&mut lanes, from, seen, Fate::OnItsWay);
                    shaft(&mut lanes, seen, tip, arrow.fate);
                }
            }
            (Some(from), Some(to)) if from != to => shaft(&mut lanes, from, to, arrow.fate),
            (Some(from), _) => put(&mut lanes, from, '●'),
            (None, _) => {}
        }
        for column in arrow.through.iter().filter_map(|namespace| self.lane(namespace)) {
            put(&mut lanes, column, '○');
        }
        let words = format!("{:<1$}", arrow_words(arrow), self.words_width);
        let words = self.style.paint(if arrow.fate == Fate::Lost { Role::Bad } else { Role::Signal }, words);
        format!("{}  {words}  {}", self.prefix(&time(arrow.at), &lanes), arrow.path)
    }

    /// The end of an arrow that doesn't arrive: between the last lane that it reached and the next one.
    fn halfway(&self, column: usize, toward: Option<&str>) -> usize {
        let goal = toward.and_then(|namespace| self.lane(namespace)).filter(|goal| *goal != column);
        let next = match goal {
            Some(goal) if goal < column => self.columns.iter().copied().rfind(|other| *other < column),
            Some(_) => self.columns.iter().copied().find(|other| *other > column),
            None => self.neighbour(column),
        };
        next.map_or(column, |next| column.midpoint(next))
    }

    fn neighbour(&self, column: usize) -> Option<usize> {
        let right = self.columns.iter().copied().find(|other| *other > column);
        right.or_else(|| self.columns.iter().copied().rfind(|other| *other < column))
    }

    fn data(&self, segments: u64, bytes: &[(&str, u64)], lost: u64) -> String {
        let mut lanes = self.lifelines();
        for column in &self.columns {
            put(&mut lanes, *column, '┊');
        }
        let bytes: Vec<String> = bytes
            .iter()
            .map(|(sender, bytes)| format!("{} from {}", text::about(*bytes), text::one_line(sender)))
            .collect();
        let lost = if lost > 0 { format!("; {lost} lost") } else { String::new() };
        let words = format!("… {}: {}{lost}", text::count(segments, "segment"), bytes.join(", "));
        let lanes: String = lanes.into_iter().collect();
        format!(
            "{:>TIME_WIDTH$}  {}  {}",
            "",
            self.style.paint(Role::Faint, lanes),
            self.style.paint(Role::Faint, words)
        )
    }

    fn row(&self, time: &str, lanes: &[char], words: &str, role: Role) -> String {
        format!("{}  {}", self.prefix(time, lanes), self.style.paint(role, words))
    }

    fn prefix(&self, time: &str, lanes: &[char]) -> String {
        let lanes: String = lanes.iter().collect();
        format!("{time:>TIME_WIDTH$}  {}", self.style.paint(Role::Faint, lanes))
    }

    fn lifelines(&self) -> Vec<char> {
        let width = self.columns.last().map_or(0, |column| column + 1);
        let mut lanes = vec![' '; width];
        for column in &self.columns {
            put(&mut lanes, *column, '│');
        }
        lanes
    }
}

/// In milliseconds.
fn time(nanoseconds: u64) -> String {
    let microseconds = nanoseconds / 1000;
    format!("{}.{:03}", microseconds / 1000, microseconds % 1000)
}

fn arrow_words(arrow: &Arrow<'_>) -> String {
    match arrow.times {
        1 => arrow.words.clone(),
        times => format!("{} ×{times} over {}", arrow.words, span(arrow.over)),
    }
}

/// A measured span: `0.1 ms`, `12 ms`, `1.2 s`.
fn span(span: Duration) -> String {
    let tenths = span.as_micros() / 100;
    match tenths {
        0..100 => format!("{}.{} ms", tenths / 10, tenths % 10),
        100..10_000 => format!("{} ms", tenths / 10),
        _ => format!("{}.{} s", tenths / 10_000, tenths / 1000 % 10),
    }
}

/// Draws from one column to another. What is lost ends in a cross before that column; what is held or still in flight has
/// no tip.
fn shaft(lanes: &mut [char], from: usize, to: usize, fate: Fate) {
    let (left, right) = (from.min(to), from.max(to));
    for column in left + 1..right {
        let crosses = lanes.get(column).is_some_and(|character| *character != ' ');
        put(lanes, column, if crosses { '┼' } else { '─' });
    }
    put(lanes, from, if from < to { '├' } else { '┤' });
    let head = if from < to { right.saturating_sub(1) } else { left + 1 };
    let tip = match (fate, from < to) {
        (Fate::Lost, _) => '✗',
        (Fate::Held | Fate::OnItsWay, _) => '─',
        (Fate::Arrived, true) => '▶',
        (Fate::Arrived, false) => '◀',
    };
    put(lanes, head, tip);
}

fn put(lanes: &mut [char], column: usize, character: char) {
    if let Some(place) = lanes.get_mut(column) {
        *place = character;
    }
}
