//! Programs: what they are given, and which of them run at some point.

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{Kind, Shape};
use super::super::model::{Place, StartPlan};
use super::super::nearest::suggestion;
use super::super::record::part;
use super::super::scalar::program::{environment_name, file_name};
use super::super::scalar::{self};
use super::scope::{Scope, unknown};
use super::{Fields, Read};

/// A program that a step has started.
#[derive(Debug, Clone)]
pub struct KnownProgram {
    /// Where it was started.
    pub place: Place,
    /// The step that waited for its end.
    pub ended: Option<Place>,
}

part! {
    /// Environment variables, by name.
    Environment: Vec<(String, String)> =
        Shape::Table("variable", Kind::EnvironmentName, &Shape::Scalar(Kind::Argument)), |at, node| {
            at.table(node, |entry| {
                let name = at.reader.key(entry, environment_name);
                let value = at.reader.scalar(&entry.value, scalar::program::argument);
                Ok((name?, value?))
            })
        }
}

part! {
    /// Files, by relative name.
    Files: Vec<(String, String)> =
        Shape::Table("file", Kind::FileName, &Shape::Scalar(Kind::Argument)), |at, node| {
            at.table(node, |entry| {
                let name = at.reader.key(entry, file_name);
                let text = at.reader.scalar(&entry.value, scalar::program::contents);
                Ok((name?, text?))
            })
        }
}

part! {
    /// A program that runs at this point.
    Running: String = Shape::Scalar(Kind::Name), |at, node| {
        let name = at.reader.scalar(node, |text| Ok(text.to_owned()))?;
        let Some(known) = at.scope.programs.get(&name) else {
            let help = suggestion(&name, at.scope.programs.keys().map(String::as_str));
            return Err(unknown(at.reader, node.place, format!("no step has started a program `{name}` at this point"), help));
        };
        match known.ended {
            Some(ended) => Err(at.reader.report(
                Diagnostic::new(node.place, format!("the program `{name}` has already ended")).context(ended, "here"),
            )),
            None => Ok(name),
        }
    }
}

/// Notes a program that a step starts.
pub fn start(fields: &Fields<'_>, plan: &StartPlan, scope: &mut Scope) -> Read<()> {
    if let Some(known) = scope.programs.get(&plan.name) {
        let diagnostic =
            Diagnostic::new(fields.place_of("name"), format!("there is already a program `{}`", plan.name));
        return Err(fields.reader.report(diagnostic.context(known.place, "started here")));
    }
    scope.programs.insert(plan.name.clone(), KnownProgram { place: fields.place(), ended: None });
    Ok(())
}

/// Notes that a step has waited for the end of a program.
pub fn end(program: &str, place: Place, scope: &mut Scope) {
    if let Some(known) = scope.programs.get_mut(program) {
        known.ended = Some(place);
    }
}
