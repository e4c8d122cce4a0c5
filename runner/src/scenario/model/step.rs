//! What a scenario does. The main type is [`Action`].

use std::net::SocketAddr;
use std::time::Duration;

use super::super::read::connection::{FromClient, FromServer, Interface, OwnAddress, Target};
use super::super::read::option::OptionKeys;
use super::super::read::part::{
    AnswerWord, Connection, Flags, HoldingRule, InstalledRule, Live, LiveMptcp, Namespace, NamespaceName, OneSide,
    PathLink, Reusable, SocketCountWord,
};
use super::super::read::path::rule::RuleKeys;
use super::super::read::program::Running;
use super::super::read::step::{Checked, Refused, long_enough};
use super::super::read::wait::{Conditions, EventNamespace, EventSeen, Moved, OptionSent, SubflowLike};
use super::super::record::{List, choice, record, words};
use super::super::scalar::{
    Backlog, BufferLength, Count, Counter, Damage, FromOne, Ip, Line, Name, Number, Pace, Port, SignalName, Size,
    Switch, Symbol, Time, Times,
};
use super::program::End;
use super::{LinesLike, Operation, PathChange, Place, Program, RunPlan, SocketOptions, StartPlan};
use crate::mptcp::Side;

/// The port of listeners and connections unless given: that of an alternative web server.
pub(in crate::scenario) const PORT: u16 = 8080;

/// The backlog of a listener that is not given.
pub(in crate::scenario) const BACKLOG: u16 = 128;

/// Timeouts that are not given.
pub(in crate::scenario) const SHORT: Duration = Duration::from_secs(5);
pub(in crate::scenario) const LONG: Duration = Duration::from_secs(10);

/// One step with its place.
#[derive(Debug, Clone)]
pub struct Step {
    /// Where it is written.
    pub place: Place,
    /// What to do.
    pub action: Action,
}

