use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use collabedit_sdk::{DeviceId, DocumentId};
use document_types::PeerId;
use sync_protocol::{Magic, ServerText};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::cursor::Cursor;
use super::error::PlayError;
use super::live::Live;
use super::play::{Play, Stage};
use super::recording::Recording;
use super::report::{Failures, Report, Watched};
use super::scenario::Scenario;
use super::server_watch::ServerSample;
use super::tally::Tally;
use crate::{Heard, WireClient};

/// Connections a second; a gateway takes no more than 500.
const CONNECTIONS_PER_SECOND: u32 = 400;
/// From the moment at which everybody is there to the first round, so that nobody is late for it.
const FIRST_ROUND_AFTER: Duration = Duration::from_millis(500);
/// How often the server is asked how it is, and the line that shows the progress is written.
const WATCH_PERIOD: Duration = Duration::from_secs(1);
/// Messages of failed clients that are kept; thousands fail alike.
const MESSAGES_KEPT_COUNT_MAX: usize = 5;

/// What is put under load.
#[derive(Clone, Debug)]
pub struct Target {
    /// The servers, as in `http://host:port`; people come in at them in turn.
    pub urls: Vec<String>,
    /// Their processes, if they run on this machine and shall be measured.
    pub processes: Vec<u32>,
}

/// The server's clock beside ours.
#[derive(Clone, Copy)]
struct ServerClock {
    server_ms: u64,
    ours: Instant,
}

/// A client's place in the crowd.
struct Place {
    url: String,
    document: usize,
    /// By number: those who write, and after them those who read.
    person: u32,
    /// When it comes in.
    enters_at: Instant,
}

impl Target {
    /// Where documents are made.
    fn first_url(&self) -> anyhow::Result<&String> {
        self.urls.first().context("there is no server")
    }
}

/// Plays `scenario` against `target`.
///
/// # Errors
/// If it could not be begun. What went wrong later is in the report.
pub async fn run(target: &Target, scenario: &Scenario) -> anyhow::Result<Report> {
    let open_files = rlimit::increase_nofile_limit(u64::MAX)?;
    ensure!(
        open_files > u64::from(scenario.people()),
        "this process may open {open_files} files; raise the limit with `ulimit -n`"
    );
    let mut live = Live::new();
    let recorded = scenario.clone();
    let recording = tokio::task::spawn_blocking(move || Recording::make(&recorded)).await??;
    let recording = Arc::new(recording);
    live.say(&format!("recorded {} updates", recording.updates().len()));
    let documents = open_documents(target, scenario, &recording).await?;

    let (start, started) = watch::channel(None);
    let mut crowd = JoinSet::new();
    let clock = enter_all(
        target, scenario, &recording, &documents, &started, &mut crowd,
    )
    .await?;
    live.say(&format!(
        "{} people are in {} documents",
        scenario.people(),
        documents.len()
    ));

    let before = ServerSample::take(target, Duration::ZERO).await?;
    let began = Instant::now() + FIRST_ROUND_AFTER;
    let tally = Arc::new(Tally::new(began));
    let stages = stages(scenario, &recording, &documents, &tally, clock, began);
    start.send_replace(Some(Arc::new(stages)));
    let over = CancellationToken::new();
    let watching = tokio::spawn(watch_server(
        target.clone(),
        (before, began),
        tally.clone(),
        live,
        over.clone(),
    ));
    let mut failures = collect(&mut crowd).await?;
    let played = began.elapsed();
    over.cancel();
    let watched = watching.await??;
    failures.different = differences(target, &recording, &documents).await;
    let minutes = tally.minutes().clone();
    let there = (scenario, documents);
    Ok(Report::new(
        there, &recording, played, &minutes, &watched, failures,
    ))
}

