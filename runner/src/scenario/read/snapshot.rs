//! What a scenario says about its snapshot.

use std::collections::BTreeSet;

use super::super::diagnostic::Diagnostic;
use super::super::grammar;
use super::super::model::{LeftOut, SnapshotSection};
use super::super::nearest::suggestion;
use super::super::scalar::{self, Parsed, Problem};
use super::super::yaml::Node;
use super::{Read, Reader, all};

/// Reads which sections of the snapshot are left out.
pub(super) fn read(reader: &Reader, node: &Node) -> Read<LeftOut> {
    let fields = reader.record(node, &grammar::SNAPSHOT)?;
    let because = fields.need("because", scalar::line);
    let sections = fields.need_node("without").and_then(|node| sections(reader, node));
    Ok(LeftOut { sections: sections?, because: because? })
}

fn sections(reader: &Reader, node: &Node) -> Read<BTreeSet<SnapshotSection>> {
    let items = reader.list(node, "`without`")?;
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
            Diagnostic::new(node.place, "all sections of the snapshot are left out: it would compare nothing")
                .help("leave in what is the same in each run; `--no-snapshot` judges by expectations alone"),
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
