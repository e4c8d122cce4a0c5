//! A list of kernels.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{KVM, Kind, Shape};
use super::super::model::{KernelList, ListedKernel, Machine, Place, WhichKernel};
use super::super::record::{Group as _, Part as _, Placed, part, record};
use super::super::scalar::{self, Line, Parsed, Problem};
use super::super::yaml::{Node, Value};
use super::scope::Scope;
use super::{At, Read, Reader, all};

/// The word for the kernel that runs here.
const RUNNING: &str = "running";

record! {
    /// A kernel of the list.
    KernelKeys as "kernel", "a kernel" {
        name: need Placed<Line> = "name", "What it is called in tables.";
        machine: group Machine;
    }
}

part! {
    /// A file or folder with scenarios.
    ScenarioPath: PathBuf = Shape::Scalar(Kind::Line), |at, node| file(at, node, |_| true, "file or folder")
}

part! {
    /// The image of a kernel.
    ImageFile: PathBuf = Shape::Scalar(Kind::Line), |at, node| file(at, node, fs::Metadata::is_file, "file")
}

part! {
    /// The folder with its modules.
    ModulesFolder: PathBuf = Shape::Scalar(Kind::Line), |at, node| file(at, node, fs::Metadata::is_dir, "folder")
}

part! {
    /// What `--kvm` takes.
    Kvm: &'static str = Shape::Scalar(Kind::Word(&KVM)), |at, node| {
        at.reader.scalar(node, scalar::word(&KVM)).map(|word| match word {
            "true" => "on",
            "false" => "off",
            other => other,
        })
    }
}

part! {
    /// Kernels, no two with the same name.
    ListedKernels: Vec<ListedKernel> = Shape::List(&Shape::Either(&[
        Shape::Scalar(Kind::Word(&[RUNNING])),
        KernelKeys::SHAPE,
    ])), |at, node| {
        let kernels = all(at.list(node)?.iter().map(|item| kernel(at, item)))?;
        distinct(at.reader, &kernels)?;
        Ok(kernels.into_iter().map(|(_, kernel)| kernel).collect())
    }
}

/// Reads a list of kernels. What it names must be there; `folder` is where relative paths begin.
pub fn kernels(reader: &Reader, root: &Node, folder: &Path) -> Read<KernelList> {
    let fields = reader.record(root, KernelList::RECORD)?;
    KernelList::from_keys(&At::new(&fields, &Scope { folder: folder.to_owned(), ..Scope::default() }))
}

/// Something can be run.
pub fn not_empty(at: &At<'_>, list: KernelList) -> Read<KernelList> {
    for (key, empty) in [("paths", list.paths.is_empty()), ("kernels", list.kernels.is_empty())] {
        if empty {
            let message = format!("`{key}:` is an empty list; there is nothing to run");
            return Err(at.reader.error(at.fields.place_of(key), message));
        }
    }
    Ok(list)
}

fn kernel(at: &At<'_>, node: &Node) -> Read<(Place, ListedKernel)> {
    if let Value::Scalar { .. } = node.value {
        let word = at.reader.scalar(node, scalar::word(&[RUNNING]))?;
        return Ok((node.place, ListedKernel { name: word.to_owned(), kernel: WhichKernel::Running }));
    }
    let KernelKeys { name: (name, place), machine } = KernelKeys::read(at, node)?;
    Ok((place, ListedKernel { name, kernel: WhichKernel::Image(machine) }))
}

fn file(at: &At<'_>, node: &Node, fits: fn(&fs::Metadata) -> bool, what: &str) -> Read<PathBuf> {
    at.reader.scalar(node, |text| path(&at.scope.folder, text, fits, what))
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
