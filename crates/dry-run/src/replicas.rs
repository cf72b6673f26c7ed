//! Replicas of the documents that were tried lately, as clients have them, and trying updates on them.

use std::time::Duration;

use bytes::Bytes;
use crdt_document::{CrdtDocument, CrdtError, InspectError, decode_version_vector, read};
use document_types::limits::INSERTED_TEXT_PER_IMPORT_BYTES_MAX;
use document_types::record::OperationKind;
use document_types::{DocumentId, PeerId};
use lru::LruCache;

use crate::Harm;
use crate::job::{Answer, Job};

/// The author that a replica never writes as.
const NOBODY: PeerId = PeerId(0);

/// Tells how much processor time this thread has used. A simulation says none.
pub(crate) type CpuTime = fn() -> Duration;

/// The documents that were tried lately, bounded by what they weigh.
pub(crate) struct Replicas {
    documents: LruCache<DocumentId, Replica>,
    bytes: u64,
    bytes_max: u64,
    cpu_per_update_max: Duration,
    cpu_time: CpuTime,
}

struct Replica {
    document: CrdtDocument,
    bytes: u64,
}

/// Why a trial ended.
enum Failure {
    NeedsBase,
    BadGround,
    Harmful(Harm),
}

impl Replicas {
    pub(crate) fn new(bytes_max: u64, cpu_per_update_max: Duration, cpu_time: CpuTime) -> Self {
        Self {
            documents: LruCache::unbounded(),
            bytes: 0,
            bytes_max,
            cpu_per_update_max,
            cpu_time,
        }
    }

    /// Does `job`. After anything but [`Answer::Harmless`] there is no replica of its document.
    pub(crate) fn run(&mut self, job: &Job) -> Answer {
        let kept = self.take(&job.document);
        match self.try_on(kept, job) {
            Ok(document) => {
                self.keep(job.document.clone(), document);
                Answer::Harmless
            }
            Err(Failure::NeedsBase) => Answer::NeedsBase,
            Err(Failure::BadGround) => Answer::BadGround,
            Err(Failure::Harmful(harm)) => Answer::Harmful(harm),
        }
    }

    pub(crate) fn forget(&mut self, document: &DocumentId) {
        self.take(document);
    }

    fn take(&mut self, id: &DocumentId) -> Option<CrdtDocument> {
        let replica = self.documents.pop(id)?;
        self.bytes -= replica.bytes;
        Some(replica.document)
    }

    fn keep(&mut self, id: DocumentId, document: CrdtDocument) {
        let bytes = document.memory_bytes().unwrap_or(self.bytes_max);
        self.bytes += bytes;
        self.documents.put(id, Replica { document, bytes });
        while self.bytes > self.bytes_max && self.documents.len() > 1 {
            if let Some((_, oldest)) = self.documents.pop_lru() {
                self.bytes -= oldest.bytes;
            }
        }
    }

    fn try_on(&self, kept: Option<CrdtDocument>, job: &Job) -> Result<CrdtDocument, Failure> {
        let version = decode_version_vector(&job.version).map_err(|_| Failure::NeedsBase)?;
        let document = match &job.base {
            Some(base) => load(base).map_err(|_| Failure::BadGround)?,
            None => kept.ok_or(Failure::NeedsBase)?,
        };
        apply(&document, &job.applied).map_err(|_| Failure::BadGround)?;
        let known = document.version().map_err(|_| Failure::BadGround)?;
        if !known.includes(&version) {
            return Err(Failure::NeedsBase);
        }
        self.try_all(&document, &job.candidates)
            .map_err(Failure::Harmful)?;
        Ok(document)
    }

    /// Imports the candidates as clients get them, several at once within the bounds of one import,
    /// and then does what clients do next.
    fn try_all(&self, document: &CrdtDocument, candidates: &[Bytes]) -> Result<(), Harm> {
        let mut inspected = Vec::new();
        for candidate in candidates {
            inspected.push(read(candidate).map_err(|error| match error {
                InspectError::TooDeep { .. } => Harm::Deep,
                error => Harm::Refused(error.to_string()),
            })?);
        }
        let texts: Vec<usize> = inspected
            .iter()
            .map(|update| update.inserted_text_bytes as usize)
            .collect();
        let mut next = 0;
        for step in steps(&texts) {
            let started = (self.cpu_time)();
            let mut promised = document.version().map_err(harm)?;
            for update in &inspected[next..next + step] {
                if update.missing(&promised).is_some() {
                    return Err(Harm::Dangling);
                }
                update
                    .spans
                    .iter()
                    .for_each(|span| promised.include(span.span));
            }
            let outcome = document
                .import_batch(&candidates[next..next + step])
                .map_err(harm)?;
            if !outcome.pending.is_empty() || document.version().map_err(harm)? != promised {
                return Err(Harm::Dangling);
            }
            for update in &inspected[next..next + step] {
                document.check_depth(update).map_err(harm)?;
                document.check_targets(update).map_err(harm)?;
            }
            let updates = u32::try_from(step).unwrap_or(u32::MAX);
            let cpu_max = self.cpu_per_update_max.saturating_mul(updates);
            if (self.cpu_time)().saturating_sub(started) > cpu_max {
                return Err(Harm::Slow);
            }
            next += step;
        }
        document.deep_value_json().map_err(harm)?;
        let plain = |kind: &OperationKind| {
            matches!(
                kind,
                OperationKind::Insert | OperationKind::Delete | OperationKind::Set
            )
        };
        if !inspected
            .iter()
            .all(|update| update.kinds.iter().all(plain))
        {
            document.check_reload().map_err(harm)?;
        }
        Ok(())
    }
}