choice! {
    /// What a step does. A `repeat` step becomes the steps that it stands for.
    Action {
        Listen = a "listen" "Opens a listening socket."; (ListenPlan)
        StopListening = a "stop_listening" "Closes a listening socket."; {
            namespace: group Namespace;
            port: or(PORT) Port = "port", "The port; 8080 by default.";
            address: maybe Ip = "address", "Its address, if several listen on that port.";
        }
        Connect = a "connect" "Opens a connection, and a listener unless a `listen` step has opened one on that port."; (ConnectPlan)
        Accept = an "accept" "Accepts a connection that waits since its `connect` step; in the order of these steps."; {
            connection: need Live = "connection", "The connection.";
            handshake: or(true) Switch = "handshake", "Whether the step exchanges a byte in each direction then (the default).";
            deadline: or(SHORT) Time = "timeout", "Maximum duration; 5 s by default.";
        }
        Transfer = a "transfer" "Sends bytes through a connection, and compares what arrives."; (TransferPlan)
        FinishTransfer = a "finish_transfer" "Waits for the end of a background transfer, and compares."; {
            connection: need Connection = "connection", "The connection.";
            deadline: or(LONG) Time = "timeout", "Maximum duration; 10 s by default.";
        }
        Wait = a "wait" "Waits until all of these conditions hold."; {
            conditions: group Conditions;
            deadline: or(SHORT) Time = "timeout", "Maximum duration; 5 s by default.";
        }
        Close = a "close" "Closes a connection."; {
            connection: need Live = "connection", "The connection.";
            by: need OneSide = "by", "Who begins.";
            how: or(CloseHow::Graceful) CloseHow = "how",
                "graceful (the default): close() when all is read, then the other side. abrupt: close() with unread \
                 data, so that MP_FASTCLOSE is sent. disconnect: connect() with AF_UNSPEC, which sends MP_FASTCLOSE, too; \
                 the client's socket can be used again, see `socket` of `connect`. half: shutdown() of the sending \
                 direction only.";
            deadline: or(LONG) Time = "timeout", "Maximum duration; 10 s by default.";
        }
        Shutdown = a "shutdown" "Calls shutdown(); what the other side sees of it is for `read` and `write` steps."; {
            connection: need Live = "connection", "The connection.";
            by: need OneSide = "by", "Who calls it.";
            direction: need Direction = "direction", "write: no more is sent (SHUT_WR). read: no more is received (SHUT_RD). both (SHUT_RDWR).";
            error: maybe Symbol = "outcome", "The errno with which shutdown() must fail.";
        }
        Write = a "write" "Writes bytes, without reading them on the other side."; {
            connection: need Live = "connection", "The connection.";
            by: need OneSide = "by", "Who writes.";
            bytes: need Size = "bytes", "The number of bytes.";
            error: maybe Symbol = "outcome", "The errno with which write() must fail; by default, all bytes must be accepted.";
            deadline: or(LONG) Time = "timeout", "Maximum duration; 10 s by default.";
        }
        Read = a "read" "Reads bytes that the other side has written, and compares them."; {
            connection: need Live = "connection", "The connection.";
            by: need OneSide = "by", "Who reads.";
            bytes: or(0) Size = "bytes", "The number of bytes; 0, for the end of the stream, by default.";
            peek: or(false) Switch = "peek", "true: one recv() that leaves them there (MSG_PEEK).";
            inq: maybe Number = "inq", "The bytes that remain unread, as TCP_INQ says; the socket needs the option `inq`.";
            error: maybe Symbol = "outcome", "The errno with which read() must fail; by default, all bytes must be there.";
            deadline: or(LONG) Time = "timeout", "Maximum duration; 10 s by default.";
        }
        GetOption = a "get_option" "Calls getsockopt() with a buffer of any length."; (OptionQuery)
        SetOptions = a "set_options" "Sets options of the socket of a connection."; {
            connection: need Live = "connection", "The connection.";
            side: need OneSide = "side", "Whose socket.";
            length: maybe BufferLength = "length", "The length that is passed to setsockopt(); by default, that of the value.";
            options: group OptionKeys;
        }
        Start = a "start" "Starts a program, which goes on while other steps are taken. Needs `--allow-programs`."; (StartPlan)
        Run = a "run" "Runs a program to its end. Needs `--allow-programs`."; (RunPlan)
        Signal = a "signal" "Sends a signal to a program."; {
            program: need Running = "program", "The program, by its name.";
            signal: need SignalName = "signal", "The signal, like `SIGHUP`.";
        }
        FinishProgram = a "finish_program" "Waits for the end of a program, and compares."; {
            program: need Running = "program", "The program, by its name.";
            end: group End;
            deadline: or(LONG) Time = "timeout", "Maximum duration; 10 s by default.";
        }
        Stop = a "stop" "Ends a program with SIGTERM. If it still runs after the timeout, it is killed, and the step fails."; {
            program: need Running = "program", "The program, by its name.";
            output: or(Vec::new()) List<LinesLike> = "output", "What its output must contain.";
            deadline: or(SHORT) Time = "timeout", "Maximum duration; 5 s by default.";
        }
        Check = a "check" "Compares the current state with the same keys as `expect`."; => Checked;
        ExpectError = an "expect_error" "An operation that the kernel must refuse."; {
            error: need Symbol = "error", "The errno that the kernel must answer with.";
            message: maybe Line = "message", "Part of the kernel's message (extended ACK).";
            operation: need Refused = "do", "The operation.";
        }
        SetPath = a "set_path" "Changes the conditions of a path. Conditions that are not named stay."; (PathChange)
        AddRule = an "add_rule" "Installs a rule on a path, after its other rules."; {
            link: need PathLink = "link", "The link; it must have a path.";
            rule: group RuleKeys;
        }
        RemoveRule = a "remove_rule" "Removes a rule from a path. Segments that it holds are dropped."; {
            link: need PathLink = "link", "The link; it must have a path.";
            rule: need InstalledRule = "name", "The name of the rule.";
        }
        Release = a "release" "Releases the segments that a `hold` rule holds. Later matches are held again."; {
            link: need PathLink = "link", "The link; it must have a path.";
            rule: need HoldingRule = "name", "The name of the rule.";
        }
    }
    and {
        /// Nothing may be observed (no event, no segment) for so long.
        Quiet {
            /// The period.
            period: Duration,
            /// The longest it may take to get there.
            deadline: Duration,
        },
        /// Changes the configuration.
        Do(Operation),
    }
}

