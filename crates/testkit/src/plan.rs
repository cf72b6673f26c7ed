use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clock::Random;
use serde::{Deserialize, Serialize};

/// What a test does, step by step. The same seed and options give the same plan; a plan that failed
/// is saved, replayed, and made smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it was drawn from.
    pub seed: u64,
    /// The bounds that it was drawn within.
    pub options: PlanOptions,
    /// The steps.
    pub events: Vec<PlanEvent>,
}

/// Bounds of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanOptions {
    /// Clients, numbered from 0.
    pub clients: u32,
    /// Nodes, numbered from 0.
    pub nodes: u32,
    /// Steps.
    pub steps: usize,
    /// The longest pause, in milliseconds.
    pub pause_ms_max: u64,
    /// The largest insertion, in tokens.
    pub tokens_max: u32,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            clients: 4,
            nodes: 1,
            steps: 200,
            pause_ms_max: 500,
            tokens_max: 4,
        }
    }
}

/// One step. Places are drawn as parts of 2^32 and scaled to the text as it is then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum PlanEvent {
    /// A client writes tokens.
    Insert {
        /// Which client.
        client: u32,
        /// Where.
        place: u32,
        /// How many.
        tokens: u32,
    },
    /// A client deletes a token, if there is one.
    Delete {
        /// Which client.
        client: u32,
        /// Where.
        place: u32,
    },
    /// A client loses its connection.
    Disconnect {
        /// Which client.
        client: u32,
    },
    /// A client gets a connection.
    Connect {
        /// Which client.
        client: u32,
    },
    /// A node ends at once, as with `kill -9`, and starts again.
    Kill {
        /// Which node.
        node: u32,
    },
    /// A node stands still for a while.
    Freeze {
        /// Which node.
        node: u32,
        /// How long.
        ms: u64,
    },
    /// A node's clock jumps.
    JumpClock {
        /// Which node.
        node: u32,
        /// By how much.
        ms: i64,
    },
    /// A node's appends fail for a while, with an outcome that nobody knows.
    FailAppends {
        /// Which node.
        node: u32,
        /// How long.
        ms: u64,
    },
    /// Nothing is done for a while.
    Pause {
        /// How long.
        ms: u64,
    },
}

/// Why a plan can't be saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file can't be read or written.
    #[error("the plan {} can't be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not one of a plan.
    #[error("line {number} is not one of a plan")]
    Line {
        /// Which, from 1.
        number: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// The file is empty.
    #[error("the plan's file is empty")]
    Empty,
}

/// The first line of a saved plan.
#[derive(Serialize, Deserialize)]
struct Heading {
    seed: u64,
    #[serde(flatten)]
    options: PlanOptions,
}

/// The kinds of faults. Each plan has some of them and lacks others, which finds more than having
/// all of them in each.
const FAULT_KINDS: u64 = 5;
/// A fault kind is in a plan with this probability.
const FAULT_KIND_CHANCE: f64 = 0.5;
/// Steps of which one is a fault, while the plan has any.
const STEPS_PER_FAULT: u64 = 12;
/// The farthest that a clock jumps, in milliseconds: an hour.
const CLOCK_JUMP_MS_MAX: u64 = 3_600_000;

impl Plan {
    /// Draws a plan.
    pub fn draw(seed: u64, options: &PlanOptions) -> Self {
        let random = Random::from_seed(seed);
        let faults: Vec<u64> = (0..FAULT_KINDS)
            .filter(|_| random.chance(FAULT_KIND_CHANCE))
            .collect();
        let events = (0..options.steps)
            .map(|_| Self::step(&random, options, &faults))
            .collect();
        Self {
            seed,
            options: options.clone(),
            events,
        }
    }

    fn step(random: &Random, options: &PlanOptions, faults: &[u64]) -> PlanEvent {
        let below = |bound: u32| u32::try_from(random.below(u64::from(bound))).unwrap_or(0);
        let pause = || random.below(options.pause_ms_max + 1);
        let client = below(options.clients);
        let node = below(options.nodes);
        if !faults.is_empty() && random.below(STEPS_PER_FAULT) == 0 {
            let kind = usize::try_from(random.below(faults.len() as u64)).unwrap_or(0);
            return match faults[kind] {
                0 => PlanEvent::Disconnect { client },
                1 => PlanEvent::Kill { node },
                2 => PlanEvent::Freeze { node, ms: pause() },
                3 => {
                    let ms = i64::try_from(random.below(2 * CLOCK_JUMP_MS_MAX)).unwrap_or(0)
                        - i64::try_from(CLOCK_JUMP_MS_MAX).unwrap_or(0);
                    PlanEvent::JumpClock { node, ms }
                }
                _ => PlanEvent::FailAppends { node, ms: pause() },
            };
        }
        match random.below(10) {
            0..=4 => {
                let tokens = 1 + below(options.tokens_max.max(1));
                PlanEvent::Insert {
                    client,
                    place: below(u32::MAX),
                    tokens,
                }
            }
            5 => PlanEvent::Delete {
                client,
                place: below(u32::MAX),
            },
            6 | 7 => PlanEvent::Connect { client },
            _ => PlanEvent::Pause { ms: pause() },
        }
    }

