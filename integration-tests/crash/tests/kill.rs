//! A server that is killed at any moment, and started again on the same data, keeps its promises.

use std::sync::Arc;
use std::time::Duration;

use clock::Random;
use collabedit_sdk::{Client, Document, DocumentId, Options, PeerId};
use crash::{Load, Recorder, ServerProcess, Writer, everybody_has};
use testkit::{HistoryEvent, HistoryWriter, Replica, check, read_history};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// How long anything here may take before the test has failed.
const TIME_MAX: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_doubles_and_invents_nothing() -> anyhow::Result<()> {
    let load = Load::from_environment()?;
    let mut folder = tempfile::tempdir()?;
    // What is left of a failed run is worth reading.
    folder.disable_cleanup(true);
    println!("{load:?} in {}", folder.path().display());
    let mut server = ServerProcess::start(folder.path()).await?;
    let history_path = folder.path().join("history.jsonl");
    let history = Arc::new(HistoryWriter::append_to(&history_path)?);
    let document_id = DocumentId::parse("crash")?;

    let random = Random::from_seed(load.seed);
    let began = Instant::now();
    let (finish, done) = watch::channel(false);
    let (mut recorders, mut writers) = (JoinSet::new(), JoinSet::new());
    let mut documents = Vec::new();
    for client in 0..load.clients {
        let document = Client::connect(Options::new(server.url()))?.open(&document_id)?;
        timeout(TIME_MAX, document.wait_caught_up()).await??;
        let recorder = Arc::new(Recorder::new(
            client,
            document_id.clone(),
            began,
            Arc::clone(&history),
        ));
        recorders.spawn(Arc::clone(&recorder).run(document.subscribe()));
        let writer = Writer::new(client, document.clone(), recorder, random.fork());
        writers.spawn(writer.run(load.tokens, done.clone()));
        documents.push(document);
    }

    for kill in 0..load.kills {
        timeout(TIME_MAX, something_was_acknowledged(&documents)).await??;
        // Appends are in flight, or the kill would prove little.
        timeout(TIME_MAX, something_is_in_flight(&documents)).await??;
        server.kill_and_restart().await?;
        println!("kill {kill}: {:?}", began.elapsed());
    }
    finish.send(true)?;
    while let Some(written) = timeout(TIME_MAX, writers.join_next()).await? {
        written??;
    }
    let mut replicas = timeout(TIME_MAX, everybody_has(&documents)).await??;
    let fresh = Client::connect(Options::new(server.url()))?.open(&document_id)?;
    timeout(TIME_MAX, fresh.wait_caught_up()).await??;
    replicas.push(Replica {
        name: "a fresh client".to_owned(),
        document: document_id.clone(),
        text: fresh.text()?,
        state_hash: fresh.state_hash()?.to_string(),
        version: fresh.version()?,
    });
    let state = replay::fetch_state(&server.url(), &document_id).await?;
    let end = |(peer, end): (&String, &u32)| anyhow::Ok((PeerId(peer.parse()?), *end));
    replicas.push(Replica {
        name: "the server".to_owned(),
        document: document_id.clone(),
        text: state.text,
        state_hash: state.state_hash,
        version: state.version.iter().map(end).collect::<Result<_, _>>()?,
    });

    // A recorder ends when its document is closed and everything is written down.
    drop(documents);
    while let Some(recorded) = timeout(TIME_MAX, recorders.join_next()).await? {
        recorded??;
    }
    let history = read_history(&history_path)?;
    let count =
        |is: fn(&HistoryEvent) -> bool| history.iter().filter(|line| is(&line.event)).count();
    let invoked = count(|event| matches!(event, HistoryEvent::Invoke { .. }));
    let acked = count(|event| matches!(event, HistoryEvent::Ack { .. }));
    println!(
        "{invoked} updates, {acked} acks, {} characters",
        replicas[0].text.chars().count()
    );
    let violations = check(&history, &replicas);
    for violation in &violations {
        println!("VIOLATION: {violation}");
    }
    assert!(
        violations.is_empty(),
        "{} violations; see {}",
        violations.len(),
        folder.path().display()
    );
    folder.disable_cleanup(false);
    Ok(())
}

/// Waits until a client is told that something is durable.
async fn something_was_acknowledged(documents: &[Document]) -> anyhow::Result<()> {
    let mut waits = JoinSet::new();
    for document in documents {
        let mut events = document.subscribe();
        waits.spawn(async move {
            while !matches!(
                events.recv().await?,
                collabedit_sdk::DocumentEvent::Acknowledged(_)
            ) {}
            anyhow::Ok(())
        });
    }
    waits.join_next().await.transpose()?.transpose()?;
    Ok(())
}

/// Waits until a client waits for an answer.
async fn something_is_in_flight(documents: &[Document]) -> anyhow::Result<()> {
    let mut waits = JoinSet::new();
    for document in documents {
        let mut standing = document.standing();
        waits.spawn(async move {
            standing
                .wait_for(|standing| standing.unacknowledged_operations > 0)
                .await
                .map(drop)
        });
    }
    waits.join_next().await.transpose()?.transpose()?;
    Ok(())
}
