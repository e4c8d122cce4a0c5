//! How fast it is: `cargo test --release --test unit path::speed -- --ignored --nocapture`.
#![expect(clippy::print_stderr, reason = "figures for whoever asked for them")]

use std::time::{Duration, Instant};

use mptcplab::path::Path;
use mptcplab::scenario::model::{Conditions, PathPlan, PathRule, Place, RuleAction};

use super::edits::dss;
use super::harness::{Tcp, any, delay, ip, rule, with_option};

const FRAMES: u32 = 1_000_000;

/// Frames each second, at full size: with data one way and acknowledgments the other.
fn speed(name: &str, conditions: &Conditions, rules: Vec<PathRule>) -> f64 {
    let conditions = [conditions.clone(), conditions.clone()];
    let plan = PathPlan { link: "link1".into(), place: Place::default(), seed: 1, conditions, rules };
    let mut path = Path::new(&plan);
    let data = Tcp::data(1, &[7; 1400]).option(&dss(None)).frame(0);
    let acknowledgment = Tcp::ack(1).option(&dss(None)).frame(1);
    let mut bytes = 0;
    let begin = Instant::now();
    for number in 0..u64::from(FRAMES) {
        let (from, frame) = if number % 3 == 2 { (1, &acknowledgment) } else { (0, &data) };
        // 100 ns apart: with a delay of 10 ms, that many are under way at once.
        path.enter(number * 100, from, frame, &mut |_, frame| bytes += frame.len());
    }
    let speed = f64::from(FRAMES) / begin.elapsed().as_secs_f64();
    eprintln!("{name}: {:.2} million frames/s ({bytes} bytes arrived)", speed / 1e6);
    speed
}

#[test]
#[ignore = "takes a release build to mean something"]
fn speed_is_enough() {
    let never = || vec![rule("rule", with_option("add_addr"), RuleAction::Drop)];
    let translate = vec![rule("rule", any(), RuleAction::Nat { address: ip("10.0.1.99"), port: None })];
    let figures = [
        speed("nothing to do", &Conditions::default(), Vec::new()),
        speed("10 ms of delay", &delay(Duration::from_millis(10)), Vec::new()),
        speed("a rule that doesn't match", &Conditions::default(), never()),
        speed("address translation", &Conditions::default(), translate),
    ];
    assert!(figures.iter().all(|figure| *figure > 300_000.0), "{figures:?}");
}
