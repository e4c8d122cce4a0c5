//! Our archives, read by cpio(1).

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Completion;
use mptcplab::vm::cpio::Archive;

use super::require::{Outcome, machine_lacks};

pub fn it_understands_our_archives() -> Outcome {
    let mut archive = Archive::new(Vec::new());
    archive.file(Path::new("/a/b/c.yaml"), b"title: x\n", false)?;
    archive.file(Path::new("/a/b/run"), b"12345", true)?;
    archive.character_device(Path::new("/dev/console"), (5, 1))?;
    archive.folder(Path::new("/a/b/d"))?;
    let mut cpio = Command::new("cpio");
    let Ok(mut cpio) = cpio.args(["-it", "--quiet"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        return machine_lacks("not installed: cpio");
    };
    cpio.stdin.take().ok_or("no standard input")?.write_all(&archive.finish()?)?;
    let listed = String::from_utf8(cpio.wait_with_output()?.stdout)?;
    assert_eq!(
        listed.lines().collect::<Vec<_>>(),
        ["a", "a/b", "a/b/c.yaml", "a/b/run", "dev", "dev/console", "a/b/d"]
    );
    Ok(Completion::Completed)
}