words! {
    /// MPTCP or plain TCP.
    #[derive(Default)]
    SocketProtocol {
        /// `IPPROTO_MPTCP`.
        #[default]
        Mptcp = "mptcp",
        /// `IPPROTO_TCP`.
        Tcp = "tcp",
    }
}

record! {
    /// A listening socket.
    ListenPlan {
        namespace: group Namespace;
        address: group OwnAddress;
        scope: group Interface;
        port: or(PORT) Port = "port", "The port; 8080 by default.";
        protocol: or(SocketProtocol::Mptcp) SocketProtocol = "protocol",
            "The listener's socket: mptcp (the default) or tcp.";
        backlog: or(BACKLOG) Backlog = "backlog", "How many connections may wait for accept(); 128 by default.";
        options: group OptionKeys;
    }
}

record! {
    /// A connection to open.
    ConnectPlan {
        name: need Name = "name", "The name of the connection for everything after it.";
        from: need NamespaceName = "from", "The client's namespace.";
        to: need NamespaceName = "to", "The server's namespace.";
        address: group Target;
        scope: group Interface;
        source: maybe Ip = "source", "The address that the client binds to; by default, the kernel chooses.";
        source_port: maybe Port = "source_port", "The port that the client binds to; by default, the kernel chooses.";
        protocol: or(SocketProtocol::Mptcp) SocketProtocol = "protocol",
            "The client's socket: mptcp (the default) or tcp.";
        server_protocol: maybe SocketProtocol = "server_protocol", "The socket of the listener that this step opens: mptcp (the default) or tcp.";
        outcome: or(ConnectionOutcome::Mptcp) ConnectionOutcome = "outcome",
            "The expected outcome: mptcp (the default), tcp (a connection without MPTCP), or an errno of connect().";
        handshake: or(true) Switch = "handshake",
            "Whether the step exchanges a byte in each direction (the default). Without it, the client is not yet \
             fully established and opens no subflows.";
        accepts: or(true) Switch = "accept",
            "Whether the step also accepts the connection (the default). Without, it waits in the backlog for an `accept` step, or for ever.";
        again: maybe Reusable = "socket", "A connection that the client has closed by `disconnect`: its socket connects again.";
        deadline: or(SHORT) Time = "timeout", "Maximum duration; 5 s by default.";
        options: group OptionKeys;
        accepted: or(SocketOptions::default()) OptionKeys = "accepted",
            "Options of the socket that accept() returns, besides those that it has from its listener.";
        /// A listener opened for this connection because none of the scenario's is there; `None` if one is.
        implicit_listener: later Option<ListenPlan>;
        /// Where it arrives, if a `dnat` filter gives it another destination.
        translated: later Option<SocketAddr>;
    }
}

/// What must come of a connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionOutcome {
    /// MPTCP on both sides. A fallback is a failure.
    Mptcp,
    /// A connection on which MPTCP isn't used: plain TCP on one side, or a fallback.
    Tcp,
    /// connect() fails with this errno.
    Error(String),
}

record! {
    /// Bytes to send.
    TransferPlan {
        connection: need Live = "connection", "The connection.";
        from_client: group FromClient;
        from_server: group FromServer;
        pace: maybe Pace = "pace", "The rate in each direction; unlimited by default.";
        background: or(false) Switch = "background",
            "The step ends at once. A `finish_transfer` step waits for the end of the transfer, or `close: { how: abrupt }` cuts it off.";
        zero_copy: or(false) Switch = "zero_copy", "true: the writer calls sendfile(), the reader splice().";
        tolerate_corrupt: or(0) Damage = "tolerate_corrupt", "Maximum number of bytes that may arrive damaged.";
        error: maybe Symbol = "outcome",
            "The errno with which read() or write() must fail before all bytes have arrived; by default, all bytes \
             must arrive.";
        deadline: or(LONG) Time = "timeout", "Maximum duration; 10 s by default.";
    }
}

