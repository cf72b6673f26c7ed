//! Finding the updates that do harm among those that were tried together.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use crdt_document::encode_version_vector;

use crate::job::{Answer, Job, Report, Task};
use crate::{ClearRequest, Clearing, DryRunError, DryRunRequest, Harm, Tried, Verdict};

/// Whoever keeps the replicas.
#[async_trait]
pub(crate) trait Bench: Send {
    /// Does a task, in this process or another.
    async fn run(&mut self, task: &Task) -> Result<Report, BenchError>;
}

/// Why a task has no report.
#[derive(Debug)]
pub(crate) enum BenchError {
    /// Whoever did it died of it, or was killed because it took too long, after so much time. What it
    /// kept is gone.
    Died { harm: Harm, time: Duration },
    /// It is larger than what one may be told.
    TooLarge,
    /// It could not be begun.
    Unavailable(io::Error),
}

/// Tries all candidates together on the replica that is kept. If that fails, whoever asks has to give
/// a base, since a replica that was kept may have been spoilt by an update that was never appended; unless
/// there is one candidate and it is certain that it is to blame. Then the document is loaded again when it
/// is wanted next, and the candidate is not tried twice.
///
/// On a base, candidates are tried until one does harm. It is certain which that is if they are tried
/// singly, and then those before it are harmless and those behind it are tried anew on a ground
/// without it; so at the end there is a sound replica again. Only if a worker died nobody can say who
/// it was, and each candidate is asked for by itself.
pub(crate) async fn sift(
    bench: &mut dyn Bench,
    request: DryRunRequest,
) -> Result<Tried, DryRunError> {
    let count = request.candidates.len();
    let mut job = Job {
        document: request.document,
        version: encode_version_vector(&request.version).into(),
        base: request.base,
        applied: request.applied,
        styled: request.styled,
        thorough: request.thorough,
        patient: request.patient,
        candidates: request.candidates,
        singly: request.suspect,
    };
    let mut asker = Asker::new(bench, request.suspect);
    let mut verdicts = Vec::with_capacity(count);
    // Each round takes a candidate out at least, or goes on to try them singly.
    loop {
        let outcome = asker.ask(&Task::Try(job.clone())).await;
        if job.base.is_none()
            && let Ok(Outcome::Harmful {
                harm,
                is_certain: true,
                ..
            }) = &outcome
            && job.candidates.len() == 1
        {
            verdicts.push(Verdict::Harmful(harm.clone()));
            break;
        }
        if job.base.is_none()
            && matches!(
                &outcome,
                Err(DryRunError::Degraded) | Ok(Outcome::Harmful { .. } | Outcome::Died(_))
            )
        {
            return Err(DryRunError::NeedsBase { suspect: true });
        }
        match outcome? {
            Outcome::Well(_) => {
                verdicts.resize(count, Verdict::Harmless);
                break;
            }
            Outcome::Harmful {
                harm,
                guilty: Some(guilty),
                ..
            } if guilty < job.candidates.len() => {
                let behind = job.candidates.split_off(guilty + 1);
                job.candidates.truncate(guilty);
                verdicts.resize(verdicts.len() + guilty, Verdict::Harmless);
                verdicts.push(Verdict::Harmful(harm));
                job.applied.append(&mut job.candidates);
                job.candidates = behind;
                job.singly = true;
            }
            Outcome::Harmful { .. } if !job.singly => job.singly = true,
            // That is no answer.
            Outcome::Harmful { .. } => return Err(DryRunError::Unavailable(None)),
            Outcome::Died(_) => {
                asker.one_by_one(job, &mut verdicts).await?;
                break;
            }
        }
    }
    Ok(Tried {
        processor_time: asker.processor_time(&verdicts),
        verdicts,
    })
}

/// Looks at all candidates together. If whoever looks dies of it, makes sure of the history and then
/// has each looked at by itself.
pub(crate) async fn clear(
    bench: &mut dyn Bench,
    mut request: ClearRequest,
) -> Result<Vec<Clearing>, DryRunError> {
    let mut asker = Asker::new(bench, false);
    let task = Task::Clear(request.clone());
    if let Outcome::Well(cleared) = asker.ask(&task).await? {
        return Ok(cleared);
    }
    let candidates = std::mem::take(&mut request.candidates);
    asker.lay_ground(&Task::Clear(request.clone())).await?;
    let mut cleared = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let alone = Task::Clear(ClearRequest {
            candidates: vec![candidate],
            ..request.clone()
        });
        match asker.ask_twice(&alone, &alone).await? {
            Outcome::Well(one) => cleared.extend(one),
            Outcome::Harmful { harm, .. } | Outcome::Died(harm) => {
                cleared.push(Clearing::Harmful(harm));
            }
        }
    }
    Ok(cleared)
}