/// Makes the documents, each with the host's update.
async fn open_documents(
    target: &Target,
    scenario: &Scenario,
    recording: &Recording,
) -> anyhow::Result<Vec<DocumentId>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let mut documents = Vec::new();
    for number in 0..scenario.documents {
        let document = DocumentId::parse(&format!("crowd-{now}-{number}"))?;
        let device = DeviceId::parse("dev_crowd_host")?;
        let url = target.first_url()?;
        let host = WireClient::connect(url, device).await;
        let host = host.with_context(|| format!("connecting to {url}"))?;
        let mut host = host.writing_as(recording.host());
        host.join(Magic::Loro, &document).await?;
        host.offer(&document, vec![recording.opening().clone()])
            .await
            .with_context(|| format!("making {document}"))?;
        documents.push(document);
    }
    Ok(documents)
}

type Started = watch::Receiver<Option<Arc<Vec<Arc<Stage>>>>>;
type Crowd = JoinSet<Result<(), PlayError>>;

/// Lets everybody in, one after the other, and waits until all are there.
async fn enter_all(
    target: &Target,
    scenario: &Scenario,
    recording: &Arc<Recording>,
    documents: &[DocumentId],
    started: &Started,
    crowd: &mut Crowd,
) -> anyhow::Result<ServerClock> {
    let people = scenario.people();
    let shortest = Duration::from_secs(1) * people / CONNECTIONS_PER_SECOND;
    let ramp = Duration::from_secs(scenario.ramp_up_seconds.into()).max(shortest);
    let now = Instant::now();
    let (ready, mut readies) = mpsc::channel(people as usize);
    let persons = (0..people / scenario.documents)
        .flat_map(|person| (0..documents.len()).map(move |document| (document, person)));
    let servers = target.urls.iter().cycle();
    for ((number, (document, person)), url) in (0..).zip(persons).zip(servers) {
        let place = Place {
            url: url.clone(),
            document,
            person,
            enters_at: now + ramp * number / people,
        };
        let writes_as = (person < scenario.people_per_document).then(|| recording.peer(person));
        let is_flooder = scenario.is_flooder(person);
        let cursor = scenario
            .cursor_period(person)
            .map(|period| Cursor::new(person, period, is_flooder));
        let id = documents[document].clone();
        let (ready, started) = (ready.clone(), started.clone());
        crowd.spawn(async move {
            sleep_until(place.enters_at).await;
            let entered = enter(&place, &id, writes_as, cursor.is_some()).await;
            let (client, clock) = entered.map_err(PlayError::Lost)?;
            // Whoever waits for it has given up if it is gone.
            let _ = ready.send(clock).await;
            perform(client, &place, cursor, started).await
        });
    }
    drop(ready);
    let mut clock = None;
    for _ in 0..people {
        tokio::select! {
            Some(said) = readies.recv() => clock = Some(said),
            Some(ended) = crowd.join_next() => ended?.context("somebody could not come in")?,
        }
    }
    clock.context("there is nobody")
}

/// Joins a document and is caught up; its presence too, for whoever has a cursor.
async fn enter(
    place: &Place,
    document: &DocumentId,
    writes_as: Option<PeerId>,
    has_cursor: bool,
) -> anyhow::Result<(WireClient, ServerClock)> {
    let device = DeviceId::parse(&format!("dev_crowd_{}_{}", place.document, place.person))?;
    let mut client = WireClient::connect(&place.url, device).await?;
    if let Some(peer) = writes_as {
        client = client.writing_as(peer);
    }
    if has_cursor {
        client.join(Magic::Ephemeral, document).await?;
    }
    let joined = client.join(Magic::Loro, document).await?;
    let clock = ServerClock {
        server_ms: joined.answer.server_time_ms,
        ours: Instant::now(),
    };
    if writes_as.is_some() {
        let standing = joined
            .answer
            .peer
            .context("the server has not heard the peer")?;
        ensure!(
            standing.owned && standing.end == 0,
            "the document is not new: {standing:?}"
        );
    }
    while !matches!(
        client.listen().await?,
        Heard::Text(ServerText::CaughtUp { .. })
    ) {}
    Ok((client, clock))
}

