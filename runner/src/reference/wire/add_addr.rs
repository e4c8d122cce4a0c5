//! ADD_ADDR: its HMAC, and its echo.

use std::collections::HashSet;

use crate::reference::ledger::Ledger;
use crate::reference::view::{Half, View};
use crate::reference::{Rule, crypto};
use crate::wire::{AddAddrBody, MptcpOption};

use super::checks::{Checks, is_sent};

/// The HMAC of announcements.
pub(in crate::reference) static ADD_ADDR_HMAC: Rule = Rule {
    name: "add-addr-hmac",
    statement: "An ADD_ADDR carries the rightmost 64 bits of the HMAC over address ID, address and port (0 if it has none), \
                with the sender's key before the receiver's.",
    source: "RFC 8684 section 3.4.1; add_addr_generate_hmac, net/mptcp/options.c",
    kernels: "",
    apply: hmacs,
};

/// Echoes repeat announcements.
pub(in crate::reference) static ECHO: Rule = Rule {
    name: "echo-repeats-announcement",
    statement: "An echo has the address ID, the address and the port of an ADD_ADDR that its sender has received.",
    source: "RFC 8684 section 3.4.1; mptcp_pm_add_addr_echoed, net/mptcp/pm.c",
    kernels: "",
    apply: echoes,
};

fn hmacs(view: &View<'_>, ledger: &mut Ledger) {
    for half in view.halves().filter(|half| view.is_complete(half)) {
        let (Some(own), Some(peer)) = (half.own_key, half.peer_key) else { continue };
        let mut checks = Checks::new(view, half, "HMAC of ADD_ADDR");
        for passed in view.segments(half).filter(is_sent) {
            for option in &passed.segment.options {
                let MptcpOption::AddAddr { echo: false, address_id, body } = option else { continue };
                let AddAddrBody { address, port, hmac: Some(hmac) } = body else { continue };
                let expected = crypto::add_addr_hmac(own, peer, *address_id, *address, *port);
                if *hmac == expected {
                    checks.right(&passed);
                } else {
                    let because = format!(
                        "ADD_ADDR id {address_id} carries {hmac:016x}, the keys {own:016x} and {peer:016x} give {expected:016x}"
                    );
                    checks.wrong(ledger, &passed, &[], because);
                }
            }
        }
        checks.finish(ledger, |_| "the HMAC is that of the keys".to_owned());
    }
}

/// What an ADD_ADDR announces.
type Announced = (u8, std::net::IpAddr, Option<u16>);

fn echoes(view: &View<'_>, ledger: &mut Ledger) {
    for half in view.halves().filter(|half| view.is_complete(half)) {
        echoes_of(view, half, ledger);
    }
}

fn echoes_of(view: &View<'_>, half: &Half<'_>, ledger: &mut Ledger) {
    let mut received: HashSet<Announced> = HashSet::new();
    let mut checks = Checks::new(view, half, "echo of ADD_ADDR");
    for passed in view.segments(half) {
        for option in &passed.segment.options {
            let MptcpOption::AddAddr { echo, address_id, body } = option else { continue };
            let announced = (*address_id, body.address.to_canonical(), body.port);
            match (echo, is_sent(&passed)) {
                (false, false) => {
                    received.insert(announced);
                }
                (true, true) if received.contains(&announced) => checks.right(&passed),
                (true, true) => {
                    let because =
                        format!("no ADD_ADDR id {address_id} {} {} was received", body.address, port(body.port));
                    checks.wrong(ledger, &passed, &[], because);
                }
                _ => {}
            }
        }
    }
    checks.finish(ledger, |_| "it repeats the ADD_ADDR that was received".to_owned());
}

fn port(port: Option<u16>) -> String {
    port.map_or_else(|| "without a port".to_owned(), |port| format!("port {port}"))
}
