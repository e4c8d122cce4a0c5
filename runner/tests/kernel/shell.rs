//! `mptcplab shell` and `run --pause`: what somebody sees who is in the world, and that it ends with them.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Test;
use super::require::Outcome;

/// Longer than anything here takes.
const LONGEST: Duration = Duration::from_secs(60);

const SCENARIO: &str = "title: Two hosts
about: They talk.
topology: two-links
namespaces:
  client: { limits: { subflows: 1 }, endpoints: [{ address: 10.0.2.2, flags: [subflow] }] }
  server: { limits: { subflows: 1 } }
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
  - wait: { subflows: { main: 2 } }
  - close: { connection: main, by: client }
expect: { counters: { client: { MPTcpExtMPJoinSynTx: JOINS } } }
";
const TOPOLOGY: &str = include_str!("../../../fixtures/topologies/two-links.yaml");

type Body = fn() -> Outcome;

/// The tests of this suite.
pub fn tests() -> Vec<Test> {
    let tests: [(&str, Body); 7] = [
        ("a_program_sees_the_world", a_program_sees_the_world),
        ("what_does_not_exist_is_refused", what_does_not_exist_is_refused),
        ("steps_are_taken_as_far_as_asked", steps_are_taken_as_far_as_asked),
        ("programs_start_if_they_are_permitted", programs_start_if_they_are_permitted),
        ("a_shell_on_a_terminal_tells_where_it_is", a_shell_on_a_terminal_tells_where_it_is),
        ("others_join_and_the_world_ends_with_its_shell", others_join_and_the_world_ends_with_its_shell),
        ("a_failed_run_waits_for_its_visitor", a_failed_run_waits_for_its_visitor),
    ];
    tests.into_iter().map(|(name, test)| Test::new(name, test)).collect()
}

/// A folder with a scenario that expects so many joins.
fn place(joins: &str) -> Result<tempfile::TempDir, Failed> {
    let place = tempfile::tempdir()?;
    std::fs::create_dir(place.path().join("topologies"))?;
    std::fs::write(place.path().join("topologies/two-links.yaml"), TOPOLOGY)?;
    std::fs::write(place.path().join("it.yaml"), SCENARIO.replace("JOINS", joins))?;
    Ok(place)
}

fn mptcplab(place: &tempfile::TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mptcplab"));
    command.current_dir(place.path()).args(arguments).env("SHELL", "/bin/sh").env_remove("ENV");
    command
}

fn output(place: &tempfile::TempDir, arguments: &[&str]) -> Result<Output, Failed> {
    Ok(mptcplab(place, arguments).stdin(Stdio::null()).output()?)
}

/// A program on a pseudo-terminal.
struct Terminal {
    child: Child,
    keys: File,
    shown: Receiver<Vec<u8>>,
    text: String,
}

impl Terminal {
    fn open(command: &Command) -> Result<Self, Failed> {
        let pty = openpty(None, None)?;
        let mut on_terminal = Command::new("setsid");
        // A shell that runs the tests in the background has ignored Ctrl-C for all that comes after it.
        on_terminal.args(["--ctty", "--wait", "env", "--default-signal"]);
        on_terminal.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => on_terminal.env(name, value),
                None => on_terminal.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            on_terminal.current_dir(folder);
        }
        let side = |file: &OwnedFd| file.try_clone().map(Stdio::from);
        on_terminal.stdin(side(&pty.slave)?).stdout(side(&pty.slave)?).stderr(side(&pty.slave)?);
        let child = on_terminal.spawn()?;
        drop((on_terminal, pty.slave));
        let mut screen = File::from(pty.master.try_clone()?);
        let (tell, shown) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // EIO: nobody has the terminal open any more.
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                let _ = tell.send(bytes[..count].to_vec());
            }
        });
        Ok(Self { child, keys: File::from(pty.master), shown, text: String::new() })
    }

    /// Waits until the terminal has shown this after what was found before, and returns what came up to it.
    fn find(&mut self, wanted: &str) -> Result<String, Failed> {
        let end = Instant::now() + LONGEST;
        loop {
            if let Some(at) = self.text.find(wanted) {
                return Ok(self.text.drain(..at + wanted.len()).collect());
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => return Err(format!("`{wanted}` isn't shown ({error}), but\n{}", self.text).into()),
            }
        }
    }

    fn type_in(&mut self, keys: &str) -> Result<(), Failed> {
        Ok(self.keys.write_all(keys.as_bytes())?)
    }

    fn end(mut self) -> Result<(Option<i32>, String), Failed> {
        let status = self.child.wait()?;
        let mut rest = std::mem::take(&mut self.text);
        while let Ok(bytes) = self.shown.recv_timeout(LONGEST) {
            rest.push_str(&String::from_utf8_lossy(&bytes));
        }
        Ok((status.code(), rest))
    }
}

