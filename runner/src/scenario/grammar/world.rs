//! The frame of a scenario file.

use super::super::read::Frame;
use super::super::read::expect::Expected;
use super::super::read::program::Connections;
use super::super::read::world::WorldKeys;
use super::super::record::{Group as _, joined};
use super::step::STEPS;
use super::{Key, Kind, Record, Shape, scalar};

/// A scenario file.
pub static SCENARIO: Record = Record::plain("scenario", "a scenario", &SCENARIO_KEYS);

static SCENARIO_KEYS: [Key; Frame::KEYS.len() + 2 + WorldKeys::KEYS.len() + 3] = joined(&[
    Frame::KEYS,
    &[
        Key::new(
            "matrix",
            Shape::Table("axis", Kind::Variable, &MATRIX_AXIS),
            "Variants: one for each combination of the axes. `$name` stands for the value of a variable.",
        ),
        scalar("topology", Kind::Name, "The topology file with shared namespaces and links."),
    ],
    WorldKeys::KEYS,
    &[
        Key::of::<Connections>("connections", "Connections that programs make, by the names that they get."),
        Key::new("steps", Shape::Some(&STEPS), "The steps, in order."),
        Key::of::<Expected>("expect", "What must have been observed after all steps."),
    ],
]);

static MATRIX_AXIS: Shape = Shape::Either(&[
    Shape::List(&Shape::Scalar(Kind::Line)),
    Shape::Table("variant", Kind::Line, &Shape::Table("variable", Kind::Variable, &MATRIX_VALUE)),
]);
static MATRIX_VALUE: Shape = Shape::Either(&[Shape::Scalar(Kind::Line), Shape::List(&Shape::Scalar(Kind::Line))]);
