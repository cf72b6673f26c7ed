//! Finding the updates that do harm among those that were tried together.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use crdt_document::encode_version_vector;

use crate::job::{Answer, Job};
use crate::{DryRunError, DryRunRequest, Harm, Verdict};

/// Whoever keeps the replicas.
#[async_trait]
pub(crate) trait Bench: Send {
    /// Does a job, in this process or another.
    async fn run(&mut self, job: &Job) -> Result<Answer, BenchError>;
}

/// Why a job has no answer.
#[derive(Debug)]
pub(crate) enum BenchError {
    /// Whoever did it died of it, or was killed because it took too long. What it kept is gone.
    Died(Harm),
    /// It could not be begun.
    Unavailable(io::Error),
}

/// Tries all candidates together. If that fails, makes sure of the ground that they stand on, and then
/// tries them one by one, each on what was harmless before it.
///
/// A candidate is judged on a replica that was made anew: one that was kept may have been spoilt by
/// an update that was never appended.
pub(crate) async fn sift(
    bench: &mut dyn Bench,
    request: DryRunRequest,
) -> Result<Vec<Verdict>, DryRunError> {
    let count = request.candidates.len();
    let mut job = Job {
        document: request.document,
        version: encode_version_vector(&request.version).into(),
        base: request.base,
        applied: request.applied,
        candidates: request.candidates,
    };
    match attempt(bench, &job).await? {
        Tried::Harmless => return Ok(vec![Verdict::Harmless; count]),
        Tried::NeedsBase => return Err(DryRunError::NeedsBase),
        // The replica that was kept may be to blame, and is gone.
        Tried::BadGround | Tried::Harmful(_) if job.base.is_none() => {
            return Err(DryRunError::NeedsBase);
        }
        Tried::BadGround => return Err(DryRunError::Degraded),
        Tried::Harmful(_) => {}
    }
    let candidates = std::mem::take(&mut job.candidates);
    lay_ground(bench, &job).await?;
    let mut verdicts = Vec::with_capacity(count);
    for candidate in candidates {
        let harm = try_one(bench, &job, &candidate).await?;
        match harm {
            None => {
                job.applied.push(candidate);
                verdicts.push(Verdict::Harmless);
            }
            Some(harm) => {
                lay_ground(bench, &job).await?;
                verdicts.push(Verdict::Harmful(harm));
            }
        }
    }
    Ok(verdicts)
}

enum Tried {
    Harmless,
    NeedsBase,
    BadGround,
    Harmful(Harm),
}

async fn attempt(bench: &mut dyn Bench, job: &Job) -> Result<Tried, DryRunError> {
    match bench.run(job).await {
        Ok(Answer::Harmless) => Ok(Tried::Harmless),
        Ok(Answer::NeedsBase) => Ok(Tried::NeedsBase),
        Ok(Answer::BadGround) => Ok(Tried::BadGround),
        Ok(Answer::Harmful(harm)) | Err(BenchError::Died(harm)) => Ok(Tried::Harmful(harm)),
        Err(BenchError::Unavailable(error)) => Err(DryRunError::Unavailable(Some(error.into()))),
    }
}

/// Makes a replica of what the log holds and of what was harmless so far. That takes no candidate, so
/// whoever dies of it twice in the same way dies of what is in the log. After one death it is asked for
/// once more, since processes also die of other things, and are slow where the machine is busy.
async fn lay_ground(bench: &mut dyn Bench, job: &Job) -> Result<(), DryRunError> {
    let Some(harm) = try_ground(bench, job).await? else {
        return Ok(());
    };
    match try_ground(bench, job).await? {
        None => Ok(()),
        Some(again) if again == harm => Err(DryRunError::Degraded),
        Some(_) => Err(DryRunError::Unavailable(None)),
    }
}

/// What whoever lays the ground dies of.
async fn try_ground(bench: &mut dyn Bench, job: &Job) -> Result<Option<Harm>, DryRunError> {
    match attempt(bench, job).await? {
        Tried::Harmless => Ok(None),
        Tried::Harmful(harm) => Ok(Some(harm)),
        Tried::NeedsBase => Err(DryRunError::NeedsBase),
        Tried::BadGround => Err(DryRunError::Degraded),
    }
}

/// Tries one candidate on the replica that was just made. Whoever dies of it is asked once more, since
/// processes also die of other things.
async fn try_one(
    bench: &mut dyn Bench,
    job: &Job,
    candidate: &Bytes,
) -> Result<Option<Harm>, DryRunError> {
    let kept = Job {
        base: None,
        applied: vec![],
        candidates: vec![candidate.clone()],
        ..job.clone()
    };
    match bench.run(&kept).await {
        Ok(Answer::Harmless) => return Ok(None),
        Ok(Answer::Harmful(harm)) => return Ok(Some(harm)),
        _ => {}
    }
    let anew = Job {
        candidates: kept.candidates,
        ..job.clone()
    };
    match attempt(bench, &anew).await? {
        Tried::Harmless => Ok(None),
        Tried::Harmful(harm) => Ok(Some(harm)),
        Tried::NeedsBase => Err(DryRunError::NeedsBase),
        Tried::BadGround => Err(DryRunError::Degraded),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use document_types::{DocumentId, VersionVector};

    use super::*;

    /// Answers what it was told to, in order.
    struct Script(VecDeque<Result<Answer, BenchError>>);

    #[async_trait]
    impl Bench for Script {
        async fn run(&mut self, _job: &Job) -> Result<Answer, BenchError> {
            self.0.pop_front().expect("it is asked no more often")
        }
    }

    /// What becomes of one candidate that does not go through at once, where whoever lays the ground
    /// dies of these first.
    async fn sifted(deaths: &[Harm]) -> Result<Vec<Verdict>, DryRunError> {
        let mut script = VecDeque::from([Ok(Answer::Harmful(Harm::Slow))]);
        script.extend(
            deaths
                .iter()
                .map(|harm| Err(BenchError::Died(harm.clone()))),
        );
        // The ground, and the candidate on it.
        script.extend([Ok(Answer::Harmless), Ok(Answer::Harmless)]);
        let request = DryRunRequest {
            document: DocumentId::parse("doc_1").unwrap(),
            version: VersionVector::new(),
            base: Some(vec![]),
            applied: vec![],
            candidates: vec![Bytes::from_static(b"candidate")],
        };
        sift(&mut Script(script), request).await
    }

    #[tokio::test]
    async fn one_death_on_the_ground_is_nobody_s_fault() {
        for harm in [Harm::Panic, Harm::Slow, Harm::Memory] {
            assert_eq!(sifted(&[harm]).await.unwrap(), [Verdict::Harmless]);
        }
    }

    #[tokio::test]
    async fn the_same_death_twice_is_the_log_s_fault() {
        for harm in [Harm::Panic, Harm::Slow, Harm::Memory] {
            let sifted = sifted(&[harm.clone(), harm]).await;
            assert!(matches!(sifted, Err(DryRunError::Degraded)), "{sifted:?}");
        }
    }

    #[tokio::test]
    async fn two_different_deaths_say_nothing_of_the_log() {
        let sifted = sifted(&[Harm::Slow, Harm::Panic]).await;
        assert!(
            matches!(sifted, Err(DryRunError::Unavailable(None))),
            "{sifted:?}"
        );
    }
}
