use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use document_types::limits::DRAIN_TIME_MAX;
use document_types::{NodeId, RegionId, TraceRatio};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service_runtime::telemetry::LogFormat;
use service_runtime::tls::CertificateFiles;

use crate::Role;

/// All that can be set about a node. Plain data: what does the work (disks, clocks, randomness) is in
/// [`crate::Components`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The address on which pages, sockets, health and metrics are served. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The certificate of that address, with which it is spoken to over TLS. Leave it out where a proxy in front of
    /// the node has one.
    pub tls: CertificateFiles,
    /// The directory that holds the log and the store; it is created if there is none. One process
    /// at a time may use it.
    pub data: PathBuf,
    /// The region this node is in, as it stands in the log's records.
    #[schemars(with = "String")]
    pub region: RegionId,
    /// This node's number, which no other node of the region has.
    pub node: u32,
    /// How long the node may take to end in order once it was asked to, in milliseconds. What is
    /// acknowledged is durable anyway; this is for clients to be told and for work to be finished.
    pub drain_time_max_ms: u64,
    /// The other regions, as in `[{ name = "us", collaboration = ["http://10.1.0.7:9090"] }]`. The log of
    /// each is read from its copy in this region's Kafka cluster, the topic `<name>.<topic>`; what the
    /// copying has lost is offered to the collaboration nodes, if any are named.
    pub regions: Vec<RegionSettings>,
    /// The roles that this node has; the others are asked on the nodes of `services`.
    pub roles: Vec<Role>,
    /// Between nodes.
    pub services: ServicesSettings,
    /// The operation log.
    pub log: LogSettings,
    /// The document store.
    pub store: StoreSettings,
    /// Images and files.
    pub blobs: BlobsSettings,
    /// Cursors and who is there.
    pub presence: PresenceSettings,
    /// Trying updates before they reach the log.
    pub dry_run: DryRunSettings,
    /// What browsers get.
    pub web: WebSettings,
    /// Log lines and traces.
    pub telemetry: TelemetrySettings,
}

/// Another region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegionSettings {
    /// What its nodes have as `region`.
    #[schemars(with = "String")]
    pub name: RegionId,
    /// Its collaboration nodes.
    #[serde(default)]
    pub collaboration: Vec<String>,
}

/// The operation log: embedded in the data directory, or a Kafka topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Partitions of the log. A log keeps the number it was made with, since a document's partition
    /// follows from it; another number is refused.
    pub partition_count: u32,
    /// A Kafka topic as the log.
    pub kafka: KafkaSettings,
}

/// A Kafka topic as the log, which several nodes may share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// Addresses of some brokers, as in `kafka-1:9092,kafka-2:9092`; the others are learned from them.
    /// Without any, the log is embedded in the data directory.
    pub bootstrap_servers: Option<String>,
    /// The topic, which has to be there.
    pub topic: String,
    /// Whether a topic will do that may lose what was acknowledged, as one on a single broker may.
    pub development: bool,
}

/// Between nodes: what this one serves to others over gRPC, and where it finds what it lacks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServicesSettings {
    /// The address on which this node's services answer to other nodes, as in `10.0.0.7:9090`.
    /// Without it they answer to this process alone.
    pub listen: Option<SocketAddr>,
    /// The certificate of that address, with which it is spoken to over TLS.
    pub tls: CertificateFiles,
    /// A file with the authorities that vouch for the certificates of other nodes, in PEM. Without it,
    /// those do whom the system trusts.
    pub authority_file: Option<PathBuf>,
    /// A file with the secret that the services of a deployment show each other, from 16 to 1,024
    /// visible characters.
    pub token_file: Option<PathBuf>,
    /// The collaboration nodes that the gateway spreads documents over, as in
    /// `["https://node-1:9090"]`, or with `http` where they have no certificate. Where none is named, it uses the role of this node.
    pub collaboration: Vec<String>,
    /// The nodes whose history the gateway asks, in the same way.
    pub history: Vec<String>,
}

/// The document store: embedded in the data directory, or in a FoundationDB cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// Bytes of pages that the embedded store may keep in memory.
    pub cache_bytes: usize,
    /// A FoundationDB cluster as the store.
    pub foundationdb: FoundationDbSettings,
}

/// A FoundationDB cluster as the store, which nodes may share. It takes a program that was built with
/// the feature `foundationdb`, and FoundationDB's client library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FoundationDbSettings {
    /// The cluster file. Without it, the store is embedded in the data directory. FoundationDB's client
    /// rewrites it when the coordinators change, so its folder has to be writable.
    pub cluster_file: Option<PathBuf>,
    /// What all keys of this store begin with in the cluster, of at most 8 bytes.
    pub prefix: String,
}

