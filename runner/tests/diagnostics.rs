//! What is said about good and bad scenario files.

use std::path::{Path, PathBuf};

use mptcplab::scenario;

/// The files of a folder of fixtures, by name, as seen from the workspace's root.
fn fixtures(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    std::env::set_current_dir(root).expect("the workspace's root");
    let folder = Path::new("fixtures").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

#[test]
fn good_files_are_read() {
    for file in fixtures("good") {
        if let Err(diagnostics) = scenario::load(&file) {
            panic!("{diagnostics}");
        }
    }
}

#[test]
fn bad_files_are_explained() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/bad"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _guard = settings.bind_to_scope();
    for file in fixtures("bad") {
        let name = file.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let diagnostics = match scenario::load(&file) {
            Err(diagnostics) => diagnostics,
            Ok(_) => panic!("{} was accepted", file.display()),
        };
        insta::assert_snapshot!(name, diagnostics);
    }
}
