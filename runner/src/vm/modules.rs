//! The kernel's modules: which ones there are, which ones it takes, in which order, and their uncompressed content. Main
//! type: [`Tree`].
//!
//! What a module needs is read from the module itself (`depends` and `softdep` in its section `.modinfo`): an unpacked
//! package has no `modules.dep`, which is made where it is installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::elf::Elf;
use crate::files;

/// What a run may use, if the kernel has it as a module. What it doesn't have is built in, or missing: then the run finds
/// out when it tries. The virtio modules come first, the run's way out leads through them.
const WANTED: &[&str] = &[
    "virtio_pci",
    "virtio_mmio",
    "virtio_console",
    // Ciphers and checksums that others ask for by their algorithm.
    "crc32c_generic",
    "crc32c_intel",
    "sha256_generic",
    "hmac",
    "ipv6",
    "af_packet",
    "veth",
    "dummy",
    "tun",
    "tcp_diag",
    "mptcp_diag",
    "sch_tbf",
    "sch_netem",
    "nf_tables",
    "nft_numgen",
    "nft_limit",
    "nft_quota",
    "nft_reject",
    "nft_reject_inet",
    "nft_reject_ipv4",
    "nft_reject_ipv6",
    "nft_reject_netdev",
];

/// Deeper than any real tree.
const MAX_DEPTH: usize = 32;

/// The modules of one kernel.
#[derive(Debug)]
pub struct Tree {
    folder: PathBuf,
    /// By name.
    files: BTreeMap<String, PathBuf>,
    /// Those that are part of the kernel itself.
    builtin: BTreeSet<String>,
}

/// A module that is ready to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name, with `_` where its file may have `-`.
    pub name: String,
    /// What to hand to the kernel.
    pub content: Vec<u8>,
}

/// Why modules can't be used.
#[derive(Debug, Error)]
pub enum ModulesError {
    /// There are none for this kernel.
    #[error("no modules for kernel {release} in {}; name their folder with `--modules`", list(.looked))]
    NotFound {
        /// The kernel's release.
        release: String,
        /// Where they were looked for.
        looked: Vec<PathBuf>,
    },
    /// The folder has none.
    #[error("no modules (`*.ko`, `*.ko.xz`, …) below `{0}`")]
    Empty(PathBuf),
    /// A folder or a file can't be read.
    #[error("can't read `{path}`: {source}")]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file isn't what its name says.
    #[error("`{path}` is not a module: {reason}")]
    Damaged {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A module needs another one that isn't there.
    #[error("module {needed} is missing in `{folder}`; {by} needs it")]
    Missing {
        /// The module.
        needed: String,
        /// Who needs it.
        by: String,
        /// Where it should be.
        folder: PathBuf,
    },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

impl Tree {
    /// The folder that they are below.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The modules below a folder, such as `lib/modules/6.12.0`.
    pub fn open(folder: &Path) -> Result<Self, ModulesError> {
        let mut files = BTreeMap::new();
        walk(folder, 0, &mut files)?;
        if files.is_empty() {
            return Err(ModulesError::Empty(folder.to_owned()));
        }
        let builtin = files::read_text(&folder.join("modules.builtin"), files::MODULE).unwrap_or_default();
        let builtin = builtin.lines().filter_map(|line| name_of(Path::new(line))).collect();
        Ok(Self { folder: folder.to_owned(), files, builtin })
    }

    /// The modules of a kernel image, where distributions, packages, and builds have them.
    pub fn beside(image: &Path, release: &str) -> Result<Self, ModulesError> {
        let image = fs::canonicalize(image).unwrap_or_else(|_| image.to_owned());
        let beside =
            image.parent().into_iter().flat_map(|folder| [folder.join("../lib/modules"), folder.join("lib/modules")]);
        let installed = ["/lib/modules", "/usr/lib/modules"].map(PathBuf::from);
        let looked: Vec<PathBuf> = beside.chain(installed).map(|folder| folder.join(release)).collect();
        match looked.iter().find(|folder| folder.is_dir()) {
            Some(folder) => Self::open(folder),
            None => Err(ModulesError::NotFound { release: release.to_owned(), looked }),
        }
    }

    /// What a run needs, and `more`, each after what it depends on. What isn't in the tree is left out; `more` must be.
    pub fn needed(&self, more: &[String]) -> Result<Vec<Module>, ModulesError> {
        let mut order = Order { tree: self, begun: BTreeSet::new(), ready: Vec::new() };
        for name in WANTED {
            if self.files.contains_key(*name) {
                order.add(name, "a run")?;
            }
        }
        for name in more {
            order.add(&normal(name), "`--load`")?;
        }
        Ok(order.ready)
    }
}

/// Modules in the order in which they can be loaded.
struct Order<'a> {
    tree: &'a Tree,
    begun: BTreeSet<String>,
    ready: Vec<Module>,
}

impl Order<'_> {
    fn add(&mut self, name: &str, by: &str) -> Result<(), ModulesError> {
        if self.tree.builtin.contains(name) || !self.begun.insert(name.to_owned()) {
            return Ok(());
        }
        let missing =
            || ModulesError::Missing { needed: name.to_owned(), by: by.to_owned(), folder: self.tree.folder.clone() };
        let path = self.tree.files.get(name).ok_or_else(missing)?;
        let content = read(path)?;
        let (hard, soft) = dependencies(path, &content)?;
        for other in hard {
            self.add(&other, name)?;
        }
        for other in soft.iter().filter(|other| self.tree.files.contains_key(*other)) {
            self.add(other, name)?;
        }
        self.ready.push(Module { name: name.to_owned(), content });
        Ok(())
    }
}

