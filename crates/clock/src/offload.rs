/// Where work is done that would hold up an async thread for too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offload {
    /// On the runtime's threads for blocking work.
    #[default]
    Threads,
    /// Where it is asked for: in simulations, since no seed says when another thread is done.
    InPlace,
}

/// The work panicked, or the runtime ended before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work was interrupted")]
pub struct Interrupted;

impl Offload {
    /// Does `work`. It goes on although the future is dropped.
    ///
    /// # Errors
    /// [`Interrupted`]. In place, a panic goes through to the caller.
    pub async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Interrupted> {
        match self {
            Self::Threads => tokio::task::spawn_blocking(work)
                .await
                .map_err(|_| Interrupted),
            Self::InPlace => Ok(work()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_on_a_thread_or_in_place() {
        let here = std::thread::current().id();
        let thread = || std::thread::current().id();
        assert_eq!(Offload::InPlace.run(thread).await, Ok(here));
        assert_ne!(Offload::Threads.run(thread).await, Ok(here));
        let panicking = Offload::Threads.run(|| std::panic::resume_unwind(Box::new("")));
        assert_eq!(panicking.await, Err::<(), _>(Interrupted));
    }
}