impl Drop for Terminal {
    /// What a failed test leaves on the terminal ends with it: `setsid` and its child are in one session.
    fn drop(&mut self) {
        if let (Ok(None), Ok(pid)) = (self.child.try_wait(), i32::try_from(self.child.id())) {
            let _ = Command::new("pkill").args(["-KILL", "-s", &pid.to_string()]).status();
            let _ = self.child.wait();
        }
    }
}

fn a_program_sees_the_world() -> Outcome {
    let place = place("1")?;
    let before = std::fs::metadata("/run/netns").is_ok();
    let script = "ls /run/netns; ls /sys/class/net; cat /proc/net/protocols | grep -c MPTCP; echo $$; exit 3";
    let output = output(&place, &["shell", "it.yaml", "server", "--", "sh", "-c", script])?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "client\nserver\neth1\neth2\nlo\n2\n1\n", "{}", String::from_utf8_lossy(&output.stderr));
    // What the program ended with is what counts.
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("exit status: 3"));
    assert_eq!(std::fs::metadata("/run/netns").is_ok(), before, "the names are the world's alone");
    Ok(Completion::Completed)
}

fn what_does_not_exist_is_refused() -> Outcome {
    let place = place("1")?;
    let cases: [(&[&str], i32, &str); 5] = [
        (&["shell", "it.yaml", "router"], 2, "there is no namespace `router`; the scenario has client, server"),
        (&["shell", "it.yaml", "--at", "4"], 2, "the scenario has 3 steps, not 4"),
        (&["shell", "it.yaml", "--filter", "ipv6"], 2, "no variant has a label or title that matches"),
        (&["shell", "it.yaml", "--", "/no/program"], 3, "start `/no/program`: No such file or directory"),
        (&["shell", "--join", "2147483647"], 3, "read /proc/2147483647/task: ENOENT"),
    ];
    for (arguments, code, message) in cases {
        let output = output(&place, arguments)?;
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && text.contains(message), "{arguments:?}: {output:?}");
    }
    Ok(Completion::Completed)
}

/// The subflows that exist then: TCP sockets of the connection.
fn steps_are_taken_as_far_as_asked() -> Outcome {
    let place = place("1")?;
    // Lines of established sockets; 01 is TCP_ESTABLISHED (include/net/tcp_states.h).
    let count = "grep -c ' 01 ' /proc/net/tcp";
    for (at, sockets) in [(&["--at", "0"][..], "0\n"), (&[], "2\n"), (&["--at", "end"], "0\n")] {
        let arguments = [&["shell", "it.yaml", "client"], at, &["--", "sh", "-c", count]].concat();
        let output = output(&place, &arguments)?;
        assert_eq!(String::from_utf8_lossy(&output.stdout), sockets, "{at:?} {output:?}");
    }
    Ok(Completion::Completed)
}

/// The world has the listener of a program that a step started.
fn programs_start_if_they_are_permitted() -> Outcome {
    if let Some(obstacle) = super::program::obstacle() {
        return super::require::machine_lacks(&obstacle);
    }
    let place = place("0")?;
    let step = "start: { name: nc, in: server, command: nc, arguments: [-l, \"8080\"], ready: { port: 8080 } }";
    let scenario = format!("title: A program\nabout: It listens.\ntopology: two-links\nsteps: [{{ {step} }}]\n");
    std::fs::write(place.path().join("it.yaml"), scenario)?;
    // Lines of listening sockets; 0A is TCP_LISTEN (include/net/tcp_states.h).
    let command = ["it.yaml", "server", "--", "sh", "-c", "grep -c ' 0A ' /proc/net/tcp"];
    for option in ["--allow-programs", "--allow-programs=nc"] {
        let output = output(&place, &[&["shell", option][..], &command].concat())?;
        assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n", "{output:?}");
    }
    let refused = output(&place, &[&["shell"][..], &command].concat())?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
    assert!(!refused.status.success() && told.contains("`--allow-programs` permits them"), "{told}");
    Ok(Completion::Completed)
}

