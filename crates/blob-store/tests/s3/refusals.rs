//! What servers answer that don't do what they were asked.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use blob_store::{BlobError, BlobStore, OpenError};
use document_types::limits::{BLOB_OPERATION_TIME_MAX, BLOB_RETRIES_MAX};
use test_parts::variable;
use tokio::time::Instant;

use super::canned::CannedServer;
use super::server::settings;

async fn open(server: &CannedServer) -> Result<BlobStore, OpenError> {
    BlobStore::open(&settings(&server.endpoint(), "blobs", "p")).await
}

fn unusable(opened: Result<BlobStore, OpenError>) -> BlobError {
    match opened.unwrap_err() {
        OpenError::Unusable(error) => error,
        error => panic!("{error:?}"),
    }
}

/// The error with all its causes, as a log shows it.
fn whole_text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
#[ignore = "needs S3: cargo xtask test --only s3"]
async fn missing_permission_is_refused_and_tells_no_secret() {
    for status in [401, 403] {
        let body = "<Error><Code>SignatureDoesNotMatch</Code></Error>";
        let server = CannedServer::start(move |_| Some((status, body))).await;
        let error = unusable(open(&server).await);
        assert!(matches!(error, BlobError::Refused(_)), "{error:?}");
        let text = format!("{} {error:?}", whole_text(&error));
        assert!(text.contains("SignatureDoesNotMatch"), "{text}");
        assert!(!text.contains(&variable("AWS_SECRET_ACCESS_KEY")), "{text}");
    }
}

#[tokio::test]
#[ignore = "needs S3: cargo xtask test --only s3"]
async fn a_bucket_that_does_not_exist_is_refused_when_the_store_opens() {
    let body = "<Error><Code>NoSuchBucket</Code></Error>";
    let server = CannedServer::start(move |_| Some((404, body))).await;
    let error = unusable(open(&server).await);
    assert!(matches!(error, BlobError::Refused(_)), "{error:?}");
    assert!(whole_text(&error).contains("NoSuchBucket"), "{error:?}");
}

#[tokio::test]
#[ignore = "needs S3: cargo xtask test --only s3"]
async fn permission_to_write_and_not_to_see_what_is_missing_is_refused() {
    // S3 hides from who may not list a bucket whether an object is there.
    let server = CannedServer::start(|method| {
        Some(if method == "PUT" {
            (200, "")
        } else {
            (403, "")
        })
    })
    .await;
    let error = unusable(open(&server).await);
    assert!(matches!(error, BlobError::Refused(_)), "{error:?}");
}

#[tokio::test]
#[ignore = "needs S3: cargo xtask test --only s3"]
async fn a_server_in_trouble_is_asked_again_and_then_unavailable() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let server = CannedServer::start(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Some((503, "<Error><Code>SlowDown</Code></Error>"))
    })
    .await;
    let error = unusable(open(&server).await);
    assert!(matches!(error, BlobError::Unavailable(_)), "{error:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 1 + BLOB_RETRIES_MAX);
}

#[tokio::test]
#[ignore = "needs S3: cargo xtask test --only s3"]
async fn a_put_that_lost_against_another_that_is_not_done_is_not_acknowledged() {
    let server = CannedServer::start(|method| {
        Some(if method == "PUT" {
            (
                409,
                "<Error><Code>ConditionalRequestConflict</Code></Error>",
            )
        } else {
            (404, "")
        })
    })
    .await;
    let error = unusable(open(&server).await);
    assert!(matches!(error, BlobError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
#[ignore = "needs S3: cargo xtask test --only s3"]
async fn a_server_that_does_not_listen_is_unavailable() {
    let server = CannedServer::start(|_| None).await;
    let endpoint = server.endpoint();
    drop(server);
    let opened = BlobStore::open(&settings(&endpoint, "blobs", "p")).await;
    let error = opened.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}

/// The clock goes ahead to the next timeout whenever nothing is left to do but wait.
#[tokio::test(start_paused = true)]
#[ignore = "needs S3: cargo xtask test --only s3"]
async fn a_server_that_never_answers_is_given_up_in_time() {
    let server = CannedServer::start(|_| None).await;
    let started = Instant::now();
    let error = unusable(open(&server).await);
    assert!(matches!(error, BlobError::Unavailable(_)), "{error:?}");
    assert!(started.elapsed() <= 2 * BLOB_OPERATION_TIME_MAX);
}