/// What became of a task whose ground was sound, as far as its answer says.
enum Outcome {
    /// All candidates are harmless, or were looked at, with what was found.
    Well(Vec<Clearing>),
    Harmful {
        harm: Harm,
        guilty: Option<usize>,
        is_certain: bool,
    },
    Died(Harm),
}

/// Gives a bench its tasks and adds up what they cost.
struct Asker<'a> {
    bench: &'a mut dyn Bench,
    /// Whether what the next ground costs is the candidates' fault.
    is_reload: bool,
    reload_time: Duration,
    trial_time: Duration,
}

impl<'a> Asker<'a> {
    /// `is_reload` says whether the first ground would not have to be laid but for the candidates.
    fn new(bench: &'a mut dyn Bench, is_reload: bool) -> Self {
        Self {
            bench,
            is_reload,
            reload_time: Duration::ZERO,
            trial_time: Duration::ZERO,
        }
    }

    /// What the candidates cost. Those that were harmless all did not cause it that the document was
    /// loaded anew.
    fn processor_time(&self, verdicts: &[Verdict]) -> Duration {
        let harmless = verdicts.iter().all(|verdict| *verdict == Verdict::Harmless);
        let reload_time = if harmless {
            Duration::ZERO
        } else {
            self.reload_time
        };
        self.trial_time + reload_time
    }

    async fn ask(&mut self, task: &Task) -> Result<Outcome, DryRunError> {
        let report = match self.bench.run(task).await {
            Ok(report) => report,
            Err(BenchError::Died { harm, time }) => {
                self.trial_time += time;
                return Ok(Outcome::Died(harm));
            }
            Err(BenchError::TooLarge) => return Err(DryRunError::TooLarge),
            Err(BenchError::Unavailable(error)) => {
                return Err(DryRunError::Unavailable(Some(error.into())));
            }
        };
        if self.is_reload {
            self.reload_time += report.ground_time;
        }
        self.is_reload = true;
        self.trial_time += report.trial_time;
        match report.answer {
            Answer::Harmless => Ok(Outcome::Well(Vec::new())),
            Answer::Cleared(cleared) => Ok(Outcome::Well(cleared)),
            Answer::Harmful {
                harm,
                guilty,
                is_certain,
            } => Ok(Outcome::Harmful {
                harm,
                guilty: guilty.map(|guilty| guilty as usize),
                is_certain,
            }),
            Answer::NeedsBase => Err(DryRunError::NeedsBase { suspect: false }),
            Answer::BadGround => Err(DryRunError::Degraded),
            Answer::TooLarge => Err(DryRunError::TooLarge),
        }
    }

    /// Makes a replica of what the log holds and of what was harmless so far. `ground` has no
    /// candidates, so whoever dies of it twice in the same way dies of what is in the log. After one
    /// death it is asked for once more, since processes also die of other things, and are slow where the
    /// machine is busy.
    async fn lay_ground(&mut self, ground: &Task) -> Result<(), DryRunError> {
        let Some(harm) = self.harm_of_ground(ground).await? else {
            return Ok(());
        };
        match self.harm_of_ground(ground).await? {
            None => Ok(()),
            Some(again) if again != harm => Err(DryRunError::Unavailable(None)),
            // Nothing is wrong with it but its size.
            Some(Harm::Memory) => Err(DryRunError::TooLarge),
            Some(_) => Err(DryRunError::Degraded),
        }
    }

    async fn harm_of_ground(&mut self, ground: &Task) -> Result<Option<Harm>, DryRunError> {
        Ok(match self.ask(ground).await? {
            Outcome::Well(_) => None,
            Outcome::Harmful { harm, .. } | Outcome::Died(harm) => Some(harm),
        })
    }

