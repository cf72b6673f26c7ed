//! Clients of S3 and Google Cloud Storage.

use std::sync::Arc;

use document_types::limits::{
    BLOB_CONNECT_TIME_MAX, BLOB_REQUEST_TIME_MAX, BLOB_RETRIES_MAX, BLOB_RETRY_PAUSE,
    BLOB_RETRY_PAUSE_MAX, BLOB_RETRY_TIME_MAX,
};
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::OpenError;
use crate::settings::S3Settings;

pub(crate) fn s3(settings: &S3Settings) -> Result<Arc<dyn ObjectStore>, OpenError> {
    // What the settings say stands above what the environment says. Of that the credentials are left,
    // and region and endpoint where the settings say nothing.
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&settings.bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_client_options(client(settings.allow_http))
        .with_retry(retries());
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let store = builder.build().map_err(client_error)?;
    Ok(Arc::new(store))
}

pub(crate) fn google_cloud(bucket: &str) -> Result<Arc<dyn ObjectStore>, OpenError> {
    let store = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(bucket)
        .with_client_options(client(false))
        .with_retry(retries())
        .build()
        .map_err(client_error)?;
    Ok(Arc::new(store))
}

fn client_error(error: object_store::Error) -> OpenError {
    OpenError::Client(Arc::new(error))
}

fn client(allow_http: bool) -> ClientOptions {
    // The client takes the process's provider, which may be there already. This one builds in seconds; the one
    // it would bring by itself takes minutes.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientOptions::new()
        .with_allow_http(allow_http)
        .with_connect_timeout(BLOB_CONNECT_TIME_MAX)
        .with_timeout(BLOB_REQUEST_TIME_MAX)
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: BLOB_RETRY_PAUSE,
            max_backoff: BLOB_RETRY_PAUSE_MAX,
            base: 2.0,
        },
        max_retries: BLOB_RETRIES_MAX,
        retry_timeout: BLOB_RETRY_TIME_MAX,
    }
}
