//! The world and the frame of a scenario file.

use super::super::read::Frame;
use super::super::read::expect::Expected;
use super::super::read::world::{LinkKeys, NamespaceKeys};
use super::super::record::{Group as _, Part as _, joined};
use super::path::PATHS;
use super::step::STEPS;
use super::{Key, Kind, Record, Shape, scalar};

/// A scenario file.
pub static SCENARIO: Record = Record::plain("scenario", "a scenario", &SCENARIO_KEYS);

static SCENARIO_KEYS: [Key; Frame::KEYS.len() + 7] = joined(&[
    Frame::KEYS,
    &[
        Key::new(
            "matrix",
            Shape::Table("axis", Kind::Variable, &MATRIX_AXIS),
            "Variants: one for each combination of the axes. `$name` stands for the value of a variable.",
        ),
        scalar("topology", Kind::Name, "The topology file with shared namespaces and links."),
        LINKS,
        PATHS,
        NAMESPACES,
        Key::new("steps", Shape::Some(&STEPS), "The steps, in order."),
        Key::of::<Expected>("expect", "What must have been observed after all steps."),
    ],
]);

/// A topology file.
pub static TOPOLOGY: Record = Record::plain(
    "topology",
    "a topology",
    &[
        scalar("title", Kind::Line, "What the topology looks like, in one line."),
        scalar("about", Kind::Text, "What the topology is for."),
        LINKS,
        PATHS,
        NAMESPACES,
    ],
);

const LINKS: Key = Key::new("links", Shape::Table("link", Kind::Name, &LinkKeys::SHAPE), "veth pairs, by name.");
const NAMESPACES: Key = Key::new(
    "namespaces",
    Shape::Table("namespace", Kind::Name, &NamespaceKeys::SHAPE),
    "Configuration of namespaces before the first step. Only namespaces with a configuration need to be listed.",
);

static MATRIX_AXIS: Shape = Shape::Either(&[
    Shape::List(&Shape::Scalar(Kind::Line)),
    Shape::Table("variant", Kind::Line, &Shape::Table("variable", Kind::Variable, &MATRIX_VALUE)),
]);
static MATRIX_VALUE: Shape = Shape::Either(&[Shape::Scalar(Kind::Line), Shape::List(&Shape::Scalar(Kind::Line))]);
