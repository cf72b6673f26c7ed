//! A script of abuse at the door of the real server: everything that somebody could do there who means
//! harm, each with the defence that docs/security.md names. All of it goes on side by side while an honest
//! person types, and afterwards the server holds what it held before.

mod document;
mod door;
mod http;
mod presence;
mod socket;

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use collabedit_sdk::{Client, Document, DocumentId, Options};
use futures::FutureExt;
use futures::future::BoxFuture;
use hostile::Memory;
use server_process::{ServerProcess, real_binary};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long a defence may take. The slowest are those that wait for a client's time to be over.
const DEFENCE_TIME_MAX: Duration = Duration::from_secs(60);
/// How long the server may hold what it needed for it.
const RELEASE_TIME_MAX: Duration = Duration::from_secs(60);
/// How many times its memory before the abuse the server may hold after it.
const MEMORY_GROWTH_MAX: u64 = 2;
/// The pause before a condition is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

type Abuse = fn(SocketAddr) -> BoxFuture<'static, anyhow::Result<()>>;

/// Each with its name in docs/security.md.
const ABUSES: &[(&str, Abuse)] = &[
    ("a head that never ends", |at| {
        http::a_head_that_never_ends(at).boxed()
    }),
    ("a head that never comes", |at| {
        http::a_head_that_never_comes(at).boxed()
    }),
    ("a foreign page", |at| http::a_foreign_page(at).boxed()),
    ("a foreign name", |at| http::a_foreign_name(at).boxed()),
    ("a storm of connections", |at| {
        http::a_storm_of_connections(at).boxed()
    }),
    ("an upload without bounds", |at| {
        http::an_upload_without_bounds(at).boxed()
    }),
    ("a socket that joins nothing", |at| {
        socket::a_socket_that_joins_nothing(at).boxed()
    }),
    ("garbage", |at| socket::garbage(at).boxed()),
    ("a frame without bounds", |at| {
        socket::a_frame_without_bounds(at).boxed()
    }),
    ("a compressed frame", |at| {
        socket::a_compressed_frame(at).boxed()
    }),
    ("a text without bounds", |at| {
        socket::a_text_without_bounds(at).boxed()
    }),
    ("a join without bounds", |at| {
        socket::a_join_without_bounds(at).boxed()
    }),
    ("one socket in every document", |at| {
        socket::one_socket_in_every_document(at).boxed()
    }),
    ("fragments of one byte", |at| {
        socket::fragments_of_one_byte(at).boxed()
    }),
    ("fragments that never come", |at| {
        socket::fragments_that_never_come(at).boxed()
    }),
    ("a flood of messages", |at| {
        socket::a_flood_of_messages(at).boxed()
    }),
    ("somebody else's name", |at| {
        document::somebody_elses_name(at).boxed()
    }),
    ("another history under the same ids", |at| {
        document::another_history(at).boxed()
    }),
    ("an update that is none", |at| {
        document::an_update_that_is_none(at).boxed()
    }),
    ("an update on nothing", |at| {
        document::an_update_on_nothing(at).boxed()
    }),
    ("an update without bounds", |at| {
        document::an_update_without_bounds(at).boxed()
    }),
    ("presence without bounds", |at| {
        presence::presence_without_bounds(at).boxed()
    }),
    ("a flood of cursors", |at| {
        presence::a_flood_of_cursors(at).boxed()
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abuse_is_refused_and_costs_the_others_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = ServerProcess::start(&real_binary()?, folder.path(), &[]).await?;
    let client = Client::connect(Options::new(server.url()))?;
    let honest = client.open(&DocumentId::parse("honest")?)?;
    timeout(DEFENCE_TIME_MAX, honest.wait_caught_up()).await??;
    let before = (
        descriptors(server.process_id())?,
        Memory::of(server.process_id())?,
    );

    let (finish, done) = watch::channel(false);
    let mut typing = JoinSet::new();
    typing.spawn(type_on(honest, done));
    let mut abusing = JoinSet::new();
    for (name, abuse) in ABUSES {
        let abuse = abuse(server.address());
        abusing.spawn(async move {
            let refused = timeout(DEFENCE_TIME_MAX, abuse).await;
            refused
                .context("it was not answered in time")
                .flatten()
                .with_context(|| format!("abuse: {name}"))
        });
    }
    while let Some(refused) = abusing.join_next().await {
        refused??;
    }
    finish.send(true)?;
    while let Some(typed) = typing.join_next().await {
        ensure!(typed?? > 0, "nobody typed");
    }
    server.check_unharmed()?;
    timeout(RELEASE_TIME_MAX, released(server.process_id(), before))
        .await
        .context("the server still holds what the abuse took")??;
    server.check_unharmed()
}

/// Types for as long as the others abuse, and waits for each character; says how many there were.
async fn type_on(document: Document, done: watch::Receiver<bool>) -> anyhow::Result<usize> {
    let mut typed = 0;
    while !*done.borrow() {
        document.insert(typed, "x")?;
        timeout(DEFENCE_TIME_MAX, document.wait_acknowledged()).await??;
        typed += 1;
    }
    Ok(typed)
}

/// Waits until the server has as few descriptors as before, and not much more memory.
async fn released(
    server: u32,
    (descriptors_before, before): (usize, Memory),
) -> anyhow::Result<()> {
    loop {
        let memory = Memory::of(server)?.server_kb;
        let open = descriptors(server)?;
        if open <= descriptors_before && memory <= before.server_kb * MEMORY_GROWTH_MAX {
            println!(
                "{} KB before, {memory} KB after; {open} descriptors",
                before.server_kb
            );
            return Ok(());
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn descriptors(process: u32) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.count())
}
