//! Errnos and their symbols.

use nix::errno::Errno;

/// The kernel's internal `ENOTSUPP` (`include/linux/errno.h`). It should never reach userspace, but it does.
const ENOTSUPP: i32 = 524;
/// The greatest errno of Linux on most architectures (`EHWPOISON`).
const LAST_ERRNO: i32 = 133;

/// The symbol of an errno, which may be negative as the kernel has it: `EINVAL` for 22. `errno 600` if it has none.
pub fn errno_symbol(errno: i32) -> String {
    let errno = errno.saturating_abs();
    match Errno::from_raw(errno) {
        Errno::UnknownErrno if errno == ENOTSUPP => "ENOTSUPP".to_owned(),
        Errno::UnknownErrno => format!("errno {errno}"),
        known => format!("{known:?}"),
    }
}

/// The number of an errno's symbol, positive: 22 for `EINVAL`. The aliases of errno(3) are known, too.
pub fn errno_number(symbol: &str) -> Option<i32> {
    let symbol = match symbol {
        "EWOULDBLOCK" => "EAGAIN",
        "EDEADLOCK" => "EDEADLK",
        "ENOTSUP" => "EOPNOTSUPP",
        "ENOTSUPP" => return Some(ENOTSUPP),
        other => other,
    };
    (1..=LAST_ERRNO).find(|errno| {
        let known = Errno::from_raw(*errno);
        known != Errno::UnknownErrno && format!("{known:?}") == symbol
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_symbols_go_both_ways() {
        let mut known = 0;
        for errno in 1..=LAST_ERRNO {
            let symbol = errno_symbol(errno);
            if symbol.starts_with('E') {
                assert_eq!(errno_number(&symbol), Some(errno), "{symbol}");
                known += 1;
            }
        }
        assert_eq!(known, 131, "41 and 58 are the only gaps below 134");
        assert_eq!(errno_symbol(-110), "ETIMEDOUT");
        assert_eq!(errno_symbol(524), "ENOTSUPP");
        assert_eq!(errno_symbol(600), "errno 600");
        assert_eq!(errno_symbol(i32::MIN), "errno 2147483647");
        assert_eq!(errno_number("ENOTSUP"), Some(95));
        assert_eq!(errno_number("EWOULDBLOCK"), Some(11));
        assert_eq!(errno_number("EDEADLOCK"), Some(35));
        assert_eq!(errno_number("EBOGUS"), None);
        assert_eq!(errno_number("UnknownErrno"), None);
    }
}
