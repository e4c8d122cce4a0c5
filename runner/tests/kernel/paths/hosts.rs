//! Two hosts with a plain link and a spliced one, for the tests of paths and for their figures.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use mptcplab::forward::{Forwarder, Prepared};
use mptcplab::path::Path;
use mptcplab::plan::{Setup, plan};
use mptcplab::scenario::model::{
    Action, Address, Conditions, Expectation, KernelVariants, Link, LinkEnd, Namespace, PathChange, PathPlan, Place,
    Scenario, Step, TransferPlan, World,
};
use mptcplab::testbed::{self, BaseNamespace, Testbed};
use socket2::{Domain, Protocol, Socket, Type};

/// The server's address on the link without a path.
pub const PLAIN: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
/// The server's address on the link with one.
pub const SPLICED: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The name of the link with one; its device at both ends is `eth2`.
pub const LINK: &str = "spliced";

/// Two hosts, with a plain link and a spliced one.
pub struct Hosts {
    /// `client` and `server`.
    pub testbed: Testbed,
    /// What forwards on the spliced link.
    pub forwarder: Forwarder,
}

impl Hosts {
    /// With the same conditions in both directions, which may change.
    pub fn new(home: &Arc<BaseNamespace>, conditions: &Conditions) -> Self {
        let path = path([conditions.clone(), conditions.clone()]);
        let change = PathChange { link: LINK.to_owned(), from: None, conditions: [None, None] };
        let change = Step { place: Place::default(), action: Action::SetPath(change) };
        Self::with(home, &path, vec![change])
    }

    /// Nothing ever happens to packets.
    pub fn open(home: &Arc<BaseNamespace>) -> Self {
        Self::with(home, &path(<[Conditions; 2]>::default()), Vec::new())
    }

    /// Of the steps, only the plan is told; also that there will be a transfer, of any size.
    fn with(home: &Arc<BaseNamespace>, path: &PathPlan, mut steps: Vec<Step>) -> Self {
        let transfer = TransferPlan {
            zero_copy: false,
            connection: String::new(),
            from_client: u64::MAX,
            from_server: 0,
            pace: None,
            background: true,
            tolerate_corrupt: 0,
            error: None,
            deadline: Duration::ZERO,
        };
        steps.push(Step { place: Place::default(), action: Action::Transfer(transfer) });
        let scenario = Scenario { steps, ..scenario(path.clone()) };
        let mut plan = plan(&scenario);
        plan.setup.retain(|setup| !matches!(setup, Setup::Operation(_)));
        let testbed = testbed::build(home, &plan.setup, 0).unwrap();
        let prepared = Prepared::open(LINK, testbed.path(LINK).unwrap(), plan.paths().next().unwrap().rings).unwrap();
        let forwarder = prepared.start(Path::new(path)).unwrap().ready().unwrap();
        Self { testbed, forwarder }
    }

    /// Both sockets of a connection from the client to that address of the server.
    pub fn pair(&self, to: Ipv4Addr, protocol: Protocol) -> (TcpStream, TcpStream) {
        let socket = |name: &str| {
            let node = self.testbed.node(name).unwrap();
            node.run(|| Socket::new(Domain::IPV4, Type::STREAM, Some(protocol)).unwrap()).unwrap()
        };
        let listener = socket("server");
        listener.bind(&SocketAddr::from((to, 0)).into()).unwrap();
        listener.listen(1).unwrap();
        let listener = TcpListener::from(listener);
        let client = socket("client");
        client.connect(&listener.local_addr().unwrap().into()).unwrap();
        (TcpStream::from(client), listener.accept().unwrap().0)
    }
}

/// A scenario without steps.
pub fn scenario(path: PathPlan) -> Scenario {
    let link = |name: &str, device: &str, net: u8| Link {
        name: name.to_owned(),
        place: Place::default(),
        mtu: None,
        rate: None,
        ends: [("client", 1), ("server", 2)].map(|(namespace, host)| LinkEnd {
            namespace: namespace.to_owned(),
            device: device.to_owned(),
            addresses: vec![Address { address: Ipv4Addr::new(10, 0, net, host).into(), prefix: 24 }],
        }),
    };
    Scenario {
        file: "figures".into(),
        variant: None,
        title: String::new(),
        about: String::new(),
        see: Vec::new(),
        requires: Vec::new(),
        kernel_variants: KernelVariants::default(),
        left_out: None,
        exclusive: false,
        world: World {
            namespaces: vec![Namespace::new("client"), Namespace::new("server")],
            links: vec![link("plain", "eth1", 1), link(LINK, "eth2", 2)],
            paths: vec![path],
        },
        connections: Vec::new(),
        steps: Vec::new(),
        expect: Expectation::default(),
        sources: Vec::new(),
    }
}

/// A path without rules.
pub fn path(conditions: [Conditions; 2]) -> PathPlan {
    PathPlan { link: LINK.to_owned(), place: Place::default(), seed: 1, conditions, rules: Vec::new() }
}
