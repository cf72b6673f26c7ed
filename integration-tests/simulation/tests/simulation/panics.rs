//! Panics in tasks, which nobody awaits: a run that has one is a failed run.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Notes from here on every panic of a thread that the engine's guard does not catch.
pub fn watch() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            SEEN.with_borrow_mut(|seen| seen.push(format!("a panic: {info}")));
            previous(info);
        }));
        // Its hook comes first and keeps the engine's panics, which are caught, to itself.
        crdt_document::quiet_guarded_panics();
    });
    SEEN.take();
}

/// The panics of this thread since it began to watch.
pub fn take() -> Vec<String> {
    SEEN.take()
}
