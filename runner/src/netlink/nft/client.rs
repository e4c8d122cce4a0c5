//! The exchange with the kernel: batches, which take effect completely or not at all, and dumps.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use netlink_packet_core::{NLM_F_DUMP_INTR, NetlinkMessage, NetlinkPayload};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use socket2::SockRef;

use crate::netlink::{Cause, NetlinkError, Refusal};
use crate::scenario::model::{Filter, FilterAction, FilterHook, FlowState};

use super::expression::Expression;
use super::message::{Hook, NftMessage, Purpose, Request};
use super::program::{FilterError, Program, chains, compile};

/// Timeout for an answer. `nf_tables` answers before send(2) returns; if it doesn't, something is very wrong.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// The kernel returns at most 32 KiB at once (`netlink_recvmsg`, `net/netlink/af_netlink.c`).
const RECEIVE_SIZE: usize = 64 * 1024;
/// The payload offset that every kernel can reach, see the documentation of [the module](super).
const SAFE_PAYLOAD: u16 = 256;

/// Installs, counts and removes packet filters in one network namespace.
///
/// Filters take effect in the order in which one client installed them.
#[derive(Debug)]
pub struct NftClient {
    socket: Socket,
    /// The number of the last request. Each request has its own, so that a late answer is never mistaken for another's.
    sequence: u32,
    /// The priority of the next filter.
    priority: i32,
}

impl NftClient {
    /// Opens a client for the namespace of the calling thread, to which it belongs from then on.
    pub fn open() -> Result<Self, NetlinkError> {
        let socket = open_socket().map_err(|error| Cause::Io(error).of("open a netlink socket for nf_tables"))?;
        Ok(Self { socket, sequence: 0, priority: 0 })
    }

    /// Installs a filter, reads it back and compares. When this returns, it applies to the next segment.
    ///
    /// The caller deals with the filter's `namespace` and `may_be_unused`. A name can be used once at a time
    /// (`EEXIST`). If the kernel refuses a part, nothing is left behind.
    pub fn add_filter(&mut self, filter: &Filter) -> Result<(), NetlinkError> {
        let far = filter.min_payload.is_some_and(|least| least > SAFE_PAYLOAD);
        let hint = if far {
            format!(" (older kernels only look at the first {SAFE_PAYLOAD} bytes of a payload)")
        } else {
            String::new()
        };
        let attempt = format!("add filter `{}`{hint}", filter.name.escape_debug());
        self.install(filter).map_err(|cause| cause.of(attempt))
    }

    /// Removes a filter, and returns the number of segments on which it acted. It stops matching before the count is
    /// read, so the count is final.
    pub fn remove_filter(&mut self, name: &str) -> Result<u64, NetlinkError> {
        let attempt = format!("remove filter `{}`", name.escape_debug());
        self.remove(name).map_err(|cause| cause.of(attempt))
    }

    /// The number of segments on which the filter has acted so far: for one with `nth`, 0 or 1.
    pub fn hits(&mut self, name: &str) -> Result<u64, NetlinkError> {
        let attempt = format!("read the counter of filter `{}`", name.escape_debug());
        let counted = chains(name).map_err(Cause::from).and_then(|(_, action)| self.counted(&action));
        counted.map_err(|cause| cause.of(attempt))
    }