    /// Saves the plan as JSON lines: its seed and options, and then a step a line, so that a person
    /// can take steps out by hand.
    ///
    /// # Errors
    /// [`PlanError::File`].
    pub fn save(&self, path: &Path) -> Result<(), PlanError> {
        let heading = Heading {
            seed: self.seed,
            options: self.options.clone(),
        };
        let json = "numbers and enums always serialise";
        let mut lines = serde_json::to_string(&heading).expect(json);
        for event in &self.events {
            lines.push('\n');
            lines.push_str(&serde_json::to_string(event).expect(json));
        }
        lines.push('\n');
        std::fs::write(path, lines).map_err(|source| PlanError::File {
            path: path.to_owned(),
            source,
        })
    }

    /// Loads a saved plan.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn load(path: &Path) -> Result<Self, PlanError> {
        let text = std::fs::read_to_string(path).map_err(|source| PlanError::File {
            path: path.to_owned(),
            source,
        })?;
        let mut lines = text.lines().zip(1..);
        let (heading, _) = lines.next().ok_or(PlanError::Empty)?;
        let Heading { seed, options } = serde_json::from_str(heading)
            .map_err(|source| PlanError::Line { number: 1, source })?;
        let events = lines
            .map(|(line, number)| {
                serde_json::from_str(line).map_err(|source| PlanError::Line { number, source })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            seed,
            options,
            events,
        })
    }

    /// The plan without some of its steps.
    #[must_use]
    pub fn without(&self, steps: Range<usize>) -> Self {
        let mut smaller = self.clone();
        smaller.events.drain(steps);
        smaller
    }

    /// A plan that still fails and has no step left without which it would, found by leaving out
    /// ever smaller runs of steps. `fails` runs a plan; it is called at most `attempts_max` times.
    ///
    /// Source: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002.
    #[must_use]
    pub fn shrink(self, attempts_max: usize, mut fails: impl FnMut(&Self) -> bool) -> Self {
        let mut smallest = self;
        let mut run = smallest.events.len().div_ceil(2);
        let mut attempts = 0;
        while run > 0 {
            let mut start = 0;
            let mut shrunk = false;
            while start < smallest.events.len() {
                if attempts == attempts_max {
                    return smallest;
                }
                attempts += 1;
                let end = smallest.events.len().min(start + run);
                let candidate = smallest.without(start..end);
                if fails(&candidate) {
                    smallest = candidate;
                    shrunk = true;
                } else {
                    start = end;
                }
            }
            // A smaller plan may have made other steps superfluous.
            if !(run == 1 && shrunk) {
                run /= 2;
            }
        }
        smallest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_plan_and_seeds_differ_in_their_faults() {
        let options = PlanOptions::default();
        assert_eq!(Plan::draw(7, &options), Plan::draw(7, &options));
        let kills = |seed| {
            let is_kill = |event: &&PlanEvent| matches!(event, PlanEvent::Kill { .. });
            Plan::draw(seed, &options)
                .events
                .iter()
                .filter(is_kill)
                .count()
        };
        let counts: Vec<usize> = (0..40).map(kills).collect();
        assert!(
            counts.contains(&0) && counts.iter().any(|count| *count > 2),
            "{counts:?}"
        );
    }

    #[test]
    fn a_plan_is_loaded_as_it_was_saved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.jsonl");
        for seed in 0..20 {
            let plan = Plan::draw(seed, &PlanOptions::default());
            plan.save(&path).unwrap();
            assert_eq!(Plan::load(&path).unwrap(), plan);
        }
        std::fs::write(&path, "").unwrap();
        assert!(matches!(Plan::load(&path), Err(PlanError::Empty)));
        std::fs::write(&path, "{}\n").unwrap();
        assert!(matches!(
            Plan::load(&path),
            Err(PlanError::Line { number: 1, .. })
        ));
    }

    #[test]
    fn a_failing_plan_shrinks_to_what_makes_it_fail() {
        // It fails when a node is killed some time after a client was cut off.
        let fails = |plan: &Plan| {
            let cut = plan
                .events
                .iter()
                .position(|e| matches!(e, PlanEvent::Disconnect { .. }));
            let kill = plan
                .events
                .iter()
                .rposition(|e| matches!(e, PlanEvent::Kill { .. }));
            matches!((cut, kill), (Some(cut), Some(kill)) if cut < kill)
        };
        let plan = (0..)
            .map(|seed| Plan::draw(seed, &PlanOptions::default()))
            .find(fails)
            .unwrap();
        let shrunk = plan.clone().shrink(10_000, fails);
        assert!(matches!(
            shrunk.events.as_slice(),
            [PlanEvent::Disconnect { .. }, PlanEvent::Kill { .. }]
        ));
        let mut runs = 0;
        let _ = plan.shrink(5, |plan| {
            runs += 1;
            fails(plan)
        });
        assert_eq!(runs, 5);
    }
}
