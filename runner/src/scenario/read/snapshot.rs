//! What a scenario says about its snapshot.

use std::collections::BTreeSet;

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{Kind, Shape};
use super::super::model::SnapshotSection;
use super::super::nearest::suggestion;
use super::super::record::part;
use super::super::scalar::{Parsed, Problem};
use super::super::yaml::Node;
use super::{At, Read, all};

part! {
    /// Sections of the snapshot: some, not all.
    Sections: BTreeSet<SnapshotSection> =
        Shape::List(&Shape::Scalar(Kind::Word(&SnapshotSection::WORDS))), sections
}

fn sections(at: &At<'_>, node: &Node) -> Read<BTreeSet<SnapshotSection>> {
    let (reader, items) = (at.reader, at.list(node)?);
    if items.is_empty() {
        let diagnostic = Diagnostic::new(node.place, "`without` names no section of the snapshot");
        return Err(reader.report(diagnostic.help(format!("name some of {}, or leave `snapshot` out", known()))));
    }
    let mut places = Vec::new();
    let sections = all(items.iter().map(|item| {
        let section = reader.scalar(item, section)?;
        if let Some((_, first)) = places.iter().find(|(known, _)| *known == section) {
            let message = format!("`{}` is left out twice", section.word());
            return Err(reader.report(Diagnostic::new(item.place, message).context(*first, "also here")));
        }
        places.push((section, item.place));
        Ok(section)
    }))?;
    if sections.len() == SnapshotSection::ALL.len() {
        return Err(reader.report(
            Diagnostic::new(node.place, "the snapshot leaves out all sections, so it would compare nothing")
                .help("keep the sections that are the same in each run; `--no-snapshot` judges by expectations alone"),
        ));
    }
    Ok(sections.into_iter().collect())
}

fn section(text: &str) -> Parsed<SnapshotSection> {
    match SnapshotSection::ALL.into_iter().find(|section| section.word() == text) {
        Some(section) => Ok(section),
        None => Err(Problem {
            message: format!("the snapshot has no section `{text}`"),
            help: suggestion(text, SnapshotSection::WORDS),
        }),
    }
}

fn known() -> String {
    SnapshotSection::WORDS.map(|word| format!("`{word}`")).join(", ")
}
