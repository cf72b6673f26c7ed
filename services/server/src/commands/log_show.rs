//! Printing a document's records, from a Kafka topic or from the files of a data directory.

mod line;
mod open;
mod texts;

use std::io::{BufWriter, ErrorKind, Write};

use anyhow::Context;
use document_types::record::{Body, OpRecord, StampedUpdate};
use document_types::{DocumentId, LogOffset, partition_of};
use op_log::{LogEntry, OpLog, ReadLimit};

use crate::Settings;
use line::{Content, Line};
use texts::Texts;

/// Prints the records of `document` from `from` on, as JSON lines.
///
/// # Errors
/// If there is no such log, or it can't be read.
pub fn run(settings: &Settings, document: &DocumentId, from: LogOffset) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut output = BufWriter::new(std::io::stdout().lock());
    let printed = runtime.block_on(async {
        let log = open::open(settings).await?;
        print(&*log.log, document, from, &mut output).await
    });
    match printed.and_then(|()| output.flush().context("the output can't be written")) {
        // Whoever read along has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        printed => printed,
    }
}

async fn print(
    log: &dyn OpLog,
    document: &DocumentId,
    from: LogOffset,
    output: &mut impl Write,
) -> anyhow::Result<()> {
    let partition = partition_of(document, log.partition_count());
    let tail = log.tail(partition).await?;
    // What is below `from` is read too, since text is known only on top of what was written before.
    let mut next = log.trim_point(partition).await?;
    let mut texts = Texts::new()?;
    while next < tail {
        let entries = log.read(partition, next, ReadLimit::default()).await?;
        for entry in &entries {
            next = entry.offset.next();
            if entry.document == *document {
                print_entry(partition.0, entry, from, &mut texts, output)?;
            }
        }
    }
    Ok(())
}

fn print_entry(
    partition: u32,
    entry: &LogEntry,
    from: LogOffset,
    texts: &mut Texts,
    output: &mut impl Write,
) -> anyhow::Result<()> {
    let record = OpRecord::decode(entry.record.clone())
        .with_context(|| format!("the record at offset {} can't be read", entry.offset))?;
    let mut write = |content: Content| -> anyhow::Result<()> {
        if entry.offset >= from {
            let line = Line::new(entry, partition, &record.position, content);
            serde_json::to_writer(&mut *output, &line)?;
            writeln!(output)?;
        }
        Ok(())
    };
    match &record.body {
        Body::Updates(updates) => {
            let with_text = |update: &StampedUpdate| Content::update(update, texts.of(update));
            updates
                .content
                .iter()
                .map(with_text)
                .try_for_each(&mut write)
        }
        Body::Heartbeat(hlc) => write(Content::heartbeat(*hlc)),
        Body::VoidSpans(void) => write(Content::void_spans(&void.content)),
        Body::Grant(grant) => write(Content::grant(&grant.content)),
        Body::Epoch(epoch) => write(Content::epoch(&epoch.content)),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let input_output = cause
            .downcast_ref::<std::io::Error>()
            .map(std::io::Error::kind);
        let json = cause
            .downcast_ref::<serde_json::Error>()
            .and_then(|json| json.io_error_kind());
        input_output.or(json) == Some(ErrorKind::BrokenPipe)
    })
}
