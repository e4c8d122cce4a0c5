//! Commands of a userspace path manager: they carry a token.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use super::executor::Executor;
use super::operation::OperationError;
use crate::mptcp::{Endpoint, EndpointFlags};
use crate::recording::{Connection, Contradiction, Side};
use crate::scenario::model::TokenChoice;

/// An address, and its port if given; otherwise the port is looked up.
type MaybeSocket = (IpAddr, Option<u16>);

impl Executor<'_> {
    pub(super) async fn announce(
        &self,
        namespace: &str,
        token: &TokenChoice,
        endpoint: &Endpoint,
    ) -> Result<(), OperationError> {
        let token = self.token(namespace, token)?;
        Ok(self.node(namespace)?.pm.announce(token, endpoint).await?)
    }

    pub(super) async fn remove_address(
        &self,
        namespace: &str,
        token: &TokenChoice,
        id: u8,
    ) -> Result<(), OperationError> {
        let token = self.token(namespace, token)?;
        Ok(self.node(namespace)?.pm.remove(token, id).await?)
    }

    pub(super) async fn create_subflow(
        &self,
        namespace: &str,
        token: &TokenChoice,
        endpoint: &Endpoint,
        (remote, port): MaybeSocket,
    ) -> Result<(), OperationError> {
        let port = match port {
            Some(port) => port,
            None => self.first_remote_port(namespace, token)?,
        };
        let token = self.token(namespace, token)?;
        Ok(self.node(namespace)?.pm.create_subflow(token, endpoint, SocketAddr::new(remote, port)).await?)
    }

    pub(super) async fn destroy_subflow(
        &self,
        namespace: &str,
        token: &TokenChoice,
        local: MaybeSocket,
        remote: MaybeSocket,
    ) -> Result<(), OperationError> {
        let (local, remote) = self.subflow_addresses(namespace, token, local, remote)?;
        let token = self.token(namespace, token)?;
        Ok(self.node(namespace)?.pm.destroy_subflow(token, local, remote).await?)
    }

    pub(super) async fn set_subflow_backup(
        &self,
        namespace: &str,
        token: &TokenChoice,
        (local, remote): (IpAddr, IpAddr),
        backup: bool,
    ) -> Result<(), OperationError> {
        let (local, remote) = self.subflow_addresses(namespace, token, (local, None), (remote, None))?;
        let token = self.token(namespace, token)?;
        let flags = if backup { EndpointFlags::BACKUP } else { EndpointFlags::empty() };
        Ok(self.node(namespace)?.pm.set_subflow_flags(token, local, remote, flags).await?)
    }

    /// GET_ADDR of one endpoint, which must be in the dump.
    pub(super) async fn get_endpoint(
        &self,
        namespace: &str,
        token: Option<&TokenChoice>,
        id: u8,
    ) -> Result<(), OperationError> {
        let token = token.map(|token| self.token(namespace, token)).transpose()?;
        let shown = self.node(namespace)?.pm.get_endpoint(id, token).await?;
        let listed = self.node(namespace)?.pm.dump_endpoints(token).await?;
        if shown.id == Some(id) && listed.contains(&shown) {
            return Ok(());
        }
        let listed: Vec<String> = listed.iter().map(|endpoint| format!("`{endpoint}`")).collect();
        let listed = if listed.is_empty() { "nothing".to_owned() } else { listed.join(", ") };
        Err(OperationError::Contradicted(Contradiction {
            asked: format!("get endpoint {id} in {namespace}"),
            answered: format!("`{shown}`"),
            shown: vec![format!("its list shows {listed}")],
        }))
    }

    /// The token that a command in this namespace carries.
    pub(super) fn token(&self, namespace: &str, choice: &TokenChoice) -> Result<u32, OperationError> {
        match choice {
            TokenChoice::Number(token) => Ok(*token),
            TokenChoice::Connection(name) => {
                let connection = self.made(name)?;
                connection
                    .side_in(namespace)
                    .and_then(|side| connection.token(side))
                    .ok_or_else(|| OperationError::Failed(format!("connection `{name}` has no token in {namespace}")))
            }
        }
    }

    fn made(&self, name: &str) -> Result<Rc<Connection>, String> {
        self.known.get(name)?.ok_or_else(|| format!("no program has made the connection `{name}` yet"))
    }

    fn first_remote_port(&self, namespace: &str, choice: &TokenChoice) -> Result<u16, OperationError> {
        let TokenChoice::Connection(name) = choice else {
            return Err(OperationError::Failed("a token given as a number needs a `remote_port`".to_owned()));
        };
        let connection = self.made(name)?;
        match connection.side_in(namespace) {
            Some(Side::Client) => Ok(connection.server_address.port()),
            Some(Side::Server) => Ok(connection.client_address.port()),
            None => Err(OperationError::Failed(format!("connection `{name}` has no side in {namespace}"))),
        }
    }

    /// The full addresses of a subflow: ports that the scenario doesn't give are looked up in the subflow set.
    fn subflow_addresses(
        &self,
        namespace: &str,
        choice: &TokenChoice,
        local: MaybeSocket,
        remote: MaybeSocket,
    ) -> Result<(SocketAddr, SocketAddr), OperationError> {
        if let (Some(local_port), Some(remote_port)) = (local.1, remote.1) {
            return Ok((SocketAddr::new(local.0, local_port), SocketAddr::new(remote.0, remote_port)));
        }
        let token = self.token(namespace, choice)?;
        let fits = |address: SocketAddr, wanted: (IpAddr, Option<u16>)| {
            address.ip().to_canonical() == wanted.0.to_canonical() && wanted.1.is_none_or(|port| port == address.port())
        };
        let subflows = self.subflows(namespace, token)?;
        subflows
            .iter()
            .find(|subflow| fits(subflow.local, local) && fits(subflow.remote, remote))
            .map(|subflow| {
                (SocketAddr::new(local.0, subflow.local.port()), SocketAddr::new(remote.0, subflow.remote.port()))
            })
            .ok_or_else(|| {
                OperationError::Failed(format!(
                    "can't look up the ports: {namespace} has no subflow from {} to {}; give the ports",
                    local.0, remote.0
                ))
            })
    }
}
