//! A thread pool that reports its progress to the calling thread.

use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::{self, Receiver, Sender};

/// Progress of the pool. Jobs are identified by number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<R> {
    /// A job begins.
    Begun(usize),
    /// A job has ended.
    Ended(usize, R),
    /// An interruption was requested.
    Interrupted,
}

/// Messages from other threads.
#[derive(Debug)]
enum Message<R> {
    Ended { worker: usize, number: usize, result: R },
    Interrupted,
}

/// A pool of workers, for one batch of jobs after the other.
#[derive(Debug)]
pub(super) struct Pool<R> {
    sender: Sender<Message<R>>,
    receiver: Receiver<Message<R>>,
}

impl<R: Send + 'static> Pool<R> {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { sender, receiver }
    }

    /// A function that any thread may call to cause [`Event::Interrupted`], in this batch or the next.
    pub(super) fn interrupter(&self) -> impl FnOnce() + Send + 'static {
        let sender = self.sender.clone();
        move || {
            // Without a pool there is nothing to interrupt.
            let _ = sender.send(Message::Interrupted);
        }
    }

    /// Executes numbered jobs in order on `workers` threads. `hear` receives all events, on this thread. After it
    /// returns a break, no further job starts, but those that have started are reported to their end. Returns whether
    /// there was a break.
    ///
    /// If fewer threads can be started, there are fewer workers.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    ///
    /// Jobs are handed out here, not taken by the workers: a worker's next job starts only after its last result was
    /// heard.
    pub(super) fn work<J: Send>(
        &self,
        mut jobs: impl Iterator<Item = (usize, J)>,
        workers: usize,
        work: impl Fn(J) -> R + Sync,
        mut hear: impl FnMut(Event<R>) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        std::thread::scope(|scope| {
            let mut flow = ControlFlow::Continue(());
            let mut tell = |event, flow: &mut ControlFlow<()>| {
                if hear(event).is_break() {
                    *flow = ControlFlow::Break(());
                }
            };
            let mut desks: Vec<Sender<(usize, J)>> = Vec::new();
            for worker in 0..workers {
                match self.spawn(scope, worker, &work) {
                    Ok(desk) => desks.push(desk),
                    Err(error) if desks.is_empty() => return Err(error),
                    Err(_) => break,
                }
            }
            let workers = desks.len();
            let mut idle: Vec<usize> = (0..workers).collect();
            loop {
                // Pending messages come before the next job.
                let mut message = self.receiver.try_recv().ok();
                while message.is_none()
                    && flow.is_continue()
                    && let Some(desk) = idle.last().and_then(|worker| desks.get(*worker))
                    && let Some((number, job)) = jobs.next()
                {
                    idle.pop();
                    tell(Event::Begun(number), &mut flow);
                    // The worker receives until its sender is dropped.
                    let _ = desk.send((number, job));
                    message = self.receiver.try_recv().ok();
                }
                if message.is_none() && idle.len() == workers {
                    return Ok(flow);
                }
                match message.map_or_else(|| self.receiver.recv(), Ok) {
                    Ok(Message::Ended { worker, number, result }) => {
                        idle.push(worker);
                        tell(Event::Ended(number, result), &mut flow);
                    }
                    Ok(Message::Interrupted) => tell(Event::Interrupted, &mut flow),
                    // Never: this pool holds a sender.
                    Err(_) => return Ok(flow),
                }
            }
        })
    }

    /// Starts a worker that executes the jobs sent to it.
    fn spawn<'scope, J: Send + 'scope>(
        &self,
        scope: &'scope std::thread::Scope<'scope, '_>,
        worker: usize,
        work: &'scope (impl Fn(J) -> R + Sync),
    ) -> io::Result<Sender<(usize, J)>> {
        let (desk, jobs) = mpsc::channel::<(usize, J)>();
        let sender = self.sender.clone();
        std::thread::Builder::new().spawn_scoped(scope, move || {
            for (number, job) in jobs {
                // The receiver outlives this scope.
                let _ = sender.send(Message::Ended { worker, number, result: work(job) });
            }
        })?;
        Ok(desk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_job_is_done_once() {
        let pool = Pool::new();
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        let flow = pool.work(
            (0..100).map(|job| (job, job)),
            8,
            |job| job * 2,
            |event| {
                match event {
                    Event::Begun(job) => begun.push(job),
                    Event::Ended(job, result) => ended.push((job, result)),
                    Event::Interrupted => panic!("an unexpected event"),
                }
                ControlFlow::Continue(())
            },
        );
        begun.sort_unstable();
        ended.sort_unstable();
        assert_eq!(begun, (0..100).collect::<Vec<_>>());
        assert_eq!(ended, (0..100).map(|job| (job, job * 2)).collect::<Vec<_>>());
        assert!(flow.unwrap().is_continue());
    }

    #[test]
    fn after_a_break_what_was_begun_is_ended_and_nothing_else() {
        let pool = Pool::new();
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        let flow = pool.work(
            (0..).map(|job| (job, job)),
            4,
            |job| job,
            |event| match event {
                Event::Begun(job) => {
                    begun.push(job);
                    ControlFlow::Continue(())
                }
                Event::Ended(job, _) => {
                    ended.push(job);
                    if ended.len() > 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                }
                Event::Interrupted => panic!("an unexpected event"),
            },
        );
        begun.sort_unstable();
        ended.sort_unstable();
        assert_eq!(begun, ended);
        assert!(flow.unwrap().is_break());
    }

    #[test]
    fn an_interruption_is_heard_even_before_the_work() {
        let pool = Pool::new();
        pool.interrupter()();
        let mut heard = Vec::new();
        let flow = pool.work(
            (0..).map(|job| (job, job)),
            1,
            |job| job,
            |event| {
                heard.push(event);
                ControlFlow::Break(())
            },
        );
        assert!(flow.unwrap().is_break());
        assert_eq!(heard, [Event::Interrupted]);
    }

    #[test]
    fn without_jobs_nothing_happens() {
        let flow =
            Pool::<()>::new().work(std::iter::empty::<(usize, ())>(), 4, |()| (), |_| panic!("called without a job"));
        assert!(flow.unwrap().is_continue());
    }
}
