//! Steps: what a scenario does. Most are declared in [`Action`] and [`Operation`]; here is what isn't one record.

use super::super::model::{Action, Condition, Operation};
use super::super::read::repeat::Numbers;
use super::super::read::step::Quiet;
use super::super::record::{Group as _, joined};
use super::{Key, Kind, Record, Shape, key_of};

/// A step: exactly one of these.
pub static STEP: Record = Record { name: "step", what: "a step", keys: &[], one_of: &STEP_KEYS, never: &[] };

/// A list of steps.
pub static STEPS: Shape = Shape::List(&Shape::Record(&STEP));

// A static: `repeat` has steps in it, and a constant can't refer to itself.
static STEP_KEYS: [Key; Action::KEYS.len() + 2 + Operation::KEYS.len()] = joined(&[
    Action::KEYS,
    &[
        Key::of::<Quiet>("quiet", "Waits until no event and no segment has been observed for this long."),
        Key::new("repeat", Shape::Record(&REPEAT), "Repeats steps, each time with the next number."),
    ],
    Operation::KEYS,
]);

/// Steps with a number that changes.
pub static REPEAT: Record = Record::plain("repeat", "a `repeat` step", &REPEAT_KEYS);

static REPEAT_KEYS: [Key; Numbers::KEYS.len() + 1] =
    joined(&[Numbers::KEYS, &[Key::new("steps", Shape::Some(&STEPS), "The steps for each number.").required()]]);

/// What a `wait` step waits for.
pub const CONDITIONS_OF_WAIT: [Key; 3 + Condition::KEYS.len()] = joined(&[
    &[
        Key::new(
            "subflows",
            Shape::Table("connection", Kind::Name, &Shape::Scalar(Kind::Integer(0, 255))),
            "Both sides have exactly this number of established subflows, including the initial one.",
        ),
        Key::new("events", Shape::List(&EVENT_CONDITION), "Several events were seen, in any order."),
        Key::new("counters", Shape::List(&COUNTER_CONDITION), "Several counters have increased."),
    ],
    Condition::KEYS,
]);

static EVENT_CONDITION: Shape = key_of(Condition::KEYS, "event").shape;
static COUNTER_CONDITION: Shape = key_of(Condition::KEYS, "counter").shape;
