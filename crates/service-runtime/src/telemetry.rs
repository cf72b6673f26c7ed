//! Log lines: for people on a terminal, as JSON for machines. They go to the standard error, so that
//! a command's output stays its own.
//!
//! A field such as `correlation_id` that a span carries is on every line within it, in both forms.

use std::io::IsTerminal;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, prelude::*};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Why there will be no log lines.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("`{filter}` is not a log filter; one looks like `info` or `warn,merger=debug`")]
    BadFilter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// Something else in this process takes the log lines already.
    #[error("this process already has a subscriber for log lines")]
    AlreadyInstalled(#[from] TryInitError),
}

/// Sends this process's log lines that pass `filter` to the standard error.
///
/// # Errors
/// [`TelemetryError`] if the filter is malformed or lines already go elsewhere.
pub fn install(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let filter =
        EnvFilter::builder()
            .parse(filter)
            .map_err(|source| TelemetryError::BadFilter {
                filter: filter.to_owned(),
                source,
            })?;
    let terminal = std::io::stderr().is_terminal();
    let pretty = format == LogFormat::Pretty || (format == LogFormat::Auto && terminal);
    let lines = if pretty {
        for_people(std::io::stderr, terminal)
    } else {
        for_machines(std::io::stderr)
    };
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .try_init()?;
    Ok(())
}

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

fn for_people<W>(writer: W, colours: bool) -> Lines
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    fmt::layer().with_writer(writer).with_ansi(colours).boxed()
}

fn for_machines<W>(writer: W) -> Lines
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // The list of spans has the innermost one too.
    fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_writer(writer)
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_correlation_id_is_on_every_line_within_its_span() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::registry().with(for_machines(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("batch", correlation_id = "c-7");
            let _entered = span.enter();
            tracing::info!(payload_bytes = 12, "appended");
        });
        let line: serde_json::Value = serde_json::from_slice(&written.0.lock().unwrap()).unwrap();
        assert_eq!(line["message"], "appended");
        assert_eq!(line["payload_bytes"], 12);
        assert_eq!(line["spans"][0]["correlation_id"], "c-7");
    }

    #[test]
    fn a_filter_that_is_none_is_refused_by_its_name() {
        let error = install("merger=loud", LogFormat::Json).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("`merger=loud` is not a log filter"),
            "{error}"
        );
    }
}
