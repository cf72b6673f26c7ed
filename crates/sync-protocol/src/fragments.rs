use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use document_types::limits::{
    FRAGMENT_BATCHES_OPEN_MAX, FRAGMENT_BYTES_OPEN_MAX, FRAGMENT_REASSEMBLY_TIMEOUT,
    FRAGMENTS_PER_BATCH_MAX, UPDATE_BYTES_MAX,
};
use document_types::{BatchId, ErrorCode};

use crate::frame::Subscription;

/// Puts fragments together again, bounded in batches, fragments, bytes and time. What a header
/// declares is checked and never allocated: memory grows with what has arrived.
#[derive(Debug, Default)]
pub struct Reassembly {
    open: BTreeMap<(Subscription, BatchId), OpenBatch>,
    declared_bytes: usize,
}

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
    /// The batch is larger than an update may be, or in more pieces than a batch may be.
    #[error(
        "a fragmented update may have {UPDATE_BYTES_MAX} bytes in {FRAGMENTS_PER_BATCH_MAX} pieces"
    )]
    TooLarge,
    /// Too many batches are open.
    #[error("{FRAGMENT_BATCHES_OPEN_MAX} fragmented updates may be open at once")]
    TooManyOpen,
    /// The fragments are not what their header declared.
    #[error("the fragments are not what their header declared")]
    Inconsistent,
}

impl FragmentRefusal {
    /// The error code that the sender is told.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::TooLarge => ErrorCode::TooLarge,
            Self::TooManyOpen => ErrorCode::RateLimited,
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

impl Reassembly {
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
        let total_bytes = usize::try_from(total_bytes)
            .ok()
            .filter(|bytes| *bytes <= UPDATE_BYTES_MAX)
            .filter(|_| fragment_count <= FRAGMENTS_PER_BATCH_MAX)
            .ok_or(FragmentRefusal::TooLarge)?;
        if fragment_count == 0 || fragment_count > total_bytes as u64 {
            return Err(FragmentRefusal::Inconsistent);
        }
        if self.open.len() == FRAGMENT_BATCHES_OPEN_MAX
            || self.declared_bytes + total_bytes > FRAGMENT_BYTES_OPEN_MAX
        {
            return Err(FragmentRefusal::TooManyOpen);
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
        let mut reassembly = Reassembly::default();
        let document = subscription("d");
        let mut begin = |batch: u8, count, bytes| {
            reassembly.begin(&document, BatchId([batch; 8]), count, bytes, Duration::ZERO)
        };
        assert_eq!(begin(0, u64::MAX, u64::MAX), Err(FragmentRefusal::TooLarge));
        assert_eq!(
            begin(0, FRAGMENTS_PER_BATCH_MAX + 1, 1_000),
            Err(FragmentRefusal::TooLarge)
        );
        assert_eq!(begin(0, 0, 0), Err(FragmentRefusal::Inconsistent));
        assert_eq!(begin(0, 3, 2), Err(FragmentRefusal::Inconsistent));
        for batch in 0..u8::try_from(FRAGMENT_BATCHES_OPEN_MAX).unwrap() {
            assert_eq!(begin(batch, 2, UPDATE_BYTES_MAX as u64), Ok(()));
        }
        assert_eq!(begin(9, 2, 2), Err(FragmentRefusal::TooManyOpen));
        assert_eq!(
            begin(0, 2, 2),
            Ok(()),
            "the same name again replaces its batch"
        );
    }

    #[test]
    fn what_the_header_did_not_declare_is_refused() {
        let document = subscription("d");
        for (index, bytes) in [(2, &b"x"[..]), (0, b""), (0, b"much too long")] {
            let mut reassembly = Reassembly::default();
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
        let mut reassembly = Reassembly::default();
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
        let mut reassembly = Reassembly::default();
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
        let mut reassembly = Reassembly::default();
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
            let mut reassembly = Reassembly::default();
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
