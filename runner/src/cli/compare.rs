//! `mptcplab compare`: what differs between two kernels.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::comparison::{Both, Comparison};
use crate::report::{self, Printer};
use crate::results::{self, Results};
use crate::scenario::model::{KernelList, Machine, Scenario, WhichKernel};
use crate::text;

use super::args::{CompareArgs, ReportFormat};
use super::backend::{Backend, Trouble};
use super::elsewhere::{Cache, Missing, handle_interruptions};
use super::program::Launcher;
use super::{Exit, check, complain, hint, report_trouble};

/// One side of the comparison.
enum Operand {
    /// A folder with results.
    Stored(PathBuf),
    /// A kernel to run.
    Kernel(WhichKernel),
}

pub(super) fn execute(
    args: &CompareArgs,
    backend: &dyn Backend,
    launcher: &dyn Launcher,
    printer: &mut Printer,
) -> Exit {
    compare(args, backend, launcher, printer).unwrap_or_else(|exit| exit)
}

fn compare(
    args: &CompareArgs,
    backend: &dyn Backend,
    launcher: &dyn Launcher,
    printer: &mut Printer,
) -> Result<Exit, Exit> {
    let list = args.kernels.as_deref().map(|file| load_list(file, printer)).transpose()?;
    let operands = Both {
        a: operand(&args.a, args.modules_a.as_deref(), list.as_ref(), printer)?,
        b: operand(&args.b, args.modules_b.as_deref(), list.as_ref(), printer)?,
    };
    let to_run = [&operands.a, &operands.b].iter().any(|operand| matches!(operand, Operand::Kernel(_)));
    let paths = match &list {
        Some(list) if args.paths.is_empty() => list.paths.clone(),
        _ => args.paths.clone(),
    };
    if to_run && paths.is_empty() {
        complain(printer, "no scenarios to run on the kernels");
        hint(printer, "name scenario files or folders: `mptcplab compare A B PATH...`");
        return Err(Exit::Usage);
    }
    let scenarios = if to_run { check::load(&paths, backend, printer)? } else { Vec::new() };
    if to_run {
        handle_interruptions(backend, launcher, printer)?;
    }
    let cache = Cache::new(&args.cache, &args.machine);
    // Both sides, before either of them runs.
    let a = examine(&args.a, &operands.a, &cache, launcher, printer)?;
    let b = examine(&args.b, &operands.b, &cache, launcher, printer)?;
    let a = obtain(&args.a, a, &scenarios, &cache, launcher, printer)?;
    let b = obtain(&args.b, b, &scenarios, &cache, launcher, printer)?;
    let (a, b) = (narrow(a, &paths, &scenarios), narrow(b, &paths, &scenarios));
    if a.scenarios.iter().all(|outcome| b.scenarios.iter().all(|other| other.label != outcome.label)) {
        nothing_to_compare(&paths, &a, &b, printer);
        return Err(Exit::Usage);
    }
    let names = Both { a: args.a.display().to_string(), b: args.b.display().to_string() };
    let comparison = Comparison::of(names, Both { a: &a, b: &b });
    show(args.report.format(), &comparison, printer)?;
    Ok(exit(&comparison))
}

/// A difference can be trusted, so it outweighs scenarios that could not be compared.
fn exit(comparison: &Comparison) -> Exit {
    let tallies = comparison.tallies();
    if tallies.differ + tallies.only_on_one + tallies.skipped_on_one > 0 || comparison.trouble_differs() {
        Exit::Failed
    } else if tallies.undecided > 0 {
        Exit::Environment
    } else if tallies.same == 0 {
        Exit::Skipped
    } else {
        Exit::Passed
    }
}

fn show(format: ReportFormat, comparison: &Comparison, printer: &mut Printer) -> Result<(), Exit> {
    match format {
        ReportFormat::Text => {
            let style = printer.style();
            printer.out(&report::comparison_text(comparison, style));
        }
        ReportFormat::Markdown => printer.out(&report::comparison_markdown(comparison)),
        ReportFormat::Json => json(&report::comparison_json(comparison), printer)?,
    }
    Ok(())
}

/// One object on one line.
pub(super) fn json(value: &serde_json::Value, printer: &mut Printer) -> Result<(), Exit> {
    let text = serde_json::to_string(value).map_err(|error| {
        complain(printer, &format!("can't write the results as JSON: {error}"));
        Exit::Environment
    })?;
    printer.line(&text);
    Ok(())
}

pub(super) fn load_list(file: &Path, printer: &mut Printer) -> Result<KernelList, Exit> {
    crate::scenario::load_kernels(file).map_err(|errors| {
        let colour = printer.error_style().colour;
        printer.note(errors.render(colour).trim_end_matches('\n'));
        complain(printer, &format!("the list of kernels `{}` can't be used", file.display()));
        Exit::Usage
    })
}