record! {
    /// A call of getsockopt().
    OptionQuery {
        connection: need Live = "connection", "The connection.";
        side: need OneSide = "side", "Whose socket.";
        option: need AnswerWord = "option", "What is asked for: a socket option, or a structure.";
        length: need BufferLength = "length", "The length of the buffer.";
        head: or(Vec::new()) List<Number> = "head",
            "Numbers of 32 bits at the beginning of the buffer, for the structures that the kernel also reads.";
        returns: maybe BufferLength = "returns", "The length that the kernel must return.";
        answer: or(Vec::new()) List<Count> = "answer",
            "Numbers of 32 bits that must be at the beginning of the buffer then; of a shorter answer, one number.";
        arrays: or(Vec::new()) List<Count> = "arrays",
            "The bytes that the kernel must write to the arrays of `mptcp_full_info`: about subflows, and TCP_INFO.";
        error: maybe Symbol = "outcome", "The errno with which getsockopt() must fail.";
    }
}

record! {
    /// The long form of a quiet period.
    QuietPlan as "quiet", "a `quiet` step" then long_enough {
        period: need Time = "period", "How long nothing may be observed.";
        deadline: or(LONG) Time = "timeout", "Maximum duration of the step; 10 s by default.";
    }
}

/// The errno that the transfer must fail with whose end this step waits for.
pub fn expected_transfer_error(steps: &[Step], index: usize) -> Option<&str> {
    let plan = match &steps.get(index)?.action {
        Action::Transfer(plan) if !plan.background => plan,
        Action::Write { error, .. } | Action::Read { error, .. } | Action::Shutdown { error, .. } => {
            return error.as_deref();
        }
        Action::FinishTransfer { connection, .. } => {
            let before = steps.get(..index)?.iter().rev();
            before.filter_map(|step| step.action.background_transfer()).find(|plan| plan.connection == *connection)?
        }
        _ => return None,
    };
    plan.error.as_deref()
}

impl ConnectPlan {
    /// Whether connect() leaves the SYN to the first write() (`TCP_FASTOPEN_CONNECT`).
    pub fn sends_later(&self) -> bool {
        let mut set = self.options.set.iter();
        set.any(|setting| setting.option.word == "fastopen_connect" && setting.value == 1_u32.into())
    }
}

impl Action {
    /// The errno with which the kernel must refuse it, and a part of the kernel's own words.
    pub fn expected_refusal(&self) -> Option<(&str, Option<&str>)> {
        let connect = pick!(self, Self::Connect(ConnectPlan { outcome: ConnectionOutcome::Error(error), .. })
            => (error.as_str(), None));
        connect.or_else(|| pick!(self, Self::ExpectError { error, message, .. } => (error, message.as_deref())))
    }

    /// The transfer that it starts in the background.
    pub fn background_transfer(&self) -> Option<&TransferPlan> {
        match self {
            Self::Transfer(plan) if plan.background => Some(plan),
            _ => None,
        }
    }

    /// The program that it starts.
    pub fn program(&self) -> Option<&Program> {
        match self {
            Self::Start(StartPlan { program, .. }) | Self::Run(RunPlan { program, .. }) => Some(program),
            _ => None,
        }
    }

    /// The connection whose sockets it closes. A half close leaves both open.
    pub fn closed_connection(&self) -> Option<&str> {
        pick!(self, Self::Close { connection, how: CloseHow::Graceful | CloseHow::Abrupt | CloseHow::Disconnect, .. }
            => connection)
    }

    /// The connection on which this side stops sending: a half close stops one side, any other close both.
    pub fn stops_sending(&self, side: Side) -> Option<&str> {
        let half = pick!(self, Self::Close { connection, by, how: CloseHow::HalfClose, .. }
            if *by == side => connection.as_str());
        let shut = pick!(self, Self::Shutdown { connection, by, direction: Direction::Write | Direction::Both, .. }
            if *by == side => connection.as_str());
        half.or(shut).or_else(|| self.closed_connection())
    }
}

words! {
    /// A queue of a socket.
    QueueName {
        /// `SIOCINQ`
        Unread = "unread",
        /// `SIOCOUTQ`
        Unacknowledged = "unacknowledged",
        /// `SIOCOUTQNSD`
        Unsent = "unsent",
    }
}

