use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use document_types::limits::{
    EMBEDDED_LOG_GROUP_BYTES_MAX, EMBEDDED_LOG_QUEUE_BYTES_MAX, EMBEDDED_LOG_QUEUE_COUNT_MAX,
};
use document_types::{DocumentId, LogOffset, LogPartition};
use tokio::sync::oneshot;

use super::format::{GROUP_HEADER_BYTES, GroupBuilder};
use crate::{AppendError, Cause, TrimError};

/// What waits for the writer, in the order in which it was enqueued.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    end: Option<End>,
}

/// Why nothing more is taken in.
#[derive(Clone, Debug)]
enum End {
    /// The owner closed the log; what waits is still written.
    Closed,
    /// The writer stopped on an error.
    Stopped(Cause),
}

/// One thing for the writer to do.
#[derive(Debug)]
pub(super) enum Waiting {
    Append {
        partition: LogPartition,
        document: DocumentId,
        record: Bytes,
        done: oneshot::Sender<Result<LogOffset, AppendError>>,
    },
    Trim {
        partition: LogPartition,
        end: LogOffset,
        done: oneshot::Sender<Result<(), TrimError>>,
    },
}

impl Waiting {
    /// Bytes that it takes in a group.
    fn entry_bytes(&self) -> usize {
        match self {
            Self::Append {
                document, record, ..
            } => GroupBuilder::record_entry_bytes(document, record),
            Self::Trim { .. } => 13,
        }
    }

    /// Answers that it was not written.
    pub(super) fn refuse(self, cause: &Cause) {
        // Nobody may be waiting for the answer; then it is not needed.
        match self {
            Self::Append { done, .. } => {
                let _ = done.send(Err(AppendError::Failed(Cause::clone(cause))));
            }
            Self::Trim { done, .. } => {
                let _ = done.send(Err(TrimError::Unavailable(Cause::clone(cause))));
            }
        }
    }

    /// Answers that nobody knows whether it was written.
    pub(super) fn leave_unknown(self, cause: &Cause) {
        match self {
            Self::Append { done, .. } => {
                let _ = done.send(Err(AppendError::Unknown(Cause::clone(cause))));
            }
            Self::Trim { done, .. } => {
                let _ = done.send(Err(TrimError::Unavailable(Cause::clone(cause))));
            }
        }
    }
}

impl Queue {
    /// Enqueues an append, or says at once why not.
    pub(super) fn push_append(
        &self,
        partition: LogPartition,
        document: DocumentId,
        record: Bytes,
    ) -> Result<oneshot::Receiver<Result<LogOffset, AppendError>>, AppendError> {
        let mut state = self.lock();
        match &state.end {
            Some(End::Closed) => return Err(AppendError::Closed),
            Some(End::Stopped(cause)) => return Err(AppendError::Failed(Cause::clone(cause))),
            None => {}
        }
        let (done, result) = oneshot::channel();
        let waiting = Waiting::Append {
            partition,
            document,
            record,
            done,
        };
        if state.is_full(waiting.entry_bytes()) {
            return Err(AppendError::Overloaded {
                waiting_count: state.waiting.len(),
            });
        }
        state.push(waiting);
        self.changed.notify_one();
        Ok(result)
    }

    /// Enqueues a trim, or says at once why not.
    pub(super) fn push_trim(
        &self,
        partition: LogPartition,
        end: LogOffset,
    ) -> Result<oneshot::Receiver<Result<(), TrimError>>, TrimError> {
        let mut state = self.lock();
        match &state.end {
            Some(End::Closed) => return Err(TrimError::Closed),
            Some(End::Stopped(cause)) => return Err(TrimError::Unavailable(Cause::clone(cause))),
            None => {}
        }
        let (done, result) = oneshot::channel();
        let waiting = Waiting::Trim {
            partition,
            end,
            done,
        };
        if state.is_full(waiting.entry_bytes()) {
            let cause = AppendError::Overloaded {
                waiting_count: state.waiting.len(),
            };
            return Err(TrimError::Unavailable(Arc::new(cause)));
        }
        state.push(waiting);
        self.changed.notify_one();
        Ok(result)
    }

    /// Waits until something is there and takes as much as fits one group, into `group`. False if
    /// there will be nothing more.
    pub(super) fn take_group(&self, group: &mut Vec<Waiting>) -> bool {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.end.is_some() {
                return false;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut group_bytes = GROUP_HEADER_BYTES;
        while let Some(next) = state.waiting.front() {
            group_bytes += next.entry_bytes();
            if group_bytes > EMBEDDED_LOG_GROUP_BYTES_MAX && !group.is_empty() {
                break;
            }
            let Some(next) = state.waiting.pop_front() else {
                break;
            };
            state.bytes -= next.entry_bytes();
            group.push(next);
        }
        true
    }

    /// Takes in nothing more; what waits is still for the writer.
    pub(super) fn close(&self) {
        self.lock().end.get_or_insert(End::Closed);
        self.changed.notify_one();
    }

    /// Takes in nothing more and hands back what waits.
    pub(super) fn stop(&self, cause: &Cause) -> VecDeque<Waiting> {
        let mut state = self.lock();
        state.end = Some(End::Stopped(Cause::clone(cause)));
        state.bytes = 0;
        std::mem::take(&mut state.waiting)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under this lock is complete before anything in it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_full(&self, entry_bytes: usize) -> bool {
        self.waiting.len() >= EMBEDDED_LOG_QUEUE_COUNT_MAX
            || self.bytes + entry_bytes > EMBEDDED_LOG_QUEUE_BYTES_MAX
    }

    fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.entry_bytes();
        self.waiting.push_back(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTITION: LogPartition = LogPartition(0);

    fn push(queue: &Queue, record_bytes: usize) -> Result<(), AppendError> {
        let document = DocumentId::parse("doc").unwrap();
        queue
            .push_append(PARTITION, document, vec![0; record_bytes].into())
            .map(drop)
    }

    #[test]
    fn what_waits_is_bounded_by_count_and_by_bytes() {
        for (record_bytes, count_max) in [
            (0, EMBEDDED_LOG_QUEUE_COUNT_MAX),
            (
                1024 * 1024,
                EMBEDDED_LOG_QUEUE_BYTES_MAX / (1024 * 1024 + 21),
            ),
        ] {
            let queue = Queue::default();
            for _ in 0..count_max {
                push(&queue, record_bytes).unwrap();
            }
            let refused = push(&queue, record_bytes);
            assert!(
                matches!(refused, Err(AppendError::Overloaded { waiting_count }) if waiting_count == count_max),
                "{refused:?}"
            );
            // Once a group is taken there is room again.
            assert!(queue.take_group(&mut Vec::new()));
            push(&queue, record_bytes).unwrap();
        }
    }

    #[test]
    fn a_group_takes_what_waits_up_to_its_limit() {
        let queue = Queue::default();
        for _ in 0..10 {
            push(&queue, 1024 * 1024).unwrap();
        }
        let mut groups = Vec::new();
        for _ in 0..4 {
            let mut group = Vec::new();
            assert!(queue.take_group(&mut group));
            groups.push(group.len());
        }
        assert_eq!(groups, [3, 3, 3, 1]);
        queue.close();
        assert!(!queue.take_group(&mut Vec::new()));
        assert!(matches!(push(&queue, 0), Err(AppendError::Closed)));
    }
}
