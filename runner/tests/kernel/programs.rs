//! Programs that a scenario starts, and each way out of their host that we can think of: nothing outside is reached, and
//! nothing outlives the run. As root and as an ordinary user.

use std::fs::{self, Permissions};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed};
use tempfile::TempDir;

use super::Test;
use super::leaves_nothing::{told, wait_for_end};
use super::program;
use super::require::{Outcome, machine_lacks};

/// `nobody`
const ORDINARY_USER: u32 = 65534;
/// How often a run is killed.
const KILLS: u32 = 50;
/// Longer than anything here takes.
const LONGEST: Duration = Duration::from_secs(60);
/// What nobody in a host may see.
const SECRET: &str = "a-secret-of-the-machine";

/// A way out: its name, a shell script that tries it, the lines that it must write, and those that it must not. `PLACE`
/// stands for a folder of the machine in which everyone may write, `PID` for a process of the machine.
type Way = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const WAYS: [Way; 15] = [
    (
        "absolute_paths_lead_nowhere",
        "for f in PLACE /. /usr /usr/bin /etc /opt /dev /sys /proc; do echo x 2>&1 >$f/FILE && echo wrote $f; done; \
         for f in /tmp /var /var/tmp /run /dev/shm; do echo x >$f/FILE && echo private $f; done; ls PLACE",
        &["private /tmp", "private /var/tmp", "private /run", "private /dev/shm", "No such file"],
        &["wrote"],
    ),
    (
        "the_environment_stays_outside",
        "env; cat /proc/*/environ; cat /proc/*/cmdline; echo",
        &["HOME=/tmp"],
        &[SECRET, "mptcplab"],
    ),
    (
        "descriptors_stay_outside",
        "cat <&9; for n in 3 4 5 9 10 100; do test -e /proc/$$/fd/$n && echo has $n; done; ls /proc/$$/fd | tr '\\n' ' '",
        &["0 1 2"],
        &[SECRET, "has"],
    ),
    (
        "the_first_process_is_closed",
        "ls /proc/1/root/ /proc/1/cwd/ /proc/1/fd/ && echo looked; head -c1 /proc/1/mem && echo got memory; readlink /proc/1/exe && echo found",
        &["Permission denied"],
        &["looked", "got memory", "found", SECRET],
    ),
    (
        "setuid_programs_gain_nothing",
        "grep NoNewPrivs /proc/self/status; grep CapBnd /proc/self/status; grep ' /usr ' /proc/self/mountinfo; \
         mount -t tmpfs none /tmp && echo mounted; chroot / true && echo harmless",
        &["NoNewPrivs:\t1", "00000000000434eb", "ro,nosuid"],
        &["mounted"],
    ),
    (
        "no_process_outside_can_be_signalled",
        "kill -0 PID && echo sees; kill -9 PID && echo killed; kill -9 -1; ls /proc | grep -x PID && echo shown; echo alive",
        &["No such process"],
        &["sees", "killed", "shown"],
    ),
    (
        "sockets_of_the_machine_are_not_there",
        "python3 -c \"import socket
for name in ['PLACE/socket', '\\0PLACE']:
  try: socket.socket(socket.AF_UNIX).connect(name); print('connected')
  except OSError as error: print(type(error).__name__)
for family in [socket.AF_VSOCK, socket.AF_ALG]:
  try: socket.socket(family); print('opened')
  except OSError as error: print(error)\"",
        &["FileNotFoundError", "ConnectionRefusedError", "Address family not supported"],
        &["connected", "opened"],
    ),
    (
        "nothing_can_be_mounted",
        "mount -o remount,rw /usr && echo mounted; mount -o remount,bind,rw /etc && echo mounted; umount /proc && echo mounted; \
         mount --bind /tmp /usr && echo mounted; umount -l /usr && echo mounted; pivot_root / /tmp && echo mounted; echo tried",
        &["tried"],
        &["mounted"],
    ),
    (
        "no_namespaces_can_be_made_or_entered",
        "for n in U n m p i u C; do unshare -$n true && echo made $n; done; unshare -Ur true && echo made user; \
         for n in user net mnt pid; do nsenter --$n=/proc/1/ns/$n true && echo entered $n; done; echo tried",
        &["tried"],
        &["made", "entered"],
    ),
    (
        "no_process_can_be_traced",
        "python3 -c \"import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print('traced' if libc.ptrace(16, 1, 0, 0) == 0 else os.strerror(ctypes.get_errno()))
print('opened' if libc.syscall(438, libc.syscall(434, 1, 0), 0, 0) >= 0 else 'closed')\"",
        &["Operation not permitted", "closed"],
        &["traced", "opened"],
    ),
    (
        "the_kernel_can_not_be_configured",
        "for f in kernel/panic kernel/core_pattern vm/drop_caches user/max_user_namespaces; do echo 1 >/proc/sys/$f && echo wrote $f; done; \
         echo h >/proc/sysrq-trigger && echo wrote sysrq; cat /proc/sys/user/max_user_namespaces; dmesg && echo wrote log; ls /dev | tr '\\n' ' '",
        &["fd full null random"],
        &["wrote kernel", "wrote vm", "wrote sysrq", "wrote log", "kmsg", "kvm"],
    ),
    (
        "keyrings_and_their_kin_are_refused",
        "python3 -c \"import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for call in [250, 248, 321, 298, 425, 323]:
  print('called' if libc.syscall(call, 0, 0, 0, 0, 0) >= 0 else os.strerror(ctypes.get_errno()))\"",
        &["Operation not permitted"],
        &["called", "Bad address", "Invalid argument"],
    ),
    (
        "daemons_end_with_the_run",
        "(setsid sh -c 'trap \"\" HUP TERM INT; exec -a MARK sleep 1000' >/dev/null 2>&1 &) & nohup sleep 1000 >/dev/null 2>&1 & echo gone",
        &["gone"],
        &[],
    ),
    (
        "too_many_processes_are_refused",
        "grep processes /proc/self/limits; ulimit -c; ulimit -n; python3 -c \"import os, time
count = 0
try:
  while count < 3000:
    if os.fork() == 0: time.sleep(1000)
    count += 1
  print('unlimited')
except OSError as error: print('limited', count < 1100)\"",
        &["1024", "4096", "limited True"],
        &["unlimited"],
    ),
    (
        "other_hosts_are_not_reached",
        "ip link set eth1 netns 1 && echo same; ip addr add 10.0.1.1/24 dev lo; ip -n server addr && echo other; \
         python3 -c \"import socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
for nsid in range(8):
  body = struct.pack('=BxHiII', 0, 0, 0, 0, 0) + struct.pack('=HHi', 8, 46, nsid)
  s.send(struct.pack('=IHHII', 16 + len(body), 18, 0x301, nsid + 1, 0) + body)
  answer = s.recv(65536)
  kind, = struct.unpack_from('=H', answer, 4)
  print('namespace', nsid, 'answers' if kind == 16 else 'refuses')\"",
        &["namespace 0 refuses", "namespace 7 refuses"],
        &["answers", "other"],
    ),
];

