//! The report as a table for people.

use std::fmt;

use super::report::{
    Failures, HistogramFigures, LatencyFigures, MinuteFigures, QuantileFigures, Report, mebibytes,
};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scenario = &self.scenario;
        writeln!(
            f,
            "{} people and {} readers in each of {} documents, {} updates a second each, for {} s; played in {:.1} s",
            scenario.people_per_document,
            scenario.readers_per_document,
            scenario.documents,
            scenario.updates_per_second,
            scenario.seconds,
            self.played_seconds
        )?;
        writeln!(f)?;
        writeln!(
            f,
            "{:<9}{:>10}{:>10}{:>10}{:>10}",
            "updates", "planned", "total", "failures", "rate /s"
        )?;
        writeln!(
            f,
            "{:<9}{:>10}{:>10}{:>10}{:>10.1}",
            "",
            self.planned,
            self.offered,
            self.offered - self.acknowledged,
            self.rate_per_second
        )?;
        writeln!(f)?;
        writeln!(
            f,
            "{:<34}{:>10}{:>9}{:>9}{:>9}{:>9}{:>9}",
            "clients, ms", "count", "mean", "p50", "p95", "p99", "max"
        )?;
        latency_row(f, "sent to acknowledged", &self.ack)?;
        latency_row(f, "sent to seen by each other", &self.seen)?;
        if self.cursor.count > 0 {
            latency_row(f, "cursor moved to seen by each other", &self.cursor)?;
        }
        latency_row(f, "sent later than due", &self.behind)?;
        latency_row(f, "the beat", &self.beat)?;
        writeln!(f)?;
        writeln!(
            f,
            "{:<34}{:>10}{:>18}{:>18}{:>18}",
            "server, ms (between bounds)", "count", "p50", "p95", "p99"
        )?;
        histogram_row(f, "received to ack on the socket", &self.server.ack)?;
        histogram_row(f, "received to bytes on each socket", &self.server.delivery)?;
        writeln!(f)?;
        writeln!(
            f,
            "gate's dry runs  {:.0} µs of processor time an update",
            self.server.gate_cpu_us_per_update
        )?;
        match &self.server.processes {
            Some(processes) => writeln!(
                f,
                "server's CPU     {:.0} % of a core, {:.0} µs an update\n\
                 server's memory  {:.0} MiB before, {:.0} at most, {:.0} after",
                processes.cpu_percent_of_a_core,
                processes.cpu_us_per_update,
                mebibytes(processes.resident_before_bytes),
                mebibytes(processes.resident_max_bytes),
                mebibytes(processes.resident_after_bytes)
            )?,
            None => writeln!(
                f,
                "server's CPU     not measured; name its process with --server-pid"
            )?,
        }
        if self.minutes.len() > 1 {
            minutes(f, &self.minutes)?;
        }
        if let Some(growth) = self.gate_cpu_growth {
            writeln!(
                f,
                "The gate's CPU for an update: {growth:.2} times as much in the last whole minute as in the second."
            )?;
        }
        failures(f, &self.failures)
    }
}

fn latency_row(f: &mut fmt::Formatter<'_>, name: &str, figures: &LatencyFigures) -> fmt::Result {
    writeln!(
        f,
        "{name:<34}{:>10}{:>9.1}{:>9.1}{:>9.1}{:>9.1}{:>9.1}",
        figures.count,
        figures.mean_ms,
        figures.p50_ms,
        figures.p95_ms,
        figures.p99_ms,
        figures.max_ms
    )
}

fn histogram_row(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    figures: &HistogramFigures,
) -> fmt::Result {
    writeln!(
        f,
        "{name:<34}{:>10}{:>18}{:>18}{:>18}",
        figures.count,
        quantile(figures.p50),
        quantile(figures.p95),
        quantile(figures.p99)
    )
}

fn quantile(quantile: Option<QuantileFigures>) -> String {
    quantile.map_or_else(
        || "-".to_owned(),
        |quantile| {
            format!(
                "{:.1} ({}-{})",
                quantile.estimate_ms, quantile.above_ms, quantile.at_most_ms
            )
        },
    )
}

fn minutes(f: &mut fmt::Formatter<'_>, minutes: &[MinuteFigures]) -> fmt::Result {
    writeln!(f)?;
    writeln!(
        f,
        "{:<7}{:>9}{:>6}{:>9}{:>9}{:>10}{:>10}{:>17}{:>17}{:>9}{:>9}{:>9}",
        "minute",
        "updates",
        "beat",
        "ack p50",
        "ack p95",
        "seen p50",
        "seen p95",
        "server ack p95",
        "on sockets p95",
        "gate µs",
        "CPU µs",
        "MiB"
    )?;
    for minute in minutes {
        let microseconds = |value: Option<f64>| value.map_or("-".into(), |us| format!("{us:.0}"));
        writeln!(
            f,
            "{:<7}{:>9}{:>6.0}{:>9.1}{:>9.1}{:>10.1}{:>10.1}{:>17}{:>17}{:>9}{:>9}{:>9}",
            minute.minute,
            minute.acknowledged,
            minute.beat.p50_ms,
            minute.ack.p50_ms,
            minute.ack.p95_ms,
            minute.seen.p50_ms,
            minute.seen.p95_ms,
            quantile(minute.server_ack.p95),
            quantile(minute.server_delivery.p95),
            microseconds(minute.gate_cpu_us_per_update),
            microseconds(minute.cpu_us_per_update),
            minute
                .resident_bytes
                .map_or("-".into(), |bytes| format!("{:.0}", mebibytes(bytes)))
        )?;
    }
    Ok(())
}

fn failures(f: &mut fmt::Formatter<'_>, failures: &Failures) -> fmt::Result {
    if failures.is_empty() {
        return writeln!(
            f,
            "Nothing failed, and the server's documents are what was recorded."
        );
    }
    for (why, clients) in &failures.clients {
        writeln!(f, "FAILED  {clients} clients: {why}")?;
    }
    for message in failures.messages.iter().chain(&failures.different) {
        writeln!(f, "        {message}")?;
    }
    Ok(())
}
