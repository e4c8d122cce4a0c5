//! What is wrong with a scenario, each error with its place. The main type is [`Diagnostics`]: all errors of a file.

use std::fmt::{self, Write as _};

use annotate_snippets::{
    AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str, renderer::DecorStyle,
};

use super::model::{Place, Scenario};
use crate::scenario::SourceText;

/// So many errors of a file are shown; the rest is counted.
const SHOWN: usize = 100;

/// So many lines are handed to the renderer on each side of a place.
const NEIGHBOURHOOD: usize = 2;

/// One error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic(Box<Parts>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    message: String,
    place: Option<Place>,
    label: String,
    context: Option<(Place, String)>,
    help: Option<String>,
}

impl Diagnostic {
    /// An error at a place. The message is one sentence without a full stop, literals in backticks.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        let mut diagnostic = Self::of_file(message);
        diagnostic.0.place = Some(place);
        diagnostic
    }

    /// An error about the file as a whole.
    pub fn of_file(message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Parts { message, place: None, label: String::new(), context: None, help: None }))
    }

    /// What is said beside the carets.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.0.label = label.into();
        self
    }

    /// A second place that has to do with it.
    #[must_use]
    pub fn context(mut self, place: Place, label: impl Into<String>) -> Self {
        self.0.context = Some((place, label.into()));
        self
    }

    /// What to do.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        self.maybe_help(Some(help.into()))
    }

    /// The same, if there is something to say.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.0.help = help;
        self
    }

    /// More for the end of the one sentence.
    #[must_use]
    pub fn addition(mut self, text: &str) -> Self {
        self.0.message = format!("{}, {text}", self.0.message);
        self
    }

    /// The one sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it is; `None` if it is about the file as a whole.
    pub fn place(&self) -> Option<Place> {
        self.0.place
    }

    /// The source and line where it is.
    fn line(&self) -> Option<(usize, usize)> {
        self.0.place.map(|place| (place.source, place.line))
    }
}

/// All errors of one scenario file.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    file: String,
    found: Vec<Found>,
}

/// An error with what is needed to show it.
#[derive(Debug, Clone)]
struct Found {
    diagnostic: Diagnostic,
    sources: std::sync::Arc<[SourceText]>,
    variant: Option<String>,
}

impl Diagnostics {
    /// No errors yet.
    pub fn new(file: impl Into<String>) -> Self {
        Self { file: file.into(), found: Vec::new() }
    }

    /// Adds the errors that were found in these sources, in the order of the text. What has been said about the same
    /// line already is left out: the variants of a matrix share most of their errors.
    pub fn add(&mut self, mut found: Vec<Diagnostic>, sources: &[SourceText], variant: Option<&str>) {
        let sources: std::sync::Arc<[SourceText]> = sources.into();
        found.sort_by_key(|diagnostic| diagnostic.place().map(|place| (place.source, place.start)));
        for diagnostic in found {
            let known = |other: &Found| {
                let same_variant = other.variant.as_deref() == variant;
                other.diagnostic.message() == diagnostic.message()
                    && if same_variant {
                        other.diagnostic.place() == diagnostic.place()
                    } else {
                        other.diagnostic.line() == diagnostic.line()
                    }
            };
            if !self.found.iter().any(known) {
                self.found.push(Found { diagnostic, sources: sources.clone(), variant: variant.map(str::to_owned) });
            }
        }
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// The errors.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.found.iter().map(|found| &found.diagnostic)
    }

