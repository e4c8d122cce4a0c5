//! `mptcplab explain --here`: why the connections of this network namespace have no other subflows. It changes nothing,
//! and stays in the namespace that it was started in.

use crate::here::{self, Follower};
use crate::report::Printer;

use super::args::ExplainArgs;
use super::{Exit, complain, hint};

pub(super) fn execute(args: &ExplainArgs, printer: &mut Printer) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(printer, &format!("start the I/O of this process: {error}"));
            return Exit::Environment;
        }
    };
    runtime.block_on(async {
        // Listening starts first: no event is missed between the table and the first event.
        let follower = if args.follow { Some(Follower::open()) } else { None };
        let host = here::collect().await;
        if args.json {
            print_json(printer, &here::json(&host));
        } else {
            printer.out(&here::text(&host, printer.style()));
        }
        match follower {
            None => Exit::Passed,
            Some(Ok(follower)) => follow(follower, args, printer).await,
            Some(Err(error)) => {
                complain(printer, &error.to_string());
                hint(printer, "only root may listen: sudo mptcplab explain --here --follow");
                Exit::Environment
            }
        }
    })
}

/// Prints events until a signal ends the process.
async fn follow(mut follower: Follower, args: &ExplainArgs, printer: &mut Printer) -> Exit {
    loop {
        if printer.flush().is_err() {
            return Exit::Environment;
        }
        match follower.next().await {
            Ok(told) if args.json => print_json(printer, &here::told_json(&told)),
            Ok(told) => {
                let line = here::told_text(&told, printer.style());
                printer.line(&line);
            }
            Err(error) => {
                complain(printer, &error.to_string());
                return Exit::Environment;
            }
        }
    }
}

fn print_json(printer: &mut Printer, value: &serde_json::Value) {
    printer.line(&value.to_string());
}
