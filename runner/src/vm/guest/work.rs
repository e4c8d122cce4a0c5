//! Carrying out the host's requests: [`Worker`].

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;
use std::thread::available_parallelism;

use crate::engine::Run;
use crate::recording::SourceText;
use crate::results::KernelIdentity;
use crate::scenario;
use crate::scenario::model::Feature;
use crate::session::{Session, raise_descriptor_limit};
use crate::testbed::probe::Availability;
use crate::vm::talk::{Answer, Question, probed};

/// Answers questions, from any number of threads.
#[derive(Debug, Default)]
pub(super) struct Worker {
    session: OnceLock<Result<Session, String>>,
}

impl Worker {
    /// An answer as JSON.
    pub(super) fn answer(&self, question: &[u8]) -> Vec<u8> {
        let answer = match serde_json::from_slice::<Question>(question) {
            // The first process must survive: the machine ends with it.
            Ok(question) => catch_unwind(AssertUnwindSafe(|| self.carry_out(question)))
                .unwrap_or_else(|_| Err("mptcplab panicked in the guest: this is a bug in mptcplab".to_owned()))
                .unwrap_or_else(Answer::Trouble),
            Err(error) => Answer::Trouble(format!("the guest can't decode the host's question: {error}")),
        };
        serde_json::to_vec(&answer).unwrap_or_else(|error| trouble(&format!("can't encode the answer: {error}")))
    }

    /// Opened on first use.
    fn session(&self) -> Result<&Session, String> {
        let open = || {
            raise_descriptor_limit();
            Session::open().map_err(|error| error.to_string())
        };
        self.session.get_or_init(open).as_ref().map_err(Clone::clone)
    }

    fn carry_out(&self, question: Question) -> Result<Answer, String> {
        let session = self.session()?;
        Ok(match question {
            Question::Enter { timeout_scale, programs } => {
                session.set_timeout_scale(timeout_scale);
                session.permit_programs(programs);
                let log = match session.kernel_log() {
                    Availability::Yes => None,
                    Availability::No(reason) => Some(reason),
                };
                let processors = available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok());
                let processors = processors.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
                Answer::Entered { log, kernel: KernelIdentity::running(), processors }
            }
            Question::Probe(words) => {
                let features = words.iter().filter_map(|word| Feature::from_word(word)).collect();
                let found: BTreeMap<Feature, Availability> = session.features(&features)?;
                Answer::Probed(found.iter().map(|(feature, availability)| probed(feature, availability)).collect())
            }
            Question::Run { file, variant, sources } => {
                Answer::Ran(Box::new(run(session, &file, variant.as_deref(), &sources)?.into()))
            }
            Question::Crash => {
                // If it works, there is no answer.
                let written = crate::files::kernel::write("/proc/sysrq-trigger", "c");
                let why = written.err().map_or_else(|| "it ignored sysrq `c`".to_owned(), |error| error.to_string());
                return Err(format!("can't panic the kernel by /proc/sysrq-trigger: {why}"));
            }
            Question::LateTrouble => {
                Answer::LateTrouble(session.late_trouble().iter().map(ToString::to_string).collect())
            }
        })
    }
}

fn run(session: &Session, file: &str, variant: Option<&str>, sources: &[SourceText]) -> Result<Run, String> {
    let scenario = scenario::load_sources(Path::new(file), variant, sources)
        .map_err(|errors| format!("the guest can't read the scenario\n{}", errors.render(false)))?;
    session.run(&scenario)
}

/// As JSON.
pub(super) fn trouble(message: &str) -> Vec<u8> {
    // A string can always be written as JSON.
    serde_json::to_vec(&Answer::Trouble(message.to_owned())).unwrap_or_default()
}
