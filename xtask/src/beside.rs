use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use crate::command::target_dir;
use crate::steps::Step;

/// A step that runs in a process of its own while others run. What it prints is kept until its end.
pub struct Beside {
    pub step: &'static Step,
    log: PathBuf,
    end: JoinHandle<std::io::Result<(ExitStatus, Duration)>>,
}

impl Beside {
    /// Starts it alone, without what it needs.
    pub fn start(step: &'static Step) -> anyhow::Result<Self> {
        let folder = target_dir().join("xtask");
        fs::create_dir_all(&folder).context("the step's log has no folder")?;
        let log = folder.join(format!("{}.log", step.name));
        let printed = File::create(&log).context("the step's log can't be written")?;
        let started = Instant::now();
        let xtask = std::env::current_exe().context("xtask does not know where it is")?;
        let mut child = Command::new(xtask)
            .args(["test", "--step", step.name])
            .stdin(Stdio::null())
            .stdout(printed.try_clone()?)
            .stderr(printed)
            .spawn()
            .context("the step's process did not start")?;
        println!("goes on beside what follows, and says {}", log.display());
        let end = thread::spawn(move || {
            let status = child.wait()?;
            Ok((status, started.elapsed()))
        });
        Ok(Self { step, log, end })
    }

    /// Waits for its end, prints what it has said, and says how long it took, and whether it failed.
    pub fn finish(self) -> (Duration, anyhow::Result<()>) {
        let name = self.step.name;
        let ended = self
            .end
            .join()
            .map_err(|_| anyhow!("the thread that waits for {name} panicked"));
        println!("\n=== {name}, which ran beside the others");
        print!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        match ended.and_then(|ended| Ok(ended?)) {
            Ok((status, took)) if status.success() => (took, Ok(())),
            Ok((status, took)) => (took, Err(anyhow!("it ended with {status}"))),
            Err(error) => (Duration::ZERO, Err(error)),
        }
    }
}
