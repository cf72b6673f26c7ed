use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The shortest round. It is the beat with which a room of many begins, so that at ten updates a second
/// everybody writes in every round, and at fewer they take turns, as people who do not type in step.
const ROUND_MIN: Duration = Duration::from_millis(100);

/// From one movement of a flooder's cursor to the next.
const FLOOD_PERIOD: Duration = Duration::from_millis(1);

/// Updates that are recorded and kept in memory, which takes about 1 KB each.
const UPDATES_COUNT_MAX: u64 = 2_000_000;

/// What a crowd does: a TOML file, of which every member is required unless it says otherwise, and in
/// which an unknown one is an error.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Documents, each new and with people of its own.
    pub documents: u32,
    /// People in each document who write.
    pub people_per_document: u32,
    /// Updates a second of each of them; an update is a character.
    pub updates_per_second: f64,
    /// How long they write.
    pub seconds: u32,
    /// Over how long they come in before they begin to write; 0 unless it is given.
    #[serde(default)]
    pub ramp_up_seconds: u32,
    /// People in each document who read along and write nothing; none unless it is given.
    #[serde(default)]
    pub readers_per_document: u32,
    /// How often a second each person, reader or not, moves the cursor; never unless it is given.
    #[serde(default)]
    pub cursors_per_second: f64,
    /// How many of the readers move theirs a thousand times a second, to harm the others; none unless it is
    /// given. What is shown of them is not measured.
    #[serde(default)]
    pub flooders_per_document: u32,
}

/// Why a scenario can't be played.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file can't be read.
    #[error("{} can't be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no TOML, or has other members than a scenario.
    #[error("{} is not a scenario", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// A number is too small or too large.
    #[error("`{member}` is {value}, and has to be from {min} to {max}")]
    OutOfRange {
        /// Which.
        member: &'static str,
        /// What it is.
        value: f64,
        /// The least it may be.
        min: f64,
        /// The most it may be.
        max: f64,
    },
    /// More would have to be kept in memory than is sensible.
    #[error("{updates} updates in each document are too many: {UPDATES_COUNT_MAX} can be recorded")]
    TooLong {
        /// How many.
        updates: u64,
    },
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// [`ScenarioError`].
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
            path: path.to_owned(),
            source,
        })?;
        let scenario: Self = toml::from_str(&text).map_err(|source| ScenarioError::Parse {
            path: path.to_owned(),
            source,
        })?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), ScenarioError> {
        for (member, value, min, max) in [
            ("documents", f64::from(self.documents), 1.0, 50_000.0),
            (
                "people_per_document",
                f64::from(self.people_per_document),
                1.0,
                1_000.0,
            ),
            // Faster than every second beat of the shortest length is no typing.
            ("updates_per_second", self.updates_per_second, 0.01, 25.0),
            ("seconds", f64::from(self.seconds), 1.0, 86_400.0),
            (
                "ramp_up_seconds",
                f64::from(self.ramp_up_seconds),
                0.0,
                3_600.0,
            ),
            (
                "readers_per_document",
                f64::from(self.readers_per_document),
                0.0,
                10_000.0,
            ),
            ("cursors_per_second", self.cursors_per_second, 0.0, 20.0),
            (
                "flooders_per_document",
                f64::from(self.flooders_per_document),
                0.0,
                f64::from(self.readers_per_document),
            ),
        ] {
            if !(min..=max).contains(&value) {
                return Err(ScenarioError::OutOfRange {
                    member,
                    value,
                    min,
                    max,
                });
            }
        }
        let rhythm = self.rhythm();
        let updates = u64::from(rhythm.rounds) * u64::from(self.people_per_document)
            / u64::from(rhythm.turns);
        if updates > UPDATES_COUNT_MAX {
            return Err(ScenarioError::TooLong { updates });
        }
        Ok(())
    }

    /// The rounds that the rate asks for.
    pub fn rhythm(&self) -> Rhythm {
        let period = Duration::from_secs_f64(1.0 / self.updates_per_second);
        let turns = u32::try_from(period.as_micros() / ROUND_MIN.as_micros())
            .unwrap_or(u32::MAX)
            .max(1);
        let round = period / turns;
        let rounds = Duration::from_secs(self.seconds.into()).as_micros() / round.as_micros();
        Rhythm {
            round,
            rounds: u32::try_from(rounds).unwrap_or(u32::MAX),
            turns,
        }
    }

    /// All who take part.
    pub fn people(&self) -> u32 {
        self.documents * (self.people_per_document + self.readers_per_document)
    }

    /// From one movement of a person's cursor to the next, if it moves. Persons are counted as they are above:
    /// who writes, who reads, and of those the flooders last.
    pub fn cursor_period(&self, person: u32) -> Option<Duration> {
        if self.is_flooder(person) {
            return Some(FLOOD_PERIOD);
        }
        (self.cursors_per_second > 0.0)
            .then(|| Duration::from_secs_f64(1.0 / self.cursors_per_second))
    }

    /// Whether a person is there to harm the others.
    pub fn is_flooder(&self, person: u32) -> bool {
        let people = self.people_per_document + self.readers_per_document;
        person >= people - self.flooders_per_document
    }
}

