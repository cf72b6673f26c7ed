use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use document_types::limits::{
    DOCUMENTS_PER_SOCKET_MAX, FRAGMENT_BATCHES_OPEN_MAX, FRAGMENT_BYTES_OPEN_MAX,
    FRAGMENT_REASSEMBLY_TIMEOUT, FRAGMENTS_PER_BATCH_MAX, FRAGMENTS_PER_SNAPSHOT_MAX,
    SNAPSHOT_BYTES_MAX, SNAPSHOT_BYTES_OPEN_MAX, UPDATE_BYTES_MAX,
};
use document_types::{BatchId, ErrorCode};

use crate::frame::Subscription;

/// Puts fragments together again, bounded in batches, fragments, bytes and time. What a header
/// declares is checked and never allocated: memory grows with what has arrived.
///
/// The two ends have bounds of their own, since a client sends updates and a server also sends whole
/// documents.
#[derive(Debug)]
pub struct Reassembly {
    bounds: &'static Bounds,
    open: BTreeMap<(Subscription, BatchId), OpenBatch>,
    declared_bytes: usize,
}

/// What one end takes from the other.
#[derive(Debug)]
struct Bounds {
    batch_bytes_max: usize,
    fragment_count_max: u64,
    open_count_max: usize,
    open_bytes_max: usize,
}

/// Updates, a few at a time.
const FROM_CLIENT: Bounds = Bounds {
    batch_bytes_max: UPDATE_BYTES_MAX,
    fragment_count_max: FRAGMENTS_PER_BATCH_MAX,
    open_count_max: FRAGMENT_BATCHES_OPEN_MAX,
    open_bytes_max: FRAGMENT_BYTES_OPEN_MAX,
};

/// Snapshots, one at a time of each document that the client has joined: those of several documents
/// come interleaved.
const FROM_SERVER: Bounds = Bounds {
    batch_bytes_max: SNAPSHOT_BYTES_MAX,
    fragment_count_max: FRAGMENTS_PER_SNAPSHOT_MAX,
    open_count_max: DOCUMENTS_PER_SOCKET_MAX,
    open_bytes_max: SNAPSHOT_BYTES_OPEN_MAX,
};

#[derive(Debug)]
struct OpenBatch {
    fragment_count: u64,
    total_bytes: usize,
    arrived_bytes: usize,
    fragments: BTreeMap<u64, Vec<u8>>,
    deadline: Duration,
}

/// Why a batch of fragments is refused, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentRefusal {
    /// The batch is larger than what this end takes, or in more pieces.
    #[error("what is sent in fragments may have {bytes_max} bytes in {fragment_count_max} pieces")]
    TooLarge {
        /// The most bytes.
        bytes_max: usize,
        /// The most pieces.
        fragment_count_max: u64,
    },
    /// Too many batches are open, or too many bytes of them.
    #[error("{count_max} fragmented batches of {bytes_max} bytes in all may be open at once")]
    TooManyOpen {
        /// The most batches.
        count_max: usize,
        /// The most bytes of all together.
        bytes_max: usize,
    },
    /// The fragments are not what their header declared.
    #[error("the fragments are not what their header declared")]
    Inconsistent,
}

impl FragmentRefusal {
    /// The error code that the sender is told.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::TooManyOpen { .. } => ErrorCode::RateLimited,
            Self::Inconsistent => ErrorCode::InvalidUpdate,
        }
    }
}

/// What one fragment led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FragmentOutcome {
    /// More are to come.
    Pending,
    /// The last one: the whole update.
    Complete(Bytes),
    /// It belongs to no open batch: that was refused, timed out, or never begun.
    Ignored,
    /// The batch is refused.
    Refused(FragmentRefusal),
}

impl Default for Reassembly {
    /// As [`Reassembly::from_server`].
    fn default() -> Self {
        Self::from_server()
    }
}

