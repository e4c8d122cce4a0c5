//! What the kernel can do is found out by trying.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use libtest_mimic::{Completion, Failed};
use mptcplab::scenario::model::Feature;
use mptcplab::testbed::BaseNamespace;
use mptcplab::testbed::probe::{Availability, probe};

fn probed(home: &Arc<BaseNamespace>, words: &[&str]) -> Result<BTreeMap<String, Availability>, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let features: BTreeSet<Feature> = words.iter().filter_map(|word| Feature::from_word(word)).collect();
    assert_eq!(features.len(), words.len());
    let found = runtime.block_on(probe(home, &features))?;
    Ok(found.into_iter().map(|(feature, availability)| (feature.word(), availability)).collect())
}

const PLAIN: [&str; 7] = ["mptcp", "listener_events", "laminar", "token_dump", "mixed_families", "nftables", "tbf"];

/// Which features there are depends on the kernel; that each has an answer, and each no has a reason, does not. What
/// is certain: a kernel without MPTCP has nothing of it.
#[expect(clippy::print_stderr, reason = "whoever runs this on another kernel wants to know")]
pub fn this_kernel_is_probed(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let found = probed(home, &PLAIN)?;
    eprintln!("{found:#?}");
    assert_eq!(found.len(), PLAIN.len());
    if found["mptcp"] != Availability::Yes {
        assert!(PLAIN[1..5].iter().all(|word| found[*word] != Availability::Yes), "{found:?}");
    }
    assert_eq!(probed(home, &PLAIN)?, found, "the same answer each time");
    Ok(Completion::Completed)
}

pub fn what_is_missing_is_named(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let found = probed(
        home,
        &[
            "counter:TcpExtSyncookiesSent",
            "counter:MPTcpExtNoSuch",
            "sysctl:net.ipv4.ip_forward",
            "sysctl:net.mptcp.no_such",
        ],
    )?;
    assert_eq!(found["counter:TcpExtSyncookiesSent"], Availability::Yes);
    assert_eq!(found["sysctl:net.ipv4.ip_forward"], Availability::Yes);
    let no = |text: &str| Availability::No(text.to_owned());
    assert_eq!(found["counter:MPTcpExtNoSuch"], no("this kernel has no counter MPTcpExtNoSuch"));
    assert!(
        matches!(&found["sysctl:net.mptcp.no_such"], Availability::No(reason) if reason.contains("ENOENT")),
        "{found:?}"
    );
    Ok(Completion::Completed)
}

#[expect(clippy::print_stderr, reason = "how long it takes is what this is about")]
pub fn it_is_quick(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    for word in PLAIN {
        let start = Instant::now();
        probed(home, &[word])?;
        eprintln!("{word}: {:?}", start.elapsed());
    }
    Ok(Completion::Completed)
}
