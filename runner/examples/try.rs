#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::print_stdout, clippy::unwrap_used)]
use mptcplab::mptcp::*;
use mptcplab::scenario::model::*;
use mptcplab::testbed::Home;
use std::time::{Duration, Instant};
fn main() {
    mptcplab::sys::privilege::enter().unwrap();
    let home = Home::create().unwrap();
    let a = |s: &str| s.parse::<std::net::IpAddr>().unwrap();
    let end = |ns: &str, n: usize, h: u8| LinkEnd {
        namespace: ns.into(),
        device: format!("eth{n}"),
        addresses: vec![
            Address { address: a(&format!("10.0.{n}.{h}")), prefix: 24 },
            Address { address: a(&format!("dead:beef:{n}::{h}")), prefix: 64 },
        ],
    };
    let ns = |name: &str| Namespace {
        name: name.into(),
        place: Place::default(),
        limits: None,
        endpoints: vec![],
        routes: vec![],
        sysctls: vec![],
        userspace_path_manager: false,
        events: true,
        forwarding: false,
    };
    let mut c = ns("client");
    c.limits = Some(Limits { subflows: 4, add_addr_accepted: 1 });
    for n in 1..=4 {
        c.routes.push(Route {
            to: Address { address: a("0.0.0.0"), prefix: 0 },
            via: Some(a(&format!("10.0.{n}.1"))),
            dev: Some(format!("eth{n}")),
            source: None,
            metric: Some(100 + n),
        });
    }
    for n in 2..=3 {
        c.endpoints.push((
            Endpoint {
                address: a(&format!("10.0.{n}.2")),
                port: None,
                id: None,
                flags: EndpointFlags::SUBFLOW | EndpointFlags::FULLMESH,
                dev: None,
            },
            Place::default(),
        ));
    }
    let mut s = ns("server");
    s.limits = Some(Limits { subflows: 4, add_addr_accepted: 0 });
    let links = (1..=4)
        .map(|n| Link {
            name: format!("link{n}"),
            place: Place::default(),
            mtu: None,
            rate: None,
            ends: [end("client", n, 2), end("server", n, 1)],
        })
        .collect();
    let d = Duration::from_secs(5);
    let st = |action| Step { place: Place::default(), action };
    let sc = Scenario {
        file: "x.yaml".into(),
        variant: None,
        title: "t".into(),
        about: "".into(),
        see: vec![],
        requires: vec![],
        alone: false,
        world: World { namespaces: vec![c, s], links },
        steps: vec![
            st(Action::Connect(ConnectPlan {
                name: "main".into(),
                from: "client".into(),
                to: "server".into(),
                address: "10.0.1.1:8080".parse().unwrap(),
                source: None,
                protocol: SocketProtocol::Mptcp,
                outcome: ConnectionOutcome::Mptcp,
                implicit_listener: Some(ListenPlan {
                    namespace: "server".into(),
                    address: a("0.0.0.0"),
                    port: 8080,
                    protocol: SocketProtocol::Mptcp,
                }),
                handshake: true,
                deadline: d,
            })),
            st(Action::Wait {
                conditions: vec![Condition::Subflows { connection: "main".into(), count: 3 }],
                deadline: d,
            }),
            st(Action::Do(Operation::AddEndpoint {
                namespace: "server".into(),
                endpoint: Endpoint {
                    address: a("10.0.4.1"),
                    port: None,
                    id: None,
                    flags: EndpointFlags::SIGNAL,
                    dev: None,
                },
            })),
            st(Action::Wait {
                conditions: vec![Condition::Subflows { connection: "main".into(), count: 5 }],
                deadline: d,
            }),
            st(Action::Transfer(TransferPlan {
                connection: "main".into(),
                from_client: 65536,
                from_server: 65536,
                pace: None,
                background: false,
                tolerate_corrupt: 0,
                deadline: d,
            })),
            st(Action::Quiet { period: Duration::from_millis(50), deadline: d }),
            st(Action::Close {
                connection: "main".into(),
                by: mptcplab::recording::Side::Client,
                how: CloseHow::Graceful,
                deadline: d,
            }),
        ],
        expect: Expectation::default(),
        sources: vec![],
    };
    let n: usize = std::env::args().nth(1).and_then(|x| x.parse().ok()).unwrap_or(1);
    for _ in 0..n {
        let t = Instant::now();
        let h = home.clone();
        let sc = sc.clone();
        let rec = std::thread::spawn(move || {
            h.enter_for_good().unwrap();
            let r = mptcplab::engine::run(&sc, &h, &[]);
            (r, t.elapsed())
        })
        .join()
        .unwrap();
        let total = t.elapsed();
        if n == 1 {
            let mut out = Vec::new();
            mptcplab::recording::write(&rec.0, &mut out).unwrap();
            println!("{}", String::from_utf8_lossy(&out));
        }
        eprintln!(
            "{:?} {:?} entries {} last {:?}",
            rec.1,
            total,
            rec.0.entries.len(),
            rec.0.entries.last().map(|e| &e.what).map(|w| format!("{w:?}").chars().take(300).collect::<String>())
        );
    }
}
