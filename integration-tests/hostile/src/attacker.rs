use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clock::Random;
use document_types::{Advice, BatchId, DeviceId, DocumentId};
use sync_protocol::{Message, ServerText, UpdateStatus};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use crate::ground::{Ground, Source, first_updates};
use crate::session::{Heard, Session, read_document};
use crate::tally::Tally;

/// Mutants that wait for an answer which should come soon.
const WINDOW: usize = 8;
/// Mutants that wait for an answer at all.
const OPEN_MAX: usize = 256;
/// After this, a mutant is one that waits for operations which nobody has.
const SOON: Duration = Duration::from_millis(500);
/// How long an attacker listens before it looks whether it may send more.
const LISTENING_MAX: Duration = Duration::from_millis(50);
/// Every batch is answered within this; those that wait for others are after five seconds, and those that
/// are dear to others wait for their turns.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(300);
/// How long the server may take for a join, a read of the whole document, or a first update.
const ENTER_TIME_MAX: Duration = Duration::from_secs(30);
/// Mutants that are made of one set of honest updates.
const MUTANTS_PER_GROUND: u64 = 100;
/// Mutants that are sent into one document of an attacker's own.
const MUTANTS_PER_DOCUMENT: u64 = 2_000;
/// Times that an honest update is offered in a document that is too busy for it.
const HONEST_TRIES_MAX: u32 = 60;
/// As much of a refusal's text tells its kind.
const KIND_CHARACTERS_MAX: usize = 60;
/// One mutant of so many has the peer and the operations of an update that the log already holds.
const REWRITES: u64 = 16;

/// Which documents an attacker attacks.
#[derive(Clone, Debug)]
pub enum Target {
    /// One new document after another, whose names begin like this.
    New(String),
    /// One in which others write.
    Shared(DocumentId),
}

/// Somebody who sends mutants, under a new name each time it is thrown out.
pub struct Attacker {
    /// The server.
    pub server: SocketAddr,
    /// Where the mutants go.
    pub target: Target,
    /// What all choices are drawn from.
    pub random: Random,
    /// What came of it.
    pub tally: Tally,
}

/// One stay of an attacker in a document.
struct Stay {
    session: Session,
    /// Mutants without an answer, with the time when each was sent.
    open: BTreeMap<BatchId, Instant>,
    /// An honest update that this session's principal has in the log.
    own: Source,
    /// The status of a refused batch; its reason follows.
    status: Option<UpdateStatus>,
}

impl Attacker {
    /// Sends mutants until `count` of them were answered, and says which documents they went to.
    ///
    /// # Errors
    /// If the server does not answer, or lets in what harms its readers.
    pub async fn run(self, count: u64) -> anyhow::Result<Vec<DocumentId>> {
        let mut documents = Vec::new();
        let mut left = count;
        while left > 0 {
            let (document, stretch) = match &self.target {
                Target::Shared(document) => (document.clone(), left),
                Target::New(name) => {
                    let document = DocumentId::parse(&format!("{name}-{}", documents.len()))?;
                    timeout(ENTER_TIME_MAX, self.found(&document))
                        .await
                        .with_context(|| format!("{document} was not taken in time"))??;
                    (document, left.min(MUTANTS_PER_DOCUMENT))
                }
            };
            self.attack(&document, stretch)
                .await
                .with_context(|| format!("in {document}"))?;
            documents.push(document);
            left -= stretch;
        }
        Ok(documents)
    }

    /// Writes the first updates of a new document.
    async fn found(&self, document: &DocumentId) -> anyhow::Result<()> {
        let random = self.random.fork();
        let updates = spawn_blocking(move || first_updates(&random)).await??;
        let nothing = Default::default();
        let mut session = Session::join(self.server, document, self.device()?, &nothing).await?;
        for update in updates {
            acknowledged(&mut session, update).await?;
        }
        Ok(())
    }

    async fn attack(&self, document: &DocumentId, count: u64) -> anyhow::Result<()> {
        let (mut sent, mut answered) = (0, 0);
        let mut ground = self.ground(document).await?;
        let mut stay = self.enter(document, &ground).await?;
        while answered < count {
            while stay.may_send() && answered + (stay.open.len() as u64) < count {
                if sent % MUTANTS_PER_GROUND == MUTANTS_PER_GROUND - 1 {
                    ground = self.ground(document).await?;
                }
                let mutant = if self.random.below(REWRITES) == 0 {
                    stay.own.mutant(&self.random)?
                } else {
                    ground.draw(&self.random).mutant(&self.random)?
                };
                sent += 1;
                // If the socket is gone, listening says so.
                let Ok(batch) = stay.session.offer(mutant).await else {
                    break;
                };
                stay.open.insert(batch, Instant::now());
            }
            let Ok(heard) = timeout(LISTENING_MAX, stay.session.hear()).await else {
                stay.check_patience()?;
                continue;
            };
            match stay.take(heard?)? {
                News::None => {}
                News::Answer { outcome, waited } => {
                    answered += 1;
                    self.tally.answered(&outcome, waited);
                }
                News::Lost(reason) => {
                    self.tally.lost(&reason, stay.open.len());
                    stay = self.enter(document, &ground).await?;
                }
            }
        }
        Ok(())
    }

