use std::sync::Arc;

use clock::{Clock, IdSource, Random, SystemClock};
use document_types::DeviceId;

use crate::endpoint::{Connector, TcpConnector};
use crate::trust::Trust;

/// How a client reaches its server, and who it says it is.
#[derive(Clone)]
pub struct Options {
    /// The server: `http://host:port` for a WebSocket, `grpc://host:port` for a gRPC stream, `https` and `grpcs`
    /// over TLS. Either carries the same; what is between may let only one of them pass.
    pub url: String,
    /// The installation that this program runs in. Keep it from one start to the next.
    pub device: DeviceId,
    /// What to call the person.
    pub name: String,
    /// A credential, where the deployment asks for one.
    pub token: Option<String>,
    /// Wall-clock time, for ids.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for ids and for the pauses before connecting again.
    pub random: Random,
    /// How connections are made.
    pub connector: Arc<dyn Connector>,
    /// Who vouches for the server, over TLS.
    pub trust: Trust,
}

impl Options {
    /// The machine's clock, randomness and network, and a device that was never seen before.
    pub fn new(url: impl Into<String>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let random = Random::from_entropy();
        let uuid = IdSource::new(Arc::clone(&clock), random.clone()).uuid();
        Self {
            url: url.into(),
            device: DeviceId::from_uuid(uuid),
            name: String::new(),
            token: None,
            clock,
            random,
            connector: Arc::new(TcpConnector),
            trust: Trust::default(),
        }
    }
}