type Body = fn() -> Outcome;

/// The tests of this suite.
pub fn tests() -> Vec<Test> {
    let ways = WAYS.iter().flat_map(|way| {
        [("", false), ("_as_an_ordinary_user", true)]
            .map(|(suffix, ordinary)| Test::new(format!("{}{suffix}", way.0), move || try_way(way, ordinary)))
    });
    let others: [(&str, Body); 6] = [
        ("nothing_starts_without_permission", nothing_starts_without_permission),
        ("links_of_programs_are_not_followed", links_of_programs_are_not_followed),
        ("unexpected_ends_and_output_fail", unexpected_ends_and_output_fail),
        ("static_programs_are_forced_too", static_programs_are_forced_too),
        ("connections_of_programs_are_judged", connections_of_programs_are_judged),
        ("nothing_of_a_killed_run_is_left", nothing_of_a_killed_run_is_left),
    ];
    ways.chain(others.into_iter().map(|(name, body)| Test::new(name, body))).collect()
}

/// A folder that everyone may use.
struct Place {
    folder: TempDir,
    mark: String,
}

impl Place {
    fn new(steps: &str) -> Result<Self, Failed> {
        let everyone = Permissions::from_mode(0o777);
        let folder = tempfile::Builder::new().permissions(everyone.clone()).tempdir()?;
        let mark = format!("program-of-{}", folder.path().file_name().unwrap_or_default().to_string_lossy());
        let place = Self { folder, mark };
        fs::create_dir(place.path("topologies"))?;
        for (name, contents) in [
            ("topologies/two-links.yaml", include_str!("../../../fixtures/topologies/two-links.yaml").to_owned()),
            ("scenario.yaml", scenario(steps)),
            ("secret", SECRET.to_owned()),
        ] {
            fs::write(place.path(name), contents)?;
        }
        fs::create_dir(place.path("open"))?;
        fs::set_permissions(place.path("open"), everyone)?;
        // Under another name, so that no other run is taken for ours.
        fs::copy(env!("CARGO_BIN_EXE_mptcplab"), place.path("program"))?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The run, with a secret in its environment, and one behind a descriptor that each program inherits.
    fn command(&self, ordinary: bool, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$0\" \"$@\" 9<\"$SECRET_FILE\""])
            .arg(self.path("program"))
            .args(["run", "--no-snapshot", "--no-evidence"])
            .args(arguments)
            .arg(self.path("scenario.yaml"))
            .env("MPTCPLAB_TEST_SECRET", SECRET)
            .env("SECRET_FILE", self.path("secret"))
            .env("TMPDIR", self.path("open"))
            .current_dir(self.path("open"))
            .stdin(Stdio::null());
        if ordinary {
            command.uid(ORDINARY_USER).gid(ORDINARY_USER);
        }
        command
    }

    /// Processes that have the mark in their command line, or that are of the program.
    fn processes(&self) -> Vec<String> {
        let contains = |path: &Path| {
            let text = fs::read(path.join("cmdline")).unwrap_or_default();
            let marked = text.windows(self.mark.len()).any(|part| part == self.mark.as_bytes());
            marked || fs::read_link(path.join("exe")).is_ok_and(|program| program == self.path("program"))
        };
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
        processes.filter(|path| contains(path)).map(|path| path.display().to_string()).collect()
    }

    /// Waits until none is left: the kernel kills them when it gets to it.
    fn is_left(&self, when: &str) -> Result<(), Failed> {
        let deadline = Instant::now() + LONGEST;
        loop {
            let left = self.processes();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{when}: {left:?} are left").into());
            }
            thread::yield_now();
        }
    }
}

