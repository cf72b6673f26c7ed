use std::fmt;

use bytes::Bytes;
use document_types::Digest;
use document_types::limits::BLOB_PIECE_BYTES_MAX;

/// The name of a blob: the digest of all that it holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub Digest);

impl BlobId {
    /// The id of the blob that holds these bytes.
    pub async fn of(bytes: &Bytes) -> Self {
        let mut hasher = blake3::Hasher::new();
        for piece in bytes.chunks(BLOB_PIECE_BYTES_MAX) {
            hasher.update(piece);
            // A whole blob takes a tenth of a second, for which the thread's other tasks must not wait.
            tokio::task::yield_now().await;
        }
        Self::from_hasher(&hasher)
    }

    pub(crate) fn from_hasher(hasher: &blake3::Hasher) -> Self {
        Self(Digest(*hasher.finalize().as_bytes()))
    }

    /// Where the blob lies below a bucket's prefix: `blobs/ab/cdef…`.
    pub fn path(&self) -> String {
        let digest = self.to_string();
        let (first_byte, rest) = digest.split_at(2);
        format!("blobs/{first_byte}/{rest}")
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is stored in one place today has to be found there tomorrow.
    #[tokio::test]
    async fn a_blobs_place_is_its_blake3_digest() {
        let id = BlobId::of(&Bytes::from_static(b"")).await;
        assert_eq!(
            id.path(),
            "blobs/af/1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
        let long = Bytes::from(vec![7; 2 * BLOB_PIECE_BYTES_MAX + 1]);
        assert_eq!(BlobId::of(&long).await, BlobId(Digest::of(&long)));
    }
}
