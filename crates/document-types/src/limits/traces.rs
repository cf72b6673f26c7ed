//! Bounds of tracing: what clients may have exported, and what waits for the collector.

use std::time::Duration;

/// Batches a second that a gateway lets be traced, whatever its clients ask for. One leads to some eight
/// spans in the processes that it goes through, of some 300 bytes each.
pub const TRACED_BATCHES_PER_SECOND_MAX: u32 = 20;
/// Trace contexts that may wait for their batch, per socket; the oldest is forgotten.
pub const TRACES_WAITING_MAX: usize = 32;
/// Traced batches of one seat that are not answered yet, and answered ones of which the client has not
/// said yet how long it waited: as many as our clients have in flight. The oldest is forgotten.
pub const TRACED_BATCHES_PER_SEAT_MAX: usize = 32;
/// Traced updates that a room has let in and not yet shown. They wait for a beat at most; of more than
/// these it is not told when they were shown.
pub const TRACED_UPDATES_SHOWN_TOGETHER_MAX: usize = 64;
/// Spans that may wait for the collector, 1 MB or so; what comes on top is dropped and counted.
pub const SPANS_WAITING_MAX: usize = 4_096;
/// Spans in one message to the collector.
pub const SPANS_PER_EXPORT_MAX: usize = 512;
/// How long the first span of a message waits for company.
pub const SPANS_EXPORT_WAIT: Duration = Duration::from_millis(500);
/// How long the collector may take to answer. Its spans are then dropped, and the next are tried.
pub const SPANS_EXPORT_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a process that ends tries to hand over its last spans.
pub const SPANS_FLUSH_TIME_MAX: Duration = Duration::from_secs(2);