impl Reassembly {
    /// For a server: what one client may have on its way.
    pub fn from_client() -> Self {
        Self::within(&FROM_CLIENT)
    }

    /// For a client: what a server may have on its way.
    pub fn from_server() -> Self {
        Self::within(&FROM_SERVER)
    }

    fn within(bounds: &'static Bounds) -> Self {
        Self {
            bounds,
            open: BTreeMap::new(),
            declared_bytes: 0,
        }
    }

    /// Opens a batch, which replaces one of the same name.
    ///
    /// # Errors
    /// [`FragmentRefusal`] if the batch can't be taken; its fragments will be ignored.
    pub fn begin(
        &mut self,
        subscription: &Subscription,
        batch: BatchId,
        fragment_count: u64,
        total_bytes: u64,
        now: Duration,
    ) -> Result<(), FragmentRefusal> {
        let key = (subscription.clone(), batch);
        self.close(&key);
        let bounds = self.bounds;
        let total_bytes = usize::try_from(total_bytes)
            .ok()
            .filter(|bytes| *bytes <= bounds.batch_bytes_max)
            .filter(|_| fragment_count <= bounds.fragment_count_max)
            .ok_or(FragmentRefusal::TooLarge {
                bytes_max: bounds.batch_bytes_max,
                fragment_count_max: bounds.fragment_count_max,
            })?;
        if fragment_count == 0 || fragment_count > total_bytes as u64 {
            return Err(FragmentRefusal::Inconsistent);
        }
        if self.open.len() == bounds.open_count_max
            || self.declared_bytes + total_bytes > bounds.open_bytes_max
        {
            return Err(FragmentRefusal::TooManyOpen {
                count_max: bounds.open_count_max,
                bytes_max: bounds.open_bytes_max,
            });
        }
        self.declared_bytes += total_bytes;
        let deadline = now + FRAGMENT_REASSEMBLY_TIMEOUT;
        let fragments = BTreeMap::new();
        let open = OpenBatch {
            fragment_count,
            total_bytes,
            arrived_bytes: 0,
            fragments,
            deadline,
        };
        self.open.insert(key, open);
        Ok(())
    }

    /// Takes one fragment. Fragments may come in any order; one that came before is ignored.
    pub fn add(
        &mut self,
        subscription: &Subscription,
        batch: BatchId,
        index: u64,
        bytes: &[u8],
    ) -> FragmentOutcome {
        let key = (subscription.clone(), batch);
        let Some(open) = self.open.get_mut(&key) else {
            return FragmentOutcome::Ignored;
        };
        if open.fragments.contains_key(&index) {
            return FragmentOutcome::Ignored;
        }
        let fits = index < open.fragment_count
            && !bytes.is_empty()
            && open.arrived_bytes + bytes.len() <= open.total_bytes;
        if !fits {
            self.close(&key);
            return FragmentOutcome::Refused(FragmentRefusal::Inconsistent);
        }
        open.arrived_bytes += bytes.len();
        // A copy, since a slice would keep its whole receive buffer alive.
        open.fragments.insert(index, bytes.to_vec());
        if (open.fragments.len() as u64) < open.fragment_count {
            return FragmentOutcome::Pending;
        }
        match self.close(&key) {
            Some(open) if open.arrived_bytes == open.total_bytes => {
                let mut whole = BytesMut::with_capacity(open.total_bytes);
                open.fragments
                    .values()
                    .for_each(|fragment| whole.extend_from_slice(fragment));
                FragmentOutcome::Complete(whole.freeze())
            }
            _ => FragmentOutcome::Refused(FragmentRefusal::Inconsistent),
        }
    }

    /// Drops the batches whose time is over and names them.
    pub fn expire(&mut self, now: Duration) -> Vec<(Subscription, BatchId)> {
        let due: Vec<_> = self
            .open
            .iter()
            .filter(|(_, open)| open.deadline <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in &due {
            self.close(key);
        }
        due
    }

    /// When [`Reassembly::expire`] has something to do next.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.open.values().map(|open| open.deadline).min()
    }