words! {
    /// Which direction shutdown() ends.
    Direction {
        /// `SHUT_WR`
        Write = "write",
        /// `SHUT_RD`
        Read = "read",
        /// `SHUT_RDWR`
        Both = "both",
    }
}

words! {
    /// How to close.
    CloseHow {
        /// close() when all is read; then the other side, when it sees the end.
        Graceful = "graceful",
        /// close() with unread data: MP_FASTCLOSE.
        Abrupt = "abrupt",
        /// connect() with `AF_UNSPEC`: MP_FASTCLOSE, and the socket can connect again.
        Disconnect = "disconnect",
        /// shutdown(SHUT_WR) only.
        HalfClose = "half",
    }
}

choice! {
    /// What a wait waits for.
    Condition {
        Event = an "event" "An event was seen, since the start of the run." as "wait_event", "an event to wait for"; {
            namespace: group EventNamespace;
            pattern: group EventSeen;
            count: or(1) Times = "count", "How many; 1 by default.";
        }
        Counter = a "counter" "A counter has increased since the start of the run."
            as "wait_counter", "a counter to wait for"; {
            namespace: group Namespace;
            name: need Counter = "name", "Its name, as nstat has it.";
            at_least: need FromOne = "at_least", "Minimum increase; for a gauge, its minimum value.";
        }
        Subflow = a "subflow" "One side has a matching subflow, or none."
            as "wait_subflow", "a subflow to wait for"; {
            connection: need LiveMptcp = "connection", "The connection.";
            side: need OneSide = "side", "Whose subflow.";
            present: or(true) Switch = "present", "`false`: none exists; true by default.";
            pattern: group SubflowLike;
        }
        Endpoint = an "endpoint" "A namespace has an endpoint with this address, or none."
            as "wait_endpoint", "an endpoint to wait for"; {
            namespace: group Namespace;
            address: need Ip = "address", "The address.";
            flags: maybe Flags = "flags", "Its exact flags; any by default.";
            present: or(true) Switch = "present", "`false`: none exists; true by default.";
        }
        Transferred = a "transferred" "A background transfer has delivered a number of bytes."
            as "wait_transferred", "a transfer to wait for"; {
            connection: need Live = "connection", "The connection.";
            sender: need OneSide = "by", "Who sends.";
            bytes: need Moved = "bytes", "How many bytes have arrived.";
        }
        Wire = a "wire" "An MPTCP option was sent, since the start of the run."
            as "wait_wire", "an MPTCP option to wait for"; {
            pattern: group OptionSent;
            count: or(1) Times = "count", "How many segments carried it; 1 by default.";
        }
        Queue = a "queue" "A socket has a number of bytes in a queue." as "wait_queue", "a queue to wait for"; {
            connection: need Live = "connection", "The connection.";
            side: need OneSide = "side", "Whose socket.";
            queue: need QueueName = "name",
                "unread: arrived and not read (SIOCINQ); unacknowledged: written and not acknowledged (SIOCOUTQ); unsent (SIOCOUTQNSD).";
            count: need Count = "count", "How many bytes.";
        }
        Sockets = a "sockets" "A namespace has a number of sockets." as "wait_sockets", "a number of sockets to wait for"; {
            namespace: group Namespace;
            word: need SocketCountWord = "name", "Which number.";
            count: need Count = "count", "How many.";
        }
        Rule = a "rule" "A rule of a path has matched."  as "wait_rule", "a rule to wait for"; {
            link: need PathLink = "link", "The link; it must have a path.";
            rule: need InstalledRule = "name", "The name of the rule.";
            matched: or(1) FromOne = "matched", "Minimum number of segments since it was installed; 1 by default.";
        }
        Output = an "output" "A program has written a line."
            as "wait_output", "output to wait for"; {
            program: need Running = "program", "The program, by its name.";
            contains: need Line = "contains", "Part of the line.";
            count: or(1) Times = "count", "How many such lines; 1 by default.";
        }
    }
    and {
        /// Both sides have exactly this number of established subflows, including the initial one.
        Subflows {
            /// The connection.
            connection: String,
            /// How many.
            count: usize,
        },
    }
}
