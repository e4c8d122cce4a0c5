//! The `mptcplab` command.

fn main() -> std::process::ExitCode {
    mptcplab::cli::main()
}
