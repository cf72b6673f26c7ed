//! Replicas of the documents that were tried lately, as clients have them, and trying updates on them.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use crdt_document::{
    CrdtDocument, CrdtError, InspectError, InspectedUpdate, decode_version_vector, import_steps,
    read,
};
use document_types::limits::{DRY_RUN_HEADROOM_PER_MEMORY, DRY_RUN_PATIENCE};
use document_types::record::OperationKind;
use document_types::{DocumentId, PeerId};
use lru::LruCache;

use crate::clearing::look;
use crate::job::{Answer, Job, Report, Task, WorkerLimits};
use crate::meter::Meter;
use crate::{Clearing, Harm};

/// The author that a replica never writes as.
const NOBODY: PeerId = PeerId(0);

/// The documents that were tried lately, bounded by what they weigh.
pub(crate) struct Replicas {
    documents: LruCache<DocumentId, Replica>,
    bytes: u64,
    /// Bytes of documents that can't be dropped.
    leaked_bytes: u64,
    /// Whether nothing was done here yet, so that all memory that is held is the first document's.
    is_fresh: bool,
    /// What reading documents through took in the present task. That follows from the document's size and
    /// is not its writers' to answer for.
    check_time: Cell<Duration>,
    limits: WorkerLimits,
    meter: Meter,
}

struct Replica {
    document: CrdtDocument,
    bytes: u64,
}

impl Replicas {
    pub(crate) fn new(limits: WorkerLimits, meter: Meter) -> Self {
        Self {
            documents: LruCache::unbounded(),
            bytes: 0,
            leaked_bytes: 0,
            is_fresh: true,
            check_time: Cell::default(),
            limits,
            meter,
        }
    }

