//! Nothing gets out, nothing stays, nobody needs to be root.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::linux::fs::MetadataExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use libtest_mimic::{Completion, Failed};
use mptcplab::sys::privilege;
use mptcplab::testbed::{BaseNamespace, Namespace, NamespaceError, Testbed};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

use super::super::require::machine_lacks;
use super::world::{build, complaint, talks_at_once, two_hosts};

/// The environment variable that makes this program play one of the roles below instead of running the tests.
pub const ROLE: &str = "MPTCPLAB_TEST_ROLE";
/// The user `nobody`.
const NOBODY: u32 = 65534;

/// Plays a role in a process of its own. A panic is a failure.
#[expect(clippy::print_stdout, reason = "the test reads it")]
pub fn play(role: &str) {
    match role {
        // Builds a testbed, tells its namespaces, and waits to be killed.
        "hold" => {
            let (_home, testbed) = world();
            let inodes = testbed.nodes().map(|node| node.run(inode).unwrap().to_string());
            println!("{}", inodes.collect::<Vec<_>>().join(" "));
            let _ = std::io::stdin().read(&mut [0]);
        }
        // Does everything that needs privileges.
        "ordinary user" => {
            assert_ne!(geteuid().as_raw(), 0);
            let (_home, testbed) = world();
            let (client, server) = (testbed.node("client").unwrap(), testbed.node("server").unwrap());
            client.set_sysctl("net.mptcp.checksum_enabled", "1").unwrap();
            talks_at_once(client, server, None, "2001:db8:2::2").unwrap();
            println!("done");
        }
        // Forbids user namespaces to its children, and becomes one that isn't root.
        "forbid" => {
            let user = geteuid();
            unshare(CloneFlags::CLONE_NEWUSER).unwrap();
            fs::write("/proc/self/uid_map", format!("1000 {user} 1")).unwrap();
            fs::write("/proc/sys/user/max_user_namespaces", "0").unwrap();
            let error = Command::new("/proc/self/exe").env(ROLE, "forbidden").exec();
            panic!("{error}");
        }
        "forbidden" => println!("{}", complaint(privilege::enter())),
        other => panic!("no role {other}"),
    }
}

fn world() -> (Arc<BaseNamespace>, Testbed) {
    privilege::enter().unwrap();
    let home = BaseNamespace::create().unwrap();
    home.enter_for_good().unwrap();
    let testbed = build(&home, &two_hosts(2)).unwrap();
    (home, testbed)
}

/// The inode number of the calling thread's network namespace.
fn inode() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").unwrap().st_ino()
}

pub fn a_section_comes_back_after_a_panic(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let here = inode();
    let namespace = Namespace::create(home)?;
    assert_eq!(inode(), here);
    assert_ne!(namespace.run(inode)?, here);
    let panicked = catch_unwind(AssertUnwindSafe(|| namespace.run(|| std::panic::resume_unwind(Box::new(())))));
    assert!(panicked.is_err());
    assert_eq!(inode(), here);
    assert_ne!(fs::metadata("/proc/self/ns/net")?.st_ino(), here, "home isn't where the main thread is");
    Ok(Completion::Completed)
}

pub fn sections_do_not_nest(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let (outer, inner) = (Namespace::create(home)?, Namespace::create(home)?);
    let nested = outer.run(|| (inner.run(inode), inode()))?;
    assert!(matches!(nested.0, Err(NamespaceError::NotInBase)));
    assert_eq!(nested.1, outer.run(inode)?, "the outer section is where it was");
    Ok(Completion::Completed)
}

pub fn nothing_survives_sigkill(_: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let mut child =
        Command::new(env::current_exe()?).env(ROLE, "hold").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
    let namespaces: Vec<String> = line.split_whitespace().map(|inode| format!("net:[{inode}]")).collect();
    assert_eq!(namespaces.len(), 2, "{line}");
    let held = references(&namespaces);
    child.kill()?;
    let status = child.wait()?;
    assert_eq!(status.signal(), Some(9));
    // Only files hold a namespace: while the child lived, they were found where they are looked for.
    assert!(held >= namespaces.len(), "{held}");
    assert_eq!(references(&namespaces), 0);
    Ok(Completion::Completed)
}

/// How many threads, files and mounts of all processes refer to one of these.
fn references(namespaces: &[String]) -> usize {
    let is_one = |target: &Path| namespaces.iter().any(|namespace| target == Path::new(namespace));
    let links = |folder: String| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| fs::read_link(entry.path()).ok()).filter(|target| is_one(target)).count()
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounted = namespaces.iter().filter(|namespace| mounts.contains(namespace.as_str())).count();
    let held: usize = processes
        .map(|path| ["ns", "fd"].map(|folder| links(format!("{}/{folder}", path.display()))).iter().sum::<usize>())
        .sum();
    held + mounted
}

pub fn an_ordinary_user_needs_no_root(_: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    if fs::read_to_string("/proc/self/uid_map")?.split_whitespace().nth(2) == Some("1") {
        return machine_lacks("all these tests are run by an ordinary user already");
    }
    let program = env::current_exe()?;
    let started = Command::new(&program).env(ROLE, "ordinary user").uid(NOBODY).gid(NOBODY).output();
    let output = match started {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return machine_lacks(&format!("nobody can't run {}", program.display()));
        }
        output => output?,
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("forbid") {
        return machine_lacks(&errors);
    }
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n", "{errors}");
    Ok(Completion::Completed)
}

pub fn what_is_forbidden_is_said_first(_: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let output = Command::new(env::current_exe()?).env(ROLE, "forbid").output()?;
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "the limit on user namespaces is reached (user.max_user_namespaces)\n\
         (unshare(CLONE_NEWUSER): ENOSPC: No space left on device)\n\
         run mptcplab as root, or allow it until the next boot: sudo sysctl -w user.max_user_namespaces=10000\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Completion::Completed)
}