    /// Reads the document, as anybody who opens it does, and writes honest updates that follow it.
    async fn ground(&self, document: &DocumentId) -> anyhow::Result<Ground> {
        let random = self.random.fork();
        let replica = timeout(
            ENTER_TIME_MAX,
            read_document(self.server, document, self.device()?),
        )
        .await
        .context("the document could not be read in time")??;
        spawn_blocking(move || Ground::on(&replica, &random)).await?
    }

    /// Joins as somebody who was never seen before, and writes one honest update.
    async fn enter(&self, document: &DocumentId, ground: &Ground) -> anyhow::Result<Stay> {
        let entering = async {
            let version = &ground.version;
            let mut session = Session::join(self.server, document, self.device()?, version).await?;
            let own = ground.draw(&self.random);
            acknowledged(&mut session, own.bytes()).await?;
            anyhow::Ok(Stay {
                session,
                open: BTreeMap::new(),
                own,
                status: None,
            })
        };
        let stay = timeout(ENTER_TIME_MAX, entering)
            .await
            .context("an honest update was not acknowledged in time")??;
        self.tally.opened();
        Ok(stay)
    }

    fn device(&self) -> anyhow::Result<DeviceId> {
        Ok(DeviceId::parse(&format!(
            "dev_{:016x}",
            self.random.next_u64()
        ))?)
    }
}

/// What an attacker learns from what it hears.
enum News {
    None,
    Answer { outcome: String, waited: Duration },
    Lost(String),
}

impl Stay {
    fn may_send(&self) -> bool {
        let soon = |sent: &&Instant| sent.elapsed() < SOON;
        self.open.len() < OPEN_MAX && self.open.values().filter(soon).count() < WINDOW
    }

    fn check_patience(&self) -> anyhow::Result<()> {
        let oldest = self.open.values().map(Instant::elapsed).max();
        ensure!(
            oldest.is_none_or(|waited| waited < ANSWER_TIME_MAX),
            "a batch was not answered within {ANSWER_TIME_MAX:?}"
        );
        Ok(())
    }

    fn take(&mut self, heard: Heard) -> anyhow::Result<News> {
        Ok(match heard {
            Heard::Message(Message::Ack {
                batch,
                status: UpdateStatus::Ok,
            }) => self.answer(batch, "acked".to_owned())?,
            Heard::Message(Message::Ack { status, .. }) => {
                self.status = Some(status);
                News::None
            }
            Heard::Text(ServerText::Nack {
                batch,
                code,
                message,
                ..
            }) => {
                let status = self.status.take().context("a reason without a refusal")?;
                let outcome = format!("refused {status:?} {code}: {}", kind_of(&message));
                self.answer(batch, outcome)?
            }
            Heard::Message(Message::RoomError { message, .. }) => News::Lost(kind_of(&message)),
            Heard::Closed => News::Lost("the socket was closed".to_owned()),
            Heard::Message(
                Message::DocUpdate { .. }
                | Message::FragmentHeader { .. }
                | Message::Fragment { .. },
            )
            | Heard::Text(_) => News::None,
            Heard::Message(other) => bail!("an attacker was told {other:?}"),
        })
    }

    fn answer(&mut self, batch: BatchId, outcome: String) -> anyhow::Result<News> {
        let sent = self.open.remove(&batch);
        let waited = sent.context("a batch was answered twice")?.elapsed();
        Ok(News::Answer { outcome, waited })
    }
}

/// Offers an honest update and waits for its acknowledgement. Told to come back, it does, as our clients do.
async fn acknowledged(session: &mut Session, update: Bytes) -> anyhow::Result<()> {
    let mut offered = session.offer(update.clone()).await?;
    let mut tries = 1;
    loop {
        match session.hear().await? {
            Heard::Message(Message::Ack {
                batch,
                status: UpdateStatus::Ok,
            }) if batch == offered => return Ok(()),
            Heard::Message(Message::Ack { .. }) => {}
            Heard::Text(ServerText::Nack { code, .. })
                if code.advice() == Advice::Retry && tries < HONEST_TRIES_MAX =>
            {
                tries += 1;
                sleep(SOON).await;
                offered = session.offer(update.clone()).await?;
            }
            Heard::Text(ServerText::Nack { code, message, .. }) => {
                let bytes = update.len();
                bail!("an honest update of {bytes} bytes was refused with {code}: {message}")
            }
            Heard::Message(Message::RoomError { message, .. }) => {
                bail!("an honest writer was put out: {message}")
            }
            Heard::Closed => bail!("an honest writer's socket was closed"),
            _ => {}
        }
    }
}

/// What a message says, without the details by which two of a kind differ.
fn kind_of(message: &str) -> String {
    let mut kind = String::new();
    for character in message.chars().take(KIND_CHARACTERS_MAX) {
        match character {
            _ if !character.is_ascii_digit() => kind.push(character),
            _ if !kind.ends_with('#') => kind.push('#'),
            _ => {}
        }
    }
    kind
}
