//! What a worker's process has used.

use std::fs;
use std::time::Duration;

use rustix::param::page_size;
use rustix::time::{ClockId, clock_gettime};

/// Tells what this process has used. A simulation's tells nothing, so that a seed reproduces its runs.
#[derive(Clone, Copy)]
pub(crate) struct Meter {
    /// Processor time of this thread.
    pub(crate) cpu_time: fn() -> Duration,
    pub(crate) memory: fn() -> Memory,
}

/// Bytes of memory that a process holds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    /// What the kernel's limit on the process counts.
    pub(crate) reserved: u64,
    /// What of it lies in the machine's memory.
    pub(crate) resident: u64,
}

impl Meter {
    pub(crate) const PROCESS: Self = Self {
        cpu_time,
        memory: || memory().unwrap_or_default(),
    };

    pub(crate) const SILENT: Self = Self {
        cpu_time: || Duration::ZERO,
        memory: Memory::default,
    };
}

fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// As Linux tells it (proc_pid_statm(5)). Elsewhere nothing is known, and the engine's counts stand
/// alone.
fn memory() -> Option<Memory> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let mut bytes = pages
        .split(' ')
        .map_while(|count| Some(count.parse::<u64>().ok()? * page_size() as u64));
    Some(Memory {
        reserved: bytes.next()?,
        resident: bytes.next()?,
    })
}