    /// Does `task`. After anything but [`Answer::Harmless`] there is no replica of a job's document.
    pub(crate) fn run(&mut self, task: &Task) -> Report {
        let Meter { cpu_time, memory } = self.meter;
        self.check_time.take();
        let (started, resident_before) = (cpu_time(), memory().resident);
        let ground = self.lay_ground(task);
        let ground_laid = cpu_time();
        let bytes = ground
            .as_ref()
            .map_or(0, |document| document.memory_bytes().unwrap_or(0));
        let answer = ground
            .and_then(|document| self.build(document, task))
            .unwrap_or_else(|answer| answer);
        if has_panicked(&answer) {
            let grown = memory().resident.saturating_sub(resident_before);
            self.leaked_bytes += bytes.max(grown);
        }
        self.trim();
        self.is_fresh = false;
        // Only a fresh process can tell that a document is too large, so the next one has to be.
        let is_spent = answer == Answer::TooLarge;
        Report {
            answer,
            ground_time: ground_laid.saturating_sub(started),
            trial_time: cpu_time()
                .saturating_sub(ground_laid)
                .saturating_sub(self.check_time.take()),
            is_worn: is_spent || self.leaked_bytes > self.limits.leaked_bytes_max,
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
        let bytes = document.memory_bytes().unwrap_or(0);
        self.bytes += bytes;
        self.documents.put(id, Replica { document, bytes });
    }

    /// Lets the least recently used documents go until what is left is within its bounds, or is one.
    /// The engine's counts don't know its caches, which may be a hundred times as large; the process
    /// does not know what the engine would free. So both have to be within.
    fn trim(&mut self) {
        while self.documents.len() > 1
            && self.bytes.max((self.meter.memory)().resident) > self.limits.documents_bytes_max
            && let Some((_, oldest)) = self.documents.pop_lru()
        {
            self.bytes -= oldest.bytes;
        }
    }

    /// What the log has let in, as `task` says it.
    fn lay_ground(&mut self, task: &Task) -> Result<CrdtDocument, Answer> {
        let document = match task {
            Task::Try(job) => self.bring_up(job)?,
            // Attached, step by step, as clients have it: cutting takes a snapshot, and the engine can't
            // make the state of every document from its whole history at once.
            Task::Clear(request) => CrdtDocument::from_history(&request.history, NOBODY)
                .map_err(|_| Answer::BadGround)?,
        };
        let memory_max = self.limits.memory_bytes_max;
        let headroom = memory_max / DRY_RUN_HEADROOM_PER_MEMORY;
        if self.is_fresh && (self.meter.memory)().reserved > memory_max - headroom {
            return Err(Answer::TooLarge);
        }
        Ok(document)
    }

    fn bring_up(&mut self, job: &Job) -> Result<CrdtDocument, Answer> {
        let kept = self.take(&job.document);
        let bad = |_| Answer::BadGround;
        let version = decode_version_vector(&job.version).map_err(|_| Answer::NeedsBase)?;
        let document = match &job.base {
            None => kept.ok_or(Answer::NeedsBase)?,
            Some(base) => {
                // Both at once would take twice the memory.
                drop(kept);
                CrdtDocument::from_history(base, NOBODY).map_err(bad)?
            }
        };
        document.import_log(&job.applied).map_err(bad)?;
        if !document.version().map_err(bad)?.includes(&version) {
            return Err(Answer::NeedsBase);
        }
        if job.base.is_some() {
            // What is wrong with the log is no candidate's, nor is what the engine makes of a snapshot
            // only when it is needed: the state here, and in the next line the version of each
            // operation, most of what a document takes that many have written.
            document.deep_value_json().map_err(bad)?;
            document
                .version_at(&document.frontiers().map_err(bad)?)
                .map_err(bad)?;
        }
        Ok(document)
    }

    /// Does with the candidates what `task` says.
    fn build(&mut self, document: CrdtDocument, task: &Task) -> Result<Answer, Answer> {
        match task {
            Task::Try(job) => {
                let is_log = is_log(&document, job);
                let tried = self.try_all(&document, job);
                tried.map_err(|(harm, guilty)| Answer::Harmful {
                    harm,
                    guilty,
                    // Those who have proven harmless are given the benefit of the doubt.
                    is_certain: is_log && job.thorough,
                })?;
                self.keep(job.document.clone(), document);
                Ok(Answer::Harmless)
            }
            Task::Clear(request) => {
                let candidates = request.candidates.iter();
                let cleared = candidates.map(|unclear| look(&document, unclear));
                Ok(Answer::Cleared(cleared.collect()))
            }
        }
    }

    /// An error says what is wrong, and the place of the guilty one if it is certain.
    fn try_all(&self, document: &CrdtDocument, job: &Job) -> Result<(), (Harm, Option<u32>)> {
        let together = if job.singly {
            1
        } else {
            job.candidates.len().max(1)
        };
        for (i, candidates) in (0..).zip(job.candidates.chunks(together)) {
            let guilty = (together == 1).then_some(i);
            self.try_together(document, candidates, job)
                .map_err(|harm| (harm, guilty))?;
        }
        Ok(())
    }

    /// Imports the candidates as clients get them, several at once within the bounds of one import,
    /// and then does what clients do next.
    fn try_together(
        &self,
        document: &CrdtDocument,
        candidates: &[Bytes],
        job: &Job,
    ) -> Result<(), Harm> {
        let before = document.frontiers().map_err(harm_of)?;
        let mut inspected = Vec::new();
        for candidate in candidates {
            inspected.push(read(candidate).map_err(|error| harm_of(error.into()))?);
        }
        let texts: Vec<usize> = inspected
            .iter()
            .map(|update| update.inserted_text_bytes as usize)
            .collect();
        let mut next = 0;
        for step in import_steps(&texts) {
            let started = (self.meter.cpu_time)();
            let mut promised = document.version().map_err(harm_of)?;
            for update in &inspected[next..next + step] {
                if update.missing(&promised).is_some() {
                    return Err(Harm::Dangling);
                }
                update
                    .spans
                    .iter()
                    .for_each(|span| promised.include(span.span));
            }
            let step = next..next + step;
            let (outcome, find_time) = document
                .import_batch_checked(
                    &candidates[step.clone()],
                    &inspected[step.clone()],
                    self.meter.cpu_time,
                )
                .map_err(harm_of)?;
            self.check_time.set(self.check_time.get() + find_time);
            if !outcome.pending.is_empty() || document.version().map_err(harm_of)? != promised {
                return Err(Harm::Dangling);
            }
            for update in &inspected[step.clone()] {
                document.check_depth(update).map_err(harm_of)?;
                document.check_targets(update).map_err(harm_of)?;
            }
            let updates = u32::try_from(step.len()).unwrap_or(u32::MAX);
            let cpu_max = self.limits.cpu_per_update_max.saturating_mul(updates);
            let time = (self.meter.cpu_time)().saturating_sub(started);
            let time = time.saturating_sub(find_time);
            if time > cpu_max.saturating_mul(DRY_RUN_PATIENCE) {
                return Err(Harm::Slow);
            }
            if time > cpu_max && !job.patient {
                return Err(Harm::Dear);
            }
            next = step.end;
        }
        let imported = (self.meter.cpu_time)();
        let mut checked = check_state(document, &inspected, job.styled);
        if checked.is_ok() && job.thorough {
            checked = document.check_retreat(&before);
        }
        let check_time = (self.meter.cpu_time)().saturating_sub(imported);
        self.check_time.set(self.check_time.get() + check_time);
        checked.map_err(harm_of)
    }
}

/// Whether `document` is what the log has let in and nothing else. A replica that holds more may have been
/// spoilt by what was never appended, so what goes wrong on it may be nobody's fault.
fn is_log(document: &CrdtDocument, job: &Job) -> bool {
    if job.base.is_some() {
        return true;
    }
    let Ok(mut logged) = decode_version_vector(&job.version) else {
        return false;
    };
    let applied = job.applied.iter().filter_map(|update| read(update).ok());
    for span in applied.flat_map(|update| update.spans) {
        logged.include(span.span);
    }
    document.version().is_ok_and(|version| version == logged)
}

/// Reads the document through, as clients do next, and loads it anew if these updates may have left a
/// state that can't be.
fn check_state(
    document: &CrdtDocument,
    updates: &[InspectedUpdate],
    styled: bool,
) -> Result<(), CrdtError> {
    document.deep_value_json()?;
    let may_not_reload = |kind: &OperationKind| match kind {
        OperationKind::Insert | OperationKind::Set => false,
        OperationKind::Delete => styled,
        _ => true,
    };
    let mut kinds = updates.iter().flat_map(|update| &update.kinds);
    if kinds.any(may_not_reload) {
        document.check_reload()?;
    }
    Ok(())
}

/// What a failed call says of the update that it was about.
pub(crate) fn harm_of(error: CrdtError) -> Harm {
    match error {
        CrdtError::Refused(error) => Harm::Refused(error.to_string()),
        CrdtError::TooDeep { .. } | CrdtError::Inspect(InspectError::TooDeep { .. }) => Harm::Deep,
        CrdtError::Inspect(error) => Harm::Refused(error.to_string()),
        error @ (CrdtError::ForeignTarget { .. } | CrdtError::ForeignDeletion) => {
            Harm::Refused(error.to_string())
        }
        CrdtError::MissingDependency { .. } => Harm::Dangling,
        _ => Harm::Panic,
    }
}

/// Whether the engine has panicked, and with it left a document that can't be dropped.
fn has_panicked(answer: &Answer) -> bool {
    match answer {
        Answer::BadGround => true,
        Answer::Harmful { harm, .. } => *harm == Harm::Panic,
        Answer::Cleared(cleared) => cleared.contains(&Clearing::Harmful(Harm::Panic)),
        Answer::Harmless | Answer::NeedsBase | Answer::TooLarge => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use document_types::limits::DRY_RUN_WORKER_MEMORY_BYTES_MAX;

    use super::*;
    use crate::meter::Memory;

    const DOCUMENTS_BYTES_MAX: u64 = 25_000;

    fn replicas(limits: WorkerLimits, meter: Meter) -> Replicas {
        let limits = WorkerLimits {
            cpu_per_update_max: Duration::MAX,
            ..limits
        };
        Replicas::new(limits, meter)
    }

    fn job(name: &str, snapshot: Option<Bytes>) -> Task {
        Task::Try(Job {
            document: DocumentId::parse(name).unwrap(),
            version: Bytes::from_static(&[0]),
            base: snapshot.map(|snapshot| vec![snapshot]),
            applied: vec![],
            styled: false,
            thorough: true,
            patient: false,
            candidates: vec![],
            singly: false,
        })
    }

    fn snapshot() -> Option<Bytes> {
        let document = CrdtDocument::new(NOBODY).unwrap();
        document.insert_text("content", 0, "text").unwrap();
        Some(document.export_snapshot().unwrap())
    }

    #[test]
    fn the_least_recently_tried_documents_go_first() {
        let limits = WorkerLimits {
            documents_bytes_max: DOCUMENTS_BYTES_MAX,
            ..WorkerLimits::default()
        };
        let mut replicas = replicas(limits, Meter::SILENT);
        for name in ["a", "b", "c", "d"] {
            let report = replicas.run(&job(name, snapshot()));
            assert_eq!(report.answer, Answer::Harmless);
        }
        assert_eq!(replicas.run(&job("d", None)).answer, Answer::Harmless);
        assert_eq!(replicas.run(&job("a", None)).answer, Answer::NeedsBase);
        assert!(replicas.bytes <= DOCUMENTS_BYTES_MAX);
    }

    #[test]
    fn a_process_that_holds_more_than_the_documents_may_weigh_keeps_the_one_that_it_is_at() {
        let meter = Meter {
            memory: || Memory {
                reserved: 0,
                resident: u64::MAX,
            },
            ..Meter::SILENT
        };
        let mut replicas = replicas(WorkerLimits::default(), meter);
        for name in ["a", "b"] {
            let report = replicas.run(&job(name, snapshot()));
            assert_eq!(report.answer, Answer::Harmless);
        }
        assert_eq!(replicas.run(&job("b", None)).answer, Answer::Harmless);
        assert_eq!(replicas.run(&job("a", None)).answer, Answer::NeedsBase);
    }

    #[test]
    fn a_document_that_leaves_a_fresh_process_no_memory_is_too_large() {
        let meter = Meter {
            memory: || Memory {
                reserved: DRY_RUN_WORKER_MEMORY_BYTES_MAX - 1,
                resident: 0,
            },
            ..Meter::SILENT
        };
        let mut replicas = replicas(WorkerLimits::default(), meter);
        let loads = job("a", snapshot());
        assert_eq!(replicas.run(&loads).answer, Answer::TooLarge);
        // What it holds now may be some other document's.
        assert_eq!(replicas.run(&loads).answer, Answer::Harmless);
    }
}
