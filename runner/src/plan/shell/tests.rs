use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::example;
use super::super::{describe_operation, plan};
use super::shell;
use crate::mptcp::EndpointFlags;
use crate::scenario::model::{
    Action, Chance, Conditions, Distribution, Filter, FilterAction, FilterHook, FilterProtocol, FlagChange, FlowState,
    Jitter, NextHop, Operation, PathChange, PathPlan, Place, Queue, Reorder, Route, RouteType, RoutingRule, Scenario,
    TokenChoice, WhichEndpoints,
};

#[test]
fn the_commands_of_a_scenario() {
    insta::assert_snapshot!(shell("example", "A title", &plan(&example::scenario())));
}

#[test]
fn a_path_is_a_bridge_with_netem() {
    let mut scenario = example::scenario();
    let forth = Conditions {
        delay: Duration::from_millis(10),
        jitter: Some(Jitter { range: Duration::from_micros(2500), distribution: Distribution::Normal }),
        rate: Some(20_000_000),
        queue: Queue { packets: Some(100), bytes: Some(65536) },
        loss: Some(Chance::Probability(0.015)),
        reorder: Some(Reorder { which: Chance::Probability(0.02), by: Duration::from_millis(5) }),
        duplicate: Some(Chance::Nth(vec![3, 7])),
        mtu: Some(1400),
    };
    let back = Conditions { loss: Some(Chance::Burst { enter: 0.01, leave: 0.3 }), ..Conditions::default() };
    let (link, place) = ("wifi".to_owned(), Place::default());
    scenario.world.paths =
        vec![PathPlan { link: link.clone(), place, seed: 7, conditions: [forth, back], rules: Vec::new() }];
    let open = PathPlan { link: "cellular".into(), conditions: Default::default(), ..scenario.world.paths[0].clone() };
    scenario.world.paths.push(open);
    let from = Some("server".to_owned());
    let change = PathChange { link, from, conditions: [None, Some(Conditions::default())] };
    scenario.steps = vec![example::step(Action::SetPath(change))];
    insta::assert_snapshot!(shell("label", "A title", &plan(&scenario)));
}

fn filter() -> Filter {
    Filter {
        from: "10.0.2.2".parse().ok(),
        device: Some("eth2".to_owned()),
        option: Some(Some(1)),
        min_payload: Some(150),
        nth: Some(2),
        ..Filter::new("no-join", "server", FilterHook::Input, FilterAction::RejectReset)
    }
}

/// What routers do.
fn router_filters() -> Vec<Operation> {
    let filter = |name, hook, action| Filter::new(name, "router", hook, action);
    let filters = [
        Filter { device: Some("wan".to_owned()), ..filter("nat", FilterHook::Postrouting, FilterAction::Masquerade) },
        Filter {
            to: "203.0.113.1".parse().ok(),
            to_port: Some(443),
            address: "192.168.8.10".parse().ok(),
            port: Some(8443),
            ..filter("web", FilterHook::Prerouting, FilterAction::Dnat)
        },
        Filter {
            protocol: FilterProtocol::Any,
            address: "2001:db8::1".parse().ok(),
            ..filter("six", FilterHook::Postrouting, FilterAction::Snat)
        },
        Filter {
            device: Some("wan".to_owned()),
            out_device: Some("lan".to_owned()),
            states: vec![FlowState::New, FlowState::Invalid],
            mark: Some(7),
            ..filter("firewall", FilterHook::Forward, FilterAction::Drop)
        },
        Filter { protocol: FilterProtocol::Icmp, ..filter("no-icmp", FilterHook::Forward, FilterAction::Drop) },
    ];
    filters.map(Operation::AddFilter).into()
}