fn scenario(steps: &str) -> String {
    format!(
        "title: A program tries something\nabout: It is a test.\ntopology: two-links\nsteps:\n{steps}\n\
         expect: {{ counters: {{ server: {{ MPTcpExtMPCapableSYNRX: 0 }} }} }}\n"
    )
}

fn shell_step(script: &str) -> String {
    let script = serde_json::Value::from(script.replace('$', "$$"));
    format!("  - run: {{ in: client, command: sh, arguments: [-c, {script}], timeout: 60 s, status: 0 }}")
}

/// Why it can't be tried.
fn obstacle(ordinary: bool) -> Option<String> {
    let root = nix::unistd::geteuid().is_root();
    if ordinary && !root {
        return Some("only root can become somebody else".to_owned());
    }
    program::obstacle()
}

fn try_way((_, script, expected, never): &Way, ordinary: bool) -> Outcome {
    if let Some(obstacle) = obstacle(ordinary) {
        return machine_lacks(&obstacle);
    }
    let place = Place::new("")?;
    let open = place.path("open");
    let _pathname = UnixListener::bind(open.join("socket"))?;
    fs::set_permissions(open.join("socket"), Permissions::from_mode(0o777))?;
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(open.as_os_str().as_encoded_bytes())?)?;
    let mut victim = Command::new("sleep");
    victim.arg("1000");
    if ordinary {
        victim.uid(ORDINARY_USER);
    }
    let mut victim = Killed(victim.spawn()?);
    let script = script.replace("PLACE", &open.display().to_string());
    let script =
        script.replace("PID", &victim.0.id().to_string()).replace("MARK", &place.mark).replace("FILE", &place.mark);
    fs::write(place.path("scenario.yaml"), scenario(&shell_step(&format!("exec 2>&1; {script}; true"))))?;
    let output = place.command(ordinary, &["--allow-programs=sh", "-v"]).output()?;
    let told = told(&output);
    if output.status.code() == Some(4) {
        return machine_lacks(&told);
    }
    assert_eq!(output.status.code(), Some(0), "{told}");
    let lines = || told.lines().filter_map(|line| line.split_once("  sh: ").map(|(_, line)| line));
    for text in *expected {
        assert!(
            lines().any(|line| line.contains(&text.replace('\t', "    "))) || lines().any(|line| line.contains(text)),
            "no {text:?}: {told}"
        );
    }
    for text in *never {
        assert!(!lines().any(|line| line.contains(text)), "{text:?}: {told}");
    }
    assert!(victim.0.try_wait()?.is_none(), "a process of the machine was killed");
    let left: Vec<_> = fs::read_dir(&open)?.flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["socket"], "{told}");
    for folder in ["", "/usr", "/usr/bin", "/etc", "/opt", "/dev", "/var", "/var/tmp", "/run", "/dev/shm", "/tmp"] {
        let file = format!("{folder}/{}", place.mark);
        assert!(!Path::new(&file).exists(), "{file} exists");
    }
    place.is_left("after the run")?;
    Ok(Completion::Completed)
}