fn a_shell_on_a_terminal_tells_where_it_is() -> Outcome {
    let place = place("1")?;
    let program = env!("CARGO_BIN_EXE_mptcplab");
    let script = format!("{program} shell it.yaml; code=$?; read line; echo \"after: $code $line\"");
    let mut outer = Command::new("sh");
    outer.args(["-c", &script]).current_dir(place.path()).env("SHELL", "/bin/sh").env_remove("ENV");
    let mut terminal = Terminal::open(&outer)?;
    let guide = terminal.find("[client] $ ")?;
    assert!(guide.contains("the namespace `client` of it: 2 of 3 steps were taken"), "{guide}");
    assert!(guide.contains("Other namespaces: server. `ip netns exec server COMMAND`"), "{guide}");
    // Ctrl-C ends what the shell runs, and not the world.
    terminal.type_in("sh -c \"echo rea''dy; exec tail -f /dev/null\"\n")?;
    terminal.find("ready\r\n")?;
    terminal.type_in("\u{3}")?;
    terminal.find("[client] $ ")?;
    terminal.type_in("echo names: $(ls /run/netns)\n")?;
    terminal.find("names: client server")?;
    // Afterwards, the terminal belongs to those who had it before.
    terminal.type_in("exit 3\nhello\n")?;
    terminal.find("after: 0 hello")?;
    Ok(Completion::Completed)
}

fn others_join_and_the_world_ends_with_its_shell() -> Outcome {
    let place = place("1")?;
    let mut terminal = Terminal::open(&mptcplab(&place, &["shell", "it.yaml"]))?;
    terminal.find("--join ")?;
    let pid = terminal.find(" ")?.trim().to_owned();
    let follower = mptcplab(&place, &["shell", "--join", &pid, "--follow"]).stdout(Stdio::piped()).spawn()?;
    let joined = output(&place, &["shell", "--join", &pid, "server", "--", "ls", "/sys/class/net", "/run/netns"])?;
    let text = String::from_utf8_lossy(&joined.stdout).into_owned();
    assert!(joined.status.success() && text.contains("client\nserver"), "{joined:?}");
    let lost = output(&place, &["shell", "--join", &pid, "router", "--", "true"])?;
    assert!(String::from_utf8_lossy(&lost.stderr).contains("there is no namespace `router`"), "{lost:?}");
    // With its shell, the world and all that was started in it ends.
    let script = "echo in; exec tail -f /dev/null";
    let mut endless = mptcplab(&place, &["shell", "--join", &pid, "client", "--", "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut first = String::new();
    BufReader::new(endless.stdout.take().ok_or("no output")?).read_line(&mut first)?;
    assert_eq!(first, "in\n");
    terminal.find("[client] $ ")?;
    terminal.type_in("exit\n")?;
    assert_eq!(terminal.end()?.0, Some(0));
    let heard = follower.wait_with_output()?;
    assert_eq!(heard.status.code(), Some(0), "{heard:?}");
    assert_ne!(endless.wait()?.code(), Some(0));
    Ok(Completion::Completed)
}

fn a_failed_run_waits_for_its_visitor() -> Outcome {
    let good = place("1")?;
    let passed =
        mptcplab(&good, &["it.yaml", "--no-snapshot", "--pause", "on-failure"]).stdin(Stdio::null()).output()?;
    assert_eq!(passed.status.code(), Some(0), "{passed:?}");
    let bad = place("2")?;
    let arguments = ["it.yaml", "--no-snapshot", "--no-evidence", "--pause", "on-failure"];
    let mut terminal = Terminal::open(&mptcplab(&bad, &arguments))?;
    let shown = terminal.find("[client] $ ")?;
    assert!(shown.contains("MPTcpExtMPJoinSynTx"), "the failure comes first: {shown}");
    assert!(shown.contains("3 of 3 steps were taken"), "{shown}");
    // A visitor changes the world, but not the verdict, nor the story.
    terminal.type_in("cat /proc/net/protocols > /dev/null; exit\n")?;
    let (code, rest) = terminal.end()?;
    assert!(code == Some(1) && rest.contains("FAIL"), "{code:?} {rest}");
    // Killed, it takes the visitor's shell along.
    let mut terminal = Terminal::open(&mptcplab(&bad, &arguments))?;
    terminal.find("--join ")?;
    let pid: i32 = terminal.find(" ")?.trim().parse().map_err(|error| format!("no PID: {error}"))?;
    terminal.find("[client] $ ")?;
    kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    assert_ne!(terminal.end()?.0, Some(0));
    Ok(Completion::Completed)
}