    /// All errors with their snippets, and how many they are.
    pub fn render(&self, colour: bool) -> String {
        let renderer = renderer(colour);
        let mut text = String::new();
        for found in self.found.iter().take(SHOWN) {
            text.push_str(&renderer.render(&found.report(&self.file)));
            text.push_str("\n\n");
        }
        if self.found.len() > SHOWN {
            let _ = write!(text, "… and {} more\n\n", self.found.len() - SHOWN);
        }
        let errors = if self.found.len() == 1 { "1 error".to_owned() } else { format!("{} errors", self.found.len()) };
        let _ = write!(text, "{}: {errors}", normalize_untrusted_str(&self.file));
        text
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

impl Found {
    fn report(&self, file: &str) -> Vec<Group<'_>> {
        let Parts { message, place, label, context, help } = &*self.diagnostic.0;
        let message = normalize_untrusted_str(message);
        let located = place.and_then(|place| Some((place, self.sources.get(place.source)?)));
        let mut group = match located {
            None => {
                Group::with_title(Level::ERROR.primary_title(format!("{}: {message}", normalize_untrusted_str(file))))
            }
            Some((place, source)) => {
                let group = Group::with_title(Level::ERROR.primary_title(message));
                let here = (place, AnnotationKind::Primary, label.as_str());
                match context {
                    Some((other, about)) if other.source == place.source => {
                        group.elements(excerpts(source, &[here, (*other, AnnotationKind::Context, about.as_str())]))
                    }
                    Some((other, about)) => {
                        let mut group = group.elements(excerpts(source, &[here]));
                        if let Some(source) = self.sources.get(other.source) {
                            let there = (*other, AnnotationKind::Context, about.as_str());
                            group = group.elements(excerpts(source, &[there]));
                        }
                        group
                    }
                    None => group.elements(excerpts(source, &[here])),
                }
            }
        };
        if let Some(variant) = &self.variant {
            let note = format!("in the variant `{variant}`, with its variables filled in");
            group = group.element(Level::NOTE.message(note));
        }
        if let Some(help) = help {
            group = group.element(Level::HELP.message(normalize_untrusted_str(help)));
        }
        vec![group]
    }
}

/// Shows a place of a scenario with a label, like an error without its title, so that reports can point into the file.
pub fn snippet(scenario: &Scenario, place: Place, label: &str, colour: bool) -> String {
    let Some(source) = scenario.sources.get(place.source) else {
        return label.to_owned();
    };
    let group = Group::with_level(Level::NOTE).elements(excerpts(source, &[(place, AnnotationKind::Primary, label)]));
    renderer(colour).render(&[group])
}

fn renderer(colour: bool) -> Renderer {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.decor_style(DecorStyle::Ascii)
}

/// The neighbourhood of each place, those that touch in one piece. Handing the whole text over for each of many
/// errors would take time proportional to its square.
fn excerpts<'a>(
    source: &'a SourceText,
    marks: &[(Place, AnnotationKind, &'a str)],
) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let windows: Vec<_> = marks.iter().map(|(place, ..)| window(&source.text, *place)).collect();
    let touching = windows.windows(2).all(|pair| match pair {
        [(a, _), (b, _)] => a.start <= b.end && b.start <= a.end,
        _ => true,
    });
    let build = |range: std::ops::Range<usize>, line: usize, marks: &[(Place, AnnotationKind, &'a str)]| {
        let text = source.text.get(range.clone()).unwrap_or_default();
        let annotations = marks.iter().map(|(place, kind, label)| {
            let start = place.start.saturating_sub(range.start).min(text.len());
            let end = place.end.saturating_sub(range.start).clamp(start, text.len());
            let annotation = kind.span(start..end);
            if label.is_empty() { annotation } else { annotation.label(*label) }
        });
        Snippet::source(text).line_start(line).path(source.name.as_str()).annotations(annotations)
    };
    if touching {
        let start = windows.iter().map(|(range, _)| range.start).min().unwrap_or_default();
        let end = windows.iter().map(|(range, _)| range.end).max().unwrap_or_default();
        let line = windows.iter().map(|(_, line)| *line).min().unwrap_or(1);
        return vec![build(start..end, line, marks)];
    }
    windows.into_iter().zip(marks).map(|((range, line), mark)| build(range, line, std::slice::from_ref(mark))).collect()
}

/// The byte range of the lines around a place, and the number of the first of them.
fn window(text: &str, place: Place) -> (std::ops::Range<usize>, usize) {
    let at = floor(text, place.start);
    let mut start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let mut line = place.line.max(1);
    for _ in 0..NEIGHBOURHOOD {
        if start == 0 || line == 1 {
            break;
        }
        start = text[..start - 1].rfind('\n').map_or(0, |newline| newline + 1);
        line -= 1;
    }
    let mut end = floor(text, place.end.max(at));
    for _ in 0..=NEIGHBOURHOOD {
        end = text[end..].find('\n').map_or(text.len(), |newline| end + newline + 1);
    }
    (start..end, line)
}

/// The offset, or the start of the character that it is within.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}