/// Where images and files are kept that are attached to documents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BlobsSettings {
    /// Their place, as in `s3://BUCKET/PREFIX?region=eu-central-1`, `gs://BUCKET/PREFIX` or
    /// `file:///var/lib/collabedit/blobs`. Credentials for buckets come from the environment. Without an
    /// address, they are in the data directory of a node whose log is there as well; other nodes have none.
    pub address: Option<String>,
}

/// Cursors and who is there: known to one gateway, or to all that share a Redis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PresenceSettings {
    /// A Redis that the gateways of a region share.
    pub redis: RedisSettings,
}

/// A Redis, or what speaks its protocol, for presence. Nothing in it has to be kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// Its address, as in `redis://USER:PASSWORD@redis:6379`, or `rediss://` with TLS. Without it, only
    /// those see each other's cursors who came in at the same gateway.
    pub address: Option<String>,
    /// What all keys and channels of this deployment begin with.
    pub prefix: String,
}

/// Trying updates before they reach the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DryRunSettings {
    /// Worker processes. A document is always tried in the same one.
    pub worker_count: NonZeroU32,
}

/// What browsers get.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebSettings {
    /// A directory with the built editor, served instead of the one in the binary.
    pub directory: Option<PathBuf>,
    /// Origins whose pages may open a socket here, as in `https://notes.example`. Where none is
    /// named, only pages of the host may that serves them.
    pub origins: Vec<String>,
}

/// Log lines and traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// Which lines are written, as in `info` or `warn,merger=debug`.
    pub filter: String,
    /// How they look: `pretty` for people, `json` for machines, `auto` by where they go.
    pub format: LogFormat,
    /// Traces of edits, exported over OTLP.
    pub otlp: OtlpSettings,
}

/// Traces of edits, from the key press to the store, exported over OTLP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpSettings {
    /// The collector that takes them over gRPC, as in `http://127.0.0.1:4317`. Without it, nothing is
    /// traced. The connection is not encrypted.
    pub endpoint: Option<String>,
    /// The part of their edits that clients of this gateway are asked to have traced, from 0 to 1.
    #[schemars(with = "f64")]
    pub sampling_ratio: TraceRatio,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8787)),
            tls: CertificateFiles::default(),
            data: PathBuf::from("collabedit-data"),
            region: RegionId::parse("local").expect("a short word without control characters"),
            node: 1,
            drain_time_max_ms: u64::try_from(DRAIN_TIME_MAX.as_millis()).unwrap_or(u64::MAX),
            regions: Vec::new(),
            roles: Role::ALL.to_vec(),
            services: ServicesSettings::default(),
            log: LogSettings::default(),
            store: StoreSettings::default(),
            blobs: BlobsSettings::default(),
            presence: PresenceSettings::default(),
            dry_run: DryRunSettings::default(),
            web: WebSettings::default(),
            telemetry: TelemetrySettings::default(),
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        // Enough that a busy document holds up few others, few enough that a laptop reads all tails.
        Self {
            partition_count: 16,
            kafka: KafkaSettings::default(),
        }
    }
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            bootstrap_servers: None,
            topic: "doc_changes".to_owned(),
            development: false,
        }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            cache_bytes: 64 * 1024 * 1024,
            foundationdb: FoundationDbSettings::default(),
        }
    }
}

impl Default for FoundationDbSettings {
    fn default() -> Self {
        Self {
            cluster_file: None,
            prefix: "edit".to_owned(),
        }
    }
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            address: None,
            prefix: "presence".to_owned(),
        }
    }
}

impl Default for DryRunSettings {
    fn default() -> Self {
        // One document's costly update holds up half of the others at most.
        Self {
            worker_count: const { NonZeroU32::new(2).expect("2 is not 0") },
        }
    }
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            filter: "info,loro_internal=warn".to_owned(),
            format: LogFormat::Auto,
            otlp: OtlpSettings::default(),
        }
    }
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            sampling_ratio: TraceRatio::ONE_IN_HUNDRED,
        }
    }
}

impl Settings {
    /// [`Settings::node`] as the id that it is.
    pub fn node_id(&self) -> NodeId {
        NodeId(self.node)
    }

    /// [`Settings::drain_time_max_ms`] as the time that it is.
    pub fn drain_time_max(&self) -> Duration {
        Duration::from_millis(self.drain_time_max_ms)
    }
}
