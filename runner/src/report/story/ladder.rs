//! Drawing the lines of a story: the time, a lane for each namespace, and the words.

use crate::text;

use super::super::Style;
use super::super::style::Role;
use super::{Arrow, Line};

/// The width of the time: seconds of a long run still fit.
const TIME_WIDTH: usize = 10;
/// Room for an arrow between two lanes.
const MIN_LANE: usize = 14;
const MAX_LANE: usize = 24;
/// Words longer than this don't push the addresses of all other lines to the right.
const MAX_WORDS: usize = 36;

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
        Self { namespaces, columns, words_width, style }
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
        format!("{:>TIME_WIDTH$}  {}\n", "ms", self.style.paint(Role::Heading, names))
    }

    fn line(&self, line: &Line<'_>) -> String {
        match line {
            Line::Heading { text } => {
                format!("{:>TIME_WIDTH$}  {}", "", self.style.paint(Role::Heading, format!("── {text}")))
            }
            Line::Arrow(arrow) => self.arrow(arrow),
            Line::Event { at, namespace, text: words } => {
                let mut lanes = self.lifelines();
                if let Some(column) = self.lane(namespace) {
                    put(&mut lanes, column, '●');
                }
                self.row(*at, &lanes, &format!("{}: {words}", text::one_line(namespace)), Role::Event)
            }
            Line::Data { segments, bytes } => self.data(*segments, bytes),
            Line::Note { at, text, good } => {
                let role = if *good { Role::Good } else { Role::Bad };
                self.row(*at, &self.lifelines(), text, role)
            }
        }
    }

    fn arrow(&self, arrow: &Arrow<'_>) -> String {
        let mut lanes = self.lifelines();
        match (self.lane(arrow.from), arrow.to.and_then(|to| self.lane(to))) {
            (Some(from), Some(to)) if from != to => shaft(&mut lanes, from, to, arrow.lost),
            (Some(from), _) => {
                put(&mut lanes, from, '●');
                // Nowhere seen again: a short way to the side that has room.
                if let Some(neighbour) = arrow.lost.then(|| self.neighbour(from)).flatten() {
                    shaft(&mut lanes, from, from.midpoint(neighbour), true);
                }
            }
            (None, _) => {}
        }
        let words = format!("{:<1$}", arrow_words(arrow), self.words_width);
        let words = self.style.paint(if arrow.lost { Role::Bad } else { Role::Signal }, words);
        format!("{}  {words}  {}", self.prefix(arrow.at, &lanes), arrow.path)
    }

    fn neighbour(&self, column: usize) -> Option<usize> {
        let right = self.columns.iter().copied().find(|other| *other > column);
        right.or_else(|| self.columns.iter().copied().rfind(|other| *other < column))
    }

    fn data(&self, segments: u64, bytes: &[(&str, u64)]) -> String {
        let mut lanes = self.lifelines();
        for column in &self.columns {
            put(&mut lanes, *column, '┊');
        }
        let bytes: Vec<String> = bytes
            .iter()
            .map(|(sender, bytes)| format!("{} from {}", text::about(*bytes), text::one_line(sender)))
            .collect();
        let words = format!("… {}: {}", text::count(segments, "segment"), bytes.join(", "));
        let lanes: String = lanes.into_iter().collect();
        format!(
            "{:>TIME_WIDTH$}  {}  {}",
            "",
            self.style.paint(Role::Faint, lanes),
            self.style.paint(Role::Faint, words)
        )
    }

    fn row(&self, at: u64, lanes: &[char], words: &str, role: Role) -> String {
        format!("{}  {}", self.prefix(at, lanes), self.style.paint(role, words))
    }

    fn prefix(&self, at: u64, lanes: &[char]) -> String {
        let microseconds = at / 1000;
        let time = format!("{}.{:03}", microseconds / 1000, microseconds % 1000);
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

fn arrow_words(arrow: &Arrow<'_>) -> String {
    match arrow.times {
        1 => arrow.words.clone(),
        times => format!("{} ×{times}", arrow.words),
    }
}

/// Draws from one column to another. One that is lost ends in a cross before its goal.
fn shaft(lanes: &mut [char], from: usize, to: usize, lost: bool) {
    let (left, right) = (from.min(to), from.max(to));
    for column in left + 1..right {
        let crosses = lanes.get(column).is_some_and(|character| *character == '│');
        put(lanes, column, if crosses { '┼' } else { '─' });
    }
    put(lanes, from, if from < to { '├' } else { '┤' });
    let head = if from < to { right.saturating_sub(1) } else { left + 1 };
    let tip = match (lost, from < to) {
        (true, _) => '✗',
        (false, true) => '▶',
        (false, false) => '◀',
    };
    put(lanes, head, tip);
}

fn put(lanes: &mut [char], column: usize, character: char) {
    if let Some(place) = lanes.get_mut(column) {
        *place = character;
    }
}
