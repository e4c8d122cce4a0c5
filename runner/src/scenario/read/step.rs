//! Steps: each to its action, as it is declared in [`Action`]. What a step changes is noted in the scope.

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{Kind, STEP, Shape};
use super::super::model::{Action, Expectation, LONG, Operation, OptionQuery, QuietPlan, Step};
use super::super::record::{Part as _, part};
use super::super::scalar;
use super::super::yaml::Node;
use super::expect::Expected;
use super::scope::Scope;
use super::{At, Fields, Read, Reader, connection, operation, path, program, wait};
use crate::mptcp::Side;

part! {
    /// What a `check` step expects.
    Checked: Box<Expectation> = Expected::SHAPE, |at, node| Expected::read(at, node).map(Box::new)
}

part! {
    /// The operation of an `expect_error` step.
    Refused: Operation = Operation::SHAPE, |at, node| {
        let operations = at.reader.record(node, Operation::RECORD)?;
        let chosen = at.reader.choice(&operations)?;
        operation::read(&At { refusal: true, ..at.within(&operations, "do") }, &chosen.key, &chosen.value)
    }
}

part! {
    /// A quiet period; alone, or with a timeout.
    Quiet: QuietPlan = Shape::Either(&[Shape::Scalar(Kind::Duration), QuietPlan::SHAPE]), |at, node| {
        if node.entries().is_empty() && node.text().is_some() {
            return Ok(QuietPlan { period: at.reader.scalar(node, scalar::duration)?, deadline: LONG });
        }
        QuietPlan::read(at, node)
    }
}

/// The timeout must not end before the quiet period.
pub fn long_enough(at: &At<'_>, plan: QuietPlan) -> Read<QuietPlan> {
    if plan.deadline >= plan.period {
        return Ok(plan);
    }
    Err(at.reader.report(
        Diagnostic::new(at.fields.place_of("timeout"), "the timeout is shorter than the quiet period")
            .context(at.fields.place_of("period"), "the period"),
    ))
}

/// Reads one step.
pub(super) fn read(reader: &Reader, node: &Node, scope: &mut Scope) -> Read<Step> {
    let step = reader.record(node, &STEP)?;
    let chosen = reader.choice(&step)?;
    let (word, value) = (chosen.key.as_str(), &chosen.value);
    let at = At::new(&step, scope);
    let read = match word {
        "quiet" => Quiet::read(&at, value).map(|QuietPlan { period, deadline }| Action::Quiet { period, deadline }),
        _ if Action::KEYS.iter().any(|key| key.name == word) => Action::chosen(&at, word, value),
        _ => operation::read(&at, word, value).map(Action::Do),
    };
    let record = STEP.chosen(word).unwrap_or(&STEP);
    let fields = Fields::again(reader, value, record);
    if read.is_err() {
        connection::despite_errors(&fields, word, scope);
    }
    let action = if word == "connect" { connection::connect(&fields, read, scope)? } else { read? };
    take(&fields, &action, scope)?;
    Ok(Step { place: node.place, action })
}

/// What a step can't do at this point is an error. What it changes is noted.
fn take(fields: &Fields<'_>, action: &Action, scope: &mut Scope) -> Read<()> {
    match action {
        Action::Listen(plan) => connection::listen(fields, plan, scope),
        Action::StopListening { namespace, port, address } => {
            connection::stop_listening(fields, namespace, (*port, *address), scope)
        }
        Action::Accept { connection, .. } => connection::accept(fields, connection, scope),
        Action::Write { connection, by: Side::Server, .. }
        | Action::Read { connection, by: Side::Server, .. }
        | Action::Shutdown { connection, by: Side::Server, .. }
        | Action::GetOption(OptionQuery { connection, side: Side::Server, .. })
            if scope.connections.get(connection).is_some_and(|known| known.waits.is_some()) =>
        {
            connection::accepted(fields, connection, scope)
        }
        Action::Transfer(plan) => connection::transfer(fields, plan, scope),
        Action::FinishTransfer { connection, .. } => connection::finish_transfer(fields, connection, scope),
        Action::Start(plan) => program::start(fields, plan, scope),
        Action::FinishProgram { program, .. } | Action::Stop { program, .. } => {
            program::end(program, fields.place(), scope);
            Ok(())
        }
        Action::Wait { conditions, .. } => wait::check_news(fields, conditions, scope),
        Action::Close { connection, by, how, .. } => connection::close(fields, connection, *by, *how, scope),
        Action::SetPath(change) => {
            path::change(change, scope);
            Ok(())
        }
        Action::AddRule { link, rule } => path::install(fields.reader, scope, link, rule),
        Action::RemoveRule { link, rule } => {
            path::remove(link, rule, scope);
            Ok(())
        }
        Action::Read { bytes: 0, peek: true, .. } => {
            let diagnostic = Diagnostic::new(fields.place(), "expected a number of bytes to look at");
            Err(fields.reader.report(diagnostic.help("like `bytes: 100`")))
        }
        Action::SetOptions { options, .. } if options.is_empty() => {
            let diagnostic = Diagnostic::new(fields.place(), "expected an option to set");
            Err(fields.reader.report(diagnostic.help("like `options: { mark: 7 }`")))
        }
        Action::SetOptions { connection, side: Side::Server, .. } => connection::accepted(fields, connection, scope),
        Action::Do(operation) => {
            operation::take(operation, fields.place(), scope);
            Ok(())
        }
        // A connection is noted even if something is wrong with its step.
        Action::Connect(_)
        | Action::Run(_)
        | Action::Signal { .. }
        | Action::Quiet { .. }
        | Action::SetOptions { .. }
        | Action::GetOption(_)
        | Action::Shutdown { .. }
        | Action::Write { .. }
        | Action::Read { .. }
        | Action::Check(_)
        | Action::Release { .. }
        | Action::ExpectError { .. } => Ok(()),
    }
}
