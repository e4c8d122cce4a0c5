//! Programs of a run: starting them, recording what they write and how they end. Main type: [`Programs`].

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::str::FromStr as _;
use std::time::Duration;

use indexmap::IndexMap;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::executor::Executor;
use super::recorder::Recorder;
use super::step::failed;
use super::wait::{TICK, lines_count};
use crate::errno::errno_symbol;
use crate::files;
use crate::net::Configures;
use crate::recording::{Awaited, EndStatus, Name, Observation, Seen, StepOutcome, Stream};
use crate::scenario::model::{self, Ready, RunPlan, Sockets, StartPlan};
use crate::sys::readiness::watch;
use crate::sys::sandbox::{Answer, Ended, Host, Launch, Program, SocketRequests};
use crate::testbed::Namespace;

/// The most bytes of a line; what is longer comes in parts.
const LONGEST_LINE: usize = 4096;
/// The most of a program's output that is recorded.
const MOST_LINES: u64 = 4_000;
const MOST_BYTES: usize = 512 << 10;
/// The most replaced sockets of a program that are recorded.
const MOST_SOCKETS: usize = 64;

/// The programs of a run, and the hosts in which they are.
#[derive(Debug, Default)]
pub(super) struct Programs {
    // Before the hosts: a host ends when all of its programs have been waited for.
    running: IndexMap<String, Running>,
    hosts: HashMap<String, Host>,
}

/// A program that was started.
#[derive(Debug)]
struct Running {
    attendant: Rc<Attendant>,
    task: JoinHandle<()>,
}

impl Programs {
    /// Records all output that waits, and how programs ended.
    pub(super) fn observe_now(&self) {
        self.running.values().for_each(|running| running.attendant.observe_now());
    }

    /// Whether programs that have sockets to configure a namespace still run, descendants included. `None`: there were none
    /// since this was last `Some(false)`.
    pub(super) fn configuring(&self, namespace: &str) -> Option<bool> {
        let all = self.running.values().map(|running| &running.attendant);
        let able: Vec<_> =
            all.filter(|one| one.namespace == namespace && !one.configures.borrow().is_empty()).collect();
        let any = able.iter().any(|one| !one.is_gone());
        if !any {
            for one in &able {
                one.configures.borrow_mut().clear();
            }
        }
        (!able.is_empty()).then_some(any)
    }

    /// Sends a signal to a program.
    pub(super) fn signal(&self, name: &str, signal: &str) -> Result<(), String> {
        let number = Signal::from_str(signal).map_err(|_| format!("unknown signal {signal}"))?;
        let program = self.attendant(name)?;
        program.observe_now();
        if let Some(status) = program.ended.borrow().as_ref() {
            return Err(format!("send {signal} to {name}: it has already ended with {status}"));
        }
        program.program.borrow().signal(number).map_err(|error| format!("send {signal} to {name}: {error}"))
    }

    fn attendant(&self, name: &str) -> Result<&Rc<Attendant>, String> {
        let running = self.running.get(name).ok_or_else(|| format!("there is no program `{name}`"))?;
        Ok(&running.attendant)
    }

