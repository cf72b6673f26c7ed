use std::sync::Arc;

use super::recording::Recording;

/// What one light client has seen of the recording, its own acknowledged updates included.
///
/// Everything that is written in a round builds on all of the rounds before, and the server sends what
/// an update builds on before the update. So nothing of a later round may come while something of this
/// one is missing.
pub struct Causality {
    recording: Arc<Recording>,
    /// The round of which something is missing, or the one after the last.
    round: u32,
    /// By its place within the round, what of it has come.
    seen: Vec<bool>,
    missing: usize,
}

/// Updates that can't have come like this from a server that keeps its promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// It is not in the recording.
    #[error("an update came that nobody sent")]
    Foreign,
    /// It had come before.
    #[error("an update of round {round} came twice")]
    Twice {
        /// Its round.
        round: u32,
    },
    /// It builds on what has not come.
    #[error("an update of round {round} came while some of round {missing} were missing")]
    BeforeItsCause {
        /// Its round.
        round: u32,
        /// The round that it builds on.
        missing: u32,
    },
}

impl Causality {
    /// Nothing has come yet.
    pub fn new(recording: Arc<Recording>) -> Self {
        let mut causality = Self {
            recording,
            round: 0,
            seen: Vec::new(),
            missing: 0,
        };
        causality.enter();
        causality
    }

    /// The round that may be written now: everything of those before it has come. After the last
    /// round, the number of rounds.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// Whether everything has come.
    pub fn is_over(&self) -> bool {
        self.round == self.recording.rhythm().rounds
    }

    /// The update at `place` of the recording has come.
    ///
    /// # Errors
    /// [`Violation`] if it should not have.
    pub fn see(&mut self, place: u32) -> Result<(), Violation> {
        let round = self.recording.updates()[place as usize].round;
        if round > self.round {
            return Err(Violation::BeforeItsCause {
                round,
                missing: self.round,
            });
        }
        let within = place - self.recording.round(round).start;
        let seen = self.seen.get_mut(within as usize);
        match seen.filter(|seen| round == self.round && !**seen) {
            Some(seen) => *seen = true,
            None => return Err(Violation::Twice { round }),
        }
        self.missing -= 1;
        if self.missing == 0 {
            self.round += 1;
            self.enter();
        }
        Ok(())
    }

    /// Goes on to a round in which somebody writes.
    fn enter(&mut self) {
        while !self.is_over() && self.recording.round(self.round).is_empty() {
            self.round += 1;
        }
        self.missing = if self.is_over() {
            0
        } else {
            self.recording.round(self.round).len()
        };
        self.seen.clear();
        self.seen.resize(self.missing, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::Scenario;

    fn causality() -> Causality {
        let scenario = Scenario {
            documents: 1,
            people_per_document: 3,
            updates_per_second: 2.0,
            seconds: 2,
            ramp_up_seconds: 0,
            readers_per_document: 0,
            cursors_per_second: 0.0,
            flooders_per_document: 0,
        };
        // Five rounds for everybody's turn, in two of which nobody writes: 0 | 4 | 3 | - | - | 0 ...
        Causality::new(Arc::new(Recording::make(&scenario).unwrap()))
    }

    #[test]
    fn a_round_is_over_when_all_of_it_has_come() {
        let mut causality = causality();
        let rounds: Vec<_> = causality
            .recording
            .updates()
            .iter()
            .map(|update| update.round)
            .collect();
        for (place, round) in (0..).zip(&rounds) {
            assert_eq!(causality.round(), *round);
            causality.see(place).unwrap();
        }
        assert!(causality.is_over());
        assert_eq!(causality.see(0), Err(Violation::Twice { round: 0 }));
    }

    #[test]
    fn nothing_comes_twice_or_before_its_cause() {
        let scenario = Scenario {
            documents: 1,
            people_per_document: 3,
            updates_per_second: 10.0,
            seconds: 1,
            ramp_up_seconds: 0,
            readers_per_document: 0,
            cursors_per_second: 0.0,
            flooders_per_document: 0,
        };
        let mut causality = Causality::new(Arc::new(Recording::make(&scenario).unwrap()));
        causality.see(2).unwrap();
        causality.see(0).unwrap();
        assert_eq!(causality.see(2), Err(Violation::Twice { round: 0 }));
        let early = Violation::BeforeItsCause {
            round: 1,
            missing: 0,
        };
        assert_eq!(causality.see(3), Err(early));
        causality.see(1).unwrap();
        causality.see(3).unwrap();
        assert_eq!(causality.see(1), Err(Violation::Twice { round: 0 }));
    }
}
