//! The host's part: [`Guest`] boots a kernel, asks it questions, and knows when it is lost.
//!
//! A dedicated thread owns the machine, since a machine ends with the thread that started it. This thread receives
//! everything as an [`Input`]: questions from other threads, bytes from the machine.

use std::fs::File;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::image::{Image, Kind};
use super::loss::{Cause, Loss};
use super::machine::{Accelerator, Build};
use super::running::{Limits, Meaning, Message, Running};
use super::talk::{Answer, Question};
use crate::files;

/// Timeout for the first output of a kernel under KVM. It usually takes milliseconds.
const FIRST_SIGN: Duration = Duration::from_secs(3);
/// Timeout for the start of init under KVM.
const BOOT: Duration = Duration::from_secs(15);
/// Timeout for the start of init under emulation, on a very busy host.
const BOOT_EMULATED: Duration = Duration::from_secs(120);
/// A kernel that is lost repeatedly is booted at most this often.
const MOST_LOSSES: usize = 20;

/// Whether to use KVM, the processor's virtualisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kvm {
    /// If it works, which is tried.
    Auto,
    /// Always; an error if it doesn't work.
    On,
    /// Never: emulate.
    Off,
}

/// What to boot.
#[derive(Debug)]
pub struct Request {
    /// The kernel.
    pub image: Image,
    /// Its initial file system, see [`super::initramfs::build`].
    pub initramfs: File,
    /// The machine.
    pub build: Build,
    /// What runs it.
    pub kvm: Kvm,
    /// The time limit, from the first question to the last answer.
    pub limit: Option<Duration>,
    /// Where to write the guest's kernel log.
    pub log: Option<File>,
}

/// A kernel in a machine. The first question starts the machine, and restarts it after a loss.
#[derive(Debug)]
pub struct Guest {
    inputs: Sender<Input>,
    notes: Arc<Mutex<Vec<String>>>,
}

/// What the machine's thread receives.
pub(super) enum Input {
    /// A question, whose sender waits for the answer.
    Ask(Vec<u8>, Reply),
    /// A message from the machine of this number.
    From(usize, Message),
    /// No more questions.
    Close,
}

/// Where an answer goes.
pub(super) type Reply = Sender<Result<Vec<u8>, Arc<Loss>>>;

impl Guest {
    /// A guest that isn't started yet.
    ///
    /// # Errors
    ///
    /// The thread can't be started.
    pub fn new(request: Request) -> io::Result<Self> {
        let (inputs, receiver) = mpsc::channel();
        let notes = Arc::new(Mutex::new(Vec::new()));
        let host = Host {
            request,
            inputs: inputs.clone(),
            notes: Arc::clone(&notes),
            running: None,
            number: 0,
            begin: None,
            kvm_fails: false,
            losses: 0,
            lost_for_good: None,
        };
        thread::Builder::new().name("machine".to_owned()).spawn(move || host.work(&receiver))?;
        Ok(Self { inputs, notes })
    }

    /// Asks a question, and waits for the answer.
    ///
    /// # Errors
    ///
    /// The guest was lost before it answered.
    pub fn ask(&self, question: &Question) -> Result<Answer, Arc<Loss>> {
        let (reply, answer) = mpsc::channel();
        let defect = |reason: String| Arc::new(Loss::of(Cause::Garbled(reason)));
        let question = serde_json::to_vec(question).map_err(|error| defect(error.to_string()))?;
        let gone = "the machine's thread has ended";
        self.inputs.send(Input::Ask(question, reply)).map_err(|_| defect(gone.to_owned()))?;
        let bytes = answer.recv().map_err(|_| defect(gone.to_owned()))??;
        serde_json::from_slice(&bytes).map_err(|error| defect(error.to_string()))
    }

    /// Messages for the user, each once.
    pub fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // If the thread has ended, so has the machine.
        let _ = self.inputs.send(Input::Close);
    }
}

/// The state of the machine's thread.
struct Host {
    request: Request,
    inputs: Sender<Input>,
    notes: Arc<Mutex<Vec<String>>>,
    running: Option<Running>,
    /// The machine's number: inputs from earlier ones may still arrive.
    number: usize,
    /// When the first question came.
    begin: Option<Instant>,
    kvm_fails: bool,
    losses: usize,
    /// The loss after which no other machine is started.
    lost_for_good: Option<Arc<Loss>>,
}

impl Host {
    fn work(mut self, inputs: &Receiver<Input>) {
        loop {
            let input = match self.running.as_ref().and_then(|running| running.deadline(self.limits())) {
                None => inputs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some((at, _)) => inputs.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match input {
                Ok(Input::Ask(question, reply)) => self.ask(question, reply),
                Ok(Input::From(number, message)) if number == self.number => self.take(message),
                // From an earlier machine.
                Ok(Input::From(..)) => {}
                Ok(Input::Close) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let passed = self.running.as_ref().and_then(|running| running.deadline(self.limits()));
                    if let Some((at, cause)) = passed
                        && at <= Instant::now()
                    {
                        self.lose(cause);
                    }
                }
            }
        }
    }