/// Those of routes and routing rules.
fn routing_operations() -> Vec<Operation> {
    let namespace = || "client".to_owned();
    let address = |text: &str| text.parse().unwrap();
    let default_route = example::scenario().world.namespaces[0].routes[0].clone();
    let kind = RouteType::Blackhole;
    let blackhole = Route { kind, table: Some(1000), ..Route::new(example::address("::/0")) };
    let hop = |via, dev: &str, weight| NextHop { via: Some(address(via)), dev: Some(dev.to_owned()), weight };
    let nexthops = vec![hop("10.0.1.1", "eth1", None), hop("10.0.2.1", "eth2", Some(3))];
    let multipath = Route { nexthops, metric: Some(7), ..Route::new(example::address("0.0.0.0/0")) };
    let rule = RoutingRule {
        priority: Some(100),
        from: Some(example::address("10.0.2.2/32")),
        to: Some(example::address("10.0.0.0/8")),
        mark: Some(16),
        incoming: Some("lo".to_owned()),
        outgoing: Some("eth2".to_owned()),
        protocol: Some(6),
        table: Some(2),
        kind: None,
    };
    let any = Some(example::address("::/0"));
    let prohibit = RoutingRule { from: any, kind: Some(RouteType::Prohibit), ..RoutingRule::default() };
    vec![
        Operation::AddRoute { namespace: namespace(), route: default_route.clone() },
        Operation::DeleteRoute { namespace: namespace(), route: default_route },
        Operation::AddRoute { namespace: namespace(), route: blackhole },
        Operation::AddRoute { namespace: namespace(), route: multipath },
        Operation::AddRoutingRule { namespace: namespace(), rule },
        Operation::DeleteRoutingRule { namespace: namespace(), rule: prohibit },
    ]
}

/// One operation of each kind.
fn operations() -> Vec<Operation> {
    let namespace = || "client".to_owned();
    let main = || TokenChoice::Connection("main".to_owned());
    let address = |text: &str| text.parse().unwrap();
    let mut endpoint = example::endpoint("10.0.3.2", EndpointFlags::SUBFLOW | EndpointFlags::from_bits_retain(0x40));
    (endpoint.id, endpoint.dev) = (Some(3), Some("eth3".to_owned()));
    let by_address = WhichEndpoints::Address { address: address("10.0.2.2"), port: Some(10100) };
    let which = WhichEndpoints::Id { id: 0, address: Some(address("10.0.1.2")) };
    let change = FlagChange { backup: true, fullmesh: false };
    let first = vec![
        Operation::AddEndpoint { namespace: namespace(), endpoint: endpoint.clone() },
        Operation::DeleteEndpoint { namespace: namespace(), which },
        Operation::DeleteEndpoint { namespace: namespace(), which: by_address },
        Operation::ChangeEndpoint { namespace: namespace(), which: WhichEndpoints::All, change },
        Operation::FlushEndpoints { namespace: namespace() },
        Operation::SetLimits { namespace: namespace(), subflows: Some(8), add_addr_accepted: None },
        Operation::SetSysctl { namespace: namespace(), name: "net.mptcp.enabled".to_owned(), value: "0".to_owned() },
        Operation::SetLink { namespace: namespace(), device: "eth1".to_owned(), up: false },
        Operation::DeleteDevice { namespace: namespace(), device: "eth1".to_owned() },
        Operation::AddAddress {
            namespace: namespace(),
            device: "eth1".to_owned(),
            address: example::address("dead:beef::7/64"),
        },
        Operation::DeleteAddress {
            namespace: namespace(),
            device: "eth1".to_owned(),
            address: example::address("10.0.1.7/24"),
        },
    ];
    let later = vec![
        Operation::Announce { namespace: namespace(), token: main(), endpoint: endpoint.clone() },
        Operation::RemoveAddress { namespace: namespace(), token: TokenChoice::Number(7), id: 3 },
        Operation::CreateSubflow {
            namespace: namespace(),
            token: main(),
            endpoint,
            remote: address("10.0.1.1"),
            remote_port: Some(8080),
        },
        Operation::DestroySubflow {
            namespace: namespace(),
            token: main(),
            local: address("10.0.3.2"),
            local_port: None,
            remote: address("10.0.1.1"),
            remote_port: Some(8080),
        },
        Operation::SetSubflowBackup {
            namespace: namespace(),
            token: main(),
            local: address("10.0.3.2"),
            remote: address("10.0.1.1"),
            backup: true,
        },
        Operation::GetEndpoint { namespace: namespace(), token: None, id: 3 },
        Operation::GetEndpoint { namespace: namespace(), token: Some(main()), id: 3 },
        Operation::AddFilter(filter()),
        Operation::RemoveFilter { namespace: namespace(), name: "no-join".to_owned() },
    ];
    [first, routing_operations(), later, router_filters()].concat()
}

