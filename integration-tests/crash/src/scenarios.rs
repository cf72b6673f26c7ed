use std::time::Duration;

use anyhow::bail;
use document_types::limits::KAFKA_GROUP_SESSION_TIME_MAX;
use tokio::time::{Instant, MissedTickBehavior, sleep};

use crate::clients::Clients;
use crate::run::Run;
use crate::{Dependency, Deployment, Load, Report, ServerCommand, Way};

/// How long after its time a session is surely over: the brokers look once in a while.
const SESSION_MARGIN: Duration = Duration::from_secs(5);

/// Kills a server under clients that stay, come back to it and go on. In the end they, a client that
/// comes new, and the server have to have the same, and all of it.
///
/// # Errors
/// If the run could not be carried through, as when the server does not come up any more.
pub async fn clients_come_back(command: &ServerCommand, load: &Load) -> anyhow::Result<Report> {
    nodes_come_back(std::slice::from_ref(command), load).await
}

/// The same with several servers that share a log: each has its clients, and they are killed in turn.
///
/// # Errors
/// See [`clients_come_back`].
pub async fn nodes_come_back(commands: &[ServerCommand], load: &Load) -> anyhow::Result<Report> {
    let mut run = Run::start(commands, load).await?;
    let mut parties = run.parties(load).await?;
    while run.goes_on(load) {
        let node = run.report.kills as usize % run.servers.len();
        run.kill(node, &mut parties[node], load.operations_per_life())
            .await?;
        run.servers[node].restart().await?;
    }
    run.finish(parties, load).await
}

/// Kills brokers of the log that servers share, again and again, while these and their clients stay.
/// In the end all of them have to have the same, and all of it.
///
/// # Errors
/// If the run could not be carried through, as when nothing is acknowledged any more.
pub async fn brokers_come_back(
    commands: &[ServerCommand],
    brokers: &dyn Dependency,
    load: &Load,
) -> anyhow::Result<Report> {
    let mut run = Run::start(commands, load).await?;
    let mut parties = run.parties(load).await?;
    while run.goes_on(load) {
        let node = run.report.kills as usize % run.servers.len();
        let clients = &mut parties[node];
        run.kill_dependency(brokers, clients, load.operations_per_life())
            .await?;
        run.recover(brokers, clients).await?;
    }
    run.finish(parties, load).await
}

/// Kills a server and its clients together, again and again: what was acknowledged is in nobody's
/// memory any more when the server starts again, so nobody can give it back. After each restart a
/// client that comes new and the server have to have all that was ever acknowledged.
///
/// # Errors
/// If the run could not be carried through, as when the server does not come up any more.
pub async fn clients_die(command: &ServerCommand, load: &Load) -> anyhow::Result<Report> {
    let mut run = Run::start(std::slice::from_ref(command), load).await?;
    while run.goes_on(load) && run.report.violations.is_empty() {
        let first = run.report.kills * load.clients;
        let url = run.servers[0].process.url();
        let mut clients =
            Clients::join(&url, first, load.clients, &run.record, &run.random).await?;
        run.kill(0, &mut clients, load.operations_per_life())
            .await?;
        clients.leave().await?;
        run.servers[0].restart().await?;
        run.check(Vec::new()).await?;
    }
    run.end()
}

