//! A list of kernels.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{self, KVM};
use super::super::model::{KernelList, ListedKernel, Machine, Place, WhichKernel};
use super::super::scalar::{self, Parsed, Problem};
use super::super::yaml::{Node, Value};
use super::{Fields, Read, Reader, all, lines};

/// The word for the kernel that runs here.
const RUNNING: &str = "running";

/// Reads a list of kernels. What it names must be there; `folder` is where relative paths begin.
pub fn kernels(reader: &Reader, root: &Node, folder: &Path) -> Read<KernelList> {
    let fields = reader.record(root, &grammar::KERNELS)?;
    let paths = lines(&fields, "paths", |text| path(folder, text, |_| true, "file or folder"));
    let items = fields.need_node("kernels").and_then(|node| reader.list(node, "`kernels`"));
    let kernels = items.and_then(|items| all(items.iter().map(|item| kernel(reader, item, folder))));
    let (paths, kernels) = (paths?, kernels?);
    for (key, empty) in [("paths", paths.is_empty()), ("kernels", kernels.is_empty())] {
        if empty {
            return Err(
                reader.error(fields.place_of(key), format!("`{key}:` is an empty list: there is nothing to run"))
            );
        }
    }
    distinct(reader, &kernels)?;
    Ok(KernelList { paths, kernels: kernels.into_iter().map(|(_, kernel)| kernel).collect() })
}

fn kernel(reader: &Reader, node: &Node, folder: &Path) -> Read<(Place, ListedKernel)> {
    if let Value::Scalar { .. } = node.value {
        let word = reader.scalar(node, scalar::word(&[RUNNING]))?;
        return Ok((node.place, ListedKernel { name: word.to_owned(), kernel: WhichKernel::Running }));
    }
    let fields = reader.record(node, &grammar::KERNEL)?;
    let name = fields.need("name", scalar::line);
    let machine = machine(&fields, folder);
    Ok((fields.place_of("name"), ListedKernel { name: name?, kernel: WhichKernel::Image(machine?) }))
}

fn machine(fields: &Fields<'_>, folder: &Path) -> Read<Machine> {
    let image = fields.need("image", |text| path(folder, text, fs::Metadata::is_file, "file"));
    let modules = fields.optional("modules", |text| path(folder, text, fs::Metadata::is_dir, "folder"));
    let load = lines(fields, "load", scalar::line);
    let append = fields.optional("append", scalar::line);
    let memory = fields.optional("memory", scalar::integer(64, 1 << 20));
    let cpus = fields.optional("cpus", scalar::integer(1, 255));
    let kvm = fields.optional("kvm", |text| scalar::word(&KVM)(text).map(for_the_command_line));
    Ok(Machine {
        image: image?,
        modules: modules?,
        load: load?,
        append: append?,
        memory: memory?,
        cpus: cpus?,
        kvm: kvm?,
    })
}

/// What `--kvm` calls it.
fn for_the_command_line(kvm: &'static str) -> &'static str {
    match kvm {
        "true" => "on",
        "false" => "off",
        other => other,
    }
}

/// Something that must be there: as seen from the current folder, if it is below it.
fn path(folder: &Path, text: &str, fits: fn(&fs::Metadata) -> bool, what: &str) -> Parsed<PathBuf> {
    let path = folder.join(scalar::line(text)?);
    let shown = path.display();
    match fs::metadata(&path) {
        Err(error) => Err(Problem::new(format!("can't use `{shown}`: {error}"))),
        Ok(metadata) if !fits(&metadata) => Err(Problem::new(format!("`{shown}` is no {what}"))),
        Ok(_) => {
            let absolute =
                path.canonicalize().map_err(|error| Problem::new(format!("can't use `{shown}`: {error}")))?;
            let here = std::env::current_dir().and_then(|here| here.canonicalize()).ok();
            let inside = here.and_then(|here| absolute.strip_prefix(here).ok().map(Path::to_owned));
            Ok(inside.filter(|inside| inside != Path::new("")).unwrap_or(absolute))
        }
    }
}

/// Tables and stored results tell kernels apart by their names.
fn distinct(reader: &Reader, kernels: &[(Place, ListedKernel)]) -> Read<()> {
    let mut seen: HashMap<&str, Place> = HashMap::new();
    let again = |(place, kernel): &(Place, ListedKernel), first: Place| {
        Diagnostic::new(*place, format!("two kernels are called `{}`", kernel.name)).context(first, "the other one")
    };
    let mut bad = None;
    for (place, kernel) in kernels {
        if let Some(first) = seen.insert(&kernel.name, *place) {
            bad = Some(reader.report(again(&(*place, kernel.clone()), first)));
        }
    }
    bad.map_or(Ok(()), Err)
}
