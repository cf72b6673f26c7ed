//! The adapter for simulations.

mod conformance;
mod support;

#[tokio::test]
async fn conforms() {
    conformance::all(&dry_run::InProcessDryRun::default()).await;
}
