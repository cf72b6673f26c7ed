use blob_store::conformance::{Subject, content};
use blob_store::{BlobId, BlobStore};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use test_parts::variable;

use super::server::{bucket, endpoint, new_prefix, objects, settings};

/// A store under a prefix of its own, by the settings that a node would have.
async fn in_s3() -> (Subject, ()) {
    let prefix = new_prefix();
    let settings = settings(&endpoint(), &bucket(), &prefix);
    let past_it = Subject::in_objects(objects(), &prefix);
    let subject = Subject {
        store: BlobStore::open(&settings).await.unwrap(),
        ..past_it
    };
    (subject, ())
}

blob_store::conformance_tests!(
    #[tokio::test]
    #[ignore = "needs S3: cargo xtask test --only s3"]
    in_s3
);

#[tokio::test]
#[ignore = "needs S3: cargo xtask test --only s3"]
async fn a_blob_lies_where_the_documentation_says() {
    let prefix = new_prefix();
    let settings = settings(&endpoint(), &bucket(), &prefix);
    let store = BlobStore::open(&settings).await.unwrap();
    let id = store.put(content(1, 100)).await.unwrap();
    let empty = BlobId::of(&Bytes::new()).await;
    let listed = objects().list(Some(&Path::from(prefix.clone())));
    let mut found: Vec<_> = listed
        .map_ok(|object| object.location.to_string())
        .try_collect()
        .await
        .unwrap();
    found.sort();
    // The empty one is what opening stores to see that it can.
    let mut expected = [id, empty].map(|id| format!("{prefix}/{}", id.path()));
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
#[ignore = "needs S3: cargo xtask test --only s3"]
async fn what_one_node_stores_another_reads() {
    let settings = settings(&endpoint(), &bucket(), &new_prefix());
    let one = BlobStore::open(&settings).await.unwrap();
    let other = BlobStore::open(&settings).await.unwrap();
    let id = one.put(content(1, 100_000)).await.unwrap();
    assert_eq!(other.get(id).await.unwrap(), content(1, 100_000));
    assert_eq!(other.put(content(1, 100_000)).await.unwrap(), id);
}

#[tokio::test]
#[ignore = "needs S3: cargo xtask test --only s3"]
async fn what_a_store_shows_of_itself_holds_no_secret() {
    let settings = settings(&endpoint(), &bucket(), "shown");
    let store = BlobStore::open(&settings).await.unwrap();
    let shown = format!("{store:?} {settings:?}");
    assert!(shown.contains("shown"), "{shown}");
    assert!(
        !shown.contains(&variable("AWS_SECRET_ACCESS_KEY")),
        "{shown}"
    );
}