    /// Tries the candidates of `job` one by one, each on what was harmless before it.
    async fn one_by_one(
        &mut self,
        mut job: Job,
        verdicts: &mut Vec<Verdict>,
    ) -> Result<(), DryRunError> {
        let candidates = std::mem::take(&mut job.candidates);
        self.lay_ground(&Task::Try(job.clone())).await?;
        for candidate in candidates {
            let anew = Job {
                candidates: vec![candidate.clone()],
                ..job.clone()
            };
            let kept = Job {
                base: None,
                applied: vec![],
                styled: false,
                thorough: true,
                ..anew.clone()
            };
            match self.ask_twice(&Task::Try(kept), &Task::Try(anew)).await? {
                Outcome::Well(_) => {
                    job.applied.push(candidate);
                    verdicts.push(Verdict::Harmless);
                }
                Outcome::Harmful { harm, .. } | Outcome::Died(harm) => {
                    verdicts.push(Verdict::Harmful(harm));
                    self.lay_ground(&Task::Try(job.clone())).await?;
                }
            }
        }
        Ok(())
    }

    /// Asks for `again` if `first` comes to nothing: whoever dies of one candidate is asked once more,
    /// since processes also die of other things.
    async fn ask_twice(&mut self, first: &Task, again: &Task) -> Result<Outcome, DryRunError> {
        match self.ask(first).await {
            Ok(outcome @ (Outcome::Well(_) | Outcome::Harmful { .. })) => Ok(outcome),
            _ => self.ask(again).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bytes::Bytes;
    use document_types::{DocumentId, VersionVector};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Answers what it was told to, in order.
    struct Script {
        answers: VecDeque<Result<Answer, BenchError>>,
        /// What it was asked to try, and on what beyond the base.
        asked: Vec<(usize, usize)>,
    }

    impl Script {
        fn new(answers: impl IntoIterator<Item = Result<Answer, BenchError>>) -> Self {
            Self {
                answers: answers.into_iter().collect(),
                asked: vec![],
            }
        }
    }

    #[async_trait]
    impl Bench for Script {
        async fn run(&mut self, task: &Task) -> Result<Report, BenchError> {
            self.asked.push(match task {
                Task::Try(job) => (job.applied.len(), job.candidates.len()),
                Task::Clear(request) => (0, request.candidates.len()),
            });
            let answer = self.answers.pop_front().expect("it is asked no more often");
            Ok(Report {
                answer: answer?,
                ground_time: 100 * MS,
                trial_time: MS,
                is_worn: false,
            })
        }
    }

    fn died(harm: &Harm) -> Result<Answer, BenchError> {
        Err(BenchError::Died {
            harm: harm.clone(),
            time: 10 * MS,
        })
    }

    fn harmful(guilty: Option<u32>) -> Result<Answer, BenchError> {
        Ok(Answer::Harmful {
            harm: Harm::Panic,
            guilty,
            is_certain: false,
        })
    }

    fn request(count: usize) -> DryRunRequest {
        DryRunRequest {
            document: DocumentId::parse("doc_1").unwrap(),
            version: VersionVector::new(),
            base: Some(vec![]),
            applied: vec![],
            styled: false,
            thorough: true,
            patient: false,
            candidates: vec![Bytes::from_static(b"candidate"); count],
            suspect: false,
        }
    }

    /// What becomes of one candidate of which a worker dies, where whoever lays the ground dies of these
    /// next.
    async fn sifted(deaths: &[Harm]) -> Result<Vec<Verdict>, DryRunError> {
        let answers = [died(&Harm::Slow)]
            .into_iter()
            .chain(deaths.iter().map(died))
            // The ground, and the candidate on it.
            .chain([Ok(Answer::Harmless), Ok(Answer::Harmless)]);
        let tried = sift(&mut Script::new(answers), request(1)).await;
        tried.map(|tried| tried.verdicts)
    }

    #[tokio::test]
    async fn one_death_on_the_ground_is_nobody_s_fault() {
        for harm in [Harm::Panic, Harm::Slow, Harm::Memory] {
            assert_eq!(sifted(&[harm]).await.unwrap(), [Verdict::Harmless]);
        }
    }

    #[tokio::test]
    async fn the_same_death_twice_is_the_log_s_fault() {
        for harm in [Harm::Panic, Harm::Slow] {
            let sifted = sifted(&[harm.clone(), harm]).await;
            assert!(matches!(sifted, Err(DryRunError::Degraded)), "{sifted:?}");
        }
    }

    #[tokio::test]
    async fn a_document_that_twice_takes_more_memory_than_there_is_is_too_large() {
        let sifted = sifted(&[Harm::Memory, Harm::Memory]).await;
        assert!(matches!(sifted, Err(DryRunError::TooLarge)), "{sifted:?}");
    }

    #[tokio::test]
    async fn two_different_deaths_say_nothing_of_the_log() {
        let sifted = sifted(&[Harm::Slow, Harm::Panic]).await;
        assert!(
            matches!(sifted, Err(DryRunError::Unavailable(None))),
            "{sifted:?}"
        );
    }

    #[tokio::test]
    async fn whatever_fails_on_a_kept_replica_makes_the_candidates_suspect() {
        for answer in [harmful(Some(0)), Ok(Answer::BadGround), died(&Harm::Panic)] {
            let mut request = request(1);
            request.base = None;
            let tried = sift(&mut Script::new([answer]), request).await;
            let is_suspect = matches!(tried, Err(DryRunError::NeedsBase { suspect: true }));
            assert!(is_suspect, "{tried:?}");
        }
    }

    #[tokio::test]
    async fn an_update_alone_that_is_certainly_to_blame_is_tried_once() {
        let certainly = || {
            Ok(Answer::Harmful {
                harm: Harm::Panic,
                guilty: Some(0),
                is_certain: true,
            })
        };
        let mut alone = request(1);
        alone.base = None;
        let tried = sift(&mut Script::new([certainly()]), alone).await.unwrap();
        assert_eq!(tried.verdicts, [Verdict::Harmful(Harm::Panic)]);
        assert_eq!(tried.processor_time, MS);
        // Those behind it would have nothing to be tried on.
        let mut several = request(2);
        several.base = None;
        let tried = sift(&mut Script::new([certainly()]), several).await;
        let is_suspect = matches!(tried, Err(DryRunError::NeedsBase { suspect: true }));
        assert!(is_suspect, "{tried:?}");
    }

    #[tokio::test]
    async fn each_harmful_update_among_suspects_costs_one_reload() {
        let mut script = Script::new([harmful(Some(1)), harmful(Some(0)), Ok(Answer::Harmless)]);
        let mut suspects = request(4);
        suspects.suspect = true;
        let tried = sift(&mut script, suspects).await.unwrap();
        let panics = Verdict::Harmful(Harm::Panic);
        assert_eq!(
            tried.verdicts,
            [Verdict::Harmless, panics.clone(), panics, Verdict::Harmless]
        );
        assert_eq!(script.asked, [(0, 4), (1, 2), (1, 1)]);
        assert_eq!(tried.processor_time, 3 * 101 * MS);
    }

    #[tokio::test]
    async fn loading_a_document_is_charged_to_nobody_whose_updates_are_harmless() {
        let mut script = Script::new([Ok(Answer::Harmless)]);
        let tried = sift(&mut script, request(3)).await.unwrap();
        assert_eq!(tried.processor_time, MS);
        // One of them does harm, and it takes a second look to see which one.
        let mut script = Script::new([harmful(None), harmful(Some(2)), Ok(Answer::Harmless)]);
        let tried = sift(&mut script, request(3)).await.unwrap();
        assert_eq!(tried.processor_time, 2 * 100 * MS + 3 * MS);
    }

    #[tokio::test]
    async fn an_update_that_kills_whoever_looks_at_it_is_found_among_others() {
        let document = DocumentId::parse("doc_1").unwrap();
        let candidate = crate::Unclear {
            update: Bytes::from_static(b"candidate"),
            overlap: None,
            rest: None,
        };
        let request = ClearRequest {
            document,
            history: vec![],
            candidates: vec![candidate; 2],
        };
        let same = || Ok(Answer::Cleared(vec![Clearing::Same(vec![])]));
        let memory = || died(&Harm::Memory);
        let nothing = Ok(Answer::Cleared(vec![]));
        let mut script = Script::new([memory(), nothing, memory(), same(), memory(), memory()]);
        let cleared = clear(&mut script, request.clone()).await.unwrap();
        assert_eq!(
            cleared,
            [Clearing::Same(vec![]), Clearing::Harmful(Harm::Memory)]
        );
        let mut script = Script::new([memory(), memory(), memory()]);
        let cleared = clear(&mut script, request).await;
        assert!(matches!(cleared, Err(DryRunError::TooLarge)), "{cleared:?}");
    }
}
