//! A bounded queue between tasks that takes memory for what waits in it and for nothing else.
//!
//! A channel of tokio's allocates the slots of 32 messages when it is made, however few it may hold,
//! and keeps its counters cache lines apart: 1 KiB and more for a queue. A gateway has several of
//! them for each socket, and nearly all are empty.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore};

/// Messages for which an empty queue keeps its memory, so that a queue in which now and then one waits
/// does not allocate each time.
const SLOTS_KEPT_COUNT_MAX: usize = 4;

/// A queue that holds at most `count_max` messages.
pub(crate) fn queue<T>(count_max: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        places: Semaphore::new(count_max),
        state: Mutex::new(State {
            waiting: VecDeque::new(),
            sender_count: 1,
        }),
        arrived: Notify::new(),
    });
    let sender = Sender {
        shared: shared.clone(),
    };
    (sender, Receiver { shared })
}

#[derive(Debug)]
struct Shared<T> {
    /// One permit for each message that still has a place; closed when nobody will receive any more.
    places: Semaphore,
    state: Mutex<State<T>>,
    /// Wakes the only receiver. A notice that comes between its look and its wait is kept.
    arrived: Notify,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    sender_count: usize,
}

impl<T> Shared<T> {
    /// Every change below is complete when it panics, if it ever does, so the state is still good.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody receives any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// Puts messages into a queue. Clones do so too.
#[derive(Debug)]
pub(crate) struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Puts a message into the queue, waiting for its turn while the queue is full. Dropping the future
    /// drops the message.
    pub(crate) async fn send(&self, message: T) -> Result<(), Closed> {
        let place = self.shared.places.acquire().await.map_err(|_| Closed)?;
        // The receiver gives the place back when it takes the message.
        place.forget();
        self.shared.lock().waiting.push_back(message);
        self.shared.arrived.notify_one();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.lock().sender_count += 1;
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let is_last = {
            let mut state = self.shared.lock();
            state.sender_count -= 1;
            state.sender_count == 0
        };
        if is_last {
            self.shared.arrived.notify_one();
        }
    }
}

/// Takes messages from a queue.
#[derive(Debug)]
pub(crate) struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Receiver<T> {
    /// The next message, or `None` if there is none and all senders are gone. Dropping the future loses
    /// nothing.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        loop {
            if let Some(message) = self.try_recv() {
                return Some(message);
            }
            // A sender may have put something in and gone since the look above.
            let is_over = {
                let state = self.shared.lock();
                state.sender_count == 0 && state.waiting.is_empty()
            };
            if is_over {
                return None;
            }
            self.shared.arrived.notified().await;
        }
    }

    /// The next message, if one waits.
    pub(crate) fn try_recv(&mut self) -> Option<T> {
        let message = {
            let mut state = self.shared.lock();
            let message = state.waiting.pop_front()?;
            if state.waiting.is_empty() && state.waiting.capacity() > SLOTS_KEPT_COUNT_MAX {
                state.waiting = VecDeque::new();
            }
            message
        };
        self.shared.places.add_permits(1);
        Some(message)
    }

    /// Takes no more messages than those that wait; senders are told.
    pub(crate) fn close(&mut self) {
        self.shared.places.close();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
        // Senders may live on for long.
        let waiting = std::mem::take(&mut self.shared.lock().waiting);
        drop(waiting);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_full_queue_lets_senders_wait_for_their_turn() {
        let (sender, mut receiver) = queue(2);
        sender.send(1).await.unwrap();
        sender.send(2).await.unwrap();
        let (mut third, mut fourth) = (Box::pin(sender.send(3)), Box::pin(sender.send(4)));
        assert_eq!(third.as_mut().now_or_never(), None);
        assert_eq!(fourth.as_mut().now_or_never(), None);
        assert_eq!(receiver.recv().await, Some(1));
        assert_eq!(fourth.as_mut().now_or_never(), None, "it is the third's");
        assert_eq!(third.now_or_never(), Some(Ok(())));
        assert_eq!(receiver.recv().await, Some(2));
        assert_eq!(fourth.now_or_never(), Some(Ok(())));
        assert_eq!(
            (receiver.recv().await, receiver.recv().await),
            (Some(3), Some(4))
        );
        assert_eq!(receiver.try_recv(), None);
    }

    #[tokio::test]
    async fn the_end_comes_after_what_waits() {
        let (sender, mut receiver) = queue(2);
        let other = sender.clone();
        other.send("last").await.unwrap();
        drop((sender, other));
        assert_eq!(receiver.recv().await, Some("last"));
        assert_eq!(receiver.recv().await, None);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_a_message_and_by_the_end() {
        let (sender, mut receiver) = queue(1);
        let send = async move { sender.send(1).await };
        let (received, sent) = tokio::join!(receiver.recv(), send);
        assert_eq!((received, sent), (Some(1), Ok(())));
        assert_eq!(receiver.recv().await, None);

        let (sender, mut receiver) = queue::<u8>(1);
        let end = async move { drop(sender) };
        assert_eq!(tokio::join!(receiver.recv(), end).0, None);
    }

    #[tokio::test]
    async fn senders_learn_that_nobody_receives() {
        let (sender, mut receiver) = queue(1);
        sender.send(1).await.unwrap();
        let mut waiting = Box::pin(sender.send(2));
        assert_eq!(waiting.as_mut().now_or_never(), None);
        receiver.close();
        assert_eq!(waiting.await, Err(Closed));
        assert_eq!(receiver.try_recv(), Some(1), "what waited is still there");
        drop(receiver);
        assert_eq!(sender.send(3).await, Err(Closed));
    }

    #[tokio::test]
    async fn what_is_waited_for_in_vain_loses_nothing() {
        let (sender, mut receiver) = queue(1);
        assert_eq!(receiver.recv().now_or_never(), None);
        sender.send(1).await.unwrap();
        assert_eq!(receiver.recv().now_or_never(), Some(Some(1)));
    }

    #[tokio::test]
    async fn a_queue_that_was_full_gives_its_memory_back() {
        let (sender, mut receiver) = queue(64);
        for message in 0..64 {
            sender.send(message).await.unwrap();
        }
        while receiver.try_recv().is_some() {}
        assert!(receiver.shared.lock().waiting.capacity() <= SLOTS_KEPT_COUNT_MAX);
    }
}
