//! A running machine, and its messages: [`Running`].

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{Read, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use super::frame::{Decoder, Frame};
use super::host::Reply;
use super::image::{Image, Kind};
use super::loss::{Cause, Loss};
use super::machine::{Accelerator, Build, Machine};
use super::talk::Question;

/// Timeout for signs of life. A guest sends one every second; on a very busy host it may be late, but not this late.
const SILENCE: Duration = Duration::from_secs(60);
/// Timeout for the end of a machine that has panicked.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Number of bytes to keep of the console.
const KEPT: usize = 256 << 10;
/// How a kernel announces a panic.
const PANIC: &str = "Kernel panic";

/// Messages of the reading threads.
#[derive(Debug)]
pub(super) enum Message {
    /// From the kernel's console.
    Console(Vec<u8>),
    /// From one of the channels to init, by its number.
    Channel(usize, Vec<u8>),
    /// From the standard error of the machine's program.
    Complaint(Vec<u8>),
    /// One of the streams has ended.
    Closed,
}

/// Timeouts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The deadline, and the time limit that it comes from.
    pub(super) until: Option<(Instant, Duration)>,
    /// Until the first sign of life, for a machine that may not work at all.
    pub(super) first_sign: Option<Duration>,
    /// Until init starts.
    pub(super) boot: Duration,
}

/// The meaning of a message.
pub(super) enum Meaning {
    /// Nothing to act on.
    Nothing,
    /// Init has started.
    Booted,
    /// The guest continues without something.
    Trouble(String),
    /// The guest's kernel logged something.
    Logged(String),
    /// The guest is lost.
    Lost(Cause),
}

/// A machine that runs.
pub(super) struct Running {
    machine: Machine,
    words: &'static str,
    decoders: Vec<Decoder>,
    /// The channel that init has chosen.
    channel: Option<usize>,
    release: Option<String>,
    /// Unanswered questions.
    asked: BTreeMap<u32, (Vec<u8>, Reply)>,
    next: u32,
    /// Bytes to send to init, and the number of sent bytes that it hasn't read yet.
    outbox: VecDeque<u8>,
    in_flight: usize,
    console: Vec<u8>,
    complaints: String,
    open: usize,
    start: Instant,
    last: Instant,
    sign: bool,
    panicked: Option<Instant>,
}

