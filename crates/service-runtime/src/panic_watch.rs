use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Sees every panic of the process, in whatever thread or task.
///
/// A task that panics is gone, and nobody waits for most tasks. A process in which that happened is
/// no longer what it claims to be, so it ends, in order, and is started again. Panics that are
/// expected and caught (the engine's) are kept from hooks by whoever catches them.
#[derive(Clone, Debug)]
pub struct PanicWatch {
    panicked: CancellationToken,
    first: Arc<Mutex<Option<String>>>,
}

impl PanicWatch {
    /// Watches from now on. Meant for `main`: the hook is the whole process's, and stays. The hook
    /// that was there before still runs.
    pub fn install() -> Self {
        let watch = Self {
            panicked: CancellationToken::new(),
            first: Arc::default(),
        };
        let (seen, previous) = (watch.clone(), panic::take_hook());
        panic::set_hook(Box::new(move |info| {
            previous(info);
            seen.note(info);
        }));
        watch
    }

    /// Waits for the first panic, for ever if there is none, and says where and what it was.
    pub async fn panicked(&self) -> String {
        self.panicked.cancelled().await;
        let first = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        first.expect("the panic is written before its token is cancelled")
    }

    fn note(&self, info: &PanicHookInfo) {
        let said = info.payload_as_str().unwrap_or("a panic without words");
        let place = info
            .location()
            .map_or_else(String::new, |at| format!(" ({at})"));
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| format!("{said}{place}"));
        self.panicked.cancel();
    }
}
