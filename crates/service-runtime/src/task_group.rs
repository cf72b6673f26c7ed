use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Why a process can't go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task {task} failed: {reason}")]
pub struct TaskFailure {
    /// The task's name.
    pub task: &'static str,
    /// Its panic's or its error's message.
    pub reason: String,
}

/// The tasks of one part of a process, each with a name.
///
/// A task that panics or returns an error is a failure of the whole process: nothing may go on as if
/// the merger were still there. The first failure is kept and wakes whoever waits in
/// [`TaskGroup::failed`]; ending the process in order is then that one's business.
///
/// Parts that end one after the other have a group each, made by [`TaskGroup::sibling`].
#[derive(Clone, Debug, Default)]
pub struct TaskGroup {
    tracker: TaskTracker,
    stop: CancellationToken,
    failed: CancellationToken,
    failure: Arc<Mutex<Option<TaskFailure>>>,
}

impl TaskGroup {
    /// A group without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// A group with tasks and an end of its own, whose failures are this one's failures too.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self {
            failed: self.failed.clone(),
            failure: self.failure.clone(),
            ..Self::default()
        }
    }

    /// The group's tasks, for parts that run many short ones without names. Their panics are seen by
    /// [`crate::PanicWatch`].
    pub fn tracker(&self) -> TaskTracker {
        self.tracker.clone()
    }

    /// Runs `task` until it ends.
    pub fn spawn<E: std::fmt::Display>(
        &self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let group = self.clone();
        self.tracker.spawn(async move {
            match AssertUnwindSafe(task).catch_unwind().await {
                Ok(Ok(())) => tracing::debug!(task = name, "task ended"),
                Ok(Err(error)) => group.fail(name, error.to_string()),
                Err(panic) => group.fail(name, panic_message(panic.as_ref())),
            }
        });
    }

    /// The token that asks this group's tasks to end.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Asks the tasks to end and waits until they have.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Waits for the first failure, for ever if there is none.
    pub async fn failed(&self) -> TaskFailure {
        self.failed.cancelled().await;
        let failure = self
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        failure.expect("the failure is written before its token is cancelled")
    }

    fn fail(&self, task: &'static str, reason: String) {
        tracing::error!(task, reason, "task failed");
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(TaskFailure { task, reason });
        self.failed.cancel();
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[tokio::test]
    async fn a_panic_in_a_task_is_a_failure_of_the_process() {
        let tasks = TaskGroup::new();
        tasks.spawn("healthy", async { Ok::<_, Infallible>(()) });
        tasks.spawn::<Infallible>("merger", async { panic!("position {} is gone", 7) });
        let failure = tasks.failed().await;
        assert_eq!(
            failure.to_string(),
            "the task merger failed: it panicked: position 7 is gone"
        );
    }

    #[tokio::test]
    async fn an_error_of_a_task_is_a_failure_of_the_process() {
        let tasks = TaskGroup::new();
        tasks.spawn("log", async { Err("the disk is full") });
        assert_eq!(tasks.failed().await.reason, "the disk is full");
    }

    #[tokio::test]
    async fn stopping_waits_for_every_task() {
        let tasks = TaskGroup::new();
        let (stop, done) = (tasks.stop_token(), Arc::new(Mutex::new(false)));
        let set = done.clone();
        tasks.spawn("slow", async move {
            stop.cancelled().await;
            tokio::task::yield_now().await;
            *set.lock().unwrap() = true;
            Ok::<_, Infallible>(())
        });
        tasks.stop().await;
        assert!(*done.lock().unwrap());
    }

    #[tokio::test]
    async fn siblings_end_apart_and_fail_together() {
        let first = TaskGroup::new();
        let second = first.sibling();
        first.stop().await;
        assert!(!second.stop_token().is_cancelled());
        second.spawn("second", async { Err("broken") });
        assert_eq!(first.failed().await.task, "second");
    }
}
