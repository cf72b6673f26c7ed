//! Blobs in memory, where a simulation keeps them.

use std::sync::Arc;

use blob_store::conformance::Subject;
use object_store::memory::InMemory;

async fn in_memory() -> (Subject, ()) {
    (
        Subject::in_objects(Arc::new(InMemory::new()), "some/prefix"),
        (),
    )
}

blob_store::conformance_tests!(
    #[tokio::test]
    in_memory
);
