//! The floors of ARCHITECTURE.md: a module uses what stands below it, and nothing above or beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// The floor of each module, from the bottom.
fn floors() -> BTreeMap<String, usize> {
    let text = fs::read_to_string(Path::new(SOURCE).join("../../ARCHITECTURE.md")).unwrap();
    let (_, block) = text.split_once("```floors\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let floors = block.lines().rev().enumerate();
    floors.flat_map(|(floor, line)| line.split_whitespace().map(move |name| (name.to_owned(), floor))).collect()
}

/// The files of a module that are no tests.
fn files(path: &Path, found: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        if ["tests", "example", "fake", "fixture", "layers"].iter().any(|test| name.starts_with(test)) {
            continue;
        }
        if entry.is_dir() {
            files(&entry, found);
        } else if Path::new(&name).extension().is_some_and(|extension| extension == "rs") {
            let shown = entry.strip_prefix(SOURCE).unwrap().display().to_string();
            found.push((shown, fs::read_to_string(&entry).unwrap()));
        }
    }
}

/// The modules of this crate that a text names, outside of its comments and tests.
fn used(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| line.split("crate::").skip(1)).filter_map(|path| {
        path.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().filter(|name| !name.is_empty())
    })
}

#[test]
fn each_module_uses_only_what_is_below_it() {
    let floors = floors();
    let modules = fs::read_to_string(Path::new(SOURCE).join("lib.rs")).unwrap();
    let modules = modules.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
    let modules: Vec<&str> = modules.map(|name| name.trim_end_matches(';')).collect();
    let known = |name: &str| modules.contains(&name) && !["pick", "layers"].contains(&name);
    for module in modules.iter().filter(|name| known(name)) {
        assert!(floors.contains_key(*module), "ARCHITECTURE.md doesn't say on which floor `{module}` is");
    }
    let mut found = Vec::new();
    files(Path::new(SOURCE), &mut found);
    assert!(found.len() > 200, "only {} files were looked at", found.len());
    let mut wrong = Vec::new();
    for (file, text) in &found {
        assert!(!text.contains("use crate::{"), "{file}: a line for each module, so that this test sees them");
        let module = file.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        for used in used(text).filter(|used| known(used) && *used != module) {
            if floors.get(module).is_some_and(|floor| floors.get(used) >= Some(floor)) {
                wrong.push(format!("{file} uses `{used}`, which is not below `{module}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_modules_that_are_named_touch_the_kernel() {
    let text = fs::read_to_string(Path::new(SOURCE).join("lib.rs")).unwrap();
    let (_, named) = text.split_once("//! Only ").unwrap();
    let (named, _) = named.split_once("touch the kernel").unwrap();
    let mut found = Vec::new();
    files(Path::new(SOURCE), &mut found);
    let ways = [
        "crate::sys::",
        "rtnetlink::",
        "genetlink::",
        "netlink_sys::",
        "socket2::",
        "nix::sched",
        "nix::sys::socket",
        "nix::mount",
    ];
    // The command line enters the privileges, and blocks signals.
    let exceptions = ["cli/backend.rs", "cli/interrupt.rs"];
    for (file, text) in found.iter().filter(|(file, _)| !exceptions.contains(&file.as_str())) {
        let module = file.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let touches = ways.iter().find(|way| code.contains(&format!("use {way}")));
        assert!(touches.is_none() || named.contains(&format!("`{module}`")), "{file} uses {touches:?}");
    }
    assert!(named.contains("[`engine`]") && !named.contains("[`judge`]"), "{named}");
}

#[test]
fn what_a_text_uses_is_found() {
    let text = "use crate::judge::Finding;\n// crate::cli\nfn f() { crate::text::x(); }\n#[cfg(test)]\nmod tests {\n    use crate::vm;";
    assert_eq!(used(text).collect::<Vec<_>>(), ["judge", "text"]);
}