/// A process that ends with this.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A listener with MPTCP sockets, and a client without: what is said of that connection, and of one that nobody makes.
fn connections_of_programs_are_judged() -> Outcome {
    if let Some(obstacle) = obstacle(false) {
        return machine_lacks(&obstacle);
    }
    let place = Place::new("")?;
    let listener =
        "start: { name: nc, in: server, command: nc, arguments: [-N, -l, '80'], mptcp: forced, ready: { port: 80 } }";
    let client = "run: { in: client, command: nc, arguments: [-N, 10.0.1.1, '80'] }";
    let scenario = |port: u16, outcome: &str| {
        format!(
            "title: A program connects\nabout: It is a test.\ntopology: two-links\n\
             connections: {{ web: {{ from: client, to: server, port: {port}, outcome: {outcome} }} }}\n\
             steps: [{{ {listener} }}, {{ {client} }}, {{ finish_program: {{ program: nc }} }}]\n"
        )
    };
    for (port, outcome, code, told) in [
        (80, "tcp", 0, ""),
        (80, "mptcp", 1, "connection web: expected MPTCP, but the client's side uses plain TCP from the start"),
        (81, "tcp", 1, "connection web: it was never made: client sent no SYN to port 81 of server"),
    ] {
        fs::write(place.path("scenario.yaml"), scenario(port, outcome))?;
        let output = place.command(false, &["--allow-programs"]).output()?;
        let text = self::told(&output);
        if output.status.code() == Some(4) {
            return machine_lacks(&text);
        }
        assert!(output.status.code() == Some(code) && text.contains(told), "{port} {outcome}: {text}");
    }
    Ok(Completion::Completed)
}

