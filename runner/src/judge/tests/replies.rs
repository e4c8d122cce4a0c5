//! Answers of getsockopt() to buffers of some length.

use crate::judge::FindingKind;
use crate::recording::{Observation, OptionReply, Side};
use crate::scenario::model::{Action, OptionQuery};

use super::fixture::Run;

fn query(change: impl Fn(&mut OptionQuery)) -> Action {
    let mut plan = OptionQuery {
        connection: "main".to_owned(),
        side: Side::Client,
        option: "mptcp_full_info",
        length: 44,
        head: vec![0, 100, 0, 264, 0, 16],
        returns: Some(44),
        answer: vec![200..=400, 100..=100],
        arrays: vec![528..=528, 200..=200],
        error: None,
    };
    change(&mut plan);
    Action::GetOption(plan)
}

fn reply() -> OptionReply {
    OptionReply {
        connection: "main".to_owned(),
        side: Side::Client,
        option: "mptcp_full_info".to_owned(),
        length: 44,
        error: None,
        returned: 44,
        numbers: vec![248, 100, 264, 264, 2, 16],
        arrays: vec![528, 200],
        beyond: false,
    }
}

fn asking(plan: Action, reply: Option<OptionReply>) -> Run {
    let mut run = Run::good();
    run.step(plan, |run| reply.into_iter().for_each(|reply| run.push(Observation::OptionReply(Box::new(reply)))));
    run
}

fn kinds(reply: OptionReply) -> Vec<FindingKind> {
    asking(query(|_| {}), Some(reply)).kinds()
}

#[test]
fn an_answer_is_compared_in_all_its_parts() {
    assert_eq!(kinds(reply()), []);
    let option = [FindingKind::Option];
    assert_eq!(kinds(OptionReply { returned: 40, ..reply() }), option);
    assert_eq!(kinds(OptionReply { numbers: vec![199, 100], ..reply() }), option);
    assert_eq!(kinds(OptionReply { numbers: vec![248], ..reply() }), option, "too short");
    assert_eq!(kinds(OptionReply { arrays: vec![528, 199], ..reply() }), option);
    assert_eq!(kinds(OptionReply { arrays: Vec::new(), ..reply() }), option);
    assert_eq!(kinds(OptionReply { beyond: true, ..reply() }), option, "nobody expects that");
    let run = asking(query(|_| {}), Some(OptionReply { numbers: vec![248, 99, 1], ..reply() }));
    assert_eq!(
        run.findings().first().map(|finding| finding.summary.clone()).as_deref(),
        Some(
            "the client's getsockopt(MPTCP_FULL_INFO) on main in 44 bytes returned 44 bytes: 248 99 1, arrays of 528 200 \
             bytes; expected 100 as number 2, not 99"
        )
    );
}

#[test]
fn a_refusal_must_be_the_expected_one() {
    let refused = |error: &str| OptionReply { error: Some(error.to_owned()), returned: 0, ..reply() };
    let expected = |plan: &mut OptionQuery| plan.error = Some("EINVAL".to_owned());
    assert_eq!(asking(query(expected), Some(refused("EINVAL"))).kinds(), []);
    assert_eq!(asking(query(expected), Some(refused("EFAULT"))).kinds(), [FindingKind::Refusal]);
    assert_eq!(asking(query(expected), Some(reply())).kinds(), [FindingKind::Refusal]);
    assert_eq!(kinds(refused("EINVAL")), [FindingKind::Refusal]);
}

#[test]
fn an_answer_that_is_not_in_the_recording_is_no_answer() {
    assert_eq!(asking(query(|_| {}), None).kinds(), [FindingKind::Incomplete]);
}
