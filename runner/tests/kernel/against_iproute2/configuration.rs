//! Endpoints and limits.

use std::sync::Arc;

use libtest_mimic::Failed;
use mptcplab::mptcp::{Endpoint, EndpointFlags};
use mptcplab::netlink::pm::PmClient;
use mptcplab::testbed::{BaseNamespace, Node};

use super::shown;
use super::world::{client_of, endpoint, four_links, ip};

/// All endpoints as both show them. They must be the same, in the same order.
pub async fn endpoints(node: &Node, pm: &PmClient) -> Result<Vec<Endpoint>, Failed> {
    let ours = pm.dump_endpoints(None).await?;
    let text = ip(node, "mptcp endpoint show")?;
    let theirs: Vec<Endpoint> = text.lines().map(shown::endpoint).collect::<Result<_, _>>()?;
    assert_eq!(ours, theirs, "{text}");
    Ok(ours)
}

pub async fn endpoints_are_the_same(home: &Arc<BaseNamespace>) -> Result<(), Failed> {
    use EndpointFlags as Flags;
    let testbed = four_links(home)?;
    let node = testbed.node("server")?;
    let pm = client_of(node)?;
    assert_eq!(endpoints(node, &pm).await?, []);
    let added = [
        endpoint("10.0.1.1", None, Flags::SIGNAL),
        endpoint("10.0.2.1", Some(200), Flags::SUBFLOW | Flags::BACKUP),
        Endpoint { dev: Some("eth3".to_owned()), ..endpoint("10.0.3.1", None, Flags::SUBFLOW | Flags::FULLMESH) },
        Endpoint { port: Some(10100), ..endpoint("10.0.4.1", Some(7), Flags::SIGNAL) },
        endpoint("dead:beef:1::1", None, Flags::SIGNAL | Flags::SUBFLOW),
        Endpoint { port: Some(65535), ..endpoint("dead:beef:2::1", Some(255), Flags::SIGNAL | Flags::BACKUP) },
        endpoint("10.0.77.1", None, Flags::empty()),
        // Linux 6.18; older ones drop the flag, for both to see.
        endpoint("10.0.78.1", None, Flags::SUBFLOW | Flags::LAMINAR),
    ];
    for (count, endpoint) in (1..).zip(&added) {
        pm.add_endpoint(endpoint).await?;
        let all = endpoints(node, &pm).await?;
        assert_eq!(all.len(), count);
        let same = |shown: &&Endpoint| {
            let id = endpoint.id.is_none_or(|id| shown.id == Some(id));
            id && (shown.address, shown.port, &shown.dev) == (endpoint.address, endpoint.port, &endpoint.dev)
        };
        let shown = all.iter().find(same).ok_or_else(|| format!("{endpoint} is not in {all:?}"))?;
        assert_eq!(shown.flags - Flags::LAMINAR, endpoint.flags - Flags::LAMINAR);
    }
    pm.delete_endpoint(200, None).await?;
    assert_eq!(endpoints(node, &pm).await?.len(), added.len() - 1);
    pm.flush().await?;
    assert_eq!(endpoints(node, &pm).await?, []);
    Ok(())
}

pub async fn endpoints_of_ip_are_the_same(home: &Arc<BaseNamespace>) -> Result<(), Failed> {
    let testbed = four_links(home)?;
    let node = testbed.node("server")?;
    let pm = client_of(node)?;
    let added = [
        "10.0.1.1 id 3 signal",
        "10.0.2.1 id 4 subflow backup fullmesh dev eth2",
        "dead:beef:3::1 id 5 signal port 10100",
        "10.0.4.1 id 6",
    ];
    for (count, words) in (1..).zip(added) {
        ip(node, &format!("mptcp endpoint add {words}"))?;
        let all = endpoints(node, &pm).await?;
        assert_eq!(all.len(), count);
        // As a set of words: ip(8) reads them in any order.
        let sorted = |text: &str| {
            let mut words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
            words.sort();
            words
        };
        assert!(all.iter().any(|endpoint| sorted(&endpoint.to_string()) == sorted(words)), "{words} is not in {all:?}");
    }
    Ok(())
}

pub async fn limits_are_the_same(home: &Arc<BaseNamespace>) -> Result<(), Failed> {
    let testbed = four_links(home)?;
    let node = testbed.node("client")?;
    let pm = client_of(node)?;
    let compared = async || -> Result<_, Failed> {
        let ours = pm.get_limits().await?;
        let text = ip(node, "mptcp limits show")?;
        assert_eq!(ours, shown::limits(&text)?, "{text}");
        Ok((ours.subflows, ours.add_addr_accepted))
    };
    let defaults = compared().await?;
    pm.set_limits(Some(5), None).await?;
    assert_eq!(compared().await?, (5, defaults.1));
    pm.set_limits(Some(8), Some(3)).await?;
    assert_eq!(compared().await?, (8, 3));
    ip(node, "mptcp limits set subflow 1 add_addr_accepted 7")?;
    assert_eq!(compared().await?, (1, 7));
    Ok(())
}
