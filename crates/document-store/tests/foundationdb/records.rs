//! Records as the merger appends them, for these tests and for the examples that measure.

use bytes::Bytes;
use document_store::{Admitted, RecordOutcome};
use document_types::record::{OperationKind, Payload, Stamp, StampedUpdate};
use document_types::{
    CounterSpan, DeviceId, Digest, HlcTimestamp, LogOffset, LogPartition, LogSource, PeerId,
    Principal, RegionId, SessionId, UserId,
};

pub fn source() -> LogSource {
    LogSource {
        region: RegionId::parse("local").unwrap(),
        partition: LogPartition(0),
    }
}

pub fn record(offset: u64, updates: Vec<StampedUpdate>) -> RecordOutcome {
    let admitted = updates.into_iter().map(|update| Admitted {
        update,
        waited_as: None,
    });
    RecordOutcome {
        offset: LogOffset(offset),
        admitted: admitted.collect(),
        ..RecordOutcome::default()
    }
}

/// The operation of `peer` with the counter `at`.
pub fn update(peer: u64, at: u32, payload_bytes: usize) -> StampedUpdate {
    let payload = Bytes::from(vec![at.to_le_bytes()[0]; payload_bytes]);
    StampedUpdate {
        stamp: Stamp {
            hlc: HlcTimestamp::new(1_700_000_000_000, 0),
            author: Principal {
                user: UserId::parse("usr_0198c5d2f9b87c3a8f5e0d1c2b3a4958").unwrap(),
                device: DeviceId::parse("dev_0198c5d2f9b87c3a8f5e0d1c2b3a4958").unwrap(),
            },
            session: SessionId::parse("ses_0198c5d2f9b87c3a8f5e0d1c2b3a4958").unwrap(),
            correlation_id: "0198c5d2f9b8".to_owned(),
            trace: None,
        },
        span: CounterSpan {
            peer: PeerId(peer),
            start: at,
            end: at + 1,
        },
        dependencies: Vec::new(),
        kinds: vec![OperationKind::Insert],
        digest: Digest::of(&payload),
        receipt: Bytes::new(),
        inserted_text_bytes: 1,
        payload: Payload::Inline(payload),
    }
}
