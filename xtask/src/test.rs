use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use crate::beside::Beside;
use crate::steps::{STEPS, Step};
use crate::{foundationdb, toolchain};

/// What `test` understands.
#[derive(clap::Args)]
pub struct Arguments {
    /// Run only the steps whose name contains this, and what they need
    #[arg(long, value_name = "PATTERN")]
    only: Option<String>,
    /// List the steps and run none
    #[arg(long)]
    list: bool,
    /// Run nothing but the tests in the FoundationDB cluster whose cluster file FDB_CLUSTER_FILE names
    #[arg(long, conflicts_with = "only")]
    foundationdb: bool,
    /// Run this one step, and not what it needs
    #[arg(long, hide = true, conflicts_with_all = ["only", "foundationdb"])]
    step: Option<String>,
}

/// How one step ended.
struct Outcome {
    name: &'static str,
    took: Duration,
    error: Option<anyhow::Error>,
}

impl Outcome {
    /// Says at once what failed.
    fn new(name: &'static str, took: Duration, error: Option<anyhow::Error>) -> Self {
        if let Some(error) = &error {
            println!("--- {name} FAILED: {error:#}");
        }
        Self { name, took, error }
    }
}

/// Runs the steps. A failing one fails those that need it and no others, so that one run shows all
/// that is wrong.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(name) = &arguments.step {
        let step = STEPS.iter().find(|step| step.name == name);
        return (step
            .with_context(|| format!("there is no step {name:?}"))?
            .run)();
    }
    let steps = if arguments.foundationdb {
        vec![&foundationdb::LIVE]
    } else {
        selected(STEPS, arguments.only.as_deref())
    };
    if arguments.list {
        for step in steps {
            println!("{:<14}{}", step.name, step.shows);
        }
        return Ok(());
    }
    if steps.is_empty() {
        bail!(
            "no step has {:?} in its name; --list shows them",
            arguments.only
        );
    }
    toolchain::check()?;

    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut beside = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        println!("\n=== {}: {}", step.name, step.shows);
        let started = Instant::now();
        let error = match missing(step, &outcomes) {
            Some(needed) => Some(anyhow!("not run, since {needed} failed")),
            None if step.mostly_waits && index + 1 < steps.len() => match Beside::start(step) {
                Ok(running) => {
                    beside.push(running);
                    continue;
                }
                Err(error) => Some(error),
            },
            None => (step.run)().err(),
        };
        outcomes.push(Outcome::new(step.name, started.elapsed(), error));
    }
    for running in beside {
        let name = running.step.name;
        let (took, result) = running.finish();
        outcomes.push(Outcome::new(name, took, result.err()));
    }
    summarize(&outcomes)
}

/// The steps that contain `pattern`, with those they need, in their order.
fn selected(steps: &'static [Step], pattern: Option<&str>) -> Vec<&'static Step> {
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    // Needs point backwards, so one pass from the end finds them all.
    for step in steps.iter().rev() {
        if pattern.is_none_or(|pattern| step.name.contains(pattern)) || wanted.contains(step.name) {
            wanted.insert(step.name);
            wanted.extend(step.needs);
        }
    }
    steps
        .iter()
        .filter(|step| wanted.contains(step.name))
        .collect()
}

fn missing(step: &Step, outcomes: &[Outcome]) -> Option<&'static str> {
    let failed = |need: &str| {
        outcomes
            .iter()
            .any(|outcome| outcome.name == need && outcome.error.is_some())
    };
    step.needs.iter().copied().find(|need| failed(need))
}

/// Prints the table and, as the last line, the counts.
fn summarize(outcomes: &[Outcome]) -> anyhow::Result<()> {
    println!();
    for Outcome { name, took, error } in outcomes {
        let result = if error.is_none() { "passed" } else { "FAILED" };
        println!("{name:<14}{result:<8}{:>7.1} s", took.as_secs_f64());
    }
    let failed = outcomes
        .iter()
        .filter(|outcome| outcome.error.is_some())
        .count();
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    if failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_needs_only_steps_before_it() {
        for (index, step) in STEPS.iter().enumerate() {
            for need in step.needs {
                assert!(
                    STEPS[..index].iter().any(|earlier| earlier.name == *need),
                    "{} needs {need}, which does not run before it",
                    step.name
                );
            }
        }
    }

    #[test]
    fn a_selected_step_brings_all_that_it_needs_along() {
        let names: Vec<_> = selected(STEPS, Some("browser"))
            .iter()
            .map(|step| step.name)
            .collect();
        assert_eq!(names, ["web-packages", "web-editor", "server", "browser"]);
        assert_eq!(selected(STEPS, None).len(), STEPS.len());
        assert!(selected(STEPS, Some("no such step")).is_empty());
    }
}