    /// Kills whatever still runs, and its descendants.
    pub(super) fn end(self) {
        for Running { attendant, .. } in self.running.values() {
            attendant.observe_now();
            attendant.note_left_out();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
        // The task may hold it longer than the host lives, which waits for it.
        self.attendant.program.borrow_mut().kill();
    }
}

/// What belongs to one program.
#[derive(Debug)]
struct Attendant {
    step: usize,
    name: Name,
    namespace: String,
    recorder: Rc<Recorder>,
    program: RefCell<Program>,
    /// Hangs up when no process is left that could ask for a socket.
    requests: Option<OwnedFd>,
    /// What it can configure, by the sockets that it has, or may have.
    configures: RefCell<Vec<Configures>>,
    ended: RefCell<Option<EndStatus>>,
    outputs: RefCell<[Output; 2]>,
    lines: Cell<u64>,
    bytes: Cell<usize>,
    left_out: Cell<u64>,
    sockets: Cell<usize>,
}

/// One stream of a program.
#[derive(Debug)]
struct Output {
    stream: Stream,
    /// `None` at its end.
    descriptor: Option<OwnedFd>,
    /// The beginning of a line.
    begun: Vec<u8>,
}

impl Attendant {
    /// Records everything pending.
    fn observe_now(&self) {
        // The end first: what a program wrote before it is there.
        let ended = if self.ended.borrow().is_some() { Ok(None) } else { self.program.borrow_mut().ended() };
        self.read();
        let status = match ended {
            Ok(Some(Ended::Exit(status))) => EndStatus::Exit(u8::try_from(status).unwrap_or(u8::MAX)),
            Ok(Some(Ended::Signal(signal))) => EndStatus::Signal(signal.as_str().to_owned()),
            Ok(None) | Err(_) => return,
        };
        *self.ended.borrow_mut() = Some(status.clone());
        self.recorder.tell(Observation::ProgramEnded { step: self.step, program: self.name.to_string(), status });
    }

    fn read(&self) {
        let mut buffer = vec![0; 16 << 10];
        for output in self.outputs.borrow_mut().iter_mut() {
            while let Some(descriptor) = &output.descriptor {
                match nix::unistd::read(descriptor, &mut buffer) {
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => break,
                    Ok(0) | Err(_) => {
                        output.descriptor = None;
                        if !output.begun.is_empty() {
                            let line = std::mem::take(&mut output.begun);
                            self.note_line(output.stream, &line);
                        }
                    }
                    Ok(count) => self.take(output, buffer.get(..count).unwrap_or_default()),
                }
            }
        }
    }

    fn take(&self, output: &mut Output, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' || output.begun.len() >= LONGEST_LINE {
                let line = std::mem::take(&mut output.begun);
                self.note_line(output.stream, &line);
            }
            if *byte != b'\n' {
                output.begun.push(*byte);
            }
        }
    }

    fn note_line(&self, stream: Stream, line: &[u8]) {
        let (lines, bytes) = (self.lines.get() + 1, self.bytes.get().saturating_add(line.len()));
        if lines > MOST_LINES || bytes > MOST_BYTES {
            self.left_out.set(self.left_out.get() + 1);
            return;
        }
        self.lines.set(lines);
        self.bytes.set(bytes);
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
        self.recorder.tell(Observation::ProgramOutput { step: self.step, program: self.name.clone(), stream, line });
    }

    fn note_left_out(&self) {
        if self.left_out.get() > 0 {
            let (step, program, lines) = (self.step, self.name.to_string(), self.left_out.replace(0));
            self.recorder.note(Observation::ProgramOutputLeftOut { step, program, lines });
        }
    }

    fn note_configuring(&self, what: Configures) {
        if self.configures.borrow().contains(&what) {
            return;
        }
        self.configures.borrow_mut().push(what);
        let (step, program, namespace) = (self.step, self.name.to_string(), self.namespace.clone());
        self.recorder.tell(Observation::ProgramConfigures { step, program, namespace, what });
    }

    /// Whether neither it nor a descendant runs any more.
    fn is_gone(&self) -> bool {
        let Some(requests) = &self.requests else { return self.ended.borrow().is_some() };
        let mut polled = [PollFd::new(requests.as_fd(), PollFlags::empty())];
        let closed = |polled: &[PollFd<'_>]| polled.iter().filter_map(PollFd::revents).any(|events| !events.is_empty());
        poll(&mut polled, PollTimeout::ZERO).is_ok() && closed(&polled)
    }

    /// Answers a request for a socket, if there is one. Whether there was.
    fn answer(&self, requests: &SocketRequests, namespace: &Namespace) -> bool {
        let Ok(Some(asked)) = requests.next() else { return false };
        if let Some(what) = asked.configures() {
            // Before it has the socket.
            self.note_configuring(what);
            let _ = requests.answer(asked, &asked.instead());
            return true;
        }
        let answer = namespace.run(|| asked.instead()).unwrap_or(Answer::Error(Errno::EAGAIN as i32));
        let handed_over = requests.answer(asked, &answer).map_err(|error| error.raw_os_error().unwrap_or_default());
        let error = match (&answer, handed_over) {
            (Answer::Error(errno), _) => Some(errno_symbol(*errno)),
            (Answer::Socket(_), Err(errno)) => Some(errno_symbol(errno)),
            (Answer::Socket(_), Ok(())) | (Answer::AsAsked, _) => None,
        };
        self.sockets.set(self.sockets.get() + 1);
        if self.sockets.get() <= MOST_SOCKETS {
            let (step, program) = (self.step, self.name.clone());
            self.recorder.tell(Observation::ProgramSocket { step, program, error });
        }
        true
    }
}

