//! Mutated updates reach a real server through its socket, by the hundred in every run of the tests
//! and by the hundred thousand in a campaign, and nobody who types meanwhile is harmed.
//!
//! `HOSTILE_UPDATES=100000 cargo test -p hostile --test campaign -- --nocapture` is the campaign, and
//! prints what it found. `HOSTILE_SEED` starts elsewhere, `HOSTILE_ATTACKERS` sends with more or fewer
//! at once. The choices of each attacker follow from the seed; how they fall together does not, since
//! a real process has its own mind.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clock::Random;
use collabedit_sdk::{Client, Document, DocumentId, Options, PeerId, VersionVector};
use crdt_document::quiet_guarded_panics;
use document_types::{CounterSpan, DeviceId};
use hostile::{
    Attacker, Campaign, Delays, Machines, Memory, MemoryWatch, Observer, Tally, Target, Typist,
    fetch_metrics, read_document,
};
use server_process::{ServerProcess, real_binary};
use service_runtime::telemetry::{self, LogFormat};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// People who type.
const TYPISTS: u32 = 3;
/// No edit of theirs waits longer than this for its acknowledgement. What attackers do to others is
/// just this, so here a time is asserted.
const STALL_MAX: Duration = Duration::from_secs(1);
/// How long anything may take that is neither the campaign nor its memory.
const TIME_MAX: Duration = Duration::from_secs(120);
/// How long the server may hold what it needed for the attackers: their rooms stay open for five
/// minutes.
const RELEASE_TIME_MAX: Duration = Duration::from_secs(7 * 60);
/// How many times its memory at the beginning the server may hold at the end.
const MEMORY_GROWTH_MAX: u64 = 2;
/// The store's cache of pages has a bound of its own, and what is in it would count as growth.
const SMALL_CACHE: &str = "--set=store.cache_bytes=1048576";
/// The pause before a condition is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutants_harm_nobody_who_types() -> anyhow::Result<()> {
    // What the honest clients' engines fail on is said there.
    telemetry::install("warn,loro_internal=off", LogFormat::Auto)?;
    quiet_guarded_panics();
    let campaign = Campaign::from_environment()?;
    let mut folder = tempfile::tempdir()?;
    // What is left of a failed run is worth reading.
    folder.disable_cleanup(true);
    println!("{campaign:?} in {}", folder.path().display());
    let settings = [SMALL_CACHE.to_owned()];
    let mut server = ServerProcess::start(&real_binary()?, folder.path(), &settings).await?;
    let random = Random::from_seed(campaign.seed);
    let shared = DocumentId::parse("shared")?;

    let (delays, mut watching) = (Delays::default(), JoinSet::new());
    let mut people = Vec::new();
    for _ in 0..TYPISTS {
        let document = Client::connect(Options::new(server.url()))?.open(&shared)?;
        timeout(TIME_MAX, document.wait_caught_up()).await??;
        watching.spawn(delays.clone().watch(document.subscribe()));
        people.push(document);
    }
    let observer = Observer {
        server: server.address(),
        document: shared.clone(),
        file: folder.path().join("shared.updates"),
    };
    watching.spawn(observer.run());
    let before = Memory::of(server.process_id())?;
    let memory = MemoryWatch::default();
    watching.spawn(memory.clone().run(server.process_id()));

    let (finish, done) = watch::channel(false);
    let mut typing = JoinSet::new();
    for (name, document) in (0..).zip(&people) {
        let typist = Typist {
            document: document.clone(),
            name,
            random: random.fork(),
        };
        let (peer, done) = (document.peer(), done.clone());
        typing.spawn(async move { anyhow::Ok((peer, typist.run(done).await?)) });
    }

    let began = Instant::now();
    let tally = Tally::new(began);
    let machines = Machines::new()?;
    let mut attacking = JoinSet::new();
    for number in 0..campaign.attackers {
        let attacker = Attacker {
            server: server.address(),
            target: if number % 4 == 0 {
                Target::Shared(shared.clone())
            } else {
                Target::New(format!("attacked-{number}"))
            },
            random: random.fork(),
            tally: tally.clone(),
        };
        let rest = u64::from(number < campaign.updates % campaign.attackers);
        let attack = attacker.run(campaign.updates / campaign.attackers + rest);
        attacking.spawn_on(attack, machines.handle()?);
    }
    let mut attacked = Vec::new();
    while !attacking.is_empty() {
        tokio::select! {
            Some(finished) = attacking.join_next() => attacked.extend(finished??),
            Some(failed) = watching.join_next() => {
                println!("{}\n{}", tally.report(), delays.report());
                failed??;
                bail!("a typist's document was closed");
            }
        }
    }
    finish.send(true)?;
    let mut typed = Vec::new();
    while let Some(finished) = timeout(TIME_MAX, typing.join_next()).await? {
        typed.push(finished??);
    }
    println!("{}", tally.report());
    println!("{}", delays.report());
    for line in fetch_metrics(server.address()).await? {
        println!("  {line}");
    }
    println!("memory before {before:?}, peak {:?}", memory.peak());
    server.check_unharmed()?;

    let bound_kb = before.server_kb * MEMORY_GROWTH_MAX;
    let released = timeout(
        RELEASE_TIME_MAX,
        memory_below(server.process_id(), bound_kb),
    )
    .await;
    println!(
        "memory after {:?}, {:?} after the beginning",
        Memory::of(server.process_id())?,
        began.elapsed()
    );

    timeout(TIME_MAX, everybody_has_the_same(&server.url(), &people)).await??;
    let reader = timeout(
        TIME_MAX,
        read_document(server.address(), &shared, DeviceId::parse("dev_reader")?),
    )
    .await??;
    ensure!(
        reader.state_hash()? == people[0].state_hash()?,
        "a new reader has another document"
    );
    for (peer, typed) in &typed {
        let end = reader.version()?.end(*peer);
        let logged = reader.inserted_text(CounterSpan {
            peer: *peer,
            start: 0,
            end,
        })?;
        ensure!(
            sorted(&logged) == sorted(typed),
            "what peer {peer} typed is not what the log has of it"
        );
    }
    for document in attacked.iter().filter(|document| **document != shared) {
        timeout(TIME_MAX, a_reader_has_the_same(&server, document))
            .await?
            .with_context(|| format!("{document} is not whole"))?;
    }
    println!("{} attacked documents are whole", attacked.len());

    server.check_unharmed()?;
    drop(people);
    watching.abort_all();
    ensure!(
        released.is_ok(),
        "the server holds more than {bound_kb} KB after the attackers have gone"
    );
    ensure!(
        delays.percentile(100) <= STALL_MAX,
        "an honest edit waited {:?} for its acknowledgement",
        delays.percentile(100)
    );
    ensure!(
        tally.answered_count() == campaign.updates,
        "not all mutants were answered"
    );
    ensure!(
        tally.count_of("refused") > 0 && tally.count_of("acked") > 0,
        "the mutants have to be of both kinds"
    );
    folder.disable_cleanup(false);
    Ok(())
}