    /// Drops the batches of a subscription.
    pub fn forget(&mut self, subscription: &Subscription) {
        let keys: Vec<_> = self
            .open
            .keys()
            .filter(|(of, _)| of == subscription)
            .cloned()
            .collect();
        for key in &keys {
            self.close(key);
        }
    }

    fn close(&mut self, key: &(Subscription, BatchId)) -> Option<OpenBatch> {
        let open = self.open.remove(key)?;
        self.declared_bytes -= open.total_bytes;
        Some(open)
    }
}

#[cfg(test)]
mod tests {
    use document_types::DocumentId;
    use document_types::limits::FRAME_OUT_PAYLOAD_BYTES;
    use proptest::prelude::*;

    use super::*;
    use crate::frame::Magic;

    const BATCH: BatchId = BatchId([7; 8]);

    fn subscription(name: &str) -> Subscription {
        Subscription {
            magic: Magic::Loro,
            document: DocumentId::parse(name).unwrap(),
        }
    }

    #[test]
    fn a_header_reserves_nothing_and_is_bounded() {
        let mut reassembly = Reassembly::from_client();
        let too_large = FragmentRefusal::TooLarge {
            bytes_max: UPDATE_BYTES_MAX,
            fragment_count_max: FRAGMENTS_PER_BATCH_MAX,
        };
        let too_many_open = FragmentRefusal::TooManyOpen {
            count_max: FRAGMENT_BATCHES_OPEN_MAX,
            bytes_max: FRAGMENT_BYTES_OPEN_MAX,
        };
        let document = subscription("d");
        let mut begin = |batch: u8, count, bytes| {
            reassembly.begin(&document, BatchId([batch; 8]), count, bytes, Duration::ZERO)
        };
        assert_eq!(begin(0, u64::MAX, u64::MAX), Err(too_large));
        assert_eq!(begin(0, FRAGMENTS_PER_BATCH_MAX + 1, 1_000), Err(too_large));
        assert_eq!(begin(0, 0, 0), Err(FragmentRefusal::Inconsistent));
        assert_eq!(begin(0, 3, 2), Err(FragmentRefusal::Inconsistent));
        for batch in 0..u8::try_from(FRAGMENT_BATCHES_OPEN_MAX).unwrap() {
            assert_eq!(begin(batch, 2, UPDATE_BYTES_MAX as u64), Ok(()));
        }
        assert_eq!(begin(9, 2, 2), Err(too_many_open));
        assert_eq!(
            begin(0, 2, 2),
            Ok(()),
            "the same name again replaces its batch"
        );
    }

    #[test]
    fn a_server_sends_snapshots_of_many_documents_at_once() {
        let mut reassembly = Reassembly::from_server();
        let bytes = SNAPSHOT_BYTES_OPEN_MAX / DOCUMENTS_PER_SOCKET_MAX;
        let pieces = bytes.div_ceil(FRAME_OUT_PAYLOAD_BYTES) as u64;
        let mut begin = |document: &str, pieces, bytes: usize| {
            let document = subscription(document);
            reassembly.begin(&document, BATCH, pieces, bytes as u64, Duration::ZERO)
        };
        for document in 0..DOCUMENTS_PER_SOCKET_MAX {
            assert_eq!(begin(&document.to_string(), pieces, bytes), Ok(()));
        }
        let one_more = begin("one more", 1, 1).unwrap_err();
        assert_eq!(one_more.code(), ErrorCode::RateLimited);

        let mut reassembly = Reassembly::from_server();
        let document = subscription("large");
        let mut begin = |bytes: usize| {
            let pieces = FRAGMENTS_PER_SNAPSHOT_MAX;
            reassembly.begin(&document, BATCH, pieces, bytes as u64, Duration::ZERO)
        };
        assert_eq!(
            begin(SNAPSHOT_BYTES_MAX),
            Ok(()),
            "the largest that is sent"
        );
        let larger = begin(SNAPSHOT_BYTES_MAX + 1).unwrap_err();
        assert_eq!(larger.code(), ErrorCode::TooLarge);
    }

