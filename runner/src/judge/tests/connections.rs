//! Connections of programs.

use super::fixture::{Run, capable, connection, place};
use crate::judge::FindingKind;
use crate::mptcp::Side;
use crate::recording::Observation;
use crate::scenario::model::{Action, Expectation, MadeProtocol, ProgramConnection, SubflowsExpectation};
use crate::wire::TcpFlags;

fn declared(name: &str, port: u16, protocol: MadeProtocol) -> ProgramConnection {
    let (client, server) = ("client".to_owned(), "server".to_owned());
    ProgramConnection { name: name.to_owned(), place: place(1), client, server, address: None, port, nth: 1, protocol }
}

/// A run in which a program should have connected to port 80.
fn wanting(protocol: MadeProtocol) -> Run {
    let mut run = Run::good();
    run.scenario.connections.push(declared("web", 80, protocol));
    run
}

fn summaries(run: &Run) -> Vec<String> {
    run.findings().into_iter().map(|finding| finding.summary).collect()
}

#[test]
fn a_connection_that_no_program_made_tells_what_was_there_instead() {
    let (client, server, syn_ack) = ("10.0.1.2:40101", "10.0.1.1:80", TcpFlags::SYN | TcpFlags::ACK);
    let mut run = wanting(MadeProtocol::Mptcp);
    assert_eq!(run.kinds(), [FindingKind::Connection]);
    let mut told = summaries(&run);
    run.segment(client, server, TcpFlags::SYN, vec![capable(false, false)]);
    run.segment(client, server, TcpFlags::SYN, vec![]);
    told.extend(summaries(&run));
    let mut refused = wanting(MadeProtocol::Mptcp);
    refused.segment(client, server, TcpFlags::SYN, vec![]);
    refused.segment(server, client, TcpFlags::RST | TcpFlags::ACK, vec![]);
    told.extend(summaries(&refused));
    run.segment(server, client, syn_ack, vec![]);
    told.extend(summaries(&run));
    run.scenario.connections[0].nth = 2;
    told.extend(summaries(&run));
    insta::assert_snapshot!(told.join("\n"), @r"
    connection web: it was never made: client sent no SYN to port 80 of server
    connection web: it was never made: client sent 2 SYNs with MP_CAPABLE, 10.0.1.2:40101 → 10.0.1.1:80, and got no answer
    connection web: it was never made: client sent 1 SYN without MP_CAPABLE, 10.0.1.2:40101 → 10.0.1.1:80, and got a RST
    connection web: it was never made: the SYN/ACK came without MP_CAPABLE, 10.0.1.2:40101 → 10.0.1.1:80, but the client did not acknowledge it
    connection web: it was never made: client opened only 1 connection to port 80 of server
    ");
}

/// The run, with a connection of that name that programs have made.
fn made(mut run: Run, tokens: [Option<u32>; 2]) -> Run {
    let [client_token, server_token] = tokens;
    let made = crate::recording::Connection {
        name: "web".to_owned(),
        client_address: "10.0.1.2:40101".parse().unwrap(),
        server_address: "10.0.1.1:80".parse().unwrap(),
        client_token,
        server_token,
        by_programs: true,
        ..connection()
    };
    run.push(Observation::Connected { connection: Box::new(made) });
    run
}

#[test]
fn a_connection_of_programs_is_what_its_outcome_says() {
    for (protocol, tokens, fine) in [
        (MadeProtocol::Mptcp, [Some(5), Some(6)], true),
        (MadeProtocol::Mptcp, [Some(5), None], false),
        (MadeProtocol::Mptcp, [None, None], false),
        (MadeProtocol::Tcp, [None, None], true),
        (MadeProtocol::Tcp, [Some(5), Some(6)], false),
    ] {
        let expected = if fine { vec![] } else { vec![FindingKind::Connection] };
        assert_eq!(made(wanting(protocol), tokens).kinds(), expected, "{tokens:?}");
    }
}

#[test]
fn a_check_of_subflows_needs_an_open_connection() {
    let expected =
        SubflowsExpectation { connection: "web".to_owned(), side: Side::Client, place: place(2), subflows: vec![] };
    let check = || Action::Check(Box::new(Expectation { subflows: vec![expected.clone()], ..Expectation::default() }));
    let mut early = wanting(MadeProtocol::Mptcp);
    early.step(check(), |_| {});
    let early = made(early, [Some(5), Some(6)]);
    let mut late = made(wanting(MadeProtocol::Mptcp), [Some(5), Some(6)]);
    late.step(check(), |_| {});
    insta::assert_snapshot!([summaries(&early), summaries(&late)].concat().join("\n"), @r"
    subflows of web, client side, in step 6: no program has made it yet
    subflows of web, client side, in step 6: no MPTCP socket of it is open any more
    ");
}
