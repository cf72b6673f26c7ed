use std::path::{Path, PathBuf};

use clap::ValueEnum;
use server_process::{ServerProcess, real_binary};

/// What is wrong with a server on purpose. A proof that passes on one of these proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlantedBug {
    /// The disks answer syncs without syncing, once the server runs.
    NoFsync,
    /// The log's disk answers writes and syncs at once, and does them a little later.
    AckBeforeAppend,
}

impl PlantedBug {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoFsync => "no-fsync",
            Self::AckBeforeAppend => "ack-before-append",
        }
    }
}

/// Which server is started, and how.
#[derive(Clone, Debug)]
pub struct ServerCommand {
    name: &'static str,
    binary: PathBuf,
    settings: Vec<String>,
    lossy: Option<Lossy>,
    is_part: bool,
}

#[derive(Clone, Debug)]
struct Lossy {
    seed: u64,
    bug: Option<PlantedBug>,
}

impl ServerCommand {
    /// The real binary.
    ///
    /// # Errors
    /// If it was not built.
    pub fn real() -> anyhow::Result<Self> {
        Ok(Self {
            name: "a server",
            binary: real_binary()?,
            settings: Vec::new(),
            lossy: None,
            is_part: false,
        })
    }

    /// The same node on disks that lose what was not synced, as `binary`, this package's
    /// `lossy-server`, starts it. What of it is lost is drawn from `seed`.
    pub fn lossy(binary: impl Into<PathBuf>, seed: u64, bug: Option<PlantedBug>) -> Self {
        Self {
            name: "a server",
            binary: binary.into(),
            settings: Vec::new(),
            lossy: Some(Lossy { seed, bug }),
            is_part: false,
        }
    }

    /// The same command under a name of its own in reports, as in `a gateway`.
    #[must_use]
    pub(crate) fn called(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// What reports call it.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The same command with one setting more, as in `node=2`.
    #[must_use]
    pub fn with(mut self, setting: &str) -> Self {
        self.settings.push(format!("--set={setting}"));
        self
    }

    /// The same command with a topic in Kafka as the log.
    #[must_use]
    pub fn with_topic(self, bootstrap_servers: &str, topic: &str, partition_count: u32) -> Self {
        self.with(&format!("log.partition_count={partition_count}"))
            .with(&format!("log.kafka.bootstrap_servers={bootstrap_servers}"))
            .with(&format!("log.kafka.topic={topic}"))
    }

    /// The same command with a topic on one broker as the log, which would lose what was acknowledged with
    /// its disk.
    #[must_use]
    pub fn with_topic_on_one_broker(
        self,
        bootstrap_servers: &str,
        topic: &str,
        partition_count: u32,
    ) -> Self {
        self.with_topic(bootstrap_servers, topic, partition_count)
            .with("log.kafka.development=true")
    }

    /// The same command with its state in a part of a FoundationDB cluster, which nodes share.
    #[must_use]
    pub fn with_store(self, cluster_file: &str, prefix: &str) -> Self {
        self.with(&format!("store.foundationdb.cluster_file={cluster_file}"))
            .with(&format!("store.foundationdb.prefix={prefix}"))
    }

    /// The same command as the only node of `region`, beside one other region whose log is copied here.
    /// The nodes' numbers have to differ, since whoever reads the record of what clients were told tells
    /// nodes apart by them alone.
    #[must_use]
    pub fn in_region(self, number: u32, region: &str, other: &str) -> Self {
        self.with(&format!("region={region}"))
            .with(&format!("node={number}"))
            .with(&format!("regions=[{{ name = {other:?} }}]"))
    }

    /// The same command as a part of a deployment, with only `roles`, as in `["gateway"]`.
    #[must_use]
    pub fn with_roles(mut self, roles: &str) -> Self {
        self.is_part = true;
        self.with(&format!("roles={roles}"))
    }

    /// Starts it.
    pub(crate) async fn start(&self, folder: &Path) -> anyhow::Result<ServerProcess> {
        let arguments = self.arguments(0);
        if self.is_part {
            ServerProcess::serve(&self.binary, folder, &arguments).await
        } else {
            ServerProcess::start(&self.binary, folder, &arguments).await
        }
    }

    /// The arguments of the server's life number `life`.
    pub fn arguments(&self, life: u64) -> Vec<String> {
        let mut arguments = self.settings.clone();
        if let Some(lossy) = &self.lossy {
            // The same choices in every life would tear the same writes.
            arguments.push(format!("--seed={}", lossy.seed.wrapping_add(life)));
            let bug = lossy.bug.map(|bug| format!("--planted-bug={}", bug.name()));
            arguments.extend(bug);
        }
        arguments
    }
}
