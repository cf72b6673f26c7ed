use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::time::interval;

/// How often memory is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);

/// What a server and its workers hold of the machine's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The server's own process.
    pub server_kb: u64,
    /// Its dry-run workers together.
    pub workers_kb: u64,
    /// How many workers there are.
    pub worker_count: usize,
}

impl Memory {
    /// What the process `server` and its children hold now.
    ///
    /// # Errors
    /// If the server does not run.
    pub fn of(server: u32) -> anyhow::Result<Self> {
        let mut memory = Self {
            server_kb: field(&status(server)?, "VmRSS:").context("the server has no memory")?,
            ..Self::default()
        };
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // Processes end while they are looked at.
            let Ok(status) = status(process) else {
                continue;
            };
            if field(&status, "PPid:") == Some(u64::from(server)) {
                memory.workers_kb += field(&status, "VmRSS:").unwrap_or(0);
                memory.worker_count += 1;
            }
        }
        Ok(memory)
    }
}

/// The most that a server and its workers held at once, looked at again and again.
#[derive(Clone, Debug, Default)]
pub struct MemoryWatch(Arc<Mutex<Memory>>);

impl MemoryWatch {
    /// The most so far, each number by itself.
    pub fn peak(&self) -> Memory {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks until the server is gone, or this is dropped.
    ///
    /// # Errors
    /// Always: the server is gone.
    pub async fn run(self, server: u32) -> anyhow::Result<()> {
        let mut ticks = interval(SAMPLE_INTERVAL);
        loop {
            ticks.tick().await;
            let now = Memory::of(server)?;
            let mut peak = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            peak.server_kb = peak.server_kb.max(now.server_kb);
            peak.workers_kb = peak.workers_kb.max(now.workers_kb);
            peak.worker_count = peak.worker_count.max(now.worker_count);
        }
    }
}

fn status(process: u32) -> std::io::Result<String> {
    fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"))
}

/// The first number behind `name` in a process's status.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
