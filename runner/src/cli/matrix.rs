//! `mptcplab matrix`: scenario × kernel.

use crate::comparison::table::{Column, Table};
use crate::report::{self, Printer, Rows};
use crate::results::{Results, Ruling};
use crate::scenario::model::{ListedKernel, Scenario};
use crate::text;

use super::args::{MatrixArgs, ReportFormat};
use super::backend::Backend;
use super::compare::{json, load_list};
use super::elsewhere::{Cache, Missing, Obtained, handle_interruptions};
use super::program::Launcher;
use super::{Exit, check, report_trouble};

pub(super) fn execute(
    args: &MatrixArgs,
    backend: &dyn Backend,
    launcher: &dyn Launcher,
    printer: &mut Printer,
) -> Exit {
    matrix(args, backend, launcher, printer).unwrap_or_else(|exit| exit)
}

fn matrix(
    args: &MatrixArgs,
    backend: &dyn Backend,
    launcher: &dyn Launcher,
    printer: &mut Printer,
) -> Result<Exit, Exit> {
    let list = load_list(&args.file, printer)?;
    let paths = if args.paths.is_empty() { &list.paths } else { &args.paths };
    let scenarios = check::load(paths, backend, printer)?;
    handle_interruptions(backend, launcher, printer)?;
    let cache = Cache::new(&args.cache, &args.machine);
    let (mut columns, mut results) = (Vec::new(), Vec::new());
    for kernel in &list.kernels {
        let (column, of_kernel) = column(kernel, &scenarios, &cache, launcher, printer)?;
        columns.push(column);
        results.push(of_kernel);
    }
    let table = Table::of(columns, &results);
    let rows = if args.quiet { Rows::Unlike } else { Rows::All };
    match args.report.format() {
        ReportFormat::Text => {
            let style = printer.style();
            printer.out(&report::table_text(&table, rows, style));
        }
        ReportFormat::Markdown => printer.out(&report::table_markdown(&table, rows)),
        ReportFormat::Json => json(&report::table_json(&table), printer)?,
    }
    Ok(exit(&table))
}

/// Runs one kernel. A kernel that doesn't boot doesn't stop the others.
fn column(
    kernel: &ListedKernel,
    scenarios: &[Scenario],
    cache: &Cache,
    launcher: &dyn Launcher,
    printer: &mut Printer,
) -> Result<(Column, Option<Results>), Exit> {
    let name = text::one_line(&kernel.name);
    printer.note(&format!("{name}: {}", text::count(scenarios.len() as u64, "scenario")));
    let column = |kernel_identity, ran, reused, late_trouble| Column {
        name: kernel.name.clone(),
        kernel: kernel_identity,
        ran,
        reused,
        late_trouble,
    };
    let obtained = match cache.key(&kernel.kernel, launcher) {
        Ok(key) => cache.obtain(&kernel.kernel, &key, scenarios, launcher, printer),
        Err(trouble) => Err(Missing::Trouble(trouble)),
    };
    match obtained {
        Ok(Obtained { results, ran, reused }) => {
            printer.note(&format!("{name}: {ran} run, {reused} re-used"));
            Ok((column(Ok(results.kernel.clone()), ran, reused, results.late_trouble.clone()), Some(results)))
        }
        Err(Missing::Interrupted) => Err(Exit::Interrupted),
        Err(Missing::Trouble(mut trouble)) => {
            let why = trouble.message.clone();
            trouble.message = format!("{name}: {}", trouble.message);
            report_trouble(printer, &trouble);
            Ok((column(Err(why), 0, 0, Vec::new()), None))
        }
    }
}

/// The exit code, as for a run of all scenarios on all kernels.
fn exit(table: &Table) -> Exit {
    let cells = || table.scenarios.iter().flat_map(|row| &row.cells);
    let any = |ruling: Ruling| cells().flatten().any(|cell| cell.ruling == ruling);
    if any(Ruling::Failed) || table.columns.iter().any(|column| !column.late_trouble.is_empty()) {
        Exit::Failed
    } else if any(Ruling::Error) || table.columns.iter().any(|column| column.kernel.is_err()) {
        Exit::Environment
    } else if any(Ruling::Passed) {
        Exit::Passed
    } else {
        Exit::Skipped
    }
}
