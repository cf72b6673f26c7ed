use std::process::Command;

use crate::variable;

/// What `cargo xtask parts` calls the three brokers.
pub(crate) const CLUSTER: &str = "kafka-cluster";
/// What it calls the brokers of two regions,
pub(crate) const REGIONS: &str = "kafka-regions";
/// what lies between them,
pub(crate) const WIDE_AREA: &str = "wide-area";
/// and what copies from each to the other.
pub(crate) const MIRROR_MAKER: &str = "mirror-maker";

/// Runs `cargo xtask parts` with these arguments.
pub(crate) async fn parts(arguments: &[&str]) {
    let mut command = Command::new(variable("COLLABEDIT_XTASK"));
    command.arg("parts").args(arguments);
    // What it prints would stand among the test's own words.
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    assert!(
        output.status.success(),
        "`xtask parts {arguments:?}` ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
