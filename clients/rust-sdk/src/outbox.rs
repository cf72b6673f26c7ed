use std::collections::VecDeque;

use bytes::Bytes;
use document_types::limits::{BATCH_BYTES_MAX, BATCHES_IN_FLIGHT_MAX, UPDATES_PER_BATCH_MAX};
use document_types::{BatchId, CounterSpan, VersionVector};
use tokio::time::Instant;

/// One of our own updates, until it is acknowledged.
///
/// Its bytes are kept beside the document, since a document that the engine's panic has poisoned can
/// no longer be asked for them.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) span: CounterSpan,
    pub(crate) bytes: Bytes,
    /// When it was committed.
    pub(crate) committed_at: Instant,
    /// The batch that it was last sent in, if that is still in flight.
    sent: Option<Sent>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    batch: BatchId,
    at: Instant,
}

impl Offer {
    pub(crate) fn new(span: CounterSpan, bytes: Bytes, committed_at: Instant) -> Self {
        Self {
            span,
            bytes,
            committed_at,
            sent: None,
        }
    }
}

/// Our own operations that are not known to be durable, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    offers: VecDeque<Offer>,
}

impl Outbox {
    pub(crate) fn push(&mut self, offer: Offer) {
        self.offers.push_back(offer);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.offers.is_empty()
    }

    /// Operations that are not acknowledged.
    pub(crate) fn operations(&self) -> u64 {
        self.offers
            .iter()
            .map(|offer| u64::from(offer.span.len()))
            .sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Offer> {
        self.offers.iter()
    }

    pub(crate) fn is_in_flight(&self) -> bool {
        self.offers.iter().any(|offer| offer.sent.is_some())
    }

    /// When the batch was sent that has waited longest for its answer.
    pub(crate) fn oldest_sent_at(&self) -> Option<Instant> {
        self.offers
            .iter()
            .filter_map(|offer| offer.sent.map(|sent| sent.at))
            .min()
    }

    pub(crate) fn unsent_count(&self) -> usize {
        self.offers
            .iter()
            .filter(|offer| offer.sent.is_none())
            .count()
    }

    /// Marks the next updates as sent in `batch` and returns them; `None` while enough is in flight
    /// or if nothing waits.
    pub(crate) fn send(&mut self, batch: BatchId, now: Instant) -> Option<Vec<Bytes>> {
        let mut in_flight: Vec<BatchId> = self
            .offers
            .iter()
            .filter_map(|offer| offer.sent.map(|sent| sent.batch))
            .collect();
        in_flight.dedup();
        if in_flight.len() >= BATCHES_IN_FLIGHT_MAX {
            return None;
        }
        let mut bytes = 0;
        let mut updates = Vec::new();
        for offer in self
            .offers
            .iter_mut()
            .skip_while(|offer| offer.sent.is_some())
        {
            bytes += offer.bytes.len();
            let full = bytes > BATCH_BYTES_MAX || updates.len() == UPDATES_PER_BATCH_MAX;
            if offer.sent.is_some() || (full && !updates.is_empty()) {
                break;
            }
            offer.sent = Some(Sent { batch, at: now });
            updates.push(offer.bytes.clone());
        }
        (!updates.is_empty()).then_some(updates)
    }

    /// Takes out what was sent in `batch`.
    pub(crate) fn acknowledge(&mut self, batch: BatchId) -> Vec<Offer> {
        self.take(|offer| offer.sent.is_some_and(|sent| sent.batch == batch))
    }

    /// Takes out what `known`, the version of the server's log, includes.
    pub(crate) fn acknowledge_known(&mut self, known: &VersionVector) -> Vec<Offer> {
        self.take(|offer| offer.span.end <= known.end(offer.span.peer))
    }

    /// What was sent in `batch`.
    pub(crate) fn in_batch(&self, batch: BatchId) -> Vec<Offer> {
        let sent_in = |offer: &&Offer| offer.sent.is_some_and(|sent| sent.batch == batch);
        self.offers.iter().filter(sent_in).cloned().collect()
    }

    /// Has `batch` sent again; whether there is such a batch.
    pub(crate) fn resend(&mut self, batch: BatchId) -> bool {
        let mut found = false;
        for offer in &mut self.offers {
            if offer.sent.is_some_and(|sent| sent.batch == batch) {
                offer.sent = None;
                found = true;
            }
        }
        found
    }

    /// Has everything sent again: the connection or the room that it was sent to is gone.
    pub(crate) fn resend_all(&mut self) {
        self.offers.iter_mut().for_each(|offer| offer.sent = None);
    }

    /// Takes out `batch` and everything after it, which builds on it: first what was sent in the
    /// batch, then the others. `None` if there is no such batch.
    pub(crate) fn cut_at(&mut self, batch: BatchId) -> Option<(Vec<Offer>, Vec<Offer>)> {
        let in_batch = |offer: &Offer| offer.sent.is_some_and(|sent| sent.batch == batch);
        let first = self.offers.iter().position(in_batch)?;
        Some(self.offers.split_off(first).into_iter().partition(in_batch))
    }

    /// Takes out everything.
    pub(crate) fn take_all(&mut self) -> Vec<Offer> {
        std::mem::take(&mut self.offers).into()
    }

    /// Takes out what was never sent and comes after everything that was.
    pub(crate) fn take_unsent_tail(&mut self) -> Vec<Offer> {
        let sent = self.offers.iter().rposition(|offer| offer.sent.is_some());
        self.offers
            .split_off(sent.map_or(0, |last| last + 1))
            .into()
    }

    fn take(&mut self, wanted: impl Fn(&Offer) -> bool) -> Vec<Offer> {
        let (taken, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.offers)
            .into_iter()
            .partition(wanted);
        self.offers = kept.into();
        taken
    }
}

#[cfg(test)]
mod tests {
    use document_types::PeerId;

