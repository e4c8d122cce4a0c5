//! What a line of the kernel's log says: whether the kernel has a problem of its own.

/// What a line of the kernel's log can be the first of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// `WARNING:`, lockdep's warnings among them, and those of UBSAN, of reference counts, and of kmemleak.
    Warning,
    /// `BUG:`, those of KASAN and `BUG_ON` among them.
    Bug,
    /// A fault in kernel mode, or a panic.
    Oops,
    /// A CPU or a work queue doesn't get on.
    Lockup,
    /// RCU doesn't get on.
    RcuStall,
    /// A general protection fault.
    GeneralProtection,
    /// A task hangs.
    HungTask,
    /// A network device can't be freed, because something still refers to it.
    DeviceLeak,
}

/// The particular comes before the general: a lockup calls itself a BUG, too.
const SIGNS: &[(&str, Trouble)] = &[
    ("soft lockup", Trouble::Lockup),
    ("hard LOCKUP", Trouble::Lockup),
    ("workqueue lockup", Trouble::Lockup),
    ("detected stall on CPU", Trouble::RcuStall),
    ("detected stalls on CPU", Trouble::RcuStall),
    ("detected expedited stalls on CPU", Trouble::RcuStall),
    ("blocked for more than", Trouble::HungTask),
    ("unregister_netdevice: waiting for", Trouble::DeviceLeak),
    ("general protection fault", Trouble::GeneralProtection),
    ("Unable to handle kernel", Trouble::Oops),
    ("BUG: unable to handle", Trouble::Oops),
    ("BUG: kernel NULL pointer dereference", Trouble::Oops),
    ("Internal error: Oops", Trouble::Oops),
    ("Oops:", Trouble::Oops),
    ("Kernel panic", Trouble::Oops),
    ("kernel BUG at", Trouble::Bug),
    ("BUG:", Trouble::Bug),
    ("WARNING:", Trouble::Warning),
    ("UBSAN:", Trouble::Warning),
    ("refcount_t:", Trouble::Warning),
    ("kmemleak:", Trouble::Warning),
];

/// Whether this text, as a line of the kernel's own, says that the kernel has a problem.
pub fn trouble_in(text: &str) -> Option<Trouble> {
    SIGNS.iter().find(|(sign, _)| contains_word(text, sign)).map(|(_, trouble)| *trouble)
}

/// Whether `sign` occurs, and not as the tail of another word: `DEBUG:` isn't `BUG:`.
fn contains_word(text: &str, sign: &str) -> bool {
    text.match_indices(sign).any(|(at, _)| !text[..at].ends_with(|before: char| before.is_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_trouble_when_it_sees_it() {
        for (text, trouble) in [
            ("WARNING: CPU: 1 PID: 77 at net/mptcp/protocol.c:2800 mptcp_close+0x1/0x2", Trouble::Warning),
            ("WARNING: possible circular locking dependency detected", Trouble::Warning),
            ("BUG: KASAN: slab-use-after-free in mptcp_pm_nl_work+0x1/0x2", Trouble::Bug),
            ("kernel BUG at net/core/skbuff.c:100!", Trouble::Bug),
            ("BUG: kernel NULL pointer dereference, address: 0000000000000010", Trouble::Oops),
            ("Oops: 0000 [#1] PREEMPT SMP", Trouble::Oops),
            ("Internal error: Oops - BUG: 0 [#1] SMP", Trouble::Oops),
            ("Kernel panic - not syncing: Fatal exception", Trouble::Oops),
            ("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [kworker/0:1:10]", Trouble::Lockup),
            ("BUG: workqueue lockup - pool cpus=1 node=0 flags=0x0 nice=0 stuck for 30s!", Trouble::Lockup),
            ("rcu: INFO: rcu_preempt self-detected stall on CPU", Trouble::RcuStall),
            ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", Trouble::RcuStall),
            ("Oops: general protection fault, probably for non-canonical address", Trouble::GeneralProtection),
            ("INFO: task ip:77 blocked for more than 120 seconds.", Trouble::HungTask),
            ("unregister_netdevice: waiting for lo to become free. Usage count = 2", Trouble::DeviceLeak),
        ] {
            assert_eq!(trouble_in(text), Some(trouble), "{text}");
        }
        for text in ["DEBUG: nothing", "veth0: entered promiscuous mode", "pci 0000:00:01.0: BUG in name only"] {
            assert_eq!(trouble_in(text), None, "{text}");
        }
    }
}
