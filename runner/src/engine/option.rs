//! Socket options of the scenario's sockets.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::executor::Executor;
use super::step::failed;
use crate::recording::{Observation, OptionAnswer, OptionCall, OptionSocket, Side, StepOutcome};
use crate::scenario::model::{ConnectPlan, OptionQuery, OptionSetting, SocketOptions};
use crate::traffic::{LiveConnection, ask_option, read_option, set_options, set_options_in};

impl Executor<'_> {
    /// Records what is answered to each option of a socket.
    pub(super) fn hear(&self, socket: &OptionSocket) -> impl Fn(&OptionSetting, OptionAnswer) + use<> {
        let (recorder, socket) = (Rc::clone(&self.recorder), socket.clone());
        move |OptionSetting { option, value, .. }, answer| {
            recorder.note(Observation::Option(Box::new(OptionCall {
                socket: socket.clone(),
                option: option.word.to_owned(),
                asked: value.clone(),
                answer,
                passed_on: false,
            })));
        }
    }

    /// Sets options of a connection's socket.
    pub(super) fn set_options(
        &mut self,
        connection: &str,
        side: Side,
        options: &SocketOptions,
        length: Option<u32>,
    ) -> Result<(), String> {
        let hear = self.hear(&OptionSocket::Connection { connection: connection.to_owned(), side });
        let live =
            self.connections.get_mut(connection).ok_or_else(|| format!("there is no connection `{connection}`"))?;
        let socket = live.socket(side).ok_or_else(|| format!("`{connection}` is closed on this side"))?;
        set_options_in(socket, options, length, &hear)
            .map_err(|error| format!("socket options of `{connection}`: {error}"))?;
        live.declare(side, options);
        Ok(())
    }

    /// Asks for an option, and records the answer, which is judged later.
    pub(super) fn get_option(&self, plan: &OptionQuery) -> StepOutcome {
        let connection = &plan.connection;
        let Some(live) = self.connections.get(connection) else {
            return failed(format!("there is no connection `{connection}`"));
        };
        let Some(socket) = live.socket(plan.side) else {
            return failed(format!("`{connection}` is closed on this side"));
        };
        match ask_option(socket, plan) {
            Ok(reply) => {
                self.recorder.note(Observation::OptionReply(Box::new(reply)));
                StepOutcome::Done
            }
            Err(error) => failed(format!("socket options of `{connection}`: {error}")),
        }
    }

    /// What the server's socket of a new connection has: the options that it got from its listener, and those that are set
    /// on it now.
    pub(super) fn take_options(
        &self,
        connection: &mut LiveConnection,
        plan: &ConnectPlan,
        passed_on: &SocketOptions,
    ) -> io::Result<()> {
        let own = OptionSocket::Connection { connection: plan.name.clone(), side: Side::Server };
        if let Some(socket) = connection.socket(Side::Server) {
            for OptionSetting { option, value, .. } in passed_on.set.iter().filter(|setting| setting.option.passed_on) {
                self.recorder.note(Observation::Option(Box::new(OptionCall {
                    socket: own.clone(),
                    option: option.word.to_owned(),
                    asked: value.clone(),
                    answer: read_option(socket, option)?,
                    passed_on: true,
                })));
            }
            set_options(socket, &plan.accepted, &self.hear(&own))?;
        }
        let inherited = SocketOptions {
            set: passed_on.set.iter().filter(|setting| setting.option.passed_on).cloned().collect(),
            ..SocketOptions::default()
        };
        connection.declare(Side::Server, &inherited);
        connection.declare(Side::Server, &plan.accepted);
        Ok(())
    }
}

/// What getsockopt() says now of each option that the scenario has set.
pub(super) fn shown_options(connection: &LiveConnection, side: Side) -> io::Result<BTreeMap<String, OptionAnswer>> {
    let Some(socket) = connection.socket(side) else { return Ok(BTreeMap::new()) };
    connection.declared(side).iter().map(|option| Ok((option.word.to_owned(), read_option(socket, option)?))).collect()
}
