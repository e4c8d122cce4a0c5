//! The recorder: gathers observations from all observers of a run, and wakes the task that waits for one.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::sync::Notify;

use crate::nanos;
use crate::processors::Late;
use crate::recording::{Entry, Header, LostWhat, Name, Observation, Recording, Stalled};

/// Maximum number of stalls in a recording: more of them would say nothing new.
const MOST_STALLS: usize = 256;

/// The maximum number of entries. With some 200 bytes each, and as much again while the story is told, that is 1.6 GB: a
/// small scenario that transfers a lot must not take all of the machine's memory.
const MOST_ENTRIES: usize = 4_000_000;

/// Gathers observations. One for each run, shared by its tasks on one thread.
#[derive(Debug)]
pub struct Recorder {
    start: u64,
    entries: RefCell<Vec<Entry>>,
    /// The entries that are events, by token: waiting for one of them looks at no other entry.
    events: RefCell<HashMap<Option<u32>, Vec<usize>>>,
    last_activity: Cell<u64>,
    changed: Notify,
    stalls: Cell<usize>,
    most: usize,
    /// How many packets and effects of paths found no room, by namespace.
    without_room: RefCell<BTreeMap<String, u64>>,
}

impl Recorder {
    /// Begins a recording now.
    pub fn new() -> Self {
        Self::with_room(MOST_ENTRIES)
    }

    /// Begins a recording of that many entries at most, but for what traffic doesn't multiply.
    fn with_room(most: usize) -> Self {
        let start = nanos::now();
        Self {
            start,
            entries: RefCell::default(),
            events: RefCell::default(),
            last_activity: Cell::new(start),
            changed: Notify::new(),
            stalls: Cell::new(0),
            most,
            without_room: RefCell::default(),
        }
    }

    /// Records what the runner itself did or read, with the present time.
    pub fn note(&self, what: Observation) {
        let at = nanos::now().saturating_sub(self.start);
        self.entries.borrow_mut().push(Entry { at, what });
    }

    /// Records what a program did, and wakes whoever waits. That is no observation of the network: it ends no quiet period.
    pub fn tell(&self, what: Observation) {
        self.note(what);
        self.changed.notify_waiters();
    }

    /// Records what an observer saw at that time (nanoseconds since the epoch): this ends any quiet period.
    pub fn observe(&self, at: u64, what: Observation) {
        if let Observation::Event { event, .. } = &what {
            self.events.borrow_mut().entry(event.token).or_default().push(self.entries.borrow().len());
        }
        match namespace_of_traffic(&what) {
            Some(namespace) if self.entries.borrow().len() >= self.most => {
                *self.without_room.borrow_mut().entry(namespace.to_string()).or_default() += 1;
            }
            _ => self.entries.borrow_mut().push(Entry { at: at.saturating_sub(self.start), what }),
        }
        self.last_activity.set(self.last_activity.get().max(at));
        self.changed.notify_waiters();
    }

    /// Records that something came late. That is no observation of the test world: it ends no quiet period.
    pub fn stalled(&self, whose: Stalled, late: Late, waited: Option<Duration>) {
        self.stalls.set(self.stalls.get().saturating_add(1));
        if self.stalls.get() > MOST_STALLS {
            return;
        }
        let waited = waited.map(nanos::of);
        let what = Observation::Stalled { whose, lasted: late.lasted, waited };
        self.entries.borrow_mut().push(Entry { at: late.from.saturating_sub(self.start), what });
    }

    /// How many stalls there were, and how many of them are not recorded.
    pub fn stalls(&self) -> (usize, usize) {
        (self.stalls.get(), self.stalls.get().saturating_sub(MOST_STALLS))
    }

    /// When the recording began, in nanoseconds since the epoch.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// When something was last observed, in nanoseconds since the epoch.
    pub fn last_activity(&self) -> u64 {
        self.last_activity.get()
    }

    /// Becomes ready at the next observation.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Looks at what has been recorded so far, in the order in which it was read.
    pub fn with_entries<T>(&self, look: impl FnOnce(&[Entry]) -> T) -> T {
        look(&self.entries.borrow())
    }

    /// How many events are like that, of those with these tokens, or of all.
    pub fn count_events(&self, tokens: Option<&[u32]>, is_it: impl Fn(&Entry) -> bool) -> usize {
        let (entries, events) = (self.entries.borrow(), self.events.borrow());
        let count = |indices: &Vec<usize>| indices.iter().filter(|at| entries.get(**at).is_some_and(&is_it)).count();
        match tokens {
            None => events.values().map(count).sum(),
            Some(tokens) => tokens.iter().filter_map(|token| events.get(&Some(*token))).map(count).sum(),
        }
    }

    /// The recording up to now.
    pub fn so_far(&self, header: Header) -> Recording {
        let mut entries = self.entries.borrow().clone();
        entries.sort_by_key(|entry| entry.at);
        Recording { header, entries }
    }

    /// Waits, and forgets what is recorded meanwhile.
    pub async fn without(&self, wait: impl Future<Output = ()>) {
        let entries = self.entries.borrow().len();
        wait.await;
        self.entries.borrow_mut().truncate(entries);
        // None is waited for any more.
        self.events.borrow_mut().clear();
    }

    /// Ends the recording. Entries are ordered by time; those of one observer keep their order.
    pub fn finish(&self, header: Header) -> Recording {
        for (namespace, count) in self.without_room.take() {
            self.note(Observation::Lost { namespace, what: LostWhat::Room, count: Some(count) });
        }
        let mut entries = self.entries.take();
        entries.sort_by_key(|entry| entry.at);
        Recording { header, entries }
    }
}

/// The namespace of what there is more of the more data flow.
fn namespace_of_traffic(what: &Observation) -> Option<&Name> {
    pick!(what, Observation::Packet { namespace, .. } | Observation::Path { sender: namespace, .. } => namespace)
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{FORMAT, PathEffect};

    fn traffic(sender: &str) -> Observation {
        Observation::Path {
            link: "link".into(),
            sender: sender.into(),
            number: 1,
            after: 0,
            part: 0,
            parts: Vec::new(),
            what: PathEffect::Lost,
            segment: None,
        }
    }

    fn header() -> Header {
        Header {
            format: FORMAT,
            mptcplab: String::new(),
            kernel: String::new(),
            title: String::new(),
            file: String::new(),
            variant: None,
            sources: Vec::new(),
            features: Vec::new(),
            lacks: Vec::new(),
        }
    }

    #[test]
    fn a_full_recording_says_what_it_has_no_room_for() {
        let recorder = Recorder::with_room(2);
        for sender in ["client", "client", "client", "server", "client"] {
            recorder.observe(nanos::now(), traffic(sender));
        }
        recorder.note(Observation::Ended);
        let entries = recorder.finish(header()).entries;
        let what: Vec<_> = entries.into_iter().map(|entry| entry.what).collect();
        let lost = |namespace: &str, count| Observation::Lost {
            namespace: namespace.to_owned(),
            what: LostWhat::Room,
            count: Some(count),
        };
        let expected = [traffic("client"), traffic("client"), Observation::Ended, lost("client", 2), lost("server", 1)];
        assert_eq!(what, expected);
    }
}