/// Waits for the start, without letting the connection die, and plays.
async fn perform(
    mut client: WireClient,
    place: &Place,
    cursor: Option<Cursor>,
    mut started: Started,
) -> Result<(), PlayError> {
    let stage = loop {
        tokio::select! {
            stages = started.wait_for(Option::is_some) => {
                let Ok(stages) = stages else { return Err(PlayError::CutShort) };
                break stages.as_ref().map(|stages| stages[place.document].clone());
            }
            heard = client.listen() => {
                heard.map_err(PlayError::Lost)?;
            }
        }
    };
    let Some(stage) = stage else {
        return Err(PlayError::CutShort);
    };
    let mut play = Play::new(stage.clone(), client, place.person);
    if let Some(cursor) = cursor {
        play = play.with_cursor(cursor);
    }
    let played = play.run().await;
    if played.is_err() {
        stage.over.cancel();
    }
    played
}

/// A stage for each document. Their rounds begin one after the other, as those of people who know nothing
/// of each other.
fn stages(
    scenario: &Scenario,
    recording: &Arc<Recording>,
    documents: &[DocumentId],
    tally: &Arc<Tally>,
    clock: ServerClock,
    began: Instant,
) -> Vec<Arc<Stage>> {
    let apart = recording.rhythm().round / scenario.documents;
    (0..)
        .zip(documents)
        .map(|(number, document)| {
            let starts_at = began + apart * number;
            let since = starts_at.saturating_duration_since(clock.ours).as_millis();
            let starts_at_ms = clock.server_ms + u64::try_from(since).unwrap_or(u64::MAX);
            Arc::new(Stage::new(
                document.clone(),
                recording.clone(),
                tally.clone(),
                starts_at_ms,
                starts_at,
            ))
        })
        .collect()
}

/// Waits until everybody has played, and counts why some have not.
async fn collect(crowd: &mut Crowd) -> anyhow::Result<Failures> {
    let mut failures = Failures::default();
    let mut clients: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(ended) = crowd.join_next().await {
        let Err(error) = ended? else { continue };
        *clients.entry(error.kind()).or_default() += 1;
        if !matches!(error, PlayError::CutShort)
            && failures.messages.len() < MESSAGES_KEPT_COUNT_MAX
        {
            failures
                .messages
                .push(format!("{:#}", anyhow::Error::from(error)));
        }
    }
    failures.clients = clients;
    Ok(failures)
}

async fn watch_server(
    target: Target,
    (before, began): (ServerSample, Instant),
    tally: Arc<Tally>,
    mut live: Live,
    over: CancellationToken,
) -> anyhow::Result<Watched> {
    let mut samples = vec![before];
    let mut period = tokio::time::interval_at(began + WATCH_PERIOD, WATCH_PERIOD);
    loop {
        let is_over = tokio::select! {
            () = over.cancelled() => true,
            _ = period.tick() => false,
        };
        match ServerSample::take(&target, began.elapsed()).await {
            Ok(sample) => samples.push(sample),
            // The clients say better what it is.
            Err(error) => live.say(&format!("the server can't be watched: {error:#}")),
        }
        live.show(began.elapsed(), &tally, &samples);
        if is_over {
            live.end();
            return Ok(Watched { samples });
        }
    }
}

/// What in the documents is not what was recorded.
async fn differences(
    target: &Target,
    recording: &Recording,
    documents: &[DocumentId],
) -> Vec<String> {
    let text = recording.text();
    let version: BTreeMap<_, _> = recording
        .version()
        .map(|(peer, end)| (peer.to_string(), end))
        .collect();
    let mut differences = Vec::new();
    let at = |url| documents.iter().map(move |document| (url, document));
    for (url, document) in target.urls.iter().flat_map(at) {
        match replay::fetch_state(url, document).await {
            Ok(state) if state.version != version => {
                let what = "does not have all updates, or others";
                differences.push(format!("{document} at {url} {what}"));
            }
            Ok(state) if state.text != text => {
                differences.push(format!("{document} at {url} has another text"));
            }
            Ok(_) => {}
            Err(error) => {
                let error = anyhow::Error::from(error);
                differences.push(format!("{document} at {url} can't be read: {error:#}"));
            }
        }
    }
    differences
}
