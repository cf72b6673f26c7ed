use std::sync::Arc;

use uuid::Uuid;

use crate::{Clock, Random};
use document_types::{BatchId, DocumentId, PeerId, SessionId};

/// Makes ids from a clock and a source of randomness.
#[derive(Clone)]
pub struct IdSource {
    clock: Arc<dyn Clock>,
    random: Random,
}

impl IdSource {
    /// Ids whose time is `clock`'s and whose random bits are `random`'s.
    pub fn new(clock: Arc<dyn Clock>, random: Random) -> Self {
        Self { clock, random }
    }

    /// A document id that can't be guessed: 74 of its bits are random.
    pub fn document(&self) -> DocumentId {
        DocumentId::from_uuid(self.uuid())
    }

    /// A session id.
    pub fn session(&self) -> SessionId {
        SessionId::from_uuid(self.uuid())
    }

    /// A batch id, random so that two connections don't share one.
    pub fn batch(&self) -> BatchId {
        BatchId(self.random.next_u64().to_be_bytes())
    }

    /// A peer id. The engine reserves the largest number.
    pub fn peer(&self) -> PeerId {
        PeerId(self.random.below(u64::MAX))
    }

    /// A UUIDv7 (RFC 9562): 48 bits of milliseconds, then random bits.
    pub fn uuid(&self) -> Uuid {
        let mut random_bytes = [0; 10];
        self.random.fill(&mut random_bytes);
        uuid::Builder::from_unix_timestamp_millis(self.clock.now_ms(), &random_bytes).into_uuid()
    }
}
