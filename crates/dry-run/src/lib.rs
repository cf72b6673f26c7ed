//! Trying an update as a client would, before it reaches the log: in a pool of worker processes, or
//! in this one.
//!
//! The engine panics on updates that pass inspection, and what it swallows today may panic in every
//! reader's browser. So each update is imported into an attached replica first, where it can do no
//! harm. [`WorkerPool`] does it in child processes, bounded in memory and time; [`InProcessDryRun`]
//! in this one, for simulations.

mod clearing;
mod dry_run;
mod fair_queue;
mod in_process;
mod job;
mod meter;
mod pool;
mod replicas;
mod sift;
mod worker;
mod worker_process;

pub use dry_run::{
    ClearRequest, Clearing, DryRun, DryRunError, DryRunRequest, Harm, Tried, Unclear, Verdict,
};
pub use in_process::InProcessDryRun;
pub use pool::{PoolSettings, WorkerPool};
pub use worker::run_worker;
pub use worker_process::{WorkerCommand, WorkerError};
