//! Whose turn it is at a worker.
//!
//! The turn goes to the document that has had least of the worker lately: start-time fair queueing (Goyal,
//! Vin, Cheng: "Start-time Fair Queuing", SIGCOMM 1996), with the time that a turn took as its cost. A
//! document that needs little waits for the turn that has begun and hardly for more, though many others
//! ask without pause for what takes long. What is tried thoroughly, since nobody knows its writers, has turns
//! of its own, so that a document's writers who are known don't wait for it either.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use document_types::DocumentId;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Whose the turns are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flow {
    pub(crate) document: DocumentId,
    /// Whether it is about what is tried thoroughly.
    pub(crate) is_thorough: bool,
}

/// Those who want a worker. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct FairQueue(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_taken: bool,
    /// How far each has come that had more than the others lately.
    ends: HashMap<Flow, Duration>,
    /// How far the turn had come that began last: where whoever comes now begins.
    now: Duration,
    /// Those who wait, by how far they had come and in the order in which they came.
    waiting: BTreeMap<(Duration, u64), (Flow, oneshot::Sender<Turn>)>,
    next_number: u64,
}

/// The right to use the worker, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    queue: FairQueue,
    flow: Flow,
    start: Duration,
    began_at: Instant,
}

impl FairQueue {
    /// Waits for a turn of `flow`, which ought to have no other: what one costs is known at its end.
    /// Whoever stops waiting loses its place and harms nobody.
    pub(crate) async fn turn(&self, flow: Flow) -> Turn {
        let came = {
            let mut state = self.state();
            let end = state.ends.get(&flow).copied().unwrap_or_default();
            let start = end.max(state.now);
            if state.is_taken {
                let (sender, receiver) = oneshot::channel();
                let number = state.next_number;
                state.next_number += 1;
                state.waiting.insert((start, number), (flow, sender));
                Err(receiver)
            } else {
                state.is_taken = true;
                state.now = start;
                Ok(self.turn_from(flow, start))
            }
        };
        match came {
            Ok(turn) => turn,
            Err(receiver) => match receiver.await {
                Ok(turn) => turn,
                // The queue keeps its senders until it gives them a turn, and this holds the queue.
                Err(_) => std::future::pending().await,
            },
        }
    }

    fn turn_from(&self, flow: Flow, start: Duration) -> Turn {
        Turn {
            queue: self.clone(),
            flow,
            start,
            began_at: Instant::now(),
        }
    }

    /// A turn is over: the next has it who has come least far.
    fn pass_on(&self, flow: &Flow, end: Duration) {
        self.state().ends.insert(flow.clone(), end);
        while let Some((next, start, sender)) = self.next() {
            if !sender.is_closed() {
                // Should the other side give up just now, the turn is dropped here, and passed on.
                let _ = sender.send(self.turn_from(next, start));
                return;
            }
        }
    }

    fn next(&self) -> Option<(Flow, Duration, oneshot::Sender<Turn>)> {
        let mut state = self.state();
        let Some(((start, _), (flow, sender))) = state.waiting.pop_first() else {
            // Nobody is waiting, so nobody has to be made up to.
            state.is_taken = false;
            state.ends.clear();
            state.now = Duration::ZERO;
            return None;
        };
        state.now = start;
        state.ends.retain(|_, end| *end > start);
        Some((flow, start, sender))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let end = self.start + self.began_at.elapsed();
        self.queue.pass_on(&self.flow, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn document(name: &str) -> Flow {
        Flow {
            document: DocumentId::parse(name).unwrap(),
            is_thorough: false,
        }
    }

    fn is_waiting<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
        matches!(
            future.poll(&mut Context::from_waker(Waker::noop())),
            Poll::Pending
        )
    }

    async fn work(turn: Turn, millis: u64) {
        tokio::time::advance(Duration::from_millis(millis)).await;
        drop(turn);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_seldom_does_not_wait_for_those_who_ask_without_pause() {
        let (queue, greedy, other, modest) = (
            FairQueue::default(),
            document("greedy"),
            document("other"),
            document("modest"),
        );
        let running = queue.turn(greedy.clone()).await;
        let mut others = pin!(queue.turn(other.clone()));
        assert!(is_waiting(others.as_mut()));
        work(running, 100).await;
        let running = others.await;
        let (mut again, mut seldom) = (
            pin!(queue.turn(greedy.clone())),
            pin!(queue.turn(modest.clone())),
        );
        assert!(is_waiting(again.as_mut()) && is_waiting(seldom.as_mut()));
        work(running, 10).await;
        // The greedy one came first, and the modest one has had nothing yet.
        let running = seldom.await;
        assert!(is_waiting(again.as_mut()));
        work(running, 10).await;
        work(again.await, 10).await;
    }

    #[tokio::test(start_paused = true)]
    async fn known_writers_do_not_wait_for_what_strangers_of_their_document_had() {
        let (queue, known, other) = (FairQueue::default(), document("d"), document("other"));
        let strangers = Flow {
            is_thorough: true,
            ..known.clone()
        };
        let running = queue.turn(strangers).await;
        let mut others = pin!(queue.turn(other.clone()));
        assert!(is_waiting(others.as_mut()));
        work(running, 100).await;
        let running = others.await;
        let (mut known, mut others) = (pin!(queue.turn(known)), pin!(queue.turn(other)));
        assert!(is_waiting(known.as_mut()) && is_waiting(others.as_mut()));
        work(running, 10).await;
        assert!(
            is_waiting(others.as_mut()),
            "he has had as little, and came later"
        );
        drop(known.await);
        drop(others.await);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_is_passed_over() {
        let queue = FairQueue::default();
        let (first, second, third) = (document("first"), document("second"), document("third"));
        let running = queue.turn(first.clone()).await;
        let mut given_up = Box::pin(queue.turn(second.clone()));
        let mut kept = Box::pin(queue.turn(third.clone()));
        assert!(is_waiting(given_up.as_mut()) && is_waiting(kept.as_mut()));
        drop(given_up);
        drop(running);
        let turn = kept.await;
        // A turn that was given and never looked at goes on, too.
        let mut unseen = Box::pin(queue.turn(first.clone()));
        let mut last = Box::pin(queue.turn(second.clone()));
        assert!(is_waiting(unseen.as_mut()) && is_waiting(last.as_mut()));
        drop(turn);
        drop(unseen);
        drop(last.await);
        assert!(!queue.state().is_taken);
    }
}