/// What a module can't do without, and what shall be there before it if it can be had.
fn dependencies(path: &Path, content: &[u8]) -> Result<(Vec<String>, Vec<String>), ModulesError> {
    let damaged = |reason: &str| ModulesError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    let elf = Elf::parse(content).ok_or_else(|| damaged("not a 64-bit ELF file"))?;
    let info = elf.section(".modinfo").ok_or_else(|| damaged("no .modinfo section"))?;
    let (mut hard, mut soft) = (Vec::new(), Vec::new());
    for entry in info.split(|byte| *byte == 0) {
        let entry = String::from_utf8_lossy(entry);
        if let Some(names) = entry.strip_prefix("depends=") {
            hard.extend(names.split(',').filter(|name| !name.is_empty()).map(normal));
        } else if let Some(rest) = entry.strip_prefix("softdep=") {
            let before = rest.split_whitespace().skip_while(|word| *word != "pre:").skip(1);
            soft.extend(before.take_while(|word| !word.ends_with(':')).map(normal));
        }
    }
    Ok((hard, soft))
}

/// The kernel doesn't tell `-` and `_` apart.
fn normal(name: impl AsRef<str>) -> String {
    name.as_ref().replace('-', "_")
}

/// `nf_tables` for `kernel/net/netfilter/nf_tables.ko.xz`.
fn name_of(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().find_map(|ending| file.strip_suffix(ending))?;
    Some(normal(stem))
}

