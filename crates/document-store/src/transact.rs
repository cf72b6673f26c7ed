//! The one retry loop for transactions.

use clock::Random;
use document_types::limits::{
    MERGE_ATTEMPTS_MAX, TRANSACTION_BACKOFF_FIRST, TRANSACTION_BACKOFF_MAX,
};

use crate::ordered_kv::{KvError, OrderedKv, Transaction};

/// An error that may be, or stand for, an error of the store below.
pub trait TransactError: From<KvError> {
    /// The store's error, if it is one.
    fn as_kv(&self) -> Option<&KvError>;
}

impl TransactError for KvError {
    fn as_kv(&self) -> Option<&KvError> {
        Some(self)
    }
}

/// Runs `body` in a new transaction, again and again while that fails retryably: at most
/// [`MERGE_ATTEMPTS_MAX`] times, with a pause that doubles up to [`TRANSACTION_BACKOFF_MAX`] and is
/// drawn from the whole of it.
///
/// A `body` that writes ends with [`Transaction::commit`]; one that only reads need not. It may run
/// more than once, also after a run whose commit happened unnoticed. So it must have no effect but
/// through its transaction, ids and times are made outside of it, and what it reads must tell it when
/// its work is done already.
///
/// # Errors
/// What `body` returned last.
pub async fn transact<T, E, F>(
    kv: &dyn OrderedKv,
    random: &Random,
    mut body: impl FnMut(Box<dyn Transaction>) -> F,
) -> Result<T, E>
where
    E: TransactError,
    F: Future<Output = Result<T, E>>,
{
    let mut backoff = TRANSACTION_BACKOFF_FIRST;
    let mut attempt = 1;
    loop {
        let result = match kv.begin().await {
            Ok(transaction) => body(transaction).await,
            Err(error) => Err(error.into()),
        };
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Some(kv_error) = error.as_kv().filter(|kv_error| kv_error.is_retryable()) else {
            return Err(error);
        };
        metrics::counter!("collabedit_document_store_retries_total", "error" => kv_error.as_str())
            .increment(1);
        if attempt == MERGE_ATTEMPTS_MAX {
            return Err(error);
        }
        tracing::debug!(
            attempt,
            error = kv_error.as_str(),
            "a transaction is tried again"
        );
        tokio::time::sleep(random.jitter(backoff)).await;
        backoff = (backoff * 2).min(TRANSACTION_BACKOFF_MAX);
        attempt += 1;
    }
}