/// What an attendant waits for. What has come to its end is `None`: it would be readable for ever.
struct Watched {
    end: Option<AsyncFd<OwnedFd>>,
    outputs: [Option<AsyncFd<OwnedFd>>; 2],
    requests: Option<(AsyncFd<OwnedFd>, SocketRequests, Namespace)>,
}

impl Watched {
    /// Attends to a program until it, its output and its requests have ended.
    async fn attend(mut self, attendant: Rc<Attendant>) {
        while self.end.is_some() || self.requests.is_some() || self.outputs.iter().any(Option::is_some) {
            let [stdout, stderr] = &self.outputs;
            tokio::select! {
                closed = ready(self.requests.as_ref().map(|(descriptor, ..)| descriptor)) => {
                    let answer = |(_, requests, namespace): &(_, _, _)| attendant.answer(requests, namespace);
                    // Nobody is left who could ask.
                    if !self.requests.as_ref().is_some_and(answer) && closed {
                        self.requests = None;
                    }
                    continue;
                }
                _ = ready(stdout.as_ref()) => {}
                _ = ready(stderr.as_ref()) => {}
                _ = ready(self.end.as_ref()) => self.end = None,
            }
            attendant.observe_now();
            for (watched, output) in self.outputs.iter_mut().zip(attendant.outputs.borrow().iter()) {
                if output.descriptor.is_none() {
                    *watched = None;
                }
            }
        }
    }
}

/// Becomes ready when the descriptor is readable; never without one. Whether the other end is closed.
async fn ready(descriptor: Option<&AsyncFd<OwnedFd>>) -> bool {
    match descriptor {
        Some(descriptor) => match descriptor.readable().await {
            Ok(mut guard) => {
                let closed = guard.ready().is_read_closed();
                guard.clear_ready();
                closed
            }
            Err(_) => true,
        },
        None => std::future::pending().await,
    }
}

