//! Large objects that are named by their content.
//!
//! [`BlobStore`] keeps blobs in S3, in Google Cloud Storage, in a directory of this machine or in
//! memory. A blob's name is the digest of what it holds, so it never changes, storing it again is
//! storing nothing, and whoever reads it can tell whether it is what was stored: a damaged blob is an
//! error and never a result. [`conformance`] is what a store has to do wherever it keeps its blobs.
//!
//! # Where a blob lies
//!
//! | store | place |
//! |---|---|
//! | S3, Google Cloud Storage, memory | the object `PREFIX/blobs/ab/cdef…` ([`BlobId::path`]) |
//! | a directory | the file `abcdef…`, and `abcdef….N.partial` while it is being written |
//!
//! In a bucket, which others use as well, the first byte stands apart, so that all blobs can be listed
//! in 256 parts side by side. In a directory there is nothing else, and a second level would need syncs
//! of its own.
//!
//! S3 and Google Cloud Storage need the feature `cloud`.

mod blob_id;
mod blob_store;
#[cfg(feature = "cloud")]
mod cloud;
pub mod conformance;
mod directory;
mod error;
mod objects;
mod open;
mod reader;
mod remote;
mod settings;

pub use blob_id::BlobId;
pub use blob_store::BlobStore;
pub use error::{BlobError, Cause, OpenError};
pub use reader::BlobReader;
pub use settings::{BadSettings, BlobSettings, S3Settings};