impl Running {
    /// Starts a machine. Several threads pass its messages to `tell`, as long as that returns true.
    pub(super) fn start(
        image: &Image,
        initramfs: &File,
        build: &Build,
        accelerator: Accelerator,
        tell: &(impl Fn(Message) -> bool + Clone + Send + 'static),
    ) -> Result<Self, String> {
        let words = match (image.kind, accelerator) {
            (Kind::UserMode, _) => "User-Mode Linux",
            (Kind::X86, Accelerator::Kvm) => "KVM",
            (Kind::X86, Accelerator::Emulation) => "emulation",
        };
        let mut machine = Machine::start(image, initramfs, build, accelerator)?;
        let open = listen(&mut machine, tell).map_err(|error| format!("can't listen to the machine: {error}"))?;
        let decoders = machine.channels.iter().map(|_| Decoder::default()).collect();
        let now = Instant::now();
        Ok(Self {
            machine,
            words,
            decoders,
            channel: None,
            release: None,
            asked: BTreeMap::new(),
            next: 0,
            outbox: VecDeque::new(),
            in_flight: 0,
            console: Vec::new(),
            complaints: String::new(),
            open,
            start: now,
            last: now,
            sign: false,
            panicked: None,
        })
    }

    /// What was booted, where, and how long it took.
    pub(super) fn introduction(&self) -> String {
        let release = self.release.as_deref().unwrap_or("?");
        format!("Linux {release} ({}) booted in {:.1} s", self.words, self.start.elapsed().as_secs_f32())
    }

    /// Sends a question as soon as init has started.
    pub(super) fn ask(&mut self, question: Vec<u8>, reply: Reply) {
        let number = self.next;
        self.next += 1;
        self.asked.insert(number, (question.clone(), reply));
        let mut bytes = Vec::new();
        // Writing to memory doesn't fail, and no question is too long for a frame.
        if Frame::Ask(number, question).write(&mut bytes).is_ok() {
            self.outbox.extend(bytes);
        }
        self.send();
    }

    /// Sends as much as there is room for.
    fn send(&mut self) {
        let Some(channel) = self.channel.and_then(|number| self.machine.channels.get_mut(number)) else { return };
        let room = channel.window.saturating_sub(self.in_flight).min(self.outbox.len());
        if room > 0 {
            let bytes: Vec<u8> = self.outbox.drain(..room).collect();
            self.in_flight += room;
            // If the machine accepts nothing any more, it is lost, and its streams will end.
            let _ = channel.stream.write_all(&bytes);
        }
    }

    /// The next deadline, and what it means if it passes.
    pub(super) fn deadline(&self, limits: Limits) -> Option<(Instant, Cause)> {
        let booting = self.release.is_none();
        let silent = |from: Instant, after: Duration| Some((from + after, Cause::Silent(after)));
        [
            limits.until.map(|(until, limit)| (until, Cause::TimeOut(limit))),
            self.panicked.map(|panicked| (panicked + LAST_WORDS, Cause::Panicked)),
            silent(self.last, SILENCE).filter(|_| !booting),
            silent(self.start, limits.boot).filter(|_| booting),
            limits.first_sign.filter(|_| !self.sign).and_then(|limit| silent(self.start, limit)),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(deadline, _)| *deadline)
    }

    pub(super) fn take(&mut self, message: Message) -> Meaning {
        match message {
            Message::Console(bytes) => self.take_console(&bytes),
            Message::Channel(number, bytes) => self.take_frames(number, &bytes),
            Message::Complaint(bytes) => self.complaints.push_str(&String::from_utf8_lossy(&bytes)),
            Message::Closed => {
                self.open = self.open.saturating_sub(1);
                if self.open == 0 {
                    let status = self.machine.ended_soon();
                    let panicked = self.panicked.is_some();
                    return Meaning::Lost(if panicked { Cause::Panicked } else { Cause::Gone(status) });
                }
            }
        }
        Meaning::Nothing
    }

    fn take_console(&mut self, bytes: &[u8]) {
        (self.last, self.sign) = (Instant::now(), true);
        // The text may be split between two reads.
        let from = self.console.len().saturating_sub(PANIC.len());
        self.console.extend_from_slice(bytes);
        let fresh = self.console.get(from..).unwrap_or_default();
        if self.panicked.is_none() && String::from_utf8_lossy(fresh).contains(PANIC) {
            self.panicked = Some(Instant::now());
        }
        if self.console.len() > 2 * KEPT {
            self.console.drain(..self.console.len() - KEPT);
        }
    }

    fn take_frames(&mut self, number: usize, bytes: &[u8]) {
        (self.last, self.sign) = (Instant::now(), true);
        self.channel = Some(number);
        if let Some(decoder) = self.decoders.get_mut(number) {
            decoder.push(bytes);
        }
    }

    /// The meaning of the next complete frame; `None` if there is none.
    pub(super) fn next(&mut self) -> Option<Meaning> {
        let decoder = self.channel.and_then(|number| self.decoders.get_mut(number))?;
        let frame = match decoder.take() {
            Ok(frame) => frame?,
            Err(garbled) => return Some(Meaning::Lost(Cause::Garbled(garbled.to_string()))),
        };
        Some(match frame {
            Frame::Hello(release) => {
                self.release = Some(release);
                self.send();
                Meaning::Booted
            }
            Frame::Answer(number, answer) => {
                if let Some((_, reply)) = self.asked.remove(&number) {
                    // The sender may be gone.
                    let _ = reply.send(Ok(answer));
                }
                Meaning::Nothing
            }
            Frame::Got(count) => {
                self.in_flight = self.in_flight.saturating_sub(count as usize);
                self.send();
                Meaning::Nothing
            }
            Frame::Log(text) => Meaning::Logged(text),
            Frame::Trouble(trouble) => Meaning::Trouble(trouble),
            Frame::Beat | Frame::Ask(..) => Meaning::Nothing,
        })
    }

    /// Ends the machine. Returns how it was lost, and the unanswered questions.
    pub(super) fn end(self, cause: Cause) -> (Loss, Vec<(Vec<u8>, Reply)>) {
        let questions: Vec<_> = self.asked.into_values().collect();
        let parsed = questions.iter().filter_map(|(question, _)| serde_json::from_slice::<Question>(question).ok());
        let subjects = parsed.filter_map(|question| question.subject()).collect();
        let loss = Loss {
            cause,
            release: self.release,
            words: self.words,
            console: lines(&self.console),
            subjects,
            complaints: self.complaints,
        };
        (loss, questions)
    }
}

/// Reads each stream of the machine to its end, on its own thread. Returns the number of streams.
fn listen(machine: &mut Machine, tell: &(impl Fn(Message) -> bool + Clone + Send + 'static)) -> std::io::Result<usize> {
    let console = machine.console.try_clone()?;
    forward(console, Message::Console, tell.clone())?;
    let mut open = 1;
    for (number, channel) in machine.channels.iter().enumerate() {
        forward(channel.stream.try_clone()?, move |bytes| Message::Channel(number, bytes), tell.clone())?;
        open += 1;
    }
    if let Some(complaints) = machine.complaints() {
        forward(complaints, Message::Complaint, tell.clone())?;
        open += 1;
    }
    Ok(open)
}

fn forward(
    mut stream: impl Read + Send + 'static,
    message: impl Fn(Vec<u8>) -> Message + Send + 'static,
    tell: impl Fn(Message) -> bool + Send + 'static,
) -> std::io::Result<()> {
    let read = move || {
        let mut bytes = vec![0; 64 << 10];
        loop {
            match stream.read(&mut bytes) {
                // An error is the end of the stream, too: the machine was killed.
                Ok(0) | Err(_) => break,
                Ok(length) => {
                    if !tell(message(bytes.get(..length).unwrap_or_default().to_vec())) {
                        return;
                    }
                }
            }
        }
        tell(Message::Closed);
    };
    thread::Builder::new().name("stream".to_owned()).spawn(read).map(drop)
}

/// The lines of a console, without terminal control sequences.
fn lines(console: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(console);
    text.lines().map(|line| crate::text::printable(line.trim_end_matches('\r')).into_owned()).collect()
}
