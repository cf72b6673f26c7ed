use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use clock::Random;
use disk::RealDisk;
use op_log::{EmbeddedLogOptions, EmbeddedOpLog, KafkaOpLog, OpLog, OpenError};
use tempfile::TempDir;

use crate::Settings;
use crate::data_directory::{self, LOG_FOLDER};
use crate::roles::log::kafka_options;

/// How often a log that is being written is copied until a copy is whole.
const COPY_ATTEMPTS_MAX: u32 = 5;

/// A log to read, and the copy that it lies in if it is one.
pub struct OpenLog {
    pub log: Box<dyn OpLog>,
    _copy: Option<TempDir>,
}

/// Opens the log that the settings name: in Kafka, or in the data directory; while a server has that
/// open, a copy of it.
pub async fn open(settings: &Settings) -> anyhow::Result<OpenLog> {
    if let Some(options) = kafka_options(&settings.log) {
        let log = KafkaOpLog::open(&options).await?;
        return Ok(OpenLog {
            log: Box::new(log),
            _copy: None,
        });
    }
    let shown = settings.data.display();
    if !settings.data.is_dir() {
        bail!("there is no directory {shown}; --data names another one");
    }
    let data = RealDisk::open(&settings.data)?;
    data_directory::check(&data).with_context(|| format!("the log in {shown} can't be shown"))?;

    let folder = settings.data.join(LOG_FOLDER);
    let partition_count = settings.log.partition_count;
    match open_in(&folder, partition_count) {
        Ok(log) => Ok(OpenLog {
            log: Box::new(log),
            _copy: None,
        }),
        Err(OpenError::Locked) => open_copy(&folder, partition_count),
        Err(error) => Err(error).with_context(|| format!("the log in {shown} can't be opened")),
    }
}

/// A copy that was made while the server wrote ends anywhere, as a log does after a crash, and is
/// opened like one. Only where the copying itself overtook the writing is it not whole.
fn open_copy(folder: &Path, partition_count: u32) -> anyhow::Result<OpenLog> {
    for _ in 1..COPY_ATTEMPTS_MAX {
        if let Ok(open) = copy_and_open(folder, partition_count) {
            return Ok(open);
        }
    }
    copy_and_open(folder, partition_count)
        .context("a server writes this log, and no copy of it was whole; stop the server first")
}

fn copy_and_open(folder: &Path, partition_count: u32) -> anyhow::Result<OpenLog> {
    let copy = tempfile::tempdir()?;
    let mut names = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<std::io::Result<Vec<_>>>()?;
    names.sort_unstable();
    for name in names
        .iter()
        .filter(|name| !name.as_encoded_bytes().starts_with(b"."))
    {
        std::fs::copy(folder.join(name), copy.path().join(name))?;
    }
    let log = open_in(copy.path(), partition_count)?;
    Ok(OpenLog {
        log: Box::new(log),
        _copy: Some(copy),
    })
}

/// Opens the log with the partition count that it has, which need not be the configured one.
fn open_in(folder: &Path, partition_count: u32) -> Result<EmbeddedOpLog, OpenError> {
    let disk = RealDisk::open(folder).map_err(|source| OpenError::Io {
        action: "open the log's directory",
        source,
    })?;
    let disk = Arc::new(disk);
    // Only a new journal draws from it, and this is not one.
    let random = Random::from_seed(0);
    match EmbeddedOpLog::open(
        disk.clone(),
        &EmbeddedLogOptions::new(partition_count),
        &random,
    ) {
        Err(OpenError::PartitionCountChanged { stored, .. }) => {
            EmbeddedOpLog::open(disk, &EmbeddedLogOptions::new(stored), &random)
        }
        opened => opened,
    }
}
