//! A server that is killed at any moment, and started again on what the kill has left, keeps its
//! promises: the real binary, and the same node on disks that forget what was not synced.

use crash::{Load, PlantedBug, ServerCommand, assert_kept, clients_come_back, clients_die};
use testkit::Violation;

/// Kills within which a planted bug has to be found.
const PLANTED_KILLS_MAX: u32 = 5;

fn lossy_server(load: &Load, bug: Option<PlantedBug>) -> ServerCommand {
    ServerCommand::lossy(env!("CARGO_BIN_EXE_lossy-server"), load.seed, bug)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_doubles_and_invents_nothing() -> anyhow::Result<()> {
    let load = Load::from_environment()?;
    assert_kept(
        &clients_come_back(&ServerCommand::real()?, &load).await?,
        &load,
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_has_what_it_acknowledged_though_no_client_is_left() -> anyhow::Result<()> {
    let load = Load::from_environment()?;
    assert_kept(&clients_die(&ServerCommand::real()?, &load).await?, &load);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_loses_what_was_not_synced_keeps_its_promises() -> anyhow::Result<()> {
    let load = Load::from_environment()?;
    assert_kept(
        &clients_come_back(&lossy_server(&load, None), &load).await?,
        &load,
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_loses_what_was_not_synced_keeps_them_though_no_client_is_left()
-> anyhow::Result<()> {
    let load = Load::from_environment()?;
    assert_kept(
        &clients_die(&lossy_server(&load, None), &load).await?,
        &load,
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_sync_is_found_out() -> anyhow::Result<()> {
    is_found_out(PlantedBug::NoFsync).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_acknowledges_before_it_appends_is_found_out() -> anyhow::Result<()> {
    is_found_out(PlantedBug::AckBeforeAppend).await
}

async fn is_found_out(bug: PlantedBug) -> anyhow::Result<()> {
    let load = Load {
        clients: 4,
        operations: 2_500,
        kills: PLANTED_KILLS_MAX,
        seed: Load::from_environment()?.seed,
    };
    let report = clients_die(&lossy_server(&load, Some(bug)), &load).await?;
    let is_lost = |violation: &Violation| matches!(violation, Violation::LostOperations { .. });
    assert!(
        report.violations.iter().any(is_lost),
        "{} was not noticed: {report}",
        bug.name()
    );
    // Nobody has to look into what was to be expected.
    std::fs::remove_dir_all(&report.folder)?;
    Ok(())
}
