use std::collections::VecDeque;
use std::time::Duration;

use clock::Random;
use document_types::limits::TRACES_WAITING_MAX;
use document_types::{BatchId, DocumentId, SpanId, TraceContext, TraceId, TraceRatio};
use sync_protocol::ClientText;
use tokio::time::Instant;

/// The part of a document's batches that are traced, as far as the server asks for it: each is
/// announced before it is sent, and once it is answered the server is told how long that took.
pub(super) struct Traced {
    random: Random,
    ratio: Option<TraceRatio>,
    /// When the first edit was made of those that are committed and not sent yet.
    edited_at: Option<Instant>,
    /// Sent and not answered.
    sent: VecDeque<Sent>,
    /// To be said to the server.
    sayings: VecDeque<Saying>,
}

struct Sent {
    batch: BatchId,
    waited: Option<Duration>,
    at: Instant,
}

enum Saying {
    Trace(BatchId, TraceContext),
    Traced {
        batch: BatchId,
        waited: Option<Duration>,
        answered: Duration,
    },
}

impl Traced {
    pub(super) fn new(random: Random) -> Self {
        Self {
            random,
            ratio: None,
            edited_at: None,
            sent: VecDeque::new(),
            sayings: VecDeque::new(),
        }
    }

    /// The document is joined, and the server asks for this part.
    pub(super) fn joined(&mut self, ratio: Option<TraceRatio>) {
        self.ratio = ratio;
        self.forget();
    }

    /// What was sent will not be answered any more.
    pub(super) fn forget(&mut self) {
        self.sent.clear();
        self.sayings.clear();
    }

    /// Edits that were made since `since` are committed.
    pub(super) fn committed(&mut self, since: Instant) {
        self.edited_at.get_or_insert(since);
    }

    /// A batch is sent.
    pub(super) fn sent(&mut self, batch: BatchId, now: Instant) {
        let edited_at = self.edited_at.take();
        let Some(ratio) = self.ratio.map(f64::from).filter(|ratio| *ratio > 0.0) else {
            return;
        };
        // Batches on their way are fewer, so that this is what the server remembers.
        if self.sent.len() >= TRACES_WAITING_MAX || !self.random.chance(ratio) {
            return;
        }
        let Some(context) = self.new_context() else {
            return;
        };
        self.sayings.push_back(Saying::Trace(batch, context));
        self.sent.push_back(Sent {
            batch,
            waited: edited_at.map(|edited_at| now.saturating_duration_since(edited_at)),
            at: now,
        });
    }

    /// A batch is answered.
    pub(super) fn answered(&mut self, batch: BatchId, now: Instant) {
        let Some(place) = self.sent.iter().position(|sent| sent.batch == batch) else {
            return;
        };
        if let Some(Sent { batch, waited, at }) = self.sent.remove(place) {
            self.sayings.push_back(Saying::Traced {
                batch,
                waited,
                answered: now.saturating_duration_since(at),
            });
        }
    }

    /// The next text for the server, which comes before any batch that waits to be sent.
    pub(super) fn next_text(&mut self, document: &DocumentId) -> Option<ClientText> {
        let document = document.clone();
        Some(match self.sayings.pop_front()? {
            Saying::Trace(batch, context) => ClientText::Trace {
                document,
                batch,
                traceparent: context.to_string(),
            },
            Saying::Traced {
                batch,
                waited,
                answered,
            } => ClientText::Traced {
                document,
                batch,
                waited_us: waited.map(microseconds),
                answered_us: microseconds(answered),
            },
        })
    }

    /// Zeros, which stand for no trace, come once in 2^64 draws.
    fn new_context(&self) -> Option<TraceContext> {
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        self.random.fill(&mut trace);
        self.random.fill(&mut span);
        Some(TraceContext {
            trace: TraceId::new(trace)?,
            span: SpanId::new(span)?,
        })
    }
}

fn microseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: BatchId = BatchId([7; 8]);

    fn notes() -> DocumentId {
        DocumentId::parse("notes").unwrap()
    }

    fn traced(ratio: f64) -> Traced {
        let mut traced = Traced::new(Random::from_seed(1));
        traced.joined(Some(ratio.try_into().unwrap()));
        traced
    }

    #[tokio::test(start_paused = true)]
    async fn a_traced_batch_is_announced_and_reported_once() {
        let now = Instant::now();
        let mut traced = traced(1.0);
        traced.committed(now);
        traced.committed(now + Duration::from_millis(1));
        traced.sent(BATCH, now + Duration::from_millis(3));
        let Some(ClientText::Trace {
            batch, traceparent, ..
        }) = traced.next_text(&notes())
        else {
            panic!("announced")
        };
        assert_eq!(batch, BATCH);
        assert!(TraceContext::parse(&traceparent).is_some());
        assert_eq!(traced.next_text(&notes()), None);
        let answered = now + Duration::from_millis(10);
        traced.answered(BATCH, answered);
        traced.answered(BATCH, answered);
        let report = ClientText::Traced {
            document: notes(),
            batch: BATCH,
            waited_us: Some(3_000),
            answered_us: 7_000,
        };
        assert_eq!(traced.next_text(&notes()), Some(report));
        assert_eq!(traced.next_text(&notes()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_part_is_traced_that_the_server_asks_for() {
        let now = Instant::now();
        let announced = |mut traced: Traced| {
            let batches = (0..1_000_u64).map(|number| BatchId(number.to_be_bytes()));
            batches
                .filter(|batch| {
                    traced.sent(*batch, now);
                    traced.answered(*batch, now);
                    let text = traced.next_text(&notes());
                    traced.forget();
                    text.is_some()
                })
                .count()
        };
        assert!((50..150).contains(&announced(traced(0.1))));
        assert_eq!(announced(traced(0.0)), 0);
        assert_eq!(announced(Traced::new(Random::from_seed(1))), 0);
    }
}
