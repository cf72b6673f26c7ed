//! A process of its own, since a panic hook is the whole process's.

use service_runtime::{PanicWatch, TaskGroup};

#[tokio::test]
async fn a_panic_in_a_task_that_nobody_waits_for_is_seen() {
    let watch = PanicWatch::install();
    TaskGroup::new()
        .tracker()
        .spawn(async { panic!("nobody waits for me") });
    let panic = watch.panicked().await;
    assert!(panic.starts_with("nobody waits for me ("), "{panic}");
    assert!(panic.contains("panic_watch.rs:"), "{panic}");
}