fn nothing_starts_without_permission() -> Outcome {
    if let Some(obstacle) = obstacle(false) {
        return machine_lacks(&obstacle);
    }
    let place = Place::new(&shell_step("echo it runs"))?;
    let run = |arguments: &[&str]| {
        place.command(false, arguments).output().map(|output| (output.status.code(), told(&output)))
    };
    for arguments in [&[][..], &["--allow-programs=curl,nginx"], &["--allow-programs=shell"]] {
        let (code, told) = run(arguments)?;
        assert_eq!(code, Some(4), "{told}");
        assert!(told.contains("`program:sh`") && !told.contains("it runs\n"), "{told}");
    }
    for arguments in [&["--require", "all"][..], &["--require", "program:sh"]] {
        let (code, told) = run(arguments)?;
        assert_eq!(code, Some(3), "{told}");
    }
    for arguments in [&["--allow-programs", "-v"][..], &["--allow-programs=sh,curl", "-v"]] {
        let (code, told) = run(arguments)?;
        assert_eq!(code, Some(0), "{told}");
        assert!(told.contains("sh: it runs"), "{told}");
    }
    fs::write(place.path("scenario.yaml"), scenario("  - run: { in: client, command: no-such-program }"))?;
    let (code, told) = run(&["--allow-programs"])?;
    assert_eq!(code, Some(4), "{told}");
    assert!(told.contains("no-such-program is not installed"), "{told}");
    let mut check = Command::new(env!("CARGO_BIN_EXE_mptcplab"));
    let output = check.arg("check").arg(place.path("scenario.yaml")).output()?;
    assert!(String::from_utf8_lossy(&output.stdout).contains("starts no-such-program"), "{output:?}");
    Ok(Completion::Completed)
}

fn links_of_programs_are_not_followed() -> Outcome {
    if let Some(obstacle) = obstacle(false) {
        return machine_lacks(&obstacle);
    }
    let place = Place::new("")?;
    let first = shell_step("ln -s /proc/self/exe www && ln -s /usr/bin/x index.html");
    let second = "  - run: { in: client, command: 'true', files: { index.html: text } }";
    fs::write(place.path("scenario.yaml"), scenario(&format!("{first}\n{second}")))?;
    let output = place.command(false, &["--allow-programs"]).output()?;
    let told = told(&output);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("can't write a file for the program: ELOOP"), "{told}");
    Ok(Completion::Completed)
}

fn unexpected_ends_and_output_fail() -> Outcome {
    if let Some(obstacle) = obstacle(false) {
        return machine_lacks(&obstacle);
    }
    let place = Place::new("")?;
    let start = "  - start: { name: web, in: client, command: sh, arguments: [-c, 'echo up; kill -KILL $$$$'], ready: { output: up } }";
    let stubborn = "  - start: { name: web, in: client, command: sh, arguments: [-c, \"trap '' TERM; echo up; while :; do read x <>/dev/zero; done\"], ready: { output: up } }";
    for (steps, expected) in [
        ("  - run: { in: client, command: 'false' }".to_owned(), Some("false ended with exit status 1; expected exit status 0")),
        ("  - run: { in: client, command: 'false', status: 1 }".to_owned(), None),
        (format!("{start}\n  - quiet: 200 ms"), Some("web was killed by SIGKILL, although no step waits for its end")),
        (format!("{start}\n  - finish_program: {{ program: web }}"), Some("web was killed by SIGKILL; expected exit status 0")),
        (format!("{start}\n  - finish_program: {{ program: web, status: SIGKILL }}"), None),
        (
            "  - run: { in: client, command: echo, arguments: [one], output: [{ contains: two }] }".to_owned(),
            Some("expected at least 1 line with “two”, but there are 0"),
        ),
        (
            "  - run: { in: client, command: echo, arguments: [one], output: [{ contains: one, stream: stderr }] }".to_owned(),
            Some("on stderr"),
        ),
        (
            "  - run: { in: client, command: echo, arguments: [one], output: [{ contains: one, count: 0 }] }".to_owned(),
            Some("expected 0 lines with “one”, but there is 1"),
        ),
        (
            "  - run: { in: client, command: sleep, arguments: ['100'], timeout: 100 ms }".to_owned(),
            Some("timed out after 100 ms waiting for sleep to end"),
        ),
        (
            format!("{stubborn}\n  - stop: {{ program: web, timeout: 100 ms }}"),
            Some("timed out after 100 ms waiting for web to end"),
        ),
        (
            "  - start: { name: web, in: client, command: sleep, arguments: ['100'], ready: { port: 80 }, timeout: 100 ms }".to_owned(),
            Some("waiting for web to be ready: port 80 listens"),
        ),
        (
            "  - run: { in: client, command: 'true', mptcp: forced }".to_owned(),
            Some("opened no TCP socket that could become an MPTCP socket"),
        ),
    ] {
        fs::write(place.path("scenario.yaml"), scenario(&steps))?;
        let output = place.command(false, &["--allow-programs"]).output()?;
        let told = told(&output);
        if told.contains("forced_mptcp") {
            continue;
        }
        assert_eq!(output.status.code(), Some(i32::from(expected.is_some())), "{steps}\n{told}");
        assert!(expected.is_none_or(|text| told.contains(text)), "{steps}\n{told}");
    }
    Ok(Completion::Completed)
}

