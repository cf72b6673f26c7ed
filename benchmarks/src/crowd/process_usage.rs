use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;

use crate::ProcessMemory;

/// What processes have used together, with all that they have started: a server's dry runs are
/// processes of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ProcessUsage {
    /// Processor time so far, in user and in kernel mode, that of children which have ended too.
    pub(super) processor_time: Duration,
    /// Bytes in memory now.
    pub(super) resident_bytes: u64,
}

/// A process as `/proc` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    id: u32,
    parent: u32,
    ticks: u64,
}

impl ProcessUsage {
    /// What `processes` and their descendants use.
    ///
    /// # Errors
    /// If one of them is not there, or there is no Linux below.
    pub(super) fn of(processes: &[u32]) -> anyhow::Result<Self> {
        let all = running()?;
        for id in processes {
            let there = all.iter().any(|process| process.id == *id);
            anyhow::ensure!(there, "there is no process {id}");
        }
        let mut usage = Self::default();
        let mut ticks = 0;
        for process in family(&all, processes) {
            ticks += process.ticks;
            // One that has ended meanwhile uses none.
            if let Ok(memory) = ProcessMemory::of(process.id) {
                usage.resident_bytes += memory.resident;
            }
        }
        let per_second = rustix::param::clock_ticks_per_second();
        usage.processor_time = Duration::from_millis(ticks * 1_000 / per_second);
        Ok(usage)
    }
}

fn running() -> anyhow::Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc").context("reading /proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        all.extend(parse(id, &stat));
    }
    Ok(all)
}

/// Reads `/proc/PID/stat`; see proc(5). The second field is a name in parentheses, which may hold any
/// character.
fn parse(id: u32, stat: &str) -> Option<Process> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<_> = after_name.split_ascii_whitespace().collect();
    // From the third field on.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = (14..=17).map(field).sum::<Option<u64>>()?;
    Some(Process {
        id,
        parent: u32::try_from(field(4)?).ok()?,
        ticks,
    })
}

fn family<'a>(all: &'a [Process], heads: &[u32]) -> impl Iterator<Item = &'a Process> {
    let mut ids: BTreeSet<u32> = heads.iter().copied().collect();
    loop {
        let before = ids.len();
        for process in all {
            if ids.contains(&process.parent) {
                ids.insert(process.id);
            }
        }
        if ids.len() == before {
            break;
        }
    }
    all.iter().filter(move |process| ids.contains(&process.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read() {
        let stat = "7 (a) b) c) S 3 7 7 0 -1 4194560 1 2 3 4 50 20 7 3 20 0 4 0 100 1 2";
        let process = Process {
            id: 7,
            parent: 3,
            ticks: 80,
        };
        assert_eq!(parse(7, stat), Some(process));
        assert_eq!(parse(7, ""), None);
    }

    #[test]
    fn a_family_has_all_generations_and_nobody_else() {
        let process = |id, parent| Process {
            id,
            parent,
            ticks: 0,
        };
        let all = [
            process(9, 8),
            process(1, 0),
            process(7, 1),
            process(8, 7),
            process(2, 1),
        ];
        let ids: Vec<_> = family(&all, &[7]).map(|process| process.id).collect();
        assert_eq!(ids, [9, 7, 8]);
    }

    #[test]
    fn this_process_uses_something_and_a_process_that_is_not_there_is_an_error() {
        let usage = ProcessUsage::of(&[std::process::id()]).unwrap();
        assert!(usage.resident_bytes > 0);
        assert!(ProcessUsage::of(&[u32::MAX]).is_err());
    }
}