fn with_operations(operations: Vec<Operation>) -> Scenario {
    let mut scenario = example::scenario();
    scenario.steps = operations.into_iter().map(|operation| example::step(Action::Do(operation))).collect();
    scenario
}

#[test]
fn the_commands_of_each_operation() {
    let plan = plan(&with_operations(operations()));
    let text = super::body(&plan);
    let (_, steps) = text.split_once("\n\n").unwrap();
    insta::assert_snapshot!(steps);
}

#[test]
fn what_must_be_refused_is_marked_at_its_last_command() {
    let refused = |operation| {
        let mut scenario = example::scenario();
        let action = Action::ExpectError { error: "EINVAL".to_owned(), message: None, operation };
        scenario.steps = vec![example::step(action)];
        let text = super::body(&plan(&scenario));
        let step = text.lines().skip_while(|line| !line.contains("Step 1")).skip(1);
        step.take_while(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let flush = Operation::FlushEndpoints { namespace: "client".to_owned() };
    assert_eq!(refused(flush), ["! ip -n client mptcp endpoint flush"]);
    let marks = refused(Operation::AddFilter(filter())).iter().map(|line| line.starts_with("! ")).collect::<Vec<_>>();
    assert_eq!(marks, [false, false, true]);
    // There is nothing to run for this one.
    let raw = example::endpoint("10.0.3.2", EndpointFlags::from_bits_retain(0x40));
    let comments = refused(Operation::AddEndpoint { namespace: "client".to_owned(), endpoint: raw });
    assert!(comments.iter().all(|line| line.starts_with('#')), "{comments:?}");
}

#[test]
fn every_operation_has_words_of_its_own() {
    for operation in operations() {
        let words = describe_operation(&operation);
        assert!(!words.contains('{'), "derived Debug instead of words: {words}");
    }
}

/// Runs the script with stand-ins for the tools that it calls: what a name smuggles in would leave its mark.
#[test]
fn names_cannot_inject_commands() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("mark");
    let evil = format!("x'; touch {0}; $(touch {0}) `touch {0}` \n touch {0} #", mark.display());
    let mut scenario = with_operations(vec![
        Operation::SetSysctl { namespace: evil.clone(), name: evil.clone(), value: evil.clone() },
        Operation::SetLink { namespace: evil.clone(), device: evil.clone(), up: true },
        Operation::AddFilter(Filter {
            name: evil.clone(),
            namespace: evil.clone(),
            device: Some(evil.clone()),
            ..filter()
        }),
        Operation::RemoveFilter { namespace: evil.clone(), name: evil.clone() },
    ]);
    scenario.world.namespaces[0].name.clone_from(&evil);
    scenario.world.namespaces[0].endpoints[0].0.dev = Some(evil.clone());
    scenario.world.namespaces[0].routes[0].dev = Some(evil.clone());
    scenario.world.links[0].ends[0].namespace.clone_from(&evil);
    scenario.world.links[0].ends[0].device.clone_from(&evil);
    scenario.steps.extend(example::scenario().steps);
    if let Action::Connect(connect) = &mut scenario.steps[4].action {
        connect.name.clone_from(&evil);
        connect.from.clone_from(&evil);
    }
    let script = format!("ip() {{ :; }}; tc() {{ :; }}\n{}", shell("label", "A title", &plan(&scenario)));
    let status =
        Command::new("bash").args(["-c", &script]).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{script}");
    assert!(!mark.exists(), "{script}");
}
