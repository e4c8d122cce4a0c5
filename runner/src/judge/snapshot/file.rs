//! Files in insta's format: a head in YAML between two lines of `---`, then the text.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use crate::files::{self, Folder};

/// What insta takes for the file that the assertion is in. The snapshots of before have it, too.
const SOURCE: &str = "runner/src/judge/snapshot.rs";

/// The text of a snapshot; `None` if there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    let text = match files::read_text(path, files::SNAPSHOT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    body(&text).map(|body| Some(body.to_owned())).map_err(io::Error::other)
}

/// What follows the head.
fn body(text: &str) -> Result<&str, &'static str> {
    const FOREIGN: &str = "it is not in insta's format: `---`, lines like `title: text`, `---`, and the text";
    let mut lines = text.split_inclusive('\n');
    let mut length = lines.next().filter(|line| line.trim_end() == "---").ok_or(FOREIGN)?.len();
    for line in lines {
        length += line.len();
        match line.trim_end() {
            "---" => return Ok(text.get(length..).unwrap_or_default()),
            "snapshot_kind: binary" => return Err("it is a binary snapshot"),
            line if !belongs_to_head(line) => return Err(FOREIGN),
            _ => {}
        }
    }
    Err(FOREIGN)
}

/// A key with its value, or more of the value before.
fn belongs_to_head(line: &str) -> bool {
    let key = line.split_once(':').map_or("", |(key, _)| key);
    let is_key = !key.is_empty() && key.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    is_key || line.is_empty() || line.starts_with([' ', '-'])
}

/// A snapshot's file.
pub(super) fn content(title: &str, scenario: &Path, text: &str) -> String {
    let mut head = format!("---\nsource: {SOURCE}\n");
    _ = writeln!(head, "description: {}", scalar(title));
    _ = writeln!(head, "input_file: {}", scalar(&from_the_root(scenario)));
    format!("{head}---\n{text}\n")
}

/// The scenario's file from the root of its repository, or its name alone: no snapshot names paths of one machine.
fn from_the_root(scenario: &Path) -> String {
    let name = || scenario.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Ok(absolute) = std::path::absolute(scenario) else { return name() };
    let root = absolute.ancestors().skip(1).find(|folder| folder.join(".git").exists());
    match root.and_then(|root| absolute.strip_prefix(root).ok()) {
        Some(path) => path.display().to_string(),
        None => name(),
    }
}

/// A string in YAML, quoted where insta would quote it.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 7] = ["yes", "no", "true", "false", "on", "off", "null"];
    let quoted = text.is_empty()
        || text.starts_with([' ', '&', '*', '?', '|', '-', '<', '>', '=', '!', '%', '@', '.', '~'])
        || text.ends_with(' ')
        || text.starts_with("0x")
        || text.contains([':', '{', '}', '[', ']', ',', '#', '`', '"', '\'', '\\'])
        || text.contains(char::is_control)
        || WORDS.contains(&text.to_ascii_lowercase().as_str())
        || text.parse::<f64>().is_ok();
    if !quoted {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            letter if letter.is_control() => _ = write!(out, "\\u{:04x}", u32::from(letter)),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// Writes a snapshot's file: the one place where that is done. Neither its folder nor the file itself may be a symbolic
/// link, as both may have come with an untrusted folder of scenarios.
pub(super) fn write(path: &Path, content: &str) -> io::Result<()> {
    let (scenarios, folder, name) = parts(path)?;
    let folder = Folder::open(scenarios)?.make_beneath(folder)?;
    folder.write(name, |out| out.write_all(content.as_bytes()))
}

/// Removes a snapshot's file, if there is one.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    let (scenarios, folder, name) = parts(path)?;
    Folder::open(scenarios)?.beneath(folder)?.remove_file(name)
}

/// The folder of the scenarios, that of the snapshots in it, and the file's name in there.
fn parts(path: &Path) -> io::Result<(&Path, &Path, &str)> {
    let folder = path.parent().and_then(|folder| Some((folder.parent()?, Path::new(folder.file_name()?))));
    let name = path.file_name().and_then(OsStr::to_str);
    let (Some((scenarios, folder)), Some(name)) = (folder, name) else {
        return Err(io::Error::other("its name is not UTF-8"));
    };
    Ok((scenarios, folder, name))
}
