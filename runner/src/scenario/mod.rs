//! Scenario files: YAML text to the checked [`model::Scenario`], all errors of a file at once.

pub mod model;
