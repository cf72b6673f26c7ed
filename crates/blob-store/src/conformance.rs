//! What a [`BlobStore`] has to do wherever it keeps its blobs, as one suite. [`conformance_tests!`]
//! makes a test of each of its rules.
//!
//! [`conformance_tests!`]: crate::conformance_tests
#![allow(clippy::unwrap_used, missing_docs)] // Tests, whose names say what they show.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use document_types::Digest;
use document_types::limits::{BLOB_BYTES_MAX, BLOB_OPERATIONS_MAX, BLOB_PIECE_BYTES_MAX};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use futures::poll;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::{BlobError, BlobId, BlobStore};

/// Makes a test of each rule. First come the attributes of the tests, as in `#[tokio::test]`; what follows
/// is a path to an `async fn() -> (Subject, T)` that makes an empty store and something to keep until the
/// test is over, for instance a temporary directory.
#[macro_export]
macro_rules! conformance_tests {
    ($(#[$attribute:meta])+ $make:path) => {
        $crate::conformance_tests! {
            @each [$(#[$attribute])+] $make,
            what_was_put_is_got_whatever_its_length,
            a_blob_is_named_by_its_content,
            what_nobody_put_is_not_found,
            putting_again_is_putting_once,
            everybody_may_put_the_same_blob_at_once,
            more_operations_than_may_be_at_work_wait_for_their_turn,
            a_reader_gives_pieces_in_order,
            a_reader_that_was_stopped_loses_nothing,
            the_largest_blob_fits_and_a_larger_one_is_refused,
            a_damaged_blob_is_never_returned,
            a_blob_of_another_length_is_noticed_when_it_is_put_again,
            a_put_that_was_given_up_leaves_the_whole_blob_or_nothing,
        }
    };
    (@each $attributes:tt $make:path, $($name:ident,)*) => {
        $(
            $crate::conformance_tests! { @one $attributes $make, $name }
        )*
    };
    (@one [$(#[$attribute:meta])+] $make:path, $name:ident) => {
        $(#[$attribute])+
        async fn $name() {
            let (subject, _kept) = $make().await;
            $crate::conformance::$name(subject).await;
        }
    };
}

/// Puts bytes where the store keeps the blob of this name, past the store.
pub type Replace = Box<dyn Fn(BlobId, Bytes) -> BoxFuture<'static, ()> + Send + Sync>;

/// A store under test.
pub struct Subject {
    /// The store, which holds nothing.
    pub store: BlobStore,
    /// Damages it.
    pub replace: Replace,
}

impl Subject {
    /// A store in these objects, below this prefix.
    pub fn in_objects(objects: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        let prefix = Path::from(prefix);
        let store = BlobStore::in_objects(Arc::clone(&objects), prefix.clone());
        let replace = move |id: BlobId, bytes: Bytes| {
            let objects = Arc::clone(&objects);
            let path = Path::from(format!("{prefix}/{}", id.path()));
            let put = async move { objects.put(&path, bytes.into()).await.unwrap() };
            put.map(|_| ()).boxed()
        };
        Self {
            store,
            replace: Box::new(replace),
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

/// Bytes that differ between seeds and between places.
pub fn content(seed: u64, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes.into()
}

/// All pieces of a blob, until the reader has said that they are the blob.
async fn pieces(store: &BlobStore, id: BlobId) -> Result<Vec<Bytes>, BlobError> {
    let mut reader = store.read(id).await?;
    let mut pieces = Vec::new();
    while let Some(piece) = reader.next().await? {
        pieces.push(piece);
    }
    Ok(pieces)
}

pub async fn what_was_put_is_got_whatever_its_length(subject: Subject) {
    let store = subject.store;
    let piece = BLOB_PIECE_BYTES_MAX;
    let lengths = [0, 1, 1000, piece - 1, piece, piece + 1, 2 * piece + 7];
    for (seed, length) in (0..).zip(lengths) {
        let bytes = content(seed, length);
        let id = store.put(bytes.clone()).await.unwrap();
        assert_eq!(store.get(id).await.unwrap(), bytes, "{length} bytes");
        assert!(store.exists(id).await.unwrap(), "{length} bytes");
        assert_eq!(store.read(id).await.unwrap().length(), length);
    }
}

pub async fn a_blob_is_named_by_its_content(subject: Subject) {
    let (one, other) = (content(1, 1000), content(2, 1000));
    let id = subject.store.put(one.clone()).await.unwrap();
    assert_eq!(id, BlobId(Digest::of(&one)));
    assert_ne!(subject.store.put(other).await.unwrap(), id);
}

pub async fn what_nobody_put_is_not_found(subject: Subject) {
    let store = subject.store;
    store.put(content(1, 10)).await.unwrap();
    let absent = BlobId(Digest::of(b"nobody put this"));
    assert!(!store.exists(absent).await.unwrap());
    for error in [
        store.get(absent).await.unwrap_err(),
        store.read(absent).await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, BlobError::NotFound { id } if *id == absent),
            "{error:?}"
        );
        assert!(!error.is_retryable());
    }
}

pub async fn putting_again_is_putting_once(subject: Subject) {
    let bytes = content(1, 1000);
    let id = subject.store.put(bytes.clone()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(subject.store.put(bytes.clone()).await.unwrap(), id);
    }
    assert_eq!(subject.store.get(id).await.unwrap(), bytes);
}

pub async fn everybody_may_put_the_same_blob_at_once(subject: Subject) {
    let bytes = content(1, 300_000);
    let puts = (0..BLOB_OPERATIONS_MAX).map(|_| async {
        // An object store may say of a put that it lost against another that is not done yet.
        loop {
            match subject.store.put(bytes.clone()).await {
                Err(error) if error.is_retryable() => {}
                done => break done,
            }
        }
    });
    for put in join_all(puts).await {
        assert_eq!(subject.store.get(put.unwrap()).await.unwrap(), bytes);
    }
}

pub async fn more_operations_than_may_be_at_work_wait_for_their_turn(subject: Subject) {
    let store = subject.store;
    let round_trips = (0..5 * BLOB_OPERATIONS_MAX as u64).map(|seed| {
        let store = store.clone();
        async move {
            let bytes = content(seed, 10_000);
            let id = store.put(bytes.clone()).await.unwrap();
            assert_eq!(store.get(id).await.unwrap(), bytes);
        }
    });
    join_all(round_trips).await;
}

pub async fn a_reader_gives_pieces_in_order(subject: Subject) {
    let bytes = content(1, 2 * BLOB_PIECE_BYTES_MAX + 1);
    let id = subject.store.put(bytes.clone()).await.unwrap();
    let pieces = pieces(&subject.store, id).await.unwrap();
    let lengths: Vec<_> = pieces.iter().map(Bytes::len).collect();
    assert_eq!(lengths, [BLOB_PIECE_BYTES_MAX, BLOB_PIECE_BYTES_MAX, 1]);
    assert_eq!(pieces.concat(), bytes);
}

pub async fn a_reader_that_was_stopped_loses_nothing(subject: Subject) {
    let bytes = content(1, BLOB_PIECE_BYTES_MAX + 1);
    let id = subject.store.put(bytes.clone()).await.unwrap();
    let mut reader = subject.store.read(id).await.unwrap();
    let mut read = Vec::new();
    loop {
        // Asked once and dropped, unless the answer was there at once.
        let first = reader.next().now_or_never();
        let next = match first {
            Some(next) => next,
            None => reader.next().await,
        };
        let Some(piece) = next.unwrap() else { break };
        read.extend_from_slice(&piece);
    }
    assert_eq!(read, bytes);
}

pub async fn the_largest_blob_fits_and_a_larger_one_is_refused(subject: Subject) {
    let larger = Bytes::from(vec![1; BLOB_BYTES_MAX + 1]);
    let largest = larger.slice(1..);
    let error = subject.store.put(larger).await.unwrap_err();
    assert!(
        matches!(error, BlobError::TooLarge { bytes, .. } if bytes == BLOB_BYTES_MAX + 1),
        "{error:?}"
    );
    let id = subject.store.put(largest.clone()).await.unwrap();
    assert!(subject.store.get(id).await.unwrap() == largest);
}

pub async fn a_damaged_blob_is_never_returned(subject: Subject) {
    let Subject { store, replace } = subject;
    let lengths = [1, 1000, BLOB_PIECE_BYTES_MAX + 10];
    for (seed, length) in (0..).zip(lengths) {
        let bytes = content(seed, length);
        let id = store.put(bytes.clone()).await.unwrap();
        let mut flipped = bytes.to_vec();
        flipped[length / 2] ^= 1;
        let damages = [
            Bytes::from(flipped),
            bytes.slice(..length - 1),
            bytes.slice(..0),
            [&bytes[..], b"x"].concat().into(),
            content(99, length),
        ];
        for damaged in damages {
            replace(id, damaged).await;
            for error in [
                store.get(id).await.unwrap_err(),
                pieces(&store, id).await.unwrap_err(),
            ] {
                assert!(
                    matches!(&error, BlobError::Damaged { id: named, .. } if *named == id),
                    "{error:?}"
                );
                assert!(!error.is_retryable());
            }
        }
        // Whoever brings it back from a copy has it back.
        replace(id, bytes.clone()).await;
        assert_eq!(store.get(id).await.unwrap(), bytes);
    }
}

pub async fn a_blob_of_another_length_is_noticed_when_it_is_put_again(subject: Subject) {
    let bytes = content(1, 1000);
    let id = subject.store.put(bytes.clone()).await.unwrap();
    (subject.replace)(id, bytes.slice(..999)).await;
    let error = subject.store.put(bytes).await.unwrap_err();
    assert!(matches!(error, BlobError::Damaged { .. }), "{error:?}");
}

pub async fn a_put_that_was_given_up_leaves_the_whole_blob_or_nothing(subject: Subject) {
    let store = subject.store;
    for seed in 0..20 {
        let bytes = content(seed, 200_000);
        let id = BlobId::of(&bytes).await;
        {
            let mut put = Box::pin(store.put(bytes.clone()));
            // Each time a little further.
            for _ in 0..seed {
                if poll!(&mut put).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        match store.get(id).await {
            Ok(got) => assert_eq!(got, bytes),
            Err(error) => assert!(matches!(error, BlobError::NotFound { .. }), "{error:?}"),
        }
        assert_eq!(store.put(bytes.clone()).await.unwrap(), id);
        assert_eq!(store.get(id).await.unwrap(), bytes);
    }
}
