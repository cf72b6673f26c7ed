//! What happened, in order, each line with its simulated time.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// Everything that the actors of a run saw and did. Two runs of one plan have the same bytes.
#[derive(Clone, Debug)]
pub struct Trace {
    started: Instant,
    lines: Arc<Mutex<String>>,
}

impl Trace {
    /// An empty trace whose time begins now.
    #[must_use]
    pub fn begin() -> Self {
        #[allow(clippy::disallowed_methods)] // Paused time, which the simulation controls.
        let started = Instant::now();
        Self {
            started,
            lines: Arc::default(),
        }
    }

    /// Simulated milliseconds since the begin.
    #[must_use]
    pub fn now_ms(&self) -> u128 {
        self.started.elapsed().as_millis()
    }

    /// Adds a line.
    pub fn note(&self, actor: &str, what: std::fmt::Arguments<'_>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(lines, "{:>8} {actor:<10} {what}", self.now_ms());
    }

    /// All lines so far.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Adds a line to a [`Trace`], formatted.
macro_rules! note {
    ($trace:expr, $actor:expr, $($what:tt)*) => {
        $trace.note(&$actor.to_string(), format_args!($($what)*))
    };
}
pub(crate) use note;