    #[test]
    fn what_the_header_did_not_declare_is_refused() {
        let document = subscription("d");
        for (index, bytes) in [(2, &b"x"[..]), (0, b""), (0, b"much too long")] {
            let mut reassembly = Reassembly::from_client();
            reassembly
                .begin(&document, BATCH, 2, 4, Duration::ZERO)
                .unwrap();
            assert_eq!(
                reassembly.add(&document, BATCH, index, bytes),
                FragmentOutcome::Refused(FragmentRefusal::Inconsistent)
            );
            assert_eq!(
                reassembly.add(&document, BATCH, 0, b"ab"),
                FragmentOutcome::Ignored
            );
        }
        let mut reassembly = Reassembly::from_client();
        reassembly
            .begin(&document, BATCH, 2, 4, Duration::ZERO)
            .unwrap();
        assert_eq!(
            reassembly.add(&document, BATCH, 0, b"a"),
            FragmentOutcome::Pending
        );
        assert_eq!(
            reassembly.add(&document, BATCH, 1, b"b"),
            FragmentOutcome::Refused(FragmentRefusal::Inconsistent),
            "fewer bytes than declared"
        );
    }

    #[test]
    fn unfinished_batches_end_at_their_deadline() {
        let mut reassembly = Reassembly::from_client();
        let document = subscription("d");
        reassembly
            .begin(&document, BATCH, 2, 4, Duration::from_secs(1))
            .unwrap();
        let deadline = reassembly.next_deadline().unwrap();
        assert_eq!(reassembly.expire(deadline - Duration::from_millis(1)), []);
        assert_eq!(reassembly.expire(deadline), [(document, BATCH)]);
        assert_eq!(reassembly.next_deadline(), None);
    }

    #[test]
    fn leaving_a_document_drops_its_batches_and_no_others() {
        let mut reassembly = Reassembly::from_client();
        let [left, stays] = ["left", "stays"].map(subscription);
        for document in [&left, &stays] {
            reassembly
                .begin(document, BATCH, 1, 2, Duration::ZERO)
                .unwrap();
        }
        reassembly.forget(&left);
        assert_eq!(
            reassembly.add(&left, BATCH, 0, b"ab"),
            FragmentOutcome::Ignored
        );
        assert_eq!(
            reassembly.add(&stays, BATCH, 0, b"ab"),
            FragmentOutcome::Complete(Bytes::from_static(b"ab"))
        );
    }

    proptest! {
        #[test]
        fn fragments_in_any_order_make_the_whole(
            whole in prop::collection::vec(any::<u8>(), 1..400),
            piece_bytes in 2_usize..50,
            seed in any::<u64>(),
        ) {
            let document = subscription("d");
            let pieces: Vec<&[u8]> = whole.chunks(piece_bytes).collect();
            let mut order: Vec<usize> = (0..pieces.len()).collect();
            order.sort_by_key(|index| (*index as u64 + 1).wrapping_mul(seed | 1));
            let mut reassembly = Reassembly::from_client();
            reassembly
                .begin(&document, BATCH, pieces.len() as u64, whole.len() as u64, Duration::ZERO)
                .unwrap();
            let mut last = FragmentOutcome::Pending;
            for index in order {
                prop_assert_eq!(last, FragmentOutcome::Pending);
                last = reassembly.add(&document, BATCH, index as u64, pieces[index]);
            }
            prop_assert_eq!(last, FragmentOutcome::Complete(Bytes::from(whole)));
            prop_assert_eq!(reassembly.declared_bytes, 0);
        }
    }
}
