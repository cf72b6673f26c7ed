use tempfile::NamedTempFile;

use crate::ServerCommand;

/// How the processes of a deployment are started: two gateways, and the nodes that they stand in front of.
pub struct Deployment {
    pub(crate) gateways: Vec<ServerCommand>,
    pub(crate) nodes: Vec<ServerCommand>,
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
        let part = |number, roles: &str| {
            let token = format!("services.token_file={}", token.path().display());
            anyhow::Ok(node(number)?.with_roles(roles).with(&token))
        };
        let gateways = vec![part(1, r#"["gateway"]"#)?, part(2, r#"["gateway"]"#)?];
        let nodes = (1..)
            .zip(roles_of_nodes)
            .map(|(number, roles)| {
                let node = part(number, roles)?;
                // Gateways ask for rooms, and nobody asks a merger.
                if roles.contains("collaboration") {
                    return Ok(node.with("services.listen=127.0.0.1:0"));
                }
                Ok(node)
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            gateways,
            nodes,
            _token: token,
        })
    }
}
