//! Scenario × kernel and feature × kernel: for people, as Markdown, as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::comparison::table::{Cell, Column, ScenarioRow, Table};
use crate::results::{Found, Ruling};
use crate::text;

use super::Style;
use super::markdown::cell as escaped;
use super::style::Role;

/// Letters for different observations of one scenario; more than there are letters have the last one.
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";

/// Which rows are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Each scenario.
    All,
    /// Only those that did not pass in the same way on each kernel.
    Unlike,
}

impl Rows {
    fn shows(self, row: &ScenarioRow) -> bool {
        self == Self::All || !row.is_alike()
    }
}

/// For people: columns of text.
pub fn table_text(table: &Table, rows: Rows, style: Style) -> String {
    let mut text = String::new();
    for column in &table.columns {
        _ = writeln!(
            text,
            "{} {}",
            style.paint(Role::Heading, format!("{}:", text::one_line(&column.name))),
            about(column)
        );
        for line in &column.late_trouble {
            _ = writeln!(text, "   {} {}", style.paint(Role::Bad, "the kernel said:"), text::one_line(line));
        }
    }
    let features = table.features.iter().map(|row| {
        let cells = row.cells.iter().map(|cell| (feature_role(cell.as_ref()), feature_word(cell.as_ref()).to_owned()));
        (text::one_line(&row.word), cells.collect())
    });
    text.push('\n');
    text.push_str(&aligned("feature", &table.columns, &features.collect::<Vec<_>>(), style));
    for folder in table.folders() {
        let of_folder = table.scenarios.iter().filter(|row| row.folder() == folder && rows.shows(row));
        let lines: Vec<_> = of_folder.map(|row| (text::one_line(row.name()), cells(row))).collect();
        if !lines.is_empty() {
            text.push('\n');
            text.push_str(&aligned(&heading(folder), &table.columns, &lines, style));
        }
    }
    _ = writeln!(text, "\n{}", sum(table));
    style.finish(text)
}

fn heading(folder: &str) -> String {
    if folder.is_empty() { ".".to_owned() } else { text::one_line(folder) }
}

