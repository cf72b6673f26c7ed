//! The child process's side.

use std::io::{self, Read, Write};

use crdt_document::quiet_guarded_panics;
use rlimit::Resource;

use crate::job::{Order, WorkerLimits, read_frame, write_frame};
use crate::meter::Meter;
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
    let mut replicas = Replicas::new(limits, Meter::PROCESS);
    while let Some(order) = read_frame(&mut input)? {
        match order {
            Order::Begin(_) => {}
            Order::Forget(document) => replicas.forget(&document),
            Order::Do(task) => {
                extend_cpu_limit(&limits)?;
                let report = replicas.run(&task);
                write_frame(&mut output, &report)?;
            }
        }
    }
    Ok(())
}

/// The parent kills a worker that takes too long. Should the parent be gone, the kernel does.
fn extend_cpu_limit(limits: &WorkerLimits) -> io::Result<()> {
    let (_, hard) = Resource::CPU.get()?;
    let soft =
        (Meter::PROCESS.cpu_time)().as_secs() + limits.cpu_per_update_max.as_secs() + CPU_SLACK_S;
    Resource::CPU.set(soft.min(hard), hard)
}
