//! Programs that steps start in the world. Main type: [`Program`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::read::part::{Here, Namespace, NamespaceName};
use super::super::read::program::{Environment, Files};
use super::super::record::{List, choice, record, words};
use super::super::scalar::{Argument, CommandName, Count, EndStatusWord, Ip, Line, Name, Ordinal, Port, Time};
use super::step::{LONG, SHORT};

record! {
    /// A program, and what it is given.
    Program {
        namespace: group Namespace;
        command: need CommandName = "command",
            "The name of the program, found in `/usr/local/sbin`, `/usr/local/bin`, `/usr/sbin`, `/usr/bin`, `/sbin`, `/bin` and `/usr/libexec`.";
        arguments: or(Vec::new()) List<Argument> = "arguments", "Its arguments.";
        environment: or(Vec::new()) Environment = "environment",
            "Its environment variables, besides `PATH`, `HOME`, `LANG` and `TMPDIR`. It gets nothing of mptcplab's own environment.";
        files: or(Vec::new()) Files = "files",
            "Files that are written to its working directory, by relative name. The programs of a namespace share the \
             directory, `/tmp`.";
        sockets: or(Sockets::Unchanged) Sockets = "mptcp",
            "forced: each TCP socket that the program opens becomes an MPTCP socket. unchanged (the default): the program decides.";
    }
}

words! {
    /// What becomes of a program's TCP sockets.
    Sockets {
        /// As the program asks for them.
        Unchanged = "unchanged",
        /// MPTCP sockets in their place.
        Forced = "forced",
    }
}

record! {
    /// A connection that programs make.
    ProgramConnection as "program_connection", "a connection" {
        name: later String;
        place: group Here;
        client: need NamespaceName = "from", "The namespace of the client.";
        server: need NamespaceName = "to", "The namespace of the server.";
        address: maybe Ip = "address", "The address that the client connects to; by default, any address of the server.";
        port: need Port = "port", "The port that the client connects to.";
        nth: or(1) Ordinal = "nth",
            "Which one, of all connections from this namespace to this address and port, in the order of their first SYNs; 1 by default.";
        protocol: or(MadeProtocol::Mptcp) MadeProtocol = "outcome",
            "mptcp (the default): both sides use MPTCP. tcp: at least one side uses plain TCP, or the connection falls back to it.";
    }
}

words! {
    /// What a connection of programs must become.
    MadeProtocol {
        /// MPTCP on both sides.
        Mptcp = "mptcp",
        /// Plain TCP, or a fallback to it.
        Tcp = "tcp",
    }
}

record! {
    /// A program that goes on while other steps are taken.
    StartPlan {
        name: need Name = "name", "The name of the program for everything after it.";
        program: group Program;
        ready: maybe Ready = "ready", "The step ends when this holds; without it, when the program has started.";
        deadline: or(SHORT) Time = "timeout", "Maximum duration; 5 s by default.";
    }
}

choice! {
    /// When a program is ready.
    Ready as "ready", "a `ready` condition" {
        Port = a "port" "A TCP socket of the namespace listens on this port."; => Port;
        Output = an "output" "The program has written a line that contains this text."; => Line;
    }
}

record! {
    /// A program that is run to its end.
    RunPlan {
        program: group Program;
        end: group End;
        deadline: or(LONG) Time = "timeout", "Maximum duration; 10 s by default.";
    }
}

record! {
    /// How a program must end.
    End {
        status: or(EndStatus::SUCCESS) EndStatusWord = "status",
            "The expected exit status, or the signal that ends the program, like `SIGTERM`; 0 by default.";
        output: or(Vec::new()) List<LinesLike> = "output", "What its output must contain.";
    }
}

record! {
    /// Lines of a program's output.
    LinesLike as "output", "an expectation on output" {
        stream: maybe Stream = "stream", "Only this stream: stdout or stderr.";
        contains: need Line = "contains", "Part of a line.";
        count: or(1..=u64::MAX) Count = "count", "The number of such lines; at least 1 by default.";
    }
}

words! {
    /// Where a program writes to.
    #[derive(Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    Stream {
        /// Standard output.
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
    }
}

/// How a program ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndStatus {
    /// With an exit status.
    Exit(u8),
    /// By a signal, by its name.
    Signal(String),
}

impl EndStatus {
    /// Exit status 0.
    pub const SUCCESS: Self = Self::Exit(0);
}

impl fmt::Display for EndStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(status) => write!(f, "exit status {status}"),
            Self::Signal(name) => f.write_str(name),
        }
    }
}

impl LinesLike {
    /// Whether that line of that stream is meant.
    pub fn matches(&self, stream: Stream, line: &str) -> bool {
        self.stream.is_none_or(|only| only == stream) && line.contains(&self.contains)
    }
}

impl Program {
    /// Command and arguments in one line, as a shell takes them.
    pub fn command_line(&self) -> String {
        let words = std::iter::once(&self.command).chain(&self.arguments);
        words.map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