    /// Checks that each kind of filter works: installs one of each action in the namespace of the calling thread, and
    /// removes it again. Meant for a scratch namespace: the empty table stays. The error says why it doesn't work.
    pub fn available() -> Result<(), String> {
        use FilterAction::{Corrupt, Drop, RejectIcmp, RejectReset, StripMptcp};
        let mut client = Self::open().map_err(|error| error.to_string())?;
        for (action, hook) in [
            (Drop, FilterHook::Input),
            (RejectIcmp, FilterHook::Input),
            (RejectReset, FilterHook::Output),
            (Corrupt, FilterHook::Output),
            (StripMptcp, FilterHook::Output),
        ] {
            let probe = probe(action, hook);
            let tried = client.add_filter(&probe).and_then(|()| client.remove_filter(&probe.name));
            tried.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Checks that connection tracking and each kind of translation work, likewise.
    pub fn translates() -> Result<(), String> {
        use FilterAction::{Dnat, Drop, Masquerade, Snat};
        let mut client = Self::open().map_err(|error| error.to_string())?;
        for (action, hook, address) in [
            (Masquerade, FilterHook::Postrouting, None),
            (Snat, FilterHook::Postrouting, Some(Ipv4Addr::LOCALHOST.into())),
            (Dnat, FilterHook::Prerouting, Some(Ipv6Addr::LOCALHOST.into())),
            (Drop, FilterHook::Forward, None),
        ] {
            let states = if action.translates() { Vec::new() } else { vec![FlowState::Invalid] };
            let probe = Filter { states, address, ..Filter::new("probe", "", hook, action) };
            let tried = client.add_filter(&probe).and_then(|()| client.remove_filter(&probe.name));
            tried.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn install(&mut self, filter: &Filter) -> Result<(), Cause> {
        let program = compile(filter)?;
        // `NF_IP_PRI_NAT_DST`, `NF_IP_PRI_NAT_SRC` (include/uapi/linux/netfilter_ipv4.h): after connection tracking, before
        // and after the filters.
        let (base, purpose) = match filter.action {
            FilterAction::Dnat => (-100, Purpose::Nat),
            FilterAction::Masquerade | FilterAction::Snat => (100, Purpose::Nat),
            _ => (0, Purpose::Filter),
        };
        let hook = Hook { number: program.hook, priority: self.priority.saturating_add(base), purpose };
        let mut batch = vec![
            Request::new_table(),
            Request::new_chain(&program.action_chain),
            Request::new_rule(&program.action_chain, &program.action),
            Request::new_base_chain(&program.match_chain, hook),
        ];
        batch.extend(program.matches.iter().map(|rule| Request::new_rule(&program.match_chain, rule)));
        self.transact(batch)?;
        self.priority = self.priority.saturating_add(1);
        self.verify(&program, hook)
    }

    /// Reads back what was installed.
    fn verify(&mut self, program: &Program, hook: Hook) -> Result<(), Cause> {
        let found = self.base_chain(&program.match_chain)?;
        if found != Some(hook) {
            let found = found.map_or_else(|| "no hook".to_owned(), |found| found.to_string());
            return Err(Cause::Different(format!("{found} instead of {hook}")));
        }
        let matches = self.rules(&program.match_chain)?;
        compare(&program.matches, &matches)?;
        let action = self.rules(&program.action_chain)?;
        compare(std::slice::from_ref(&program.action), &action)
    }

    fn remove(&mut self, name: &str) -> Result<u64, Cause> {
        let (match_chain, action_chain) = chains(name)?;
        self.transact(vec![Request::delete_chain(&match_chain)])?;
        let counted = self.counted(&action_chain);
        self.transact(vec![Request::delete_chain(&action_chain)])?;
        counted
    }

    fn counted(&mut self, action_chain: &str) -> Result<u64, Cause> {
        // A dump of a missing chain is empty, but this request is refused, in the kernel's words.
        self.base_chain(action_chain)?;
        let rules = self.rules(action_chain)?;
        let mut counters = rules.iter().flatten().filter_map(|expression| match expression {
            Expression::Counter { packets, .. } => Some(*packets),
            _ => None,
        });
        match (counters.next(), counters.next()) {
            (Some(packets), None) => Ok(packets),
            (found, _) => {
                let found = if found.is_some() { "several counters" } else { "no counter" };
                Err(Cause::Different(format!("chain {action_chain} has {found} instead of one")))
            }
        }
    }

    fn base_chain(&mut self, chain: &str) -> Result<Option<Hook>, Cause> {
        let answers = self.ask(&Request::get_chain(chain))?;
        let [answer] = answers.as_slice() else {
            return Err(Cause::Undecodable(format!("{} chains instead of one", answers.len())));
        };
        answer.base_chain().map_err(|error| Cause::Undecodable(error.to_string()))
    }

    fn rules(&mut self, chain: &str) -> Result<Vec<Vec<Expression>>, Cause> {
        let answers = self.ask(&Request::get_rules(chain))?;
        let rules = answers.iter().map(NftMessage::rule).collect::<Result<_, _>>();
        rules.map_err(|error| Cause::Undecodable(error.to_string()))
    }

    /// Sends requests that take effect together or not at all, and waits for the kernel's answer.
    fn transact(&mut self, mut requests: Vec<Request>) -> Result<(), Cause> {
        // The last one is acknowledged after the commit; the first refusal of any comes before
        // (`nfnetlink_rcv_batch`, net/netfilter/nfnetlink.c). A failed commit is answered to the begin mark.
        let last = requests.pop().map(Request::acknowledged);
        let begin = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        for request in std::iter::once(Request::begin()).chain(requests).chain(last) {
            self.sequence = self.sequence.wrapping_add(1);
            bytes.extend(request.to_bytes(self.sequence));
        }
        let acknowledged = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        bytes.extend(Request::end().to_bytes(self.sequence));
        self.send(&bytes)?;
        loop {
            for answer in self.receive()? {
                // All numbers of this batch, even if they wrap.
                if answer.header.sequence_number.wrapping_sub(begin) > acknowledged.wrapping_sub(begin) {
                    continue;
                }
                if let NetlinkPayload::Error(error) = &answer.payload {
                    if let Some(refusal) = Refusal::from_error(&answer.header, error) {
                        return Err(Cause::Refused(refusal));
                    }
                    if answer.header.sequence_number == acknowledged {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Sends one request outside of a batch, and collects its answers until the end of the dump or the ACK.
    fn ask(&mut self, request: &Request) -> Result<Vec<NftMessage>, Cause> {
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&request.to_bytes(self.sequence))?;
        let mut answers = Vec::new();
        loop {
            for answer in self.receive()? {
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                if answer.header.flags & NLM_F_DUMP_INTR != 0 {
                    return Err(Cause::Interrupted);
                }
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    NetlinkPayload::Error(error) => {
                        return Refusal::from_error(&answer.header, &error)
                            .map_or(Ok(answers), |refusal| Err(Cause::Refused(refusal)));
                    }
                    NetlinkPayload::Done(done) => {
                        return Refusal::from_done(&done).map_or(Ok(answers), |refusal| Err(Cause::Refused(refusal)));
                    }
                    _ => {}
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Cause> {
        let sent = self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0)?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(Cause::Io(io::Error::other(format!("{sent} of {} bytes were sent", bytes.len()))))
        }
    }

    /// The messages of one datagram from the kernel; datagrams from other processes are ignored.
    fn receive(&self) -> Result<Vec<NetlinkMessage<NftMessage>>, Cause> {
        let mut buffer = Vec::with_capacity(RECEIVE_SIZE);
        loop {
            buffer.clear();
            match self.socket.recv_from(&mut buffer, 0) {
                Ok((_, sender)) if sender.port_number() == 0 => return parse(&buffer),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Cause::NoAnswer(ANSWER_TIME)),
                Err(error) => return Err(Cause::Io(error)),
            }
        }
    }
}

impl From<FilterError> for Cause {
    fn from(error: FilterError) -> Self {
        Self::Invalid(error.to_string())
    }
}

fn open_socket() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.set_cap_ack(true)?;
    socket.set_ext_ack(true)?;
    SockRef::from(&socket).set_read_timeout(Some(ANSWER_TIME))?;
    Ok(socket)
}

/// The messages of one datagram, each at a multiple of four bytes.
fn parse(mut bytes: &[u8]) -> Result<Vec<NetlinkMessage<NftMessage>>, Cause> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let message = NetlinkMessage::<NftMessage>::deserialize(bytes);
        let message = message.map_err(|error| Cause::Undecodable(error.to_string()))?;
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
        bytes = length.checked_next_multiple_of(4).and_then(|next| bytes.get(next..)).unwrap_or_default();
        messages.push(message);
    }
    Ok(messages)
}

/// A rule in words, for errors.
fn words(rule: &[Expression]) -> String {
    rule.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Whether the kernel shows these rules.
fn compare(given: &[Vec<Expression>], shown: &[Vec<Expression>]) -> Result<(), Cause> {
    if given.len() != shown.len() {
        return Err(Cause::Different(format!("{} rules instead of {}", shown.len(), given.len())));
    }
    for (given, shown) in given.iter().zip(shown) {
        let same = given.len() == shown.len() && given.iter().zip(shown).all(|(given, shown)| given.is_shown_as(shown));
        if !same {
            return Err(Cause::Different(format!("rule `{}` instead of `{}`", words(shown), words(given))));
        }
    }
    Ok(())
}

/// A filter that uses every kind of match.
fn probe(action: FilterAction, hook: FilterHook) -> Filter {
    Filter {
        from: Some(Ipv4Addr::LOCALHOST.into()),
        device: Some("lo".to_owned()),
        option: Some(Some(0)),
        min_payload: Some(1),
        nth: Some(1),
        ..Filter::new("probe", "", hook, action)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rule_that_differs_is_noticed() {
        let given = vec![vec![Expression::Counter { packets: 0, bytes: 0 }, Expression::Drop]];
        let shown = vec![vec![Expression::Counter { packets: 3, bytes: 120 }, Expression::Drop]];
        assert!(compare(&given, &shown).is_ok());
        assert!(compare(&given, &[]).is_err());
        assert!(compare(&given, &[vec![Expression::Drop]]).is_err());
        assert!(compare(&given, &[vec![Expression::Counter { packets: 0, bytes: 0 }]]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_datagrams_never_panic(
            kind in prop::sample::select(vec![1_u16, 2, 3, 4, 0xa03, 0xa06]), lengths: (u8, u8), rest: Vec<u8>
        ) {
            let mut bytes = vec![lengths.0, 0, 0, 0];
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend([1, 0, 0, 0, lengths.1, 0, 4, 0x80]);
            bytes.extend(rest);
            for message in parse(&bytes).unwrap_or_default() {
                if let NetlinkPayload::InnerMessage(message) = message.payload {
                    let _ = (message.rule(), message.base_chain());
                }
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
