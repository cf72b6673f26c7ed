use anyhow::Context;
use tokio::runtime::{Builder, Handle, Runtime};

/// How far the threads give way.
const NICENESS: i32 = 10;
/// Threads that attackers share.
const THREADS: usize = 2;

/// The attackers' machines. What they do with their own processors is no concern of those who type, so
/// here, where all share one machine, theirs give way.
pub struct Machines(Option<Runtime>);

impl Machines {
    /// Starts them.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub fn new() -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("attacker")
            .enable_all()
            .on_thread_start(|| {
                // Whoever may do nothing else may still give way.
                let _ = rustix::process::nice(NICENESS);
            })
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Where attackers are spawned.
    ///
    /// # Errors
    /// None before this is dropped.
    pub fn handle(&self) -> anyhow::Result<&Handle> {
        let runtime = self.0.as_ref().context("the machines were stopped")?;
        Ok(runtime.handle())
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        // A runtime that waits for its threads must not be dropped by another's task.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
