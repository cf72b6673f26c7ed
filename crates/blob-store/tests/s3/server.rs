use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use blob_store::BlobSettings;
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use test_parts::variable;

/// The server, as `http://HOST:PORT`.
pub fn endpoint() -> String {
    variable("COLLABEDIT_TEST_S3")
}

pub fn bucket() -> String {
    variable("COLLABEDIT_TEST_S3_BUCKET")
}

/// A prefix that nobody has used.
pub fn new_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("test/{}-{number}", now.as_nanos())
}

/// A store in the server's bucket, which is reached at this endpoint.
pub fn settings(endpoint: &str, bucket: &str, prefix: &str) -> BlobSettings {
    let address = format!("s3://{bucket}/{prefix}?endpoint={endpoint}&allow_http=true");
    address.parse().unwrap()
}

/// The bucket as anybody else may use it.
pub fn objects() -> Arc<dyn ObjectStore> {
    let builder = AmazonS3Builder::from_env()
        .with_endpoint(endpoint())
        .with_allow_http(true)
        .with_bucket_name(bucket());
    Arc::new(builder.build().unwrap())
}
