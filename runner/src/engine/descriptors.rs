//! File descriptors: a run has two for each open connection, and the system has a limit. A scenario that exceeds it is
//! refused before the run, rather than by a connect() that fails.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::scenario::model::{Action, Step};

/// What a run has open besides the sockets of its scenario, and the program besides the run: namespaces, captures, netlink
/// sockets, threads, files.
const OTHERS: u64 = 96;

/// Refuses a scenario with more concurrent connections than file descriptors. Raises the limit if the process may do so.
pub(super) fn check(steps: &[Step]) -> Result<(), String> {
    let sockets = most_sockets(steps);
    let needed = sockets.saturating_add(OTHERS);
    let Ok((limit, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    if needed <= limit || setrlimit(Resource::RLIMIT_NOFILE, needed.max(limit), needed.max(hard)).is_ok() {
        return Ok(());
    }
    Err(refusal(sockets, needed, hard))
}

fn refusal(sockets: u64, needed: u64, hard: u64) -> String {
    format!(
        "the scenario has {sockets} sockets open at the same time and needs {needed} file descriptors, but the process is \
         limited to {hard} (RLIMIT_NOFILE); raise the limit with `ulimit -Hn {needed}`, which takes CAP_SYS_RESOURCE, or \
         `close` connections before opening others"
    )
}

/// The most sockets that are open at the same time: listeners, and both ends of each connection until it is closed.
fn most_sockets(steps: &[Step]) -> u64 {
    let (mut open, mut most) = (0_u64, 0);
    for step in steps {
        match &step.action {
            Action::Listen(_) => open += 1,
            Action::Connect(plan) => open += 2 + u64::from(plan.implicit_listener.is_some()),
            Action::StopListening { .. } => open = open.saturating_sub(1),
            Action::Close { .. } if step.action.closed_connection().is_some() => open = open.saturating_sub(2),
            Action::Close { .. }
            | Action::Transfer(_)
            | Action::FinishTransfer { .. }
            | Action::Wait { .. }
            | Action::Quiet { .. }
            | Action::SetOptions { .. }
            | Action::GetOption(_)
            | Action::Accept { .. }
            | Action::Shutdown { .. }
            | Action::Write { .. }
            | Action::Read { .. }
            | Action::Check(_)
            | Action::SetPath(_)
            | Action::AddRule { .. }
            | Action::Start(_)
            | Action::Run(_)
            | Action::Signal { .. }
            | Action::FinishProgram { .. }
            | Action::Stop { .. }
            | Action::RemoveRule { .. }
            | Action::Release { .. }
            | Action::ExpectError { .. }
            | Action::Do(_) => {}
        }
        most = most.max(open);
    }
    most
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::example;
    use crate::recording::Side;
    use crate::scenario::model::CloseHow;

    #[test]
    fn what_is_closed_makes_room() {
        let mut scenario = example::scenario();
        let connect = scenario.steps.iter().find(|step| matches!(step.action, Action::Connect(_))).unwrap();
        let listens = u64::from(matches!(&connect.action, Action::Connect(plan) if plan.implicit_listener.is_some()));
        let connect = connect.clone();
        let (connection, deadline) = ("main".to_owned(), Duration::from_secs(1));
        let close = |how| Action::Close { connection: connection.clone(), by: Side::Client, how, deadline };
        let [close, half] = [CloseHow::Graceful, CloseHow::HalfClose].map(|how| example::step(close(how)));
        scenario.steps = vec![connect.clone(); 1000];
        assert_eq!(most_sockets(&scenario.steps), (2 + listens) * 1000);
        scenario.steps = (0..1000).flat_map(|_| [connect.clone(), close.clone()]).collect();
        assert!(most_sockets(&scenario.steps) <= 2 + listens * 1000);
        assert!(check(&scenario.steps).is_ok());
        // A half close leaves both sockets open.
        scenario.steps = (0..1000).flat_map(|_| [connect.clone(), half.clone()]).collect();
        assert_eq!(most_sockets(&scenario.steps), (2 + listens) * 1000);
    }

    #[test]
    fn what_is_too_much_is_said() {
        let message = refusal(40_000, 40_096, 20_000);
        assert!(message.contains("needs 40096 file descriptors") && message.contains("limited to 20000"), "{message}");
    }
}
