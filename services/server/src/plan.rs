//! Which parts a node has, by its settings, and whether they can work together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use blob_store::{BadSettings, BlobSettings};
use document_types::RegionId;
use presence_store::{RedisAddress, RedisAddressError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service_api::grpc::{AddressError, ServiceAddress, ServiceToken, TokenError};
use service_runtime::tls::{Certificate, CertificateError, CertificateFiles};
use traces::{CollectorAddress, CollectorAddressError};

use crate::Settings;

/// A part that a node may have. Presence goes with the gateway.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sockets, pages and HTTP for clients.
    Gateway,
    /// The gate, rooms, the log's writer.
    Collaboration,
    /// Merging the log into the store.
    Merger,
    /// Documents without a session.
    History,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Gateway,
        Self::Collaboration,
        Self::Merger,
        Self::History,
    ];
    /// Those that read the log and the store.
    const STATEFUL: [Self; 3] = [Self::Collaboration, Self::Merger, Self::History];
}

/// Settings that don't make a node.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// There is nothing to run.
    #[error("`roles` names no role; without it, a node has all of them")]
    NoRoles,
    /// Files that several processes would need.
    #[error(
        "the {what} is embedded, so the roles collaboration, merger and history have to be in this \
         one process; add the missing ones, or set `{setting}` to share it"
    )]
    Embedded {
        /// What is embedded.
        what: &'static str,
        /// The setting that puts it elsewhere.
        setting: &'static str,
    },
    /// A gateway has nothing to stand in front of.
    #[error(
        "the gateway needs {role:?}: add that role, or name nodes that have it in \
         `services.{setting}`"
    )]
    Missing {
        /// The role that it asks.
        role: Role,
        /// The setting that names others.
        setting: &'static str,
    },
    /// Nothing copies an embedded log to another region.
    #[error(
        "the embedded log is alone: a node that knows of other regions has its log in Kafka; set \
         `log.kafka.bootstrap_servers`, or remove `regions`"
    )]
    NoCopies,
    /// Nobody can reach what the node has.
    #[error(
        "without the role gateway this node is spoken to over gRPC only: set `services.listen` to \
         the address for that"
    )]
    Unreachable,
    /// Services would talk to anyone.
    #[error(
        "services show each other a secret: set `services.token_file` to a file that holds it, the \
         same for all nodes (`openssl rand -hex 32` makes one)"
    )]
    NoToken,
    /// The token's file can't be read.
    #[error("the service token in {path} can't be read", path = path.display())]
    TokenFile {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("the file of the service token holds none")]
    Token(#[from] TokenError),
    /// See [`AddressError`].
    #[error("a node can't be found")]
    Address(#[from] AddressError),
    /// See [`BadSettings`].
    #[error("`blobs.address` is wrong")]
    Blobs(#[from] BadSettings),
    /// See [`RedisAddressError`].
    #[error("`presence.redis.address` is wrong")]
    Presence(#[from] RedisAddressError),
    /// See [`CertificateError`].
    #[error("`{setting}` is wrong")]
    Certificate {
        /// Whose.
        setting: &'static str,
        /// What is wrong.
        #[source]
        source: CertificateError,
    },
    /// The file of the authorities can't be read.
    #[error("the authorities in {path} can't be read", path = path.display())]
    AuthorityFile {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// See [`CollectorAddressError`].
    #[error("`telemetry.otlp.endpoint` is wrong")]
    Collector(#[from] CollectorAddressError),
}

/// What a node has, and whom it asks for the rest.
#[derive(Clone, Debug)]
pub struct Plan {
    roles: BTreeSet<Role>,
    /// Collaboration nodes that the gateway spreads documents over; none if it uses this node's own.
    pub collaboration: Vec<ServiceAddress>,
    /// History nodes that the gateway asks; none if it asks this node.
    pub history: Vec<ServiceAddress>,
    /// The collaboration nodes of other regions, for those of which any are named.
    pub regions: BTreeMap<RegionId, Vec<ServiceAddress>>,
    /// What services show each other, if this node speaks to any.
    pub token: Option<ServiceToken>,
    /// Where traces go, if anything is traced.
    pub collector: Option<CollectorAddress>,
    /// The Redis through which gateways share presence, if they do.
    pub presence: Option<RedisAddress>,
    /// What the listener for clients shows, if it speaks TLS.
    pub certificate: Option<Arc<Certificate>>,
    /// What the listener for services shows, if it does.
    pub services_certificate: Option<Arc<Certificate>>,
    /// Where attachments are kept.
    pub blobs: BlobPlace,
}

/// Where the blobs of a node are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobPlace {
    /// In its data directory, beside the log.
    Embedded,
    /// Where the settings say.
    At(BlobSettings),
    /// Nowhere: its log is shared, so other nodes would not see what is in a directory of this one.
    Nowhere,
}

impl Plan {
    /// The plan that `settings` make. It reads the files of the token, the certificates and the authorities.
    ///
    /// # Errors
    /// [`PlanError`] says what to change.
    pub fn of(settings: &Settings) -> Result<Self, PlanError> {
        let services = &settings.services;
        let authorities = authorities(services.authority_file.clone())?;
        let addresses = |texts: &[String]| addresses(texts, authorities.as_ref());
        let mut plan = Self {
            roles: settings.roles.iter().copied().collect(),
            collaboration: addresses(&services.collaboration)?,
            history: addresses(&services.history)?,
            regions: regions(settings, addresses)?,
            certificate: certificate("tls", &settings.tls)?,
            services_certificate: certificate("services.tls", &services.tls)?,
            token: token(services.token_file.clone())?,
            collector: collector(settings.telemetry.otlp.endpoint.as_deref())?,
            presence: presence(settings.presence.redis.address.as_deref())?,
            blobs: BlobPlace::Nowhere,
        };
        plan.blobs = plan.blob_place(settings)?;
        plan.check(settings)?;
        Ok(plan)
    }

    fn blob_place(&self, settings: &Settings) -> Result<BlobPlace, BadSettings> {
        match &settings.blobs.address {
            Some(address) => Ok(BlobPlace::At(address.parse()?)),
            None if self.is_stateful() && settings.log.kafka.bootstrap_servers.is_none() => {
                Ok(BlobPlace::Embedded)
            }
            None => Ok(BlobPlace::Nowhere),
        }
    }

    fn check(&self, settings: &Settings) -> Result<(), PlanError> {
        if self.roles.is_empty() {
            return Err(PlanError::NoRoles);
        }
        let stateful = Role::STATEFUL.into_iter().filter(|role| self.has(*role));
        let split = (1..Role::STATEFUL.len()).contains(&stateful.count());
        if split && settings.log.kafka.bootstrap_servers.is_none() {
            let (what, setting) = ("log", "log.kafka.bootstrap_servers");
            return Err(PlanError::Embedded { what, setting });
        }
        if split && settings.store.foundationdb.cluster_file.is_none() {
            let (what, setting) = ("store", "store.foundationdb.cluster_file");
            return Err(PlanError::Embedded { what, setting });
        }
        if self.is_stateful()
            && !settings.regions.is_empty()
            && settings.log.kafka.bootstrap_servers.is_none()
        {
            return Err(PlanError::NoCopies);
        }
        for (role, others, setting) in [
            (Role::Collaboration, &self.collaboration, "collaboration"),
            (Role::History, &self.history, "history"),
        ] {
            if self.has(Role::Gateway) && !self.has(role) && others.is_empty() {
                return Err(PlanError::Missing { role, setting });
            }
        }
        let served = self.has(Role::Collaboration) || self.has(Role::History);
        if served && !self.has(Role::Gateway) && settings.services.listen.is_none() {
            return Err(PlanError::Unreachable);
        }
        let asks =
            !self.collaboration.is_empty() || !self.history.is_empty() || !self.regions.is_empty();
        if (asks || settings.services.listen.is_some()) && self.token.is_none() {
            return Err(PlanError::NoToken);
        }
        Ok(())
    }

    /// Whether the node has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether the node reads the log and the store.
    pub fn is_stateful(&self) -> bool {
        Role::STATEFUL.into_iter().any(|role| self.has(role))
    }
}

fn addresses(
    texts: &[String],
    authorities: Option<&Arc<str>>,
) -> Result<Vec<ServiceAddress>, AddressError> {
    let address = |text: &String| {
        let address: ServiceAddress = text.parse()?;
        Ok(match authorities {
            Some(authorities) => address.vouched_for_by(authorities.clone()),
            None => address,
        })
    };
    texts.iter().map(address).collect()
}

fn authorities(file: Option<PathBuf>) -> Result<Option<Arc<str>>, PlanError> {
    let Some(path) = file else { return Ok(None) };
    let text = std::fs::read_to_string(&path)
        .map_err(|source| PlanError::AuthorityFile { path, source })?;
    Ok(Some(text.into()))
}

fn certificate(
    setting: &'static str,
    files: &CertificateFiles,
) -> Result<Option<Arc<Certificate>>, PlanError> {
    Certificate::load(files).map_err(|source| PlanError::Certificate { setting, source })
}

fn regions(
    settings: &Settings,
    addresses: impl Fn(&[String]) -> Result<Vec<ServiceAddress>, AddressError>,
) -> Result<BTreeMap<RegionId, Vec<ServiceAddress>>, AddressError> {
    let named = settings.regions.iter();
    named
        .filter(|region| !region.collaboration.is_empty())
        .map(|region| Ok((region.name.clone(), addresses(&region.collaboration)?)))
        .collect()
}

fn token(file: Option<PathBuf>) -> Result<Option<ServiceToken>, PlanError> {
    let Some(path) = file else { return Ok(None) };
    let text =
        std::fs::read_to_string(&path).map_err(|source| PlanError::TokenFile { path, source })?;
    Ok(Some(ServiceToken::parse(&text)?))
}

fn collector(endpoint: Option<&str>) -> Result<Option<CollectorAddress>, CollectorAddressError> {
    endpoint.map(str::parse).transpose()
}

fn presence(address: Option<&str>) -> Result<Option<RedisAddress>, RedisAddressError> {
    address.map(str::parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(change: impl FnOnce(&mut Settings)) -> Result<Plan, PlanError> {
        let mut settings = Settings::default();
        change(&mut settings);
        Plan::of(&settings)
    }

    #[test]
    fn a_node_has_all_roles_unless_told_otherwise() {
        let plan = plan(|_| {}).unwrap();
        assert!(Role::ALL.into_iter().all(|role| plan.has(role)));
    }

    #[test]
    fn embedded_parts_are_not_shared() {
        let roles = vec![Role::Collaboration, Role::Gateway];
        let refused = plan(|settings| settings.roles = roles.clone()).unwrap_err();
        assert!(matches!(refused, PlanError::Embedded { what: "log", .. }));
        let refused = plan(|settings| {
            settings.roles = roles;
            settings.log.kafka.bootstrap_servers = Some("k:9092".into());
        });
        let refused = refused.unwrap_err();
        assert!(matches!(refused, PlanError::Embedded { what: "store", .. }));
    }

    #[test]
    fn a_gateway_asks_others_and_shows_them_the_token() {
        let gateway = |settings: &mut Settings| settings.roles = vec![Role::Gateway];
        let refused = plan(gateway).unwrap_err();
        assert!(matches!(refused, PlanError::Missing { .. }), "{refused}");
        let ask = |settings: &mut Settings| {
            gateway(settings);
            settings.services.collaboration = vec!["http://a:9090".into()];
            settings.services.history = vec!["http://a:9090".into()];
        };
        assert!(matches!(plan(ask).unwrap_err(), PlanError::NoToken));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789abcdef\n").unwrap();
        let plan = plan(|settings| {
            ask(settings);
            settings.services.token_file = Some(file.path().to_owned());
        });
        assert!(!plan.unwrap().is_stateful());
    }

    #[test]
    fn blobs_are_in_the_data_directory_only_beside_the_log() {
        let place = |change: &dyn Fn(&mut Settings)| plan(change).unwrap().blobs;
        assert_eq!(place(&|_| {}), BlobPlace::Embedded);
        let kafka = |settings: &mut Settings| {
            settings.log.kafka.bootstrap_servers = Some("k:9092".into());
        };
        assert_eq!(place(&kafka), BlobPlace::Nowhere);
        let bucket = place(&|settings| {
            kafka(settings);
            settings.blobs.address = Some("s3://files".into());
        });
        assert!(matches!(bucket, BlobPlace::At(BlobSettings::S3(_))));
        let refused = plan(|settings| settings.blobs.address = Some("ftp://files".into()));
        assert!(matches!(refused.unwrap_err(), PlanError::Blobs(_)));
    }

    #[test]
    fn presence_is_shared_through_a_redis() {
        let with =
            |address: &str| plan(|settings| settings.presence.redis.address = Some(address.into()));
        let address = with("redis://:secret@cache:6380").unwrap().presence;
        assert_eq!(address.unwrap().to_string(), "cache:6380");
        let refused = with("http://cache").unwrap_err();
        assert!(matches!(refused, PlanError::Presence(_)));
    }

    #[test]
    fn regions_are_joined_by_kafka() {
        let us = crate::RegionSettings {
            name: RegionId::parse("us").unwrap(),
            collaboration: Vec::new(),
        };
        let refused = plan(|settings| settings.regions.push(us));
        assert!(matches!(refused.unwrap_err(), PlanError::NoCopies));
    }

    #[test]
    fn a_node_can_be_spoken_to() {
        let refused = plan(|settings| {
            settings.roles = vec![Role::Collaboration, Role::Merger, Role::History];
        });
        assert!(matches!(refused.unwrap_err(), PlanError::Unreachable));
        assert!(matches!(
            plan(|settings| settings.roles.clear()).unwrap_err(),
            PlanError::NoRoles
        ));
    }
}