fn harm(error: CrdtError) -> Harm {
    match error {
        CrdtError::Refused(error) => Harm::Refused(error.to_string()),
        error @ CrdtError::ForeignTarget { .. } => Harm::Refused(error.to_string()),
        CrdtError::TooDeep { .. } => Harm::Deep,
        CrdtError::MissingDependency { .. } => Harm::Dangling,
        _ => Harm::Panic,
    }
}

/// A replica of what `base` says, a snapshot first if there is one.
fn load(base: &[Bytes]) -> Result<CrdtDocument, CrdtError> {
    let (document, updates) = match base.split_first() {
        Some((snapshot, updates)) if read(snapshot) == Err(InspectError::Snapshot) => {
            (CrdtDocument::from_snapshot(snapshot, NOBODY)?, updates)
        }
        _ => (CrdtDocument::new(NOBODY)?, base),
    };
    apply(&document, updates)?;
    Ok(document)
}

/// Imports logged updates that the replica lacks, in steps within the bounds of one import.
fn apply(document: &CrdtDocument, updates: &[Bytes]) -> Result<(), CrdtError> {
    let mut known = document.version()?;
    let mut lacking = Vec::new();
    let mut texts = Vec::new();
    for update in updates {
        // Whatever of the log this version can't read is for the engine to judge.
        let inspected = read(update).ok();
        let spans = inspected.iter().flat_map(|inspected| &inspected.spans);
        if inspected.is_some()
            && spans
                .clone()
                .all(|span| span.span.end <= known.end(span.span.peer))
        {
            continue;
        }
        spans.for_each(|span| known.include(span.span));
        texts.push(
            inspected
                .as_ref()
                .map_or(INSERTED_TEXT_PER_IMPORT_BYTES_MAX, |inspected| {
                    inspected.inserted_text_bytes as usize
                }),
        );
        lacking.push(update);
    }
    let mut next = 0;
    for step in steps(&texts) {
        document.import_batch(&lacking[next..next + step])?;
        next += step;
    }
    Ok(())
}

/// How many updates go into each import, given the bytes of text that each inserts: as many as
/// together stay within [`INSERTED_TEXT_PER_IMPORT_BYTES_MAX`], and one that alone does not.
fn steps(texts: &[usize]) -> Vec<usize> {
    let mut steps: Vec<(usize, usize)> = Vec::new();
    for text in texts {
        match steps.last_mut() {
            Some((count, bytes)) if *bytes + text <= INSERTED_TEXT_PER_IMPORT_BYTES_MAX => {
                *count += 1;
                *bytes += text;
            }
            _ => steps.push((1, *text)),
        }
    }
    steps.into_iter().map(|(count, _)| count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_hold_as_much_text_as_one_import_may_insert() {
        let kib = 1024;
        assert_eq!(steps(&[]), [] as [usize; 0]);
        assert_eq!(
            steps(&[8 * kib, 8 * kib, 1, 16 * kib, 40 * kib, 0]),
            [2, 1, 1, 1, 1]
        );
    }

    #[test]
    fn the_least_recently_tried_documents_go_first() {
        let mut replicas = Replicas::new(25_000, Duration::MAX, || Duration::ZERO);
        let document = CrdtDocument::new(NOBODY).unwrap();
        document.insert_text("content", 0, "text").unwrap();
        let job = |name: &str| Job {
            document: DocumentId::parse(name).unwrap(),
            version: Bytes::from_static(&[0]),
            base: Some(vec![document.export_snapshot().unwrap()]),
            applied: vec![],
            candidates: vec![],
        };
        for name in ["a", "b", "c", "d"] {
            assert_eq!(replicas.run(&job(name)), Answer::Harmless);
        }
        let again = |name: &str| Job {
            base: None,
            ..job(name)
        };
        assert_eq!(replicas.run(&again("d")), Answer::Harmless);
        assert_eq!(replicas.run(&again("a")), Answer::NeedsBase);
        assert!(replicas.bytes <= 25_000);
    }
}
