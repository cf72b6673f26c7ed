use tokio::signal::unix::{Signal, SignalKind, signal};

/// The system did not let this process listen for signals.
#[derive(Debug, thiserror::Error)]
#[error("the process can't listen for signals")]
pub struct SignalError(#[from] std::io::Error);

/// The requests to stop that a person or an orchestrator sends: SIGINT and SIGTERM.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on; the process no longer dies of these signals by itself.
    ///
    /// # Errors
    /// [`SignalError`] if the system refuses.
    pub fn listen() -> Result<Self, SignalError> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next request and names its signal. The first asks for a drain; whoever sends a
    /// second one wants an end at once.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
