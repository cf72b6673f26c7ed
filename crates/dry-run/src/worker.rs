//! The child process's side.

use std::io::{self, Read, Write};
use std::time::Duration;

use crdt_document::quiet_guarded_panics;
use rlimit::Resource;
use rustix::time::{ClockId, clock_gettime};

use crate::job::{Order, WorkerLimits, read_frame, write_frame};
use crate::replicas::Replicas;

/// Whole seconds of processor time, beyond what a job may take, after which the kernel ends a worker
/// whose parent is no longer there to do it.
const CPU_SLACK_S: u64 = 60;

/// Does what the parent process asks through `input`, and answers through `output`, until the parent
/// closes its end. To be called by a process of its own: it bounds the memory of the whole process.
///
/// # Errors
/// The streams' own, or a frame that is not one.
pub fn run_worker(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    quiet_guarded_panics();
    let Some(Order::Begin(limits)) = read_frame(&mut input)? else {
        return Ok(());
    };
    Resource::AS.set(limits.memory_bytes_max, limits.memory_bytes_max)?;
    let mut replicas = Replicas::new(
        limits.documents_bytes_max,
        limits.cpu_per_update_max,
        cpu_time,
    );
    while let Some(order) = read_frame(&mut input)? {
        match order {
            Order::Begin(_) => {}
            Order::Forget(document) => replicas.forget(&document),
            Order::Try(job) => {
                extend_cpu_limit(&limits)?;
                let answer = replicas.run(&job);
                write_frame(&mut output, &answer)?;
            }
        }
    }
    Ok(())
}

/// Processor time that this thread has used.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// The parent kills a worker that takes too long. Should the parent be gone, the kernel does.
fn extend_cpu_limit(limits: &WorkerLimits) -> io::Result<()> {
    let (_, hard) = Resource::CPU.get()?;
    let soft = cpu_time().as_secs() + limits.cpu_per_update_max.as_secs() + CPU_SLACK_S;
    Resource::CPU.set(soft.min(hard), hard)
}
