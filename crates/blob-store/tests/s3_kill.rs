//! A real S3 server that is killed while a blob is on its way to it. It is a program of its own, since
//! nothing else may use the server meanwhile; `cargo xtask test --only s3` runs it.
#![cfg(feature = "cloud")]
#![allow(clippy::unwrap_used)] // Tests.
#![allow(clippy::disallowed_methods)] // A prefix is named after the time.

#[path = "s3_kill/gate.rs"]
mod gate;
#[allow(dead_code)] // The other suite uses more of it.
#[path = "s3/server.rs"]
mod server;

use blob_store::conformance::content;
use blob_store::{BlobError, BlobId, BlobStore};
use document_types::limits::{BLOB_OPERATION_TIME_MAX, BLOB_PIECE_BYTES_MAX};
use test_parts::parts;
use tokio::time::Instant;

use gate::Gate;
use server::{bucket, endpoint, new_prefix, settings};

/// Asks until there is an answer, as every caller has to.
async fn retried<T>(mut ask: impl AsyncFnMut() -> Result<T, BlobError>) -> Result<T, BlobError> {
    loop {
        match ask().await {
            Err(error) if error.is_retryable() => {}
            done => return done,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs S3: cargo xtask test --only s3"]
async fn a_killed_server_has_no_half_blobs_and_is_used_again_when_it_is_back() {
    let gate = Gate::open(&endpoint()).await;
    let settings = settings(&gate.endpoint(), &bucket(), &new_prefix());
    let store = BlobStore::open(&settings).await.unwrap();
    let kept = content(0, 100_000);
    let kept_id = store.put(kept.clone()).await.unwrap();
    let long_id = store
        .put(content(1, 2 * BLOB_PIECE_BYTES_MAX))
        .await
        .unwrap();
    let mut reader = store.read(long_id).await.unwrap();
    let first_piece = reader.next().await.unwrap().unwrap();

    // Several uploads have reached the server in part, and each a different part, when it is killed.
    let sizes = [1_000_000, 2_000_000, 3_000_000, 4_000_000];
    let blobs = (10_u64..)
        .zip(sizes)
        .map(|(seed, size)| content(seed, size));
    let blobs: Vec<_> = blobs.collect();
    gate.hold_after(900_000);
    let puts = blobs.iter().map(|blob| store.put(blob.clone()));
    let killing = async {
        gate.until_held(blobs.len()).await;
        parts(&["kill", "s3"]).await;
        gate.release();
    };
    let started = Instant::now();
    let (puts, ()) = tokio::join!(futures::future::join_all(puts), killing);
    for put in puts {
        let error = put.unwrap_err();
        assert!(matches!(error, BlobError::Unavailable(_)), "{error:?}");
    }
    for error in [
        store.get(kept_id).await.unwrap_err(),
        store.exists(kept_id).await.unwrap_err(),
        reader.next().await.unwrap_err(),
    ] {
        assert!(error.is_retryable(), "{error:?}");
    }
    assert!(started.elapsed() < BLOB_OPERATION_TIME_MAX);
    println!("given up after {:.1} s", started.elapsed().as_secs_f64());

    parts(&["up", "s3"]).await;
    for blob in &blobs {
        let id = BlobId::of(blob).await;
        let found = retried(async || store.get(id).await).await;
        assert!(matches!(found, Err(BlobError::NotFound { .. })), "{id}");
        assert_eq!(
            retried(async || store.put(blob.clone()).await)
                .await
                .unwrap(),
            id
        );
        assert_eq!(&store.get(id).await.unwrap(), blob);
    }
    assert_eq!(store.get(kept_id).await.unwrap(), kept);
    // A reader goes on where it was.
    let second_piece = reader.next().await.unwrap().unwrap();
    let read = [first_piece, second_piece].concat();
    assert_eq!(read, content(1, 2 * BLOB_PIECE_BYTES_MAX));
    assert_eq!(reader.next().await.unwrap(), None);
}
