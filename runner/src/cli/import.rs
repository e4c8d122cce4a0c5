//! `mptcplab import`: the draft of a scenario from a field report.

use std::io::{self, Write as _};
use std::path::Path;

use crate::files;
use crate::import::{self, Draft, ImportError};
use crate::report::Printer;
use crate::scenario::{self, SourceText};
use crate::text;

use super::args::ImportArgs;
use super::{Exit, complain, hint};

pub(super) fn execute(args: &ImportArgs, printer: &mut Printer) -> Exit {
    let file = text::one_line(&args.file.display().to_string());
    let drafted = files::open(&args.file, files::RECORDING).map_err(ImportError::from);
    let draft = match drafted.and_then(|report| import::import(report, args.anonymise)) {
        Ok(draft) => draft,
        Err(error) => {
            refuse(&file, &error, printer);
            return Exit::Usage;
        }
    };
    if let Err(error) = write(args, &draft, printer) {
        let output = args.output.as_ref().map(|output| text::one_line(&output.display().to_string()));
        complain(printer, &format!("can't write the draft `{}`: {error}", output.unwrap_or_default()));
        return Exit::Environment;
    }
    tell(&file, &draft, printer);
    if draft.unread.is_empty() { Exit::Passed } else { Exit::Failed }
}

fn refuse(file: &str, error: &ImportError, printer: &mut Printer) {
    complain(printer, &format!("no draft from `{file}`: {error}"));
    match error {
        ImportError::Unreadable(_) => {}
        ImportError::Unknown => hint(
            printer,
            "expected a capture (pcap, pcapng), or text: `mptcp-get-debug`, `ip mptcp monitor`, `ip mptcp endpoint show`, \
             `ip mptcp limits show`, `ss -MOi`",
        ),
        ImportError::Nothing { unread, .. } => {
            for line in unread {
                printer.note(&format!("not read: {line}"));
            }
        }
    }
}

/// Writes the draft to a new file, or to standard output.
fn write(args: &ImportArgs, draft: &Draft, printer: &mut Printer) -> io::Result<()> {
    let Some(output) = &args.output else {
        printer.out(&draft.yaml);
        return Ok(());
    };
    if output.symlink_metadata().is_ok() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it exists already; name another file"));
    }
    files::write_named(output, |out| out.write_all(draft.yaml.as_bytes()))
}

/// What the draft is from, and what it lacks, on standard error.
fn tell(file: &str, draft: &Draft, printer: &mut Printer) {
    printer.note(&format!("{file}: {}", draft.summary));
    for line in &draft.unread {
        printer.note(&format!("not read: {line}"));
    }
    printer.note("not determined by the report:");
    for line in &draft.undetermined {
        printer.note(&format!("  {}", text::one_line(line)));
    }
    // Drafts have no errors; should this one have some, nobody is to search for them in the report.
    let source = SourceText { name: "draft".to_owned(), text: draft.yaml.clone() };
    if let Err(diagnostics) = scenario::load_sources(Path::new("draft.yaml"), None, &[source]) {
        printer.note(diagnostics.render(printer.error_style().colour).trim_end_matches('\n'));
        complain(printer, "the draft has errors; this is a defect of mptcplab");
    }
}
