//! Blobs in a real S3 server, which `cargo xtask test --only s3` runs.
#![allow(clippy::unwrap_used)] // Tests.
#![allow(clippy::disallowed_methods)] // A prefix is named after the time.

#[cfg(feature = "cloud")]
mod s3 {
    mod canned;
    mod refusals;
    mod server;
    mod suite;
}

/// Without the feature there is nothing to test; this says so, past the harness's capture.
#[cfg(not(feature = "cloud"))]
#[test]
fn skipped_as_the_feature_cloud_is_off() {
    use std::io::Write;
    let text = "the S3 suite is skipped: run `cargo xtask test --only s3`\n";
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}