    fn note(&self, note: String) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    fn accelerator(&self) -> Accelerator {
        let hardware = self.request.image.kind == Kind::X86 && self.request.kvm != Kvm::Off && !self.kvm_fails;
        if hardware { Accelerator::Kvm } else { Accelerator::Emulation }
    }

    fn limits(&self) -> Limits {
        let hardware = self.accelerator() == Accelerator::Kvm;
        let until =
            self.begin.zip(self.request.limit).and_then(|(begin, limit)| Some((begin.checked_add(limit)?, limit)));
        Limits {
            until,
            first_sign: (hardware && self.request.kvm == Kvm::Auto).then_some(FIRST_SIGN),
            boot: if hardware { BOOT } else { BOOT_EMULATED },
        }
    }

    fn ask(&mut self, question: Vec<u8>, reply: Reply) {
        self.begin.get_or_insert_with(Instant::now);
        if let Some(loss) = &self.lost_for_good {
            // The sender may be gone.
            let _ = reply.send(Err(Arc::clone(loss)));
            return;
        }
        if self.running.is_none()
            && let Err(loss) = self.start()
        {
            let loss = Arc::new(*loss);
            self.lost_for_good = Some(Arc::clone(&loss));
            let _ = reply.send(Err(loss));
            return;
        }
        if let Some(running) = &mut self.running {
            running.ask(question, reply);
        }
    }

    /// Starts a machine, without KVM if that doesn't work and isn't required.
    fn start(&mut self) -> Result<(), Box<Loss>> {
        if self.accelerator() == Accelerator::Kvm
            && let Err(reason) = usable_kvm()
        {
            if self.request.kvm == Kvm::On {
                return Err(Box::new(Loss::of(Cause::NotStarted(reason))));
            }
            self.without_kvm(&reason);
        }
        self.number += 1;
        let (number, inputs) = (self.number, self.inputs.clone());
        let tell = move |message| inputs.send(Input::From(number, message)).is_ok();
        let Request { image, initramfs, build, .. } = &self.request;
        let started = Running::start(image, initramfs, build, self.accelerator(), &tell);
        self.running = Some(started.map_err(|reason| Box::new(Loss::of(Cause::NotStarted(reason))))?);
        Ok(())
    }

    fn without_kvm(&mut self, reason: &str) {
        self.kvm_fails = true;
        self.note(format!("KVM doesn't work here ({reason}); emulating the machine, which is slower"));
    }

    fn take(&mut self, message: Message) {
        let Some(running) = &mut self.running else { return };
        let mut next = Some(running.take(message));
        while let Some(meaning) = next {
            self.act_on(meaning);
            next = self.running.as_mut().and_then(Running::next);
        }
    }

    fn act_on(&mut self, meaning: Meaning) {
        match meaning {
            Meaning::Nothing => {}
            Meaning::Lost(cause) => self.lose(cause),
            Meaning::Booted => {
                let introduction = self.running.as_ref().map(Running::introduction);
                introduction.into_iter().filter(|_| self.losses == 0).for_each(|note| self.note(note));
            }
            Meaning::Trouble(trouble) => self.note(format!("in the guest: {trouble}")),
            Meaning::Logged(text) => self.write_log(&text),
        }
    }

    fn write_log(&mut self, text: &str) {
        use std::io::Write as _;
        let Some(log) = &mut self.request.log else { return };
        if let Err(error) = log.write_all(text.as_bytes()) {
            self.request.log = None;
            self.note(format!("can't write the guest's kernel log any more: {error}"));
        }
    }

    /// Ends a machine that is lost.
    fn lose(&mut self, cause: Cause) {
        let Some(running) = self.running.take() else { return };
        let hardware = self.accelerator() == Accelerator::Kvm;
        let (loss, questions) = running.end(cause);
        self.write_log(&loss.console_text());
        let booting = loss.release.is_none();
        if booting && hardware && self.request.kvm == Kvm::Auto && !loss.is_time_out() {
            self.without_kvm(&loss.reason());
            for (question, reply) in questions {
                self.ask(question, reply);
            }
            return;
        }
        self.losses += 1;
        let loss = Arc::new(loss);
        if booting || loss.is_time_out() || self.losses >= MOST_LOSSES {
            self.lost_for_good = Some(Arc::clone(&loss));
        }
        for (_, reply) in questions {
            let _ = reply.send(Err(Arc::clone(&loss)));
        }
    }
}

/// Whether KVM can be tried at all.
fn usable_kvm() -> Result<(), String> {
    let opened = files::kernel::open_to_write("/dev/kvm");
    opened.map(drop).map_err(|error| format!("/dev/kvm: {error}"))
}