fn walk(folder: &Path, depth: usize, files: &mut BTreeMap<String, PathBuf>) -> Result<(), ModulesError> {
    let unreadable = |source| ModulesError::Unreadable { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        // Symbolic links are left alone: `build` and `source` lead into a tree of sources.
        if entry.file_type().map_err(unreadable)?.is_dir() {
            if depth < MAX_DEPTH {
                walk(&path, depth + 1, files)?;
            }
        } else if let Some(name) = name_of(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, ModulesError> {
    let unreadable = |source| ModulesError::Unreadable { path: path.to_owned(), source };
    let raw = files::read(path, files::MODULE).map_err(unreadable)?;
    unpack(&raw).map_err(|reason| ModulesError::Damaged { path: path.to_owned(), reason })
}

/// Memory to uncompress xz in, in KiB. `xz -9` refers back over 64 MiB, and a damaged header claims up to 4 GiB.
const XZ_MEMORY: u32 = 66 << 10;

/// Uncompresses what its first bytes show to be compressed.
fn unpack(raw: &[u8]) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    if raw.starts_with(b"\xfd7zXZ\0") {
        let decoder = lzma_rust2::XzReader::new_mem_limit(raw, true, XZ_MEMORY);
        // A small file can hold any amount of zeros.
        decoder.take(files::MODULE + 1).read_to_end(&mut content).map_err(|error| format!("xz: {error}"))?;
        if content.len() as u64 > files::MODULE {
            return Err(format!("xz: more than {} MiB", files::MODULE >> 20));
        }
    } else if raw.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = ruzstd::decoding::StreamingDecoder::new(raw).map_err(|error| format!("zstd: {error}"))?;
        decoder.take(files::MODULE).read_to_end(&mut content).map_err(|error| format!("zstd: {error}"))?;
    } else if raw.starts_with(&[0x1f, 0x8b]) {
        let decoder = flate2::read::GzDecoder::new(raw);
        decoder.take(files::MODULE).read_to_end(&mut content).map_err(|error| format!("gzip: {error}"))?;
    } else {
        content = raw.to_vec();
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// An ELF file with nothing but the section `.modinfo`.
    fn module(info: &str) -> Vec<u8> {
        let names = b"\0.modinfo\0.shstrtab\0";
        let (info_at, names_at) = (64, 64 + info.len());
        let table = names_at + names.len();
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[40..48].copy_from_slice(&(table as u64).to_le_bytes());
        bytes[60..62].copy_from_slice(&3_u16.to_le_bytes());
        bytes[62..64].copy_from_slice(&2_u16.to_le_bytes());
        bytes.extend_from_slice(info.as_bytes());
        bytes.extend_from_slice(names);
        for (name, at, length) in [(0_u32, 0, 0), (1, info_at, info.len()), (10, names_at, names.len())] {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[24..32].copy_from_slice(&(at as u64).to_le_bytes());
            header[32..40].copy_from_slice(&(length as u64).to_le_bytes());
            bytes.extend_from_slice(&header);
        }
        bytes
    }

    fn tree(files: &[(&str, &str)], builtin: &str) -> (tempfile::TempDir, Tree) {
        let folder = tempfile::tempdir().unwrap();
        let kernel = folder.path().join("kernel/net");
        fs::create_dir_all(&kernel).unwrap();
        for (name, info) in files {
            fs::write(kernel.join(name), module(info)).unwrap();
        }
        fs::write(folder.path().join("modules.builtin"), builtin).unwrap();
        let tree = Tree::open(folder.path()).unwrap();
        (folder, tree)
    }

    fn names(modules: &[Module]) -> Vec<&str> {
        modules.iter().map(|module| module.name.as_str()).collect()
    }

    #[test]
    fn each_comes_after_what_it_depends_on() {
        let files = [
            ("nf_tables.ko", "license=GPL\0depends=nfnetlink,libcrc32c\0"),
            ("nfnetlink.ko", "depends=\0"),
            ("libcrc32c.ko", "softdep=pre: crc32c-generic missing post: other\0depends=\0"),
            ("crc32c-generic.ko", "depends=\0"),
            ("veth.ko", "depends=\0"),
            ("unwanted.ko", "depends=\0"),
        ];
        let (_folder, tree) = tree(&files, "");
        let needed = tree.needed(&[]).unwrap();
        assert_eq!(names(&needed), ["crc32c_generic", "veth", "nfnetlink", "libcrc32c", "nf_tables"]);
        assert_eq!(names(&tree.needed(&["un-wanted".to_owned().replace('-', "")]).unwrap()).last(), Some(&"unwanted"));
    }

    #[test]
    fn what_is_built_in_is_not_loaded_and_what_is_missing_is_told() {
        let (_folder, tree) = tree(&[("tun.ko", "depends=ptr_ring\0")], "kernel/lib/ptr-ring.ko\n");
        assert_eq!(names(&tree.needed(&[]).unwrap()), ["tun"]);
        let (_folder, tree) = self::tree(&[("tun.ko", "depends=ptr_ring\0")], "");
        let error = tree.needed(&[]).unwrap_err().to_string();
        assert!(error.starts_with("module ptr_ring is missing in ") && error.ends_with("; tun needs it"), "{error}");
    }

    #[test]
    fn a_circle_ends() {
        let (_folder, tree) = tree(&[("tun.ko", "depends=veth\0"), ("veth.ko", "depends=tun\0")], "");
        assert_eq!(tree.needed(&[]).unwrap().len(), 2);
    }

    #[test]
    fn compressed_ones_are_unpacked() {
        let content = module("depends=\0");
        let xz = include_bytes!("../../fixtures/modules/module.ko.xz").to_vec();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&content).unwrap();
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        let zst = ruzstd::encoding::compress_to_vec(content.as_slice(), level);
        for compressed in [xz, gz.finish().unwrap(), zst, content.clone()] {
            assert_eq!(unpack(&compressed).unwrap(), content);
        }
        assert!(unpack(b"\xfd7zXZ\0 broken").is_err());
        assert!(unpack(&[0x28, 0xb5, 0x2f, 0xfd, 1]).is_err());
    }

    #[test]
    fn a_small_file_takes_no_more_memory_than_it_may() {
        let zeros = include_bytes!("../../fixtures/modules/mebibyte-of-zeros.xz");
        assert_eq!(unpack(zeros).unwrap().len(), 1 << 20);
        let bomb = zeros.repeat(1 + usize::try_from(files::MODULE >> 20).unwrap());
        assert_eq!(unpack(&bomb).unwrap_err(), "xz: more than 128 MiB");
        // The header of the first block claims to refer back over 4 GiB.
        let mut wide = zeros.to_vec();
        wide[16] = 40;
        let mut sum = flate2::Crc::new();
        sum.update(&wide[12..20]);
        wide[20..24].copy_from_slice(&sum.sum().to_le_bytes());
        let error = unpack(&wide).unwrap_err();
        assert!(error.contains("memory"), "{error}");
    }

    #[test]
    fn a_folder_without_modules_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Tree::open(folder.path()), Err(ModulesError::Empty(_))));
        let missing = Tree::beside(&folder.path().join("vmlinuz"), "9.9.9-none").unwrap_err();
        assert!(missing.to_string().contains("9.9.9-none"), "{missing}");
    }
}
