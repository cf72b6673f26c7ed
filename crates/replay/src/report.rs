use std::fmt;
use std::path::Path;

use document_types::DocumentId;
use serde::{Deserialize, Serialize};

use crate::error::ReplayError;

/// What a replay did, and whether everybody has the same document after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplayReport {
    /// The document.
    pub document: DocumentId,
    /// The trace's name or file.
    pub trace: String,
    /// Clients that wrote at once.
    pub clients: usize,
    /// Edits that they made.
    pub edits: usize,
    /// From the first edit to the last ack.
    pub elapsed_seconds: f64,
    /// Edits per second, all clients together.
    pub edits_per_second: f64,
    /// Updates that carried the edits: one for each commit.
    pub updates: usize,
    /// How many of the updates were written without knowledge of another, nor known to it.
    pub concurrent_updates: usize,
    /// Batches that the server refused for now, and that were sent again.
    pub refused_batches: u64,
    /// Whether the room's pulse was on.
    pub pulsed: bool,
    /// From a commit to its ack.
    pub ack_latency: Percentiles,
    /// From an edit to its arrival in another client's replica.
    pub propagation: Percentiles,
    /// Characters of the text at the end.
    pub text_characters: usize,
    /// BLAKE3 of the text.
    pub text_digest: String,
    /// The state hash, which the server and every replica compute alike.
    pub state_hash: String,
    /// What was compared.
    pub checks: Vec<Check>,
}

/// A distribution of times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// Half were at most this.
    pub p50_ms: f64,
    /// 95 of 100 were at most this.
    pub p95_ms: f64,
    /// 99 of 100 were at most this.
    pub p99_ms: f64,
    /// None was more than this.
    pub max_ms: f64,
}

/// Something that was compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What should hold.
    pub name: String,
    /// Whether it does.
    pub passed: bool,
}

impl Check {
    pub(crate) fn new(name: impl Into<String>, passed: bool) -> Self {
        Self {
            name: name.into(),
            passed,
        }
    }
}

impl ReplayReport {
    /// Whether all checks passed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    pub(crate) fn save(&self, path: &Path) -> Result<(), ReplayError> {
        let json = serde_json::to_string_pretty(self).map_err(ReplayError::ReportFormat)?;
        std::fs::write(path, json).map_err(|source| ReplayError::ReportFile {
            path: path.to_owned(),
            source,
        })
    }

    pub(crate) fn load(path: &Path) -> Result<Self, ReplayError> {
        let json = std::fs::read(path).map_err(|source| ReplayError::ReportFile {
            path: path.to_owned(),
            source,
        })?;
        serde_json::from_slice(&json).map_err(ReplayError::ReportFormat)
    }
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[allow(clippy::cast_precision_loss)] // Counts of updates are far below 2^52.
        let concurrent_percent =
            100.0 * self.concurrent_updates as f64 / self.updates.max(1) as f64;
        writeln!(f, "document      {}", self.document)?;
        writeln!(
            f,
            "edits         {} of {} by {} clients in {:.1} s: {:.0} a second",
            self.edits, self.trace, self.clients, self.elapsed_seconds, self.edits_per_second
        )?;
        writeln!(
            f,
            "updates       {}, {concurrent_percent:.0} % of them concurrent with another; pulse {}",
            self.updates,
            if self.pulsed { "on" } else { "off" }
        )?;
        if self.refused_batches > 0 {
            writeln!(f, "sent again    {} batches", self.refused_batches)?;
        }
        writeln!(f, "ack           {}", self.ack_latency)?;
        writeln!(f, "propagation   {}", self.propagation)?;
        writeln!(
            f,
            "text          {} characters, BLAKE3 {}",
            self.text_characters, self.text_digest
        )?;
        writeln!(f, "state hash    {}", self.state_hash)?;
        for check in &self.checks {
            writeln!(
                f,
                "{}  {}",
                if check.passed { "ok    " } else { "FAILED" },
                check.name
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("not measured");
        }
        write!(
            f,
            "p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, max {:.1} ms (of {})",
            self.p50_ms, self.p95_ms, self.p99_ms, self.max_ms, self.count
        )
    }
}