/// Lines with a name and a cell for each kernel, the names of the kernels above.
fn aligned(heading: &str, columns: &[Column], lines: &[(String, Vec<(Role, String)>)], style: Style) -> String {
    let length = |text: &str| text.chars().count();
    let first = lines.iter().map(|(name, _)| length(name)).chain([length(heading)]).max().unwrap_or(0);
    let names: Vec<String> = columns.iter().map(|column| text::one_line(&column.name)).collect();
    let widths = names.iter().enumerate().map(|(index, name)| {
        let cells = lines.iter().filter_map(|(_, cells)| cells.get(index)).map(|(_, cell)| length(cell));
        cells.chain([length(name)]).max().unwrap_or(0)
    });
    let widths: Vec<usize> = widths.collect();
    let padded = |text: &str, width: usize| format!("{text}{}", " ".repeat(width.saturating_sub(length(text))));
    let mut text = style.paint(Role::Heading, padded(heading, first));
    for (name, width) in names.iter().zip(&widths) {
        _ = write!(text, "  {}", style.paint(Role::Heading, padded(name, *width)));
    }
    text = format!("{}\n", text.trim_end());
    for (name, cells) in lines {
        let mut line = padded(name, first);
        for ((role, cell), width) in cells.iter().zip(&widths) {
            _ = write!(line, "  {}{}", style.paint(*role, cell), " ".repeat(width.saturating_sub(length(cell))));
        }
        _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Which kernel it was, and how much of it is new.
fn about(column: &Column) -> String {
    let Column { kernel, ran, reused, .. } = column;
    match kernel {
        Ok(kernel) => {
            let runs = match (ran, reused) {
                (ran, 0) => format!("{ran} run"),
                (0, reused) => format!("all {reused} re-used"),
                (ran, reused) => format!("{ran} run, {reused} re-used"),
            };
            text::one_line(&format!("Linux {} {} ({}), {runs}", kernel.release, kernel.machine, kernel.version))
        }
        Err(why) => text::one_line(&format!("no results: {why}")),
    }
}

fn feature_word(cell: Option<&Found>) -> &'static str {
    match cell {
        Some(Found::Yes) => "yes",
        Some(Found::No(_)) => "no",
        None => "?",
    }
}

fn feature_role(cell: Option<&Found>) -> Role {
    match cell {
        Some(Found::Yes) => Role::Good,
        Some(Found::No(_)) | None => Role::Warning,
    }
}

fn cells(row: &ScenarioRow) -> Vec<(Role, String)> {
    let several = row.behaviours() > 1;
    row.cells
        .iter()
        .map(|cell| cell.as_ref().map_or((Role::Bad, "?".to_owned()), |cell| words(cell, several)))
        .collect()
}

/// `pass`, `fail b`, `skip laminar`; a letter only if there are several behaviours.
fn words(cell: &Cell, several: bool) -> (Role, String) {
    let (role, word) = match cell.ruling {
        Ruling::Passed => (Role::Good, "pass"),
        Ruling::Failed => (Role::Bad, "fail"),
        Ruling::Skipped => (Role::Warning, "skip"),
        Ruling::Error => (Role::Bad, "error"),
    };
    let more = match cell.behaviour.filter(|_| several) {
        Some(behaviour) => LETTERS.chars().nth(behaviour).unwrap_or('z').to_string(),
        None => cell.lacks().join(" "),
    };
    (role, format!("{word} {more}").trim_end().to_owned())
}

/// How many are the same everywhere.
fn sum(table: &Table) -> String {
    let alike = table.scenarios.iter().filter(|row| row.is_alike()).count();
    let scenarios = text::count(table.scenarios.len() as u64, "scenario");
    let kernels = text::count(table.columns.len() as u64, "kernel");
    let several = table.scenarios.iter().any(|row| row.behaviours() > 1);
    let letters = if several { "; letters tell different observations of one scenario apart" } else { "" };
    format!("{scenarios} on {kernels}: {alike} passed in the same way on each{letters}")
}

/// As Markdown: the kernels, feature × kernel, verdicts by folder, then scenario × kernel for each folder.
pub fn table_markdown(table: &Table, rows: Rows) -> String {
    let mut text = String::from("## Kernels\n\n| name | kernel |\n|---|---|\n");
    for column in &table.columns {
        let trouble = if column.late_trouble.is_empty() {
            String::new()
        } else {
            format!("; it said: {}", column.late_trouble.join("; "))
        };
        _ = writeln!(text, "| {} | {}{} |", escaped(&column.name), escaped(&identity(column)), escaped(&trouble));
    }
    text.push_str("\n## Features\n\n");
    let features = table.features.iter().map(|row| {
        let cells = row.cells.iter().map(|cell| feature_word(cell.as_ref()).to_owned()).collect();
        (format!("`{}`", row.word), cells)
    });
    text.push_str(&piped("feature", &table.columns, features));
    text.push_str("\n## Behaviour\n\n");
    let folders = table.folders().into_iter().map(|folder| (escaped(&heading(folder)), folder_cells(table, folder)));
    text.push_str(&piped("folder", &table.columns, folders));
    _ = writeln!(text, "\n{}.", sum(table));
    for folder in table.folders() {
        let of_folder = || table.scenarios.iter().filter(|row| row.folder() == folder && rows.shows(row));
        if of_folder().next().is_some() {
            let lines = of_folder().map(|row| {
                let cells = cells(row).into_iter().map(|(_, words)| escaped(&words)).collect();
                (escaped(row.name()), cells)
            });
            _ = write!(text, "\n### {}\n\n{}", escaped(&heading(folder)), piped("scenario", &table.columns, lines));
        }
    }
    text
}

/// Only what stays the same when nothing changed: the page is kept in version control.
fn identity(column: &Column) -> String {
    match &column.kernel {
        Ok(kernel) => format!("Linux {} {} ({})", kernel.release, kernel.machine, kernel.version),
        Err(why) => format!("no results: {why}"),
    }
}

fn piped(first: &str, columns: &[Column], lines: impl Iterator<Item = (String, Vec<String>)>) -> String {
    let names: Vec<String> = columns.iter().map(|column| escaped(&column.name)).collect();
    let mut text = format!("| {first} | {} |\n|---{}|\n", names.join(" | "), "|---".repeat(columns.len()));
    for (name, cells) in lines {
        _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    text
}

/// `31 pass, 2 skip` for each kernel.
fn folder_cells(table: &Table, folder: &str) -> Vec<String> {
    let of_folder: Vec<&ScenarioRow> = table.scenarios.iter().filter(|row| row.folder() == folder).collect();
    let count = |column: usize, ruling: Option<Ruling>| {
        let cells = of_folder.iter().filter_map(|row| row.cells.get(column));
        cells.filter(|cell| cell.as_ref().map(|cell| cell.ruling) == ruling).count()
    };
    let kinds = [
        (Some(Ruling::Passed), "pass"),
        (Some(Ruling::Failed), "fail"),
        (Some(Ruling::Error), "error"),
        (Some(Ruling::Skipped), "skip"),
        (None, "?"),
    ];
    (0..table.columns.len())
        .map(|column| {
            let parts = kinds.iter().map(|(ruling, word)| (count(column, *ruling), word));
            let parts: Vec<String> =
                parts.filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}")).collect();
            parts.join(", ")
        })
        .collect()
}

/// As one JSON object. Its `format` is 1; `behaviour` counts the different observations of a scenario from 0.
pub fn table_json(table: &Table) -> Value {
    let by_name = |values: Vec<Value>| -> Value {
        table.columns.iter().map(|column| column.name.clone()).zip(values).collect::<serde_json::Map<_, _>>().into()
    };
    let columns = table.columns.iter().map(|column| {
        let (kernel, error) = match &column.kernel {
            Ok(kernel) => (Some(kernel), None),
            Err(why) => (None, Some(why)),
        };
        json!({
            "name": column.name,
            "kernel": kernel,
            "error": error,
            "ran": column.ran,
            "reused": column.reused,
            "late_trouble": column.late_trouble,
        })
    });
    let features = table.features.iter().map(
        |row| json!({ "feature": row.word, "kernels": by_name(row.cells.iter().map(|cell| json!(cell)).collect()) }),
    );
    let scenarios = table.scenarios.iter().map(|row| {
        let cells = row.cells.iter().map(|cell| cell.as_ref().map_or(Value::Null, cell_json)).collect();
        json!({ "label": row.label, "title": row.title, "alike": row.is_alike(), "kernels": by_name(cells) })
    });
    json!({
        "format": 1,
        "kernels": columns.collect::<Vec<_>>(),
        "features": features.collect::<Vec<_>>(),
        "scenarios": scenarios.collect::<Vec<_>>(),
    })
}

fn cell_json(cell: &Cell) -> Value {
    json!({
        "verdict": cell.ruling,
        "reason": cell.reason,
        "findings": cell.findings,
        "behaviour": cell.behaviour,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::table::tests::table;

    const PLAIN: Style = Style { colour: false, unicode: true };

    #[test]
    fn people_see_columns() {
        insta::assert_snapshot!(table_text(&table(), Rows::All, PLAIN));
    }

    #[test]
    fn markdown_has_both_tables() {
        insta::assert_snapshot!(table_markdown(&table(), Rows::All));
    }

    #[test]
    fn json_has_each_cell() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&table_json(&table())).unwrap());
    }

    #[test]
    fn what_is_alike_can_be_left_out() {
        let mut table = table();
        table.columns.remove(1);
        for row in &mut table.scenarios {
            row.cells.remove(1);
        }
        for text in [table_text(&table, Rows::Unlike, PLAIN), table_markdown(&table, Rows::Unlike)] {
            assert!(text.contains("behaves@ipv4") && !text.contains("same@") && !text.contains("top"), "{text}");
        }
    }
}
