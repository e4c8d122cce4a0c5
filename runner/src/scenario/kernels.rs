//! Lists of kernels, from their files.

use std::path::Path;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::model::KernelList;
use super::{file, read, renamed, yaml};
use crate::scenario::SourceText;

/// Reads a list of kernels. What it names is looked for, but not looked into.
pub fn load_kernels(path: &Path) -> Result<KernelList, Diagnostics> {
    let mut diagnostics = Diagnostics::new(path.display().to_string());
    let (list, found, sources) = match file::read(path) {
        Ok(source) => {
            let folder = path.parent().unwrap_or(Path::new(""));
            let (list, found) = parse(&source, folder);
            (list, found, vec![source])
        }
        Err(diagnostic) => (None, vec![diagnostic], Vec::new()),
    };
    diagnostics.add(found, &sources, None);
    match list {
        Some(list) if diagnostics.is_empty() => Ok(list),
        _ => Err(diagnostics),
    }
}

fn parse(source: &SourceText, folder: &Path) -> (Option<KernelList>, Vec<Diagnostic>) {
    let said = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if !source.text.lines().any(said) {
        let empty = Diagnostic::of_file("the file has no list of kernels").help("it has `paths:` and `kernels:`");
        return (None, vec![empty]);
    }
    let mut found = Vec::new();
    let Some(mut root) = yaml::parse(0, &source.text, &mut found) else { return (None, found) };
    found.extend(renamed::renew(&mut root, source, false));
    let reader = read::Reader::new(false);
    let list = read::kernels(&reader, &root, folder).ok();
    found.extend(reader.into_found());
    (list, found)
}

#[cfg(test)]
mod tests {
    use super::super::model::{ListedKernel, Machine, WhichKernel};
    use super::*;

    fn load(text: &str) -> Result<KernelList, String> {
        let folder = tempfile::tempdir().unwrap();
        for name in ["boot/vmlinuz", "scenarios/a.yaml", "lib/modules/6.1/veth.ko"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let file = folder.path().join("kernels.yaml");
        std::fs::write(&file, text).unwrap();
        let root = folder.path().canonicalize().unwrap().display().to_string();
        load_kernels(&file)
            .map(|list| {
                let relative = |path: &mut std::path::PathBuf| {
                    *path = path.strip_prefix(&root).unwrap().to_owned();
                };
                let mut list = list;
                list.paths.iter_mut().for_each(relative);
                for kernel in &mut list.kernels {
                    if let WhichKernel::Image(machine) = &mut kernel.kernel {
                        relative(&mut machine.image);
                        machine.modules.iter_mut().for_each(relative);
                    }
                }
                list
            })
            .map_err(|errors| errors.render(false).replace(&folder.path().display().to_string(), "FOLDER"))
    }

    #[test]
    fn a_list_is_read() {
        let list = load(
            "\
paths: [scenarios, ./scenarios/a.yaml]
kernels:
  - running
  - name: Debian 6.1
    image: boot/../boot/vmlinuz
    modules: lib/modules/6.1
    load: [sch_netem]
    append: mitigations=off quiet
    memory: 512
    cpus: 1
    kvm: false
  - { name: other, image: boot/vmlinuz }
",
        )
        .unwrap();
        assert_eq!(list.paths, ["scenarios", "scenarios/a.yaml"].map(std::path::PathBuf::from));
        let machine = Machine {
            image: "boot/vmlinuz".into(),
            modules: Some("lib/modules/6.1".into()),
            load: vec!["sch_netem".to_owned()],
            append: Some("mitigations=off quiet".to_owned()),
            memory: Some(512),
            cpus: Some(1),
            kvm: Some("off"),
        };
        let bare = Machine { image: "boot/vmlinuz".into(), ..Machine::default() };
        let named = |name: &str, kernel| ListedKernel { name: name.to_owned(), kernel };
        assert_eq!(
            list.kernels,
            [
                named("running", WhichKernel::Running),
                named("Debian 6.1", WhichKernel::Image(machine)),
                named("other", WhichKernel::Image(bare)),
            ]
        );
    }

    #[test]
    fn all_errors_are_told_at_their_places() {
        let text = "\
paths: [scenarios, scenario]
kernels:
  - runnning
  - { name: a, image: boot, modules: boot/vmlinuz }
  - { name: b, imgae: boot/vmlinuz, memory: 12 }
  - { image: boot/nothing, kvm: maybe }
";
        insta::assert_snapshot!(load(text).unwrap_err());
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let refusal = |text: &str| load(text).unwrap_err();
        assert!(refusal("# nothing\n").contains("the file has no list of kernels"));
        assert!(refusal("kernels: [running]\n").contains("a list of kernels needs `paths:`"));
        assert!(refusal("paths: [scenarios]\nkernels: []\n").contains("`kernels:` is an empty list"));
        assert!(refusal("paths: []\nkernels: [running]\n").contains("`paths:` is an empty list"));
        let twice = refusal("paths: [scenarios]\nkernels: [running, { name: running, image: boot/vmlinuz }]\n");
        assert!(twice.contains("two kernels are called `running`"), "{twice}");
        assert!(load_kernels(Path::new("/nonexistent")).unwrap_err().render(false).contains("can't be read"));
    }
}
