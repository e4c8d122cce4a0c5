//! Runs with paths: what steps change, what is recorded, when it is quiet.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed};
use mptcplab::engine;
use mptcplab::plan::plan;
use mptcplab::recording::{Direction, Moment, Observation, PathEffect, PathTotals, Recording, StepOutcome};
use mptcplab::scenario;
use mptcplab::testbed::BaseNamespace;

/// The longest that a thread may need to notice that it is over.
const SOON: Duration = Duration::from_secs(5);

/// Two hosts with one link, and a path on it.
const WORLD: &str = "
links:
  wifi:
    ends:
      client: { device: eth1, addresses: [10.0.1.2/24] }
      server: { device: eth1, addresses: [10.0.1.1/24] }
namespaces:
  client: { limits: { subflows: 2 } }
  server: { limits: { subflows: 2 } }
";

fn run(home: &Arc<BaseNamespace>, text: &str) -> Result<Recording, Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scenario.yaml");
    fs::write(&file, format!("title: a test\nabout: A test.\n{WORLD}{text}"))?;
    let scenarios = scenario::load(&file).map_err(|found| found.to_string())?;
    let plan = plan(scenarios.first().ok_or("no scenario")?);
    Ok(engine::run(&plan, home, &engine::KernelFeatures::default()).recording)
}

/// Steps after a connect, over a path that does nothing yet.
fn run_on_an_open_path(home: &Arc<BaseNamespace>, steps: &str) -> Result<Recording, Failed> {
    const OPEN: &str = "
paths:
  wifi: {}
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
";
    run(home, &format!("{OPEN}{}", steps.trim_start_matches('\n')))
}

/// How each step ended.
fn outcomes(recording: &Recording) -> Vec<StepOutcome> {
    let outcome = |observation: &Observation| match observation {
        Observation::StepFinished { outcome, .. } => Some(outcome.clone()),
        _ => None,
    };
    recording.entries.iter().filter_map(|entry| outcome(&entry.what)).collect()
}