/// Waits until the server holds less than so much.
async fn memory_below(server: u32, bound_kb: u64) -> anyhow::Result<()> {
    while Memory::of(server)?.server_kb > bound_kb {
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Waits until all of `people` and the server know the same, and checks that it is the same text and
/// state.
async fn everybody_has_the_same(url: &str, people: &[Document]) -> anyhow::Result<()> {
    let id = people.first().context("nobody is there")?.id();
    loop {
        let state = replay::fetch_state(url, id).await?;
        let version = version_of(&state)?;
        let mut all_there = true;
        for person in people {
            all_there &= person.version()? == version;
        }
        if !all_there {
            sleep(LOOK_AGAIN).await;
            continue;
        }
        for person in people {
            ensure!(person.text()? == state.text, "a person has another text");
            ensure!(
                person.state_hash()?.to_string() == state.state_hash,
                "a person has another state"
            );
        }
        return Ok(());
    }
}

/// Reads `document` until the server's state knows what the reader knows, and checks that it is the
/// same state.
async fn a_reader_has_the_same(
    server: &ServerProcess,
    document: &DocumentId,
) -> anyhow::Result<()> {
    loop {
        let device = DeviceId::parse("dev_reader")?;
        let reader = read_document(server.address(), document, device).await?;
        let state = replay::fetch_state(&server.url(), document).await?;
        if version_of(&state)? == reader.version()? {
            ensure!(
                state.state_hash == reader.state_hash()?.to_string(),
                "a reader has another state than the server, of the same operations"
            );
            return Ok(());
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn version_of(state: &replay::ServerState) -> anyhow::Result<VersionVector> {
    let end = |(peer, end): (&String, &u32)| anyhow::Ok((PeerId(peer.parse()?), *end));
    state.version.iter().map(end).collect()
}

fn sorted(text: &str) -> Vec<char> {
    let mut characters: Vec<char> = text.chars().collect();
    characters.sort_unstable();
    characters
}
