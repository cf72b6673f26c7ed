use async_trait::async_trait;
use clock::Random;
use crash::{Dependency, ServerCommand};
use document_types::DocumentId;
use test_parts::{has_part, parts, variable};

/// What `cargo xtask parts` calls the cluster.
const PART: &str = "foundationdb";

/// A part of the FoundationDB cluster that nobody else uses, for the state of one deployment.
pub struct Store {
    pub prefix: String,
}

impl Store {
    pub fn new() -> Self {
        let number = Random::from_entropy().below(1 << 24);
        Self {
            prefix: format!("t{number:06x}"),
        }
    }

    /// Whether the cluster is one that `cargo xtask parts` has started.
    pub fn is_ours() -> bool {
        has_part(PART)
    }

    pub fn cluster_file() -> String {
        variable("FDB_CLUSTER_FILE")
    }

    /// The same node with its state in here.
    pub fn of(&self, node: ServerCommand) -> ServerCommand {
        node.with_store(&Self::cluster_file(), &self.prefix)
    }
}

#[async_trait]
impl Dependency for Store {
    fn name(&self) -> &'static str {
        "the store"
    }

    async fn kill(&self, _: &DocumentId) -> anyhow::Result<()> {
        parts(&["kill", PART]).await;
        Ok(())
    }

    async fn recover(&self) -> anyhow::Result<()> {
        parts(&["up", PART]).await;
        Ok(())
    }
}
