//! Environment variables of this process.

use std::ffi::OsStr;
use std::io;

/// Set an environment variable of this process.
///
/// Only possible while the process has a single thread: another one might read the environment at the same time.
///
/// # Errors
///
/// When the process has several threads already, or `/proc/self/task` can't be read.
pub fn set_var(name: &str, value: impl AsRef<OsStr>) -> io::Result<()> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!(
            "setting the environment variable {name}: the process has {threads} threads, it must have one"
        )));
    }
    // SAFETY: there is no other thread that could read or write the environment at the same time, and none can
    // appear meanwhile: only this one could start it.
    unsafe { std::env::set_var(name, value) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::set_var;

    #[test]
    fn a_second_thread_forbids_it() {
        let both = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| both.wait());
            let result = set_var("MPTCPLAB_TEST_SET_VAR", "1");
            both.wait();
            assert!(result.unwrap_err().to_string().contains("threads"));
        });
        assert!(std::env::var_os("MPTCPLAB_TEST_SET_VAR").is_none());
    }
}
