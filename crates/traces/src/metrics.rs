//! Names of the metrics of tracing itself.

/// Counter, by `outcome`: spans that were `exported`, found the queue full (`overflowed`), did not reach
/// the collector (`undelivered`), or that it did not want (`rejected`).
pub const SPANS: &str = "collabedit_traces_spans_total";
/// Counter: batches that a client wanted traced beyond what a gateway lets be traced.
pub const BATCHES_DECLINED: &str = "collabedit_traces_batches_declined_total";