fn operand(
    name: &Path,
    modules: Option<&Path>,
    list: Option<&KernelList>,
    printer: &mut Printer,
) -> Result<Operand, Exit> {
    let listed = list.and_then(|list| list.kernels.iter().find(|kernel| Path::new(&kernel.name) == name));
    let operand = match std::fs::metadata(name) {
        _ if listed.is_some() => listed.map(|listed| Operand::Kernel(listed.kernel.clone())),
        _ if name == Path::new("running") => Some(Operand::Kernel(WhichKernel::Running)),
        Ok(metadata) if metadata.is_dir() => Some(Operand::Stored(name.to_owned())),
        Ok(_) => {
            let modules = modules.map(Path::to_owned);
            let machine = Machine { image: name.to_owned(), modules, ..Machine::default() };
            return Ok(Operand::Kernel(WhichKernel::Image(machine)));
        }
        Err(error) => {
            complain(printer, &format!("can't read `{}`: {error}", name.display()));
            let what = "a folder written by `mptcplab run --results`, a kernel image, or `running`";
            hint(printer, &format!("expected {what}; with `--kernels FILE`, also a name in that list"));
            return Err(Exit::Usage);
        }
    };
    match operand {
        Some(operand) if modules.is_none() => Ok(operand),
        _ => {
            complain(
                printer,
                &format!(
                    "`{}` is not a kernel image, so `--modules-a` and `--modules-b` don't apply to it",
                    name.display()
                ),
            );
            Err(Exit::Usage)
        }
    }
}

/// A side that was found to be readable.
enum Examined<'a> {
    Stored(Box<Results>),
    /// With its name in the cache.
    Kernel(&'a WhichKernel, String),
}

fn examine<'a>(
    name: &Path,
    operand: &'a Operand,
    cache: &Cache,
    launcher: &dyn Launcher,
    printer: &mut Printer,
) -> Result<Examined<'a>, Exit> {
    match operand {
        Operand::Stored(folder) => Ok(Examined::Stored(Box::new(stored(folder, printer)?))),
        Operand::Kernel(kernel) => match cache.key(kernel, launcher) {
            Ok(key) => Ok(Examined::Kernel(kernel, key)),
            Err(trouble) => Err(unusable(name, trouble, printer)),
        },
    }
}

fn stored(folder: &Path, printer: &mut Printer) -> Result<Results, Exit> {
    results::read(folder).map_err(|error| {
        complain(printer, &error.to_string());
        hint(printer, "`mptcplab run --results FOLDER PATH...` stores results");
        Exit::Usage
    })
}

/// Reports which side can't be compared.
fn unusable(name: &Path, mut trouble: Trouble, printer: &mut Printer) -> Exit {
    trouble.message = format!("{}: {}", text::one_line(&name.display().to_string()), trouble.message);
    report_trouble(printer, &trouble);
    Exit::Environment
}

fn obtain(
    name: &Path,
    side: Examined<'_>,
    scenarios: &[Scenario],
    cache: &Cache,
    launcher: &dyn Launcher,
    printer: &mut Printer,
) -> Result<Results, Exit> {
    match side {
        Examined::Stored(results) => Ok(*results),
        Examined::Kernel(kernel, key) => {
            let shown = text::one_line(&name.display().to_string());
            printer.note(&format!("{shown}: {}", text::count(scenarios.len() as u64, "scenario")));
            let obtained =
                cache.obtain(kernel, &key, scenarios, launcher, printer).map_err(|missing| match missing {
                    Missing::Interrupted => Exit::Interrupted,
                    Missing::Trouble(trouble) => unusable(name, trouble, printer),
                })?;
            printer.note(&format!("{shown}: {} run, {} re-used", obtained.ran, obtained.reused));
            Ok(obtained.results)
        }
    }
}

/// Keeps only these scenarios and others from these paths; everything, if no path is given.
fn narrow(mut results: Results, paths: &[PathBuf], scenarios: &[Scenario]) -> Results {
    if !paths.is_empty() {
        let labels: BTreeSet<String> = scenarios.iter().map(Scenario::label).collect();
        let is_meant = |label: &str| labels.contains(label) || paths.iter().any(|path| is_below(label, path));
        results.scenarios.retain(|outcome| is_meant(&outcome.label));
    }
    results
}

/// Whether the scenario with this label is in a file or below a folder.
fn is_below(label: &str, path: &Path) -> bool {
    let file = label.split_once('@').map_or(label, |(file, _)| file);
    let path = path.components().collect::<PathBuf>();
    let path = path.strip_prefix(".").unwrap_or(&path);
    let is_file = path.extension().is_some_and(|extension| extension == "yaml");
    let (path, file) = (if is_file { path.with_extension("") } else { path.to_owned() }, Path::new(file));
    // `./a` is `a`, but `a/../b` is kept: a folder may be a link.
    let file = file.components().collect::<PathBuf>();
    let file = file.strip_prefix(".").unwrap_or(&file);
    if is_file { file == path } else { file.starts_with(&path) }
}

fn nothing_to_compare(paths: &[PathBuf], a: &Results, b: &Results, printer: &mut Printer) {
    let count = |results: &Results| text::count(results.scenarios.len() as u64, "scenario");
    let where_ = if paths.is_empty() { "" } else { " of these paths" };
    let message = format!("nothing to compare: A has {}{where_}, B has {}, and none is in both", count(a), count(b));
    complain(printer, &message);
    hint(printer, "scenarios are identified by their paths: run both sides from the same folder");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_belong_to_files_and_folders() {
        for path in ["scenarios", "./scenarios/", "scenarios/signal", "scenarios/signal/port.yaml", "."] {
            assert!(is_below("scenarios/signal/port@ipv6", Path::new(path)), "{path}");
        }
        assert!(is_below("./scenarios/signal/port", Path::new("scenarios/signal")));
        for path in ["scenario", "scenarios/sig", "scenarios/signal/por.yaml", "scenarios/signal.yaml", "/scenarios"] {
            assert!(!is_below("scenarios/signal/port@ipv6", Path::new(path)), "{path}");
        }
    }
}
