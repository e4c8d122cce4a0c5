//! A visitor to the world at the end of its steps: somebody who wants to look around before it is taken down.

use std::thread;

use tokio::sync::oneshot;

use super::executor::Executor;
use super::limit::unless_abandoned;
use crate::recording::{Header, Observation, Recording};
use crate::testbed::visit::Places;

/// A world that stands, with what was recorded so far.
#[derive(Debug)]
pub struct Standing {
    /// Its namespaces.
    pub places: Places,
    /// The recording up to now.
    pub recording: Recording,
}

/// What to do in a standing world. It has a thread of its own.
pub type Visitor = Box<dyn FnOnce(Standing) + Send>;

impl Executor<'_> {
    /// Lets the visitor in, and waits until it has left.
    pub(super) async fn receive(&self, visitor: Visitor, header: Header) {
        self.observe_now();
        let namespaces = self.testbed.nodes().map(|node| (node.name(), node.namespace()));
        let places = match Places::of(namespaces) {
            Ok(places) => places,
            Err(error) => {
                let message = format!("keep the namespaces for a visitor: {error}");
                self.recorder.note(Observation::SetupFailed { message });
                return;
            }
        };
        let standing = Standing { places, recording: self.recorder.so_far(header) };
        let (left, has_left) = oneshot::channel();
        let visit = move || {
            visitor(standing);
            // The run may have been given up meanwhile.
            let _ = left.send(());
        };
        if let Err(error) = thread::Builder::new().name("visit".to_owned()).spawn(visit) {
            let message = format!("start a thread for a visitor: {error}");
            self.recorder.note(Observation::SetupFailed { message });
            return;
        }
        // What a visitor does is no part of the run. An error: the visitor panicked.
        let wait = async { _ = unless_abandoned(has_left).await };
        self.recorder.without(wait).await;
    }
}