/// When who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// How long a round is.
    pub round: Duration,
    /// How many there are.
    pub rounds: u32,
    /// Everybody writes in one of so many rounds.
    pub turns: u32,
}

impl Rhythm {
    /// Whether `writer` writes in `round`.
    pub fn is_turn(self, writer: u32, round: u32) -> bool {
        (u64::from(round) + u64::from(writer)).is_multiple_of(u64::from(self.turns))
    }

    /// How long after the beginning a round is due.
    pub fn due(self, round: u32) -> Duration {
        self.round * round
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(updates_per_second: f64) -> Scenario {
        Scenario {
            documents: 1,
            people_per_document: 50,
            updates_per_second,
            seconds: 30,
            ramp_up_seconds: 0,
            readers_per_document: 0,
            cursors_per_second: 0.0,
            flooders_per_document: 0,
        }
    }

    #[test]
    fn ten_updates_a_second_are_one_a_round_and_fewer_take_turns() {
        let ms = Duration::from_millis;
        let rhythm = |round, rounds, turns| Rhythm {
            round,
            rounds,
            turns,
        };
        assert_eq!(scenario(10.0).rhythm(), rhythm(ms(100), 300, 1));
        assert_eq!(scenario(20.0).rhythm(), rhythm(ms(50), 600, 1));
        assert_eq!(scenario(2.0).rhythm(), rhythm(ms(100), 300, 5));
        assert_eq!(scenario(4.0).rhythm(), rhythm(ms(125), 240, 2));
        let fifth = scenario(2.0).rhythm();
        let writers = (0..50).filter(|writer| fifth.is_turn(*writer, 7)).count();
        assert_eq!(writers, 10);
    }

    #[test]
    fn a_scenario_that_says_too_much_or_too_little_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            let path = folder.path().join("scenario.toml");
            std::fs::write(&path, text).unwrap();
            Scenario::read(&path)
        };
        let whole =
            "documents = 1\npeople_per_document = 50\nupdates_per_second = 10\nseconds = 30\n";
        assert_eq!(read(whole).unwrap(), scenario(10.0));
        let unknown = read(&format!("{whole}cursors = true\n")).unwrap_err();
        assert!(matches!(unknown, ScenarioError::Parse { .. }), "{unknown}");
        let missing = read("documents = 1").unwrap_err();
        assert!(matches!(missing, ScenarioError::Parse { .. }), "{missing}");
        let nobody = read(&whole.replace("= 50", "= 0")).unwrap_err();
        assert!(matches!(
            nobody,
            ScenarioError::OutOfRange {
                member: "people_per_document",
                ..
            }
        ));
        let endless = read(&whole.replace("seconds = 30", "seconds = 86400")).unwrap_err();
        assert!(
            matches!(endless, ScenarioError::TooLong { .. }),
            "{endless}"
        );
    }

    #[test]
    fn the_scenarios_that_come_along_can_be_played() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
        assert!(files.len() >= 3);
        for file in files {
            Scenario::read(&file.unwrap().path()).unwrap();
        }
    }
}
