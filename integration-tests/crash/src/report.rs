use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use testkit::Violation;

use crate::{Aftermath, Load};

/// What was done to a server or its log, and which promises were broken.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Times that something was killed.
    pub kills: u32,
    /// How long clients waited, by what was killed.
    pub aftermath: BTreeMap<&'static str, Aftermath>,
    /// Kills of which a client had sent operations whose answer never left the server.
    pub kills_in_flight: u32,
    /// Operations that clients were told are durable.
    pub operations_acknowledged: u64,
    /// How long the run took.
    pub took: Duration,
    /// Promises that were broken; the run ends at the first check that finds any.
    pub violations: Vec<Violation>,
    /// Where the history, the data and the server's log are, which stay if a promise was broken.
    pub folder: PathBuf,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills, {} of them with an append in flight, {} operations acknowledged, {} promises \
             broken, in {:.1} s",
            self.kills,
            self.kills_in_flight,
            self.operations_acknowledged,
            self.violations.len(),
            self.took.as_secs_f64()
        )?;
        for (of, aftermath) in &self.aftermath {
            write!(f, "\n{of}: {aftermath}")?;
        }
        Ok(())
    }
}

/// Asserts that the servers kept their promises, and that enough was done to them.
///
/// # Panics
/// If not, with the report.
#[track_caller]
pub fn assert_kept(report: &Report, load: &Load) {
    assert!(report.violations.is_empty(), "{report}");
    assert!(report.kills >= load.kills, "{report}");
    assert!(
        report.kills_in_flight >= load.kills_in_flight_min(),
        "{report}"
    );
    assert!(
        report.operations_acknowledged >= load.operations,
        "{report}"
    );
}