fn all_done(recording: &Recording) {
    let outcomes = outcomes(recording);
    assert!(outcomes.iter().all(|outcome| *outcome == StepOutcome::Done), "{outcomes:?}");
    let wrong = |what: &Observation| matches!(what, Observation::Lost { .. } | Observation::SetupFailed { .. });
    let wrong: Vec<_> = recording.entries.iter().filter(|entry| wrong(&entry.what)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

fn hits(recording: &Recording, name: &str) -> Vec<u64> {
    let hits = |observation: &Observation| match observation {
        Observation::RuleHits { link, rule, segments } if link == "wifi" && rule == name => Some(*segments),
        _ => None,
    };
    recording.entries.iter().filter_map(|entry| hits(&entry.what)).collect()
}

fn effects(recording: &Recording) -> Vec<(u64, String, PathEffect)> {
    let effect = |at: u64, observation: &Observation| match observation {
        Observation::Path { sender, what, .. } => Some((at, sender.to_string(), what.clone())),
        _ => None,
    };
    recording.entries.iter().filter_map(|entry| effect(entry.at, &entry.what)).collect()
}

fn totals(recording: &Recording, from: &str, when: &Moment) -> PathTotals {
    let totals = |observation: &Observation| match observation {
        Observation::PathTotals { sender, moment, totals, .. } if sender == from && moment == when => Some(**totals),
        _ => None,
    };
    recording.entries.iter().find_map(|entry| totals(&entry.what)).unwrap()
}

fn step_time(recording: &Recording, index: usize) -> Duration {
    let at = |begin: bool| {
        let is = |what: &Observation| match what {
            Observation::StepStarted { step, .. } => begin && *step == index,
            Observation::StepFinished { step, .. } => !begin && *step == index,
            _ => false,
        };
        recording.entries.iter().find(|entry| is(&entry.what)).unwrap().at
    };
    Duration::from_nanos(at(false) - at(true))
}

pub fn a_rule_is_installed_counted_and_removed(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let recording = run(
        home,
        "
paths:
  wifi:
    rules:
      - { name: the second SYN, flags: [syn], without: [ack], nth: 2, action: drop, may_be_unused: true }
steps:
  - add_rule: { link: wifi, name: the SYN, flags: [syn], without: [ack], nth: 1, action: drop }
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
  - wait: { rule: { link: wifi, name: the SYN, matched: 1 } }
  - remove_rule: { link: wifi, name: the SYN }
  - transfer: { connection: main, each_way: 64 KiB }
  - close: { connection: main, by: client }
",
    )?;
    // The second one, too: each waits for the retransmission of the one before.
    all_done(&recording);
    assert_eq!((hits(&recording, "the SYN"), hits(&recording, "the second SYN")), (vec![1], vec![1]));
    let effects = effects(&recording);
    let [(first, sender, PathEffect::Rule { action, .. }), (second, ..)] = effects.as_slice() else {
        return Err(format!("{effects:?}").into());
    };
    assert_eq!((sender.as_str(), action.as_str()), ("client", "drop"));
    assert!(second - first > 900_000_000, "a SYN is sent again after a second");
    // As the captures stamp them: the SYN left its namespace, then it was dropped.
    let syn = recording.entries.iter().find(|entry| matches!(entry.what, Observation::Packet { .. })).unwrap();
    assert!(syn.at <= *first && first - syn.at < 50_000_000, "{} {first}", syn.at);
    let (start, end) = (totals(&recording, "client", &Moment::Start), totals(&recording, "client", &Moment::End));
    assert_eq!((start, end.entered - end.left), (PathTotals::default(), 2));
    assert!(end.entered_bytes > 64 * 1024);
    Ok(Completion::Completed)
}

pub fn what_is_held_is_released_by_a_step(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let recording = run(
        home,
        "
paths:
  wifi:
    rules: [{ name: data waits, from: client, payload: '>=1000', action: hold }]
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
  - transfer: { connection: main, from_client: 2000, background: true }
  - wait: { rule: { link: wifi, name: data waits, matched: 1 } }
  - release: { link: wifi, name: data waits }
  - remove_rule: { link: wifi, name: data waits }
  - finish_transfer: { connection: main }
  - close: { connection: main, by: client }
",
    )?;
    all_done(&recording);
    let actions: Vec<String> = effects(&recording)
        .into_iter()
        .map(|(_, _, effect)| match effect {
            PathEffect::Rule { action, .. } => action.to_string(),
            other => format!("{other:?}"),
        })
        .collect();
    assert!(actions.iter().any(|action| action == "hold") && actions.iter().any(|action| action == "release"));
    Ok(Completion::Completed)
}

pub fn a_packet_under_way_is_not_quiet(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    // The last ACK of the handshake comes when nothing else moves any more, long after the quiet period.
    let recording = run(
        home,
        "
paths:
  wifi:
    rules: [{ name: a late one, from: client, payload: '>=1000', nth: 1, action: { delay: 300 ms } }]
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
  - transfer: { connection: main, from_client: 2000, background: true }
  - wait: { rule: { link: wifi, name: a late one, matched: 1 } }
  - quiet: 20 ms
  - finish_transfer: { connection: main }
  - close: { connection: main, by: client }
",
    )?;
    all_done(&recording);
    assert!(step_time(&recording, 3) > Duration::from_millis(250), "{:?}", step_time(&recording, 3));
    // A rule that holds is no such thing: nothing comes by itself.
    let recording = run(
        home,
        "
paths:
  wifi:
    rules: [{ name: it stays, from: client, payload: '>=1', action: hold }]
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1, handshake: false }
  - transfer: { connection: main, from_client: 100, background: true }
  - wait: { rule: { link: wifi, name: it stays, matched: 1 } }
  - quiet: 20 ms
  - release: { link: wifi, name: it stays }
  - remove_rule: { link: wifi, name: it stays }
  - finish_transfer: { connection: main }
",
    )?;
    all_done(&recording);
    assert!(step_time(&recording, 3) < SOON, "{:?}", step_time(&recording, 3));
    Ok(Completion::Completed)
}

pub fn conditions_change_during_the_run(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let recording = run_on_an_open_path(
        home,
        "
  - set_path: { link: wifi, delay: 100 ms }
  - transfer: { connection: main, each_way: 1000 }
  - set_path: { link: wifi, clear: true }
  - transfer: { connection: main, each_way: 1000 }
  - close: { connection: main, by: client }
",
    )?;
    all_done(&recording);
    let (slow, quick) = (step_time(&recording, 2), step_time(&recording, 4));
    assert!(slow > Duration::from_millis(100) && quick < slow, "{slow:?} {quick:?}");
    Ok(Completion::Completed)
}

/// Both ends see frames as on a plain veth pair, and the path counts them as what they would be on a wire.
pub fn an_open_path_is_recorded_like_any_other(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    const BYTES: u64 = 1024 * 1024;
    let recording = run_on_an_open_path(
        home,
        "
  - transfer: { connection: main, each_way: 1 MiB }
  - close: { connection: main, by: client }
",
    )?;
    all_done(&recording);
    for (from, to) in [("client", "server"), ("server", "client")] {
        let seen = |namespace: &str, direction| -> Vec<u32> {
            let payload = |what: &Observation| match what {
                Observation::Packet { namespace: at, direction: way, segment, .. }
                    if at == namespace && *way == direction =>
                {
                    Some(segment.payload)
                }
                _ => None,
            };
            recording.entries.iter().filter_map(|entry| payload(&entry.what)).filter(|payload| *payload > 0).collect()
        };
        let (sent, received) = (seen(from, Direction::Out), seen(to, Direction::In));
        assert_eq!(sent, received, "from {from}");
        assert!(sent.iter().any(|payload| *payload > 1500), "nothing was whole: {sent:?}");
        assert!(sent.iter().map(|payload| u64::from(*payload)).sum::<u64>() >= BYTES);
        let totals = totals(&recording, from, &Moment::End);
        assert!(totals.entered > BYTES / 1448 && totals.entered_bytes <= 1500 * totals.entered, "{totals:?}");
        assert_eq!((totals.entered, totals.entered_bytes), (totals.left, totals.left_bytes));
    }
    Ok(Completion::Completed)
}

pub fn what_is_not_there_is_an_error(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let recording = run(
        home,
        "
paths:
  wifi:
    rules: [{ name: holds nothing, from: client, flags: [rst], action: hold, may_be_unused: true }]
steps:
  - release: { link: wifi, name: holds nothing }
",
    )?;
    let outcomes = outcomes(&recording);
    let [StepOutcome::Failed { message }] = outcomes.as_slice() else { return Err(format!("{outcomes:?}").into()) };
    assert_eq!(message, "rule holds nothing of wifi holds no packet to release: wait until it has matched");
    Ok(Completion::Completed)
}

/// Its threads end with it. (What they hold are descriptors: with the process, they are gone in any case.)
pub fn nothing_is_left_of_a_run(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let threads = || -> io::Result<usize> {
        let mut count = 0;
        for task in fs::read_dir("/proc/self/task")? {
            let name = fs::read_to_string(task?.path().join("comm")).unwrap_or_default();
            count += usize::from(name.trim() == "path leftover");
        }
        Ok(count)
    };
    let text = "
links:
  leftover:
    ends:
      client: { device: eth1, addresses: [10.0.1.2/24] }
      server: { device: eth1, addresses: [10.0.1.1/24] }
namespaces: { client: {}, server: {} }
paths: { leftover: { both: { delay: 1 ms } } }
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
";
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scenario.yaml");
    fs::write(&file, format!("title: a test\nabout: A test.\n{text}"))?;
    let scenarios = scenario::load(&file).map_err(|found| found.to_string())?;
    let plan = plan(scenarios.first().ok_or("no scenario")?);
    let wait_for = |wanted: bool| -> Result<(), Failed> {
        let deadline = Instant::now() + SOON;
        while (threads()? > 0) != wanted {
            assert!(Instant::now() < deadline, "a thread is there: {}", !wanted);
            std::thread::yield_now();
        }
        Ok(())
    };
    std::thread::scope(|scope| -> Result<(), Failed> {
        let running = scope.spawn(|| engine::run(&plan, home, &engine::KernelFeatures::default()).recording);
        wait_for(true)?;
        all_done(&running.join().unwrap());
        Ok(())
    })?;
    wait_for(false)?;
    Ok(Completion::Completed)
}
