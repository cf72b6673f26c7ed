//! What every role needs to run: configuration, telemetry, health, tasks and an orderly end.
//!
//! Nothing here knows what a document is. A role takes a [`TaskGroup`] to run its tasks in, a
//! [`ReadinessHandle`] to say when it is ready, and registers with [`Shutdown`] how it ends.

pub mod configuration;
mod file_descriptors;
mod health;
mod metrics;
mod panic_watch;
mod shutdown;
mod signals;
mod task_group;
pub mod telemetry;
pub mod tls;

pub use file_descriptors::{FileDescriptorError, raise_file_descriptor_limit};
pub use health::{Health, ReadinessHandle};
pub use metrics::{Metrics, MetricsError};
pub use panic_watch::PanicWatch;
pub use shutdown::{DrainReport, Shutdown};
pub use signals::{SignalError, Signals};
pub use task_group::{TaskFailure, TaskGroup};
