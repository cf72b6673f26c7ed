//! Keeps the engine's panics away from whoever called.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, Location};
use std::sync::Once;

thread_local! {
    static GUARDED_CALLS: Cell<u32> = const { Cell::new(0) };
    static LAST_PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs a call into the engine. A panic in it comes back as its place in the source, if
/// [`quiet_guarded_panics`] is installed. What it said is dropped: the engine prints whole documents.
///
/// Whatever the call shares with the outside must not be used again after a panic, nor dropped: the
/// engine's destructor panics on the lock that the first panic poisoned.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    GUARDED_CALLS.with(|calls| calls.set(calls.get() + 1));
    let outcome = panic::catch_unwind(AssertUnwindSafe(call));
    GUARDED_CALLS.with(|calls| calls.set(calls.get() - 1));
    outcome.map_err(|_| {
        LAST_PLACE
            .take()
            .unwrap_or_else(|| "an unknown place".to_owned())
    })
}

/// File, line and column, without the folders of the machine that compiled them.
fn place(location: &Location<'_>) -> String {
    let file = location.file().rsplit("/src/").next().unwrap_or_default();
    format!("{file}:{}:{}", location.line(), location.column())
}

/// Keeps panics that a [`crate::CrdtDocument`] catches from being printed to standard error, for the
/// whole process, and with them the document's text, which the engine's messages quote; the error that
/// the call returns says where it was. All other panics go to the hook that was there before. Calling
/// it again does nothing.
pub fn quiet_guarded_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if GUARDED_CALLS.with(Cell::get) == 0 {
                previous(info);
            } else {
                LAST_PLACE.set(info.location().map(place));
            }
        }));
    });
}
