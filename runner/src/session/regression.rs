//! A regression is not a missing feature: what a kernel must have, since it has something newer.
//!
//! Versions say nothing, since distributions backport. But features came in an order, and who backports the last one
//! has the ones before. Each row is proven on the kernels of the matrix (docs/kernels.md).

use std::collections::{BTreeMap, BTreeSet};

use crate::scenario::model::{Feature, Scenario};
use crate::testbed::probe::Availability;

/// A sign that can't be mistaken, since no behaviour of the path manager is behind it, and what is older.
struct Order {
    newer: &'static str,
    /// What else must be there.
    and: Option<&'static str>,
    older: &'static [&'static str],
}

const ORDERS: &[Order] = &[
    // Since the first sysctl of MPTCP (5.6). TCP_INQ came with 5.16, before the oldest kernel on which mptcplab runs.
    Order { newer: "sysctl:net.mptcp.enabled", and: None, older: &["option:inq"] },
    // `blackhole_timeout` came with Linux 6.12; the events of listeners with 6.2, the dump by token with 6.10, the
    // others in between. A 6.1 with its stable patches lacks them all, and the sysctl.
    Order {
        newer: "sysctl:net.mptcp.blackhole_timeout",
        and: None,
        older: &[
            "listener_events",
            "token_dump",
            "fullmesh_once",
            "subflow_device",
            "endpoint_errnos",
            "option:notsent_lowat",
            "option:fastopen",
            "sysctl:net.mptcp.close_timeout",
            "info:local_addr_used",
            "info:local_addr_max",
            "info:csum_enabled",
            "info:retransmits",
            "info:bytes_retrans",
            "info:bytes_sent",
            "info:bytes_received",
            "info:bytes_acked",
            "info:subflows_total",
            "info:last_data_sent",
            "info:last_data_recv",
            "info:last_ack_recv",
        ],
    },
    // Without CONFIG_MPTCP_IPV6 there is no other family.
    Order { newer: "sysctl:net.mptcp.blackhole_timeout", and: Some("mixed_families"), older: &["family_rules"] },
    // Laminar endpoints came with 6.18, this sysctl with 7.2.
    Order { newer: "sysctl:net.mptcp.add_addr_v6_port_drop_ts", and: None, older: &["laminar"] },
];

/// These features, and the signs to be probed with them.
pub fn with_signs(mut features: BTreeSet<Feature>) -> BTreeSet<Feature> {
    let asked = |order: &&Order| features.iter().any(|feature| order.older.contains(&feature.word().as_str()));
    let words = ORDERS.iter().filter(asked).flat_map(|order| [Some(order.newer), order.and]);
    let signs: Vec<Feature> = words.flatten().filter_map(Feature::from_word).collect();
    features.extend(signs);
    features
}

/// Whether a feature is asked for as a sign alone.
pub fn is_sign(feature: &Feature) -> bool {
    matches!(feature, Feature::Sysctl(_)) && ORDERS.iter().any(|order| order.newer == feature.word())
}

/// Why a feature can't just be missing: the kernel has something newer. `None` if it is there, was not probed, or may be
/// missing.
pub fn regression(feature: &Feature, features: &BTreeMap<Feature, Availability>) -> Option<String> {
    let Availability::No(reason) = features.get(feature)? else { return None };
    let word = feature.word();
    let has =
        |word: &str| Feature::from_word(word).is_some_and(|feature| features.get(&feature) == Some(&Availability::Yes));
    let is_broken =
        |order: &&Order| order.older.contains(&word.as_str()) && has(order.newer) && order.and.is_none_or(has);
    let order = ORDERS.iter().find(is_broken)?;
    Some(format!("this kernel lacks `{word}`, and has `{}`, which is newer: a regression? {reason}", order.newer))
}

/// The features that this kernel lacks although it has newer ones, of those on which the scenario depends.
pub fn regressions(scenario: &Scenario, features: &BTreeMap<Feature, Availability>) -> Vec<String> {
    scenario.depends_on().iter().filter_map(|feature| regression(feature, features)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::example;

    fn found(all: &[(&str, bool)]) -> BTreeMap<Feature, Availability> {
        let availability = |is_there| if is_there { Availability::Yes } else { Availability::No("EINVAL".to_owned()) };
        all.iter().map(|(word, is_there)| (Feature::from_word(word).unwrap(), availability(*is_there))).collect()
    }

    #[test]
    fn each_word_is_a_feature() {
        for order in ORDERS {
            for word in order.older.iter().copied().chain([order.newer]).chain(order.and) {
                assert_eq!(Feature::from_word(word).unwrap().word(), word);
            }
        }
    }

    #[test]
    fn what_is_older_than_something_that_is_there_is_a_regression() {
        let newer = "sysctl:net.mptcp.blackhole_timeout";
        let kernel = found(&[("listener_events", false), (newer, true), ("token_dump", true), ("laminar", false)]);
        let told = regression(&Feature::ListenerEvents, &kernel).unwrap();
        assert_eq!(
            told,
            "this kernel lacks `listener_events`, and has `sysctl:net.mptcp.blackhole_timeout`, which is newer: a \
             regression? EINVAL"
        );
        assert_eq!(regression(&Feature::TokenDump, &kernel), None, "it is there");
        assert_eq!(regression(&Feature::Laminar, &kernel), None, "nothing newer is there");
        let older = found(&[("listener_events", false), (newer, false)]);
        assert_eq!(regression(&Feature::ListenerEvents, &older), None);
        assert_eq!(regression(&Feature::ListenerEvents, &found(&[(newer, true)])), None, "it was not probed");
        for (mixed, is_one) in [(true, true), (false, false)] {
            let kernel = found(&[("family_rules", false), (newer, true), ("mixed_families", mixed)]);
            assert_eq!(regression(&Feature::FamilyRules, &kernel).is_some(), is_one);
        }
    }

    #[test]
    fn the_signs_are_probed_with_what_is_older() {
        let words =
            |feature: Feature| -> Vec<String> { with_signs([feature].into()).iter().map(Feature::word).collect() };
        assert_eq!(words(Feature::Nftables), ["nftables"]);
        assert_eq!(words(Feature::Laminar), ["laminar", "sysctl:net.mptcp.add_addr_v6_port_drop_ts"]);
        let of_families = ["mixed_families", "family_rules", "sysctl:net.mptcp.blackhole_timeout"];
        assert_eq!(words(Feature::FamilyRules), of_families);
    }

    #[test]
    fn a_condition_counts_like_a_requirement() {
        let kernel = found(&[("subflow_device", false), ("sysctl:net.mptcp.blackhole_timeout", true)]);
        let mut scenario = example::scenario();
        assert_eq!(regressions(&scenario, &kernel).len(), 0);
        scenario.kernel_variants.asked.insert(Feature::SubflowDevice);
        assert_eq!(regressions(&scenario, &kernel).len(), 1);
    }
}
