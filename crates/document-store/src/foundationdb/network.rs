//! The client's thread, which a process starts once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foundationdb::FdbError;
use foundationdb::api::{FdbApiBuilder, NetworkAutoStop};

use super::errors::FoundationDbOpenError;
use crate::ordered_kv::KvError;

/// The client can't be started again, not even after it was stopped.
static WAS_STARTED: AtomicBool = AtomicBool::new(false);

/// FoundationDB's client in this process: one thread of its library, which all stores share.
///
/// It runs for as long as [`run`](Self::run) does, so a `main` calls that around its runtime. Tests
/// that open several stores share one as well: those of a process begin in one place
/// (`tests/foundationdb.rs` has a `main` for it), not in functions that the harness starts by itself.
pub struct FoundationDbNetwork {
    running: Running,
}

impl FoundationDbNetwork {
    /// Starts the client, runs `action`, and stops the client when that returns or panics.
    ///
    /// Stores that are there afterwards answer [`KvError::Closed`]; a call that waits for the cluster
    /// at that moment is never answered, so `action` waits for whatever it started.
    ///
    /// # Errors
    /// [`FoundationDbOpenError`] if the client can't be started: a process can do it once.
    pub fn run<T>(action: impl FnOnce(&Self) -> T) -> Result<T, FoundationDbOpenError> {
        if WAS_STARTED.swap(true, Ordering::AcqRel) {
            return Err(FoundationDbOpenError::StartedBefore);
        }
        let running = Running(Arc::new(AtomicBool::new(true)));
        let _thread = boot()?;
        // Declared last, so that it goes first: no store begins anything while the thread stops.
        let _end = End(running.clone());
        Ok(action(&Self { running }))
    }

    pub(super) fn running(&self) -> Running {
        self.running.clone()
    }
}

/// Whether the client runs.
#[derive(Clone)]
pub(super) struct Running(Arc<AtomicBool>);

impl Running {
    pub fn check(&self) -> Result<(), KvError> {
        if self.0.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(KvError::Closed)
        }
    }
}

struct End(Running);

impl Drop for End {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

#[expect(
    unsafe_code,
    reason = "the client has no safe way to start its thread, as it can't see when that is stopped"
)]
fn boot() -> Result<NetworkAutoStop, FdbError> {
    let builder = FdbApiBuilder::default().build()?;
    // SAFETY: what this returns has to be dropped before the process exits. It is a local variable of
    // `FoundationDbNetwork::run`, the only caller, which hands it to nobody, so that it is dropped
    // however that function ends; and `clippy.toml` allows nobody to end the process in between.
    unsafe { builder.boot() }
}
