use std::path::Path;

use server_process::ServerProcess;
use tempfile::NamedTempFile;

use crate::ServerCommand;

/// How the processes of a deployment are started: two gateways, and the nodes that they stand in front of.
pub struct Deployment {
    pub(crate) gateways: Vec<ServerCommand>,
    pub(crate) nodes: Vec<ServerCommand>,
    /// Which of the nodes do nothing but merge.
    pub(crate) mergers: Vec<usize>,
    /// Holds the secret that they show each other.
    _token: NamedTempFile,
}

impl Deployment {
    /// A deployment whose parts are started as `node` says for each number, with a node for each of these
    /// roles, as in `["merger"]`.
    ///
    /// # Errors
    /// If `node` fails, or the secret can't be written.
    pub fn new(
        node: impl Fn(u32) -> anyhow::Result<ServerCommand>,
        roles_of_nodes: &[&str],
    ) -> anyhow::Result<Self> {
        let token = NamedTempFile::new()?;
        std::fs::write(token.path(), "the-secret-of-one-test")?;
        let part = |number, name, roles: &str| {
            let token = format!("services.token_file={}", token.path().display());
            anyhow::Ok(node(number)?.called(name).with_roles(roles).with(&token))
        };
        let gateway = |number| part(number, "a gateway", r#"["gateway"]"#);
        let gateways = vec![gateway(1)?, gateway(2)?];
        let (mut nodes, mut mergers) = (Vec::new(), Vec::new());
        for (number, roles) in (1..).zip(roles_of_nodes) {
            // Gateways ask for rooms, and nobody asks a merger.
            nodes.push(if roles.contains("collaboration") {
                part(number, "a node", roles)?.with("services.listen=127.0.0.1:0")
            } else {
                mergers.push(nodes.len());
                part(number, "a merger", roles)?
            });
        }
        Ok(Self {
            gateways,
            nodes,
            mergers,
            _token: token,
        })
    }

    /// The gateways, in front of nodes that answer at these addresses.
    pub(crate) fn gateways_before<'n>(
        &self,
        nodes: impl Iterator<Item = &'n ServerProcess>,
    ) -> Vec<ServerCommand> {
        let addresses: Vec<_> = nodes
            .filter_map(ServerProcess::services_url)
            .map(|url| format!("{url:?}"))
            .collect();
        let addresses = addresses.join(", ");
        let gateways = self.gateways.iter().cloned();
        gateways
            .map(|gateway| {
                gateway
                    .with(&format!("services.collaboration=[{addresses}]"))
                    .with(&format!("services.history=[{addresses}]"))
            })
            .collect()
    }

    /// Starts all of it, with what it writes in `folder`: the nodes, and then the gateways.
    ///
    /// # Errors
    /// If one of them does not come up.
    pub async fn start(&self, folder: &Path) -> anyhow::Result<Vec<ServerProcess>> {
        let mut processes = Vec::new();
        let start = async |command: &ServerCommand, name: String| {
            let folder = folder.join(name);
            std::fs::create_dir(&folder)?;
            command.start(&folder).await
        };
        for (number, node) in (1..).zip(&self.nodes) {
            processes.push(start(node, format!("node-{number}")).await?);
        }
        for (number, gateway) in (1..).zip(self.gateways_before(processes.iter())) {
            processes.push(start(&gateway, format!("gateway-{number}")).await?);
        }
        Ok(processes)
    }
}
