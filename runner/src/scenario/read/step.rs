//! Steps: each to its action. What a step changes is noted in the scope.

use std::time::Duration;

use super::super::diagnostic::Diagnostic;
use super::super::grammar;
use super::super::model::{Action, Step};
use super::super::scalar;
use super::super::yaml::Node;
use super::scope::Scope;
use super::{Read, Reader, connection, expect, operation, path, wait};

/// Deadlines that are not given.
pub(super) const SHORT: Duration = Duration::from_secs(5);
pub(super) const LONG: Duration = Duration::from_secs(10);

/// Reads one step.
pub(super) fn read(reader: &Reader, node: &Node, scope: &mut Scope) -> Read<Step> {
    let chosen = reader.choice(&reader.record(node, &grammar::STEP)?)?;
    let Some(record) = grammar::step_record(&chosen.key) else {
        let action = quiet(reader, &chosen.value)?;
        return Ok(Step { place: node.place, action });
    };
    if chosen.key == "check" {
        let expectation = expect::read(reader, &chosen.value, scope)?;
        return Ok(Step { place: node.place, action: Action::Check(Box::new(expectation)) });
    }
    if chosen.key == "connect" {
        let plan = connection::connect(reader, &chosen.value, record, scope)?;
        return Ok(Step { place: node.place, action: Action::Connect(plan) });
    }
    let fields = reader.record(&chosen.value, record)?;
    let action = match chosen.key.as_str() {
        "listen" => Action::Listen(connection::listen(reader, &fields, scope)?),
        "stop_listening" => connection::stop_listening(reader, &fields, scope)?,
        "transfer" => Action::Transfer(connection::transfer(reader, &fields, scope)?),
        "finish_transfer" => connection::finish_transfer(reader, &fields, scope)?,
        "close" => connection::close(reader, &fields, scope)?,
        "wait" => wait::read(reader, &fields, scope)?,
        "expect_error" => expect_error(reader, &fields, scope)?,
        name @ ("set_path" | "add_rule" | "remove_rule" | "release") => path::step(reader, name, &fields, scope)?,
        name => Action::Do(operation::read(reader, name, &fields, scope, false)?),
    };
    Ok(Step { place: node.place, action })
}

fn quiet(reader: &Reader, node: &Node) -> Read<Action> {
    if node.entries().is_empty() && node.text().is_some() {
        return Ok(Action::Quiet { period: reader.scalar(node, scalar::duration)?, deadline: LONG });
    }
    let fields = reader.record(node, &grammar::QUIET)?;
    let period = fields.need("period", scalar::duration);
    let deadline = fields.or("timeout", LONG, scalar::duration);
    let (period, deadline) = (period?, deadline?);
    if deadline < period {
        return Err(reader.report(
            Diagnostic::new(fields.place_of("timeout"), "the timeout is shorter than the quiet period")
                .context(fields.place_of("period"), "the period"),
        ));
    }
    Ok(Action::Quiet { period, deadline })
}

fn expect_error(reader: &Reader, fields: &super::Fields<'_>, scope: &mut Scope) -> Read<Action> {
    let error = fields.need("error", scalar::errno);
    let message = fields.optional("message", scalar::line);
    let operations = reader.record(fields.need_node("do")?, &grammar::OPERATIONS)?;
    let chosen = reader.choice(&operations)?;
    let Some(record) = grammar::step_record(&chosen.key) else {
        return Err(reader.error(chosen.place, format!("`{}` is not an operation", chosen.key)));
    };
    let operation = operation::read(reader, &chosen.key, &reader.record(&chosen.value, record)?, scope, true);
    Ok(Action::ExpectError { error: error?.0, message: message?, operation: operation? })
}