/// Kills a deployment under clients that stay: at gateways, which stand in front of nodes. All of these processes
/// are killed in turn, then all that only merge at once, and each dependency.
///
/// # Errors
/// See [`clients_come_back`].
pub async fn deployment_comes_back(
    deployment: &Deployment,
    dependencies: &[&dyn Dependency],
    load: &Load,
) -> anyhow::Result<Report> {
    let (mut run, mut parties) = Run::deploy(deployment, load).await?;
    let nodes_count = deployment.nodes.len();
    let mergers = match &deployment.mergers[..] {
        several @ [_, _, ..] => Some(Turn::AllMergers(several)),
        _ => None,
    };
    let turns: Vec<_> = (0..run.servers.len())
        .map(Turn::Process)
        .chain(mergers)
        .chain(dependencies.iter().copied().map(Turn::Dependency))
        .collect();
    while run.goes_on(load) {
        let operations = load.operations_per_life();
        match turns[run.report.kills as usize % turns.len()] {
            Turn::Process(process) if process < nodes_count => {
                let name = run.servers[process].command.name();
                run.kill_behind(name, &[process], &mut parties[0], operations)
                    .await?;
                run.servers[process].restart().await?;
            }
            Turn::Process(process) => {
                let clients = &mut parties[process - nodes_count];
                run.kill(process, clients, operations).await?;
                run.servers[process].restart().await?;
            }
            Turn::AllMergers(mergers) => {
                run.kill_behind("all mergers", mergers, &mut parties[0], operations)
                    .await?;
                for merger in mergers {
                    run.servers[*merger].restart().await?;
                }
            }
            Turn::Dependency(dependency) => {
                let clients = &mut parties[0];
                run.kill_dependency(dependency, clients, operations).await?;
                run.recover(dependency, clients).await?;
            }
        }
    }
    run.finish_deployment(parties, nodes_count, load).await
}

/// Whose turn it is to be killed.
#[derive(Clone, Copy)]
enum Turn<'a> {
    /// A node or a gateway.
    Process(usize),
    /// Everything that merges, so that for a while nobody does.
    AllMergers(&'a [usize]),
    Dependency(&'a dyn Dependency),
}

/// Makes a deployment's mergers merge the same records twice, in the ways in which that happens: one hangs
/// until the others have its share, and goes on with what it had; then the last one leaves or joins each
/// second, so that all of them divide the log anew.
///
/// # Errors
/// See [`clients_come_back`]. The deployment has to have mergers.
pub async fn mergers_come_and_go(
    deployment: &Deployment,
    meetings: u32,
    load: &Load,
) -> anyhow::Result<Report> {
    let (mut run, mut parties) = Run::deploy(deployment, load).await?;
    let [hanging, .., leaving] = deployment.mergers[..] else {
        bail!("the deployment has to have two mergers");
    };
    let operations = load.operations_per_life();
    let in_flight = run.moment_to_kill(&mut parties[0], operations).await?;
    let at = Instant::now();
    run.servers[hanging].process.hang().await?;
    run.killed("a merger that hangs", at, !in_flight.is_empty());
    let gone = sleep(KAFKA_GROUP_SESSION_TIME_MAX + SESSION_MARGIN);
    parties[0].until("a session is over", gone).await?;
    run.servers[hanging].process.go_on().await?;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for meeting in 0..meetings {
        parties[0].until("a second is over", second.tick()).await?;
        let at = Instant::now();
        if meeting % 2 == 0 {
            run.servers[leaving].process.stop().await?;
        } else {
            run.servers[leaving].restart().await?;
        }
        let in_flight = parties[0].in_flight();
        run.killed("a merger that leaves or joins", at, !in_flight.is_empty());
    }
    if meetings % 2 == 1 {
        run.servers[leaving].restart().await?;
    }
    run.finish_deployment(parties, deployment.nodes.len(), load)
        .await
}

/// Cuts the way between servers of different regions, again and again, each time until their clients have
/// had `load`'s share of operations acknowledged. In the end everybody has to have the same, and all of it.
///
/// # Errors
/// If the run could not be carried through, as when nothing is acknowledged during a cut.
pub async fn regions_come_together(
    commands: &[ServerCommand],
    way: &dyn Way,
    load: &Load,
) -> anyhow::Result<Report> {
    let mut run = Run::start(commands, load).await?;
    let mut parties = run.parties(load).await?;
    for _ in 0..load.kills {
        let at = Instant::now();
        way.cut().await;
        // Each region's clients come to an end of their own before the way is there again.
        for clients in &mut parties {
            run.moment_to_kill(clients, load.operations_per_life())
                .await?;
        }
        way.heal().await;
        run.killed("the way", at, true);
    }
    run.finish(parties, load).await
}