    use super::*;

    fn outbox(sizes: &[usize]) -> Outbox {
        let mut outbox = Outbox::default();
        for (counter, size) in (0..).zip(sizes) {
            let span = CounterSpan {
                peer: PeerId(7),
                start: counter,
                end: counter + 1,
            };
            outbox.push(Offer::new(span, vec![0; *size].into(), Instant::now()));
        }
        outbox
    }

    fn batch(number: u8) -> BatchId {
        BatchId([number; 8])
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_holds_what_fits_and_at_least_one_update() {
        let now = Instant::now();
        let mut outbox = outbox(&[
            BATCH_BYTES_MAX / 2,
            BATCH_BYTES_MAX / 2,
            1,
            BATCH_BYTES_MAX * 2,
            1,
        ]);
        let counts: Vec<usize> = (1..=4)
            .filter_map(|number| Some(outbox.send(batch(number), now)?.len()))
            .collect();
        assert_eq!(counts, [2, 1, 1, 1]);
        assert_eq!(outbox.send(batch(5), now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_refused_for_now_is_sent_again_before_what_follows() {
        let now = Instant::now();
        let mut outbox = outbox(&[BATCH_BYTES_MAX, BATCH_BYTES_MAX + 1, 3]);
        outbox.send(batch(1), now).unwrap();
        outbox.send(batch(2), now).unwrap();
        assert!(outbox.resend(batch(1)));
        assert_eq!(
            outbox.send(batch(3), now).unwrap()[0].len(),
            BATCH_BYTES_MAX
        );
        assert_eq!(outbox.acknowledge(batch(3))[0].span.start, 0);
        assert_eq!(outbox.operations(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_batches_are_in_flight() {
        let now = Instant::now();
        let mut outbox = outbox(&[BATCH_BYTES_MAX; BATCHES_IN_FLIGHT_MAX + 1]);
        let mut numbers = 0..;
        while outbox.send(batch(numbers.next().unwrap()), now).is_some() {}
        assert_eq!(outbox.unsent_count(), 1);
        outbox.acknowledge(batch(0));
        assert!(outbox.send(batch(99), now).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_log_knows_is_acknowledged() {
        let now = Instant::now();
        let mut outbox = outbox(&[1, 1, 1]);
        outbox.send(batch(1), now).unwrap();
        let known: VersionVector = [(PeerId(7), 2)].into_iter().collect();
        assert_eq!(outbox.acknowledge_known(&known).len(), 2);
        assert_eq!(outbox.operations(), 1);
    }
}
