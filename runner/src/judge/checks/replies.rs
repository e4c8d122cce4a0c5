//! What getsockopt() answered to buffers of some length.

use crate::judge::names::Names;
use crate::judge::option_words::reply_words;
use crate::judge::verdict::range_value;
use crate::judge::{Finding, FindingKind, render};
use crate::recording::{Observation, OptionReply};
use crate::scenario::model::{Action, OptionQuery, Range};

use super::steps::Progress;

/// What is wrong with the answers in `get_option` steps.
pub(super) fn check(names: &Names<'_>, progress: Progress) -> Vec<Finding> {
    let steps = names.scenario().steps.iter().enumerate();
    let done = steps.filter(|(index, _)| progress.is_done(*index));
    let asked = done.filter_map(|(index, step)| pick!(&step.action, Action::GetOption(plan) => (index, step, plan)));
    asked
        .flat_map(|(index, step, plan)| {
            let Some((at, reply)) = reply(names, index) else {
                let summary = format!("step {}: the kernel's answer is not in the recording", index.saturating_add(1));
                return vec![Finding::new(FindingKind::Incomplete, summary).placed(step.place)];
            };
            let problems = problems(plan, reply).into_iter();
            problems.map(|finding| finding.placed(step.place).at(Some(at))).collect()
        })
        .collect()
}

fn reply<'a>(names: &Names<'a>, step: usize) -> Option<(u64, &'a OptionReply)> {
    let index = names.index();
    let range = *index.started.get(&step)?..*index.finished.get(&step)?;
    let entries = names.recording().entries.get(range)?;
    entries.iter().find_map(|entry| pick!(&entry.what, Observation::OptionReply(reply) => (entry.at, &**reply)))
}

fn problems(plan: &OptionQuery, reply: &OptionReply) -> Vec<Finding> {
    let words = reply_words(reply);
    let found = |expected: String| Finding::new(FindingKind::Option, format!("{words}; expected {expected}"));
    if reply.error != plan.error {
        let wanted =
            plan.error.as_ref().map_or_else(|| "an answer".to_owned(), |error| format!("a refusal with {error}"));
        let finding = Finding::new(FindingKind::Refusal, format!("{words}; expected {wanted}"));
        return vec![finding.valued(&plan.error, &reply.error)];
    }
    if reply.error.is_some() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if reply.beyond {
        findings.push(found("nothing written behind the returned length".to_owned()));
    }
    if let Some(returns) = plan.returns.filter(|returns| *returns != reply.returned) {
        findings.push(found(format!("the length {returns}")).valued(returns, reply.returned));
    }
    for (what, wanted, seen) in [("number", &plan.answer, &reply.numbers), ("array", &plan.arrays, &reply.arrays)] {
        findings.extend(differing(wanted, seen).map(|(index, range, value)| {
            let place = index.saturating_add(1);
            let shown = value.map_or_else(|| "none".to_owned(), |value| value.to_string());
            found(format!("{} as {what} {place}, not {shown}", render::range(range))).valued(range_value(range), value)
        }));
    }
    findings
}

/// The first number that isn't as expected.
fn differing<'a>(wanted: &'a [Range], seen: &[u32]) -> Option<(usize, &'a Range, Option<u64>)> {
    let values = seen.iter().map(|value| Some(u64::from(*value))).chain(std::iter::repeat(None));
    let all = wanted.iter().zip(values).enumerate();
    let mut wrong = all.filter(|(_, (range, value))| value.is_none_or(|value| !range.contains(&value)));
    wrong.next().map(|(index, (range, value))| (index, range, value))
}