impl Executor<'_> {
    /// A `start` step.
    pub(super) async fn start_program(&mut self, step: usize, plan: &StartPlan) -> StepOutcome {
        if let Err(message) = self.look_before_programs(&plan.program.namespace).await {
            return failed(message);
        }
        let attendant = match self.launch(step, &plan.name, &plan.program) {
            Ok(attendant) => attendant,
            Err(message) => return failed(message),
        };
        let Some(ready) = &plan.ready else { return StepOutcome::Done };
        let deadline = Instant::now() + plan.deadline;
        loop {
            self.observe_now();
            match self.is_ready(&plan.name, &plan.program.namespace, ready) {
                Ok(true) => return StepOutcome::Done,
                Ok(false) => {}
                Err(message) => return failed(message),
            }
            if let Some(status) = attendant.ended.borrow().clone() {
                return StepOutcome::ProgramEnded { program: plan.name.clone(), status };
            }
            if Instant::now() >= deadline {
                let condition = crate::plan::describe_ready(ready);
                let awaited = Awaited::ProgramReady { program: plan.name.clone(), condition };
                return StepOutcome::timed_out(vec![awaited], vec![Seen::Nothing], plan.deadline);
            }
            let _ = timeout_at(deadline.min(Instant::now() + TICK), self.recorder.changed()).await;
        }
    }

    /// A `run` step.
    pub(super) async fn run_program(&mut self, step: usize, plan: &RunPlan) -> StepOutcome {
        // No name of the language has a number sign.
        let name = format!("{}#{}", plan.program.command, step.saturating_add(1));
        if let Err(message) = self.look_before_programs(&plan.program.namespace).await {
            return failed(message);
        }
        if let Err(message) = self.launch(step, &name, &plan.program) {
            return failed(message);
        }
        self.finish_program(&name, &plan.end.status, plan.deadline).await
    }

    /// A `finish_program` step.
    pub(super) async fn finish_program(&mut self, name: &str, wanted: &EndStatus, most: Duration) -> StepOutcome {
        match self.wait_for_end(name, most).await {
            Err(message) => failed(message),
            Ok(None) => {
                let awaited = Awaited::EndOfProgram { program: shown(name).to_owned() };
                StepOutcome::timed_out(vec![awaited], vec![Seen::Nothing], most)
            }
            Ok(Some(status)) if status == *wanted => StepOutcome::Done,
            Ok(Some(status)) => StepOutcome::ProgramEnded { program: shown(name).to_owned(), status },
        }
    }

    /// A `stop` step.
    pub(super) async fn stop_program(&mut self, name: &str, most: Duration) -> StepOutcome {
        let attendant = match self.programs.attendant(name) {
            Ok(attendant) => Rc::clone(attendant),
            Err(message) => return failed(message),
        };
        self.observe_now();
        if let Some(status) = attendant.ended.borrow().clone() {
            return StepOutcome::ProgramEnded { program: name.to_owned(), status };
        }
        if let Err(message) = self.programs.signal(name, Signal::SIGTERM.as_str()) {
            return failed(message);
        }
        match self.wait_for_end(name, most).await {
            Err(message) => failed(message),
            Ok(Some(_)) => StepOutcome::Done,
            Ok(None) => {
                // That it has ended meanwhile is no error.
                let _ = attendant.program.borrow().signal(Signal::SIGKILL);
                let awaited = Awaited::EndOfProgram { program: name.to_owned() };
                StepOutcome::timed_out(vec![awaited], vec![Seen::Nothing], most)
            }
        }
    }

    async fn wait_for_end(&mut self, name: &str, most: Duration) -> Result<Option<EndStatus>, String> {
        let attendant = Rc::clone(self.programs.attendant(name)?);
        let deadline = Instant::now() + most;
        loop {
            self.observe_now();
            if let Some(status) = attendant.ended.borrow().clone() {
                attendant.note_left_out();
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                attendant.note_left_out();
                return Ok(None);
            }
            let _ = timeout_at(deadline, self.recorder.changed()).await;
        }
    }

    /// Starts a program, and attends to it from now on.
    fn launch(&mut self, step: usize, name: &str, plan: &model::Program) -> Result<Rc<Attendant>, String> {
        let of = |error: &dyn std::fmt::Display| format!("start {} in {}: {error}", plan.command, plan.namespace);
        let node = self.testbed.node(&plan.namespace).map_err(|error| error.to_string())?;
        let namespace = node.namespace().again().map_err(|error| of(&error))?;
        if !self.programs.hosts.contains_key(&plan.namespace) {
            self.programs.hosts.insert(plan.namespace.clone(), node.host().map_err(|error| of(&error))?);
        }
        let host = self.programs.hosts.get(&plan.namespace).ok_or_else(|| of(&"it has no host"))?;
        let launch = Launch {
            command: &plan.command,
            arguments: &plan.arguments,
            environment: &plan.environment,
            files: &plan.files,
            asks_for_sockets: plan.sockets == Sockets::Forced,
        };
        let mut program = Program::start(host, &launch).map_err(|error| of(&error))?;
        let program_name = Name::from(shown(name));
        self.recorder.tell(Observation::ProgramStarted {
            step,
            program: program_name.to_string(),
            namespace: plan.namespace.clone(),
        });
        let mut hang_up = None;
        let requests = match program.requests.take() {
            Some(requests) => {
                hang_up = Some(requests.try_clone().map_err(|error| of(&error))?);
                let watched = requests.try_clone().and_then(watch).map_err(|error| of(&error))?;
                Some((watched, SocketRequests::new(requests), namespace))
            }
            None => None,
        };
        let descriptors = [program.stdout.take(), program.stderr.take()];
        let again =
            |descriptor: &Option<OwnedFd>| descriptor.as_ref().map(|own| own.try_clone().and_then(watch)).transpose();
        let [stdout, stderr] = descriptors.each_ref().map(again);
        let watched = Watched {
            end: Some(program.end().and_then(watch).map_err(|error| of(&error))?),
            outputs: [stdout.map_err(|error| of(&error))?, stderr.map_err(|error| of(&error))?],
            requests,
        };
        let [stdout, stderr] = descriptors;
        let output = |stream, descriptor| Output { stream, descriptor, begun: Vec::new() };
        let attendant = Rc::new(Attendant {
            step,
            name: program_name,
            namespace: plan.namespace.clone(),
            recorder: Rc::clone(&self.recorder),
            program: RefCell::new(program),
            requests: hang_up,
            configures: RefCell::default(),
            ended: RefCell::default(),
            outputs: RefCell::new([output(Stream::Stdout, stdout), output(Stream::Stderr, stderr)]),
            lines: Cell::default(),
            bytes: Cell::default(),
            left_out: Cell::default(),
            sockets: Cell::default(),
        });
        if attendant.requests.is_none() {
            // Nobody will tell.
            for what in [Configures::PathManager, Configures::Netfilter] {
                attendant.note_configuring(what);
            }
        }
        let task = tokio::task::spawn_local(watched.attend(Rc::clone(&attendant)));
        self.programs.running.insert(name.to_owned(), Running { attendant: Rc::clone(&attendant), task });
        Ok(attendant)
    }

    fn is_ready(&self, program: &str, namespace: &str, ready: &Ready) -> Result<bool, String> {
        match ready {
            Ready::Output(text) => Ok(self.recorder.with_entries(|entries| lines_count(entries, program, text)) > 0),
            Ready::Port(port) => {
                // Not /proc/net, which is the main thread's.
                let read =
                    |file: &str| files::kernel::read_text(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
                let tables = self.inside(namespace, || ["tcp", "tcp6"].map(read))?;
                Ok(tables.iter().any(|table| listens(table, *port)))
            }
        }
    }
}

/// The name of a program for people: without the number of its step.
fn shown(name: &str) -> &str {
    name.split('#').next().unwrap_or(name)
}

/// Whether a table in the format of /proc/net/tcp (proc(5)) has a listening socket on this port. That of an MPTCP socket is
/// in it, too: it is the socket of its initial subflow that listens.
fn listens(table: &str, port: u16) -> bool {
    /// `TCP_LISTEN` (`include/net/tcp_states.h`)
    const LISTEN: &str = "0A";
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().and_then(|local| local.rsplit(':').next());
        let state = fields.nth(1);
        state == Some(LISTEN) && local.and_then(|text| u16::from_str_radix(text, 16).ok()) == Some(port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_found_by_their_port() {
        let table = "  sl  local_address rem_address   st tx_queue\n   0: 00000000:1F90 00000000:0000 0A 00000000:00000000\n   1: 0100000A:0050 0200000A:D431 01 00000000:00000000\n";
        assert!(listens(table, 8080));
        assert!(!listens(table, 80) && !listens(table, 0) && !listens("", 8080));
    }
}