/// What LD_PRELOAD can't do: a program that makes system calls itself, and one that it executes.
fn static_programs_are_forced_too() -> Outcome {
    if let Some(obstacle) = obstacle(false) {
        return machine_lacks(&obstacle);
    }
    let script = "import ctypes, os
libc = ctypes.CDLL(None)
for family in [2, 10]:
  for kind in [1, 1 | 0o2000000 | 0o4000, 2]:
    s = libc.syscall(41, family, kind, 0)
    value, length = ctypes.c_int(), ctypes.c_int(4)
    libc.getsockopt(s, 1, 38, ctypes.byref(value), ctypes.byref(length))
    import fcntl
    print('family', family, 'kind', kind, 'protocol', value.value, fcntl.fcntl(s, 1), fcntl.fcntl(s, 3) & 0o4000, flush=True)
os.execlp('python3', 'python3', '-c', 'import socket; print(socket.socket().getsockopt(1, 38), \"after exec\")')";
    let text = serde_json::Value::from(script);
    let step =
        format!("  - run: {{ in: client, command: python3, arguments: [-c, {text}], mptcp: forced, timeout: 30 s }}");
    let place = Place::new(&step)?;
    let output = place.command(false, &["--allow-programs", "-v"]).output()?;
    let told = told(&output);
    if output.status.code() == Some(4) {
        return machine_lacks(&told);
    }
    assert_eq!(output.status.code(), Some(0), "{told}");
    for line in [
        "family 2 kind 1 protocol 262 0 0",
        "family 2 kind 526337 protocol 262 1 2048",
        "family 2 kind 2 protocol 17 0 0",
        "family 10 kind 1 protocol 262 0 0",
        "family 10 kind 526337 protocol 262 1 2048",
        "262 after exec",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    Ok(Completion::Completed)
}

fn nothing_of_a_killed_run_is_left() -> Outcome {
    if let Some(obstacle) = obstacle(false) {
        return machine_lacks(&obstacle);
    }
    let place = Place::new("")?;
    let daemon = format!(
        "(setsid sh -c 'trap \"\" HUP TERM; sleep 1000; : {0}' &) & exec sh -c 'sleep 1000; : {0}'",
        place.mark
    );
    let start = |name: &str, namespace: &str| {
        let script = serde_json::Value::from(daemon.replace('$', "$$"));
        format!("  - start: {{ name: {name}, in: {namespace}, command: sh, arguments: [-c, {script}] }}\n")
    };
    let steps =
        format!("{}{}  - quiet: {{ period: 400 ms, timeout: 20 s }}", start("one", "client"), start("two", "server"));
    fs::write(place.path("scenario.yaml"), scenario(&steps))?;
    let begin = Instant::now();
    let output = place.command(false, &["--allow-programs"]).output()?;
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let life = begin.elapsed();
    place.is_left("after a run")?;
    let mut caught = 0;
    for kill in 0..KILLS {
        let mut child =
            place.command(false, &["--allow-programs"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        wait_for_end(&mut child, life / KILLS * kill);
        caught += u32::from(place.processes().len() > 1);
        child.kill()?;
        child.wait()?;
        place.is_left(&format!("after kill {kill}"))?;
    }
    assert!(caught > KILLS / 4, "only {caught} of {KILLS} kills came while programs were there");
    Ok(Completion::Completed)
}
