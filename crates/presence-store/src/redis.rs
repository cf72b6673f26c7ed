//! Presence in Redis, which all nodes of a region share.
//!
//! What is shown in a document is a sorted set of its sessions, scored by when each was last shown or
//! renewed on Redis's own clock, and beside it a hash of what they show. Everything that changes these
//! is one script (`presence.lua`), so that what is kept and what is told can't part. News go over
//! publish/subscribe, on a connection of their own.
//!
//! Nothing here waits for long: a Redis that does not answer within [`PRESENCE_STORE_TIME_MAX`] is one
//! that can't be reached, and what it was not told it is told again with the next renewal.

mod message;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use document_types::limits::{
    PRESENCE_ENTRIES_PER_SESSION_MAX, PRESENCE_SESSIONS_PER_DOCUMENT_MAX,
    PRESENCE_STORE_RETRIES_MAX, PRESENCE_STORE_RETRY_PAUSE_MAX, PRESENCE_STORE_TIME_MAX,
    PRESENCE_TIME_TO_LIVE,
};
use document_types::{DocumentId, SessionId};
use futures::future::try_join_all;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, FromRedisValue, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisError,
    Script, ScriptInvocation, Value,
};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::mailbox::Mailbox;
use crate::{Entry, News, PresenceStore, PresenceStoreError, Seat};
use message::Message;

/// Where a Redis is, or what speaks its protocol (version 3, as Redis 7 and Valkey do).
#[derive(Clone)]
pub struct RedisAddress(redis::ConnectionInfo);

/// A text that is no [`RedisAddress`].
#[derive(Debug, thiserror::Error)]
#[error(
    "it is no address of a Redis, as `redis://USER:PASSWORD@HOST:6379` is, or `rediss://…` with TLS"
)]
pub struct RedisAddressError(#[source] RedisError);

impl FromStr for RedisAddress {
    type Err = RedisAddressError;

    fn from_str(text: &str) -> Result<Self, RedisAddressError> {
        let info = text.into_connection_info().map_err(RedisAddressError)?;
        let redis = info.redis_settings().clone();
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            // What was sent to a machine that is gone ends the connection.
            .set_user_timeout(PRESENCE_TIME_TO_LIVE);
        let info = info
            .set_tcp_settings(tcp)
            // News of a connection's end, and of what comes over it, are pushed.
            .set_redis_settings(redis.set_protocol(ProtocolVersion::RESP3));
        Ok(Self(info))
    }
}

/// The address without the password.
impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.addr())
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisAddress({self})")
    }
}

/// One node's view of the presence in a Redis.
pub struct RedisPresenceStore {
    script: Script,
    keys: Keys,
    commands: ConnectionManager,
    /// The connection that brings the news.
    news: ConnectionManager,
    shared: Arc<Mutex<Shared>>,
    arrived: Arc<Notify>,
}

/// What this node shares with the connection that brings its news.
#[derive(Default)]
struct Shared {
    mailbox: Mailbox,
    /// The documents whose news come.
    watched: BTreeSet<DocumentId>,
    /// Those of them whose news do not come yet again after the connection was lost.
    lost: BTreeSet<DocumentId>,
}

impl RedisPresenceStore {
    /// Presence at `address`, under keys that begin with `prefix`. It connects when it is first used,
    /// and again whenever it has to.
    ///
    /// # Errors
    /// [`PresenceStoreError::Unavailable`] if the address can't be one, as with TLS and no certificates.
    pub fn new(address: &RedisAddress, prefix: &str) -> Result<Self, PresenceStoreError> {
        let client = Client::open(address.0.clone()).map_err(unavailable)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PRESENCE_STORE_TIME_MAX))
            .set_response_timeout(Some(PRESENCE_STORE_TIME_MAX))
            .set_max_delay(PRESENCE_STORE_RETRY_PAUSE_MAX)
            .set_number_of_retries(PRESENCE_STORE_RETRIES_MAX);
        let keys = Keys(prefix.to_owned());
        let shared = Arc::<Mutex<Shared>>::default();
        let arrived = lock(&shared).mailbox.arrived();
        let (heard, names) = (shared.clone(), keys.clone());
        // It is called as the news come in, so no queue is between the connection and the mailbox.
        let hear = move |push: PushInfo| {
            hear(&mut lock(&heard), &names, &push);
            Ok::<_, std::convert::Infallible>(())
        };
        let listening = config
            .clone()
            .set_push_sender(hear)
            .set_automatic_resubscription();
        let lazy = ConnectionManager::new_lazy_with_config;
        Ok(Self {
            script: Script::new(include_str!("redis/presence.lua")),
            keys,
            commands: lazy(client.clone(), config).map_err(unavailable)?,
            news: lazy(client, listening).map_err(unavailable)?,
            shared,
            arrived,
        })
    }

    /// Asks whether anybody answers.
    ///
    /// # Errors
    /// [`PresenceStoreError::Unavailable`] if not.
    pub async fn ping(&self) -> Result<(), PresenceStoreError> {
        ping(&self.commands).await
    }

    /// Begins to call the script for `document`.
    fn action(&self, name: &str, document: &DocumentId) -> ScriptInvocation<'_> {
        let time_to_live_ms = PRESENCE_TIME_TO_LIVE.as_millis().to_string();
        let mut call = self.script.prepare_invoke();
        call.key(self.keys.sessions(document))
            .key(self.keys.entries(document))
            .arg(name)
            .arg(self.keys.channel(document))
            .arg(time_to_live_ms);
        call
    }

    async fn call<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, PresenceStoreError> {
        let mut connection = self.commands.clone();
        in_time(call.invoke_async(&mut connection)).await
    }

    async fn renew_in(
        &self,
        document: &DocumentId,
        seats: Vec<&Seat>,
    ) -> Result<Vec<Seat>, PresenceStoreError> {
        let mut call = self.action("renew", document);
        for seat in seats {
            call.arg(seat.session.as_str());
        }
        let unknown: Vec<String> = self.call(&call).await?;
        let known = |session: String| seat(document, &session);
        Ok(unknown.into_iter().filter_map(known).collect())
    }
}

#[async_trait]
impl PresenceStore for RedisPresenceStore {
    async fn show(&self, seat: &Seat, entries: Vec<Entry>) -> Result<(), PresenceStoreError> {
        // No more than what one message may hold.
        for entries in entries.chunks(PRESENCE_ENTRIES_PER_SESSION_MAX) {
            let mut call = self.action("show", &seat.document);
            call.arg(PRESENCE_SESSIONS_PER_DOCUMENT_MAX)
                .arg(seat.session.as_str());
            for entry in entries {
                call.arg(&*entry.key)
                    .arg(entry.timestamp_ms)
                    .arg(u8::from(entry.is_removal))
                    .arg(entry.encoded());
            }
            if !self.call::<bool>(&call).await? {
                return Err(PresenceStoreError::Full);
            }
        }
        Ok(())
    }

    async fn renew(&self, seats: &[Seat]) -> Result<Vec<Seat>, PresenceStoreError> {
        let mut documents: BTreeMap<&DocumentId, Vec<&Seat>> = BTreeMap::new();
        for seat in seats {
            documents.entry(&seat.document).or_default().push(seat);
        }
        let calls = documents
            .into_iter()
            .map(|(document, seats)| self.renew_in(document, seats));
        Ok(try_join_all(calls).await?.concat())
    }

    async fn take_away(&self, seat: &Seat) -> Result<(), PresenceStoreError> {
        let mut call = self.action("take_away", &seat.document);
        call.arg(seat.session.as_str());
        self.call(&call).await
    }

    async fn shown(
        &self,
        document: &DocumentId,
    ) -> Result<Vec<(Seat, Vec<Entry>)>, PresenceStoreError> {
        let call = self.action("shown", document);
        let found: Vec<(String, Vec<Vec<u8>>)> = self.call(&call).await?;
        let known = found.into_iter().filter_map(|(session, encoded)| {
            // What somebody else has put there is nothing to show.
            let entries = encoded.iter().map(|encoded| Entry::decode(encoded).ok());
            let mut entries: Vec<_> = entries.collect::<Option<_>>()?;
            entries.sort_by(|a, b| a.key.cmp(&b.key));
            Some((seat(document, &session)?, entries))
        });
        Ok(known.collect())
    }

    async fn watch(&self, document: &DocumentId) -> Result<(), PresenceStoreError> {
        if lock(&self.shared).watched.contains(document) {
            return Ok(());
        }
        let mut connection = self.news.clone();
        in_time(connection.subscribe(self.keys.channel(document))).await?;
        lock(&self.shared).watched.insert(document.clone());
        Ok(())
    }

    async fn unwatch(&self, document: &DocumentId) -> Result<(), PresenceStoreError> {
        lock(&self.shared).watched.remove(document);
        let mut connection = self.news.clone();
        in_time(connection.unsubscribe(self.keys.channel(document))).await
    }

    async fn expire(&self) -> Result<(), PresenceStoreError> {
        let watched = lock(&self.shared).watched.clone();
        let calls = watched.iter().map(|document| async move {
            let call = self.action("expire", document);
            self.call::<()>(&call).await
        });
        try_join_all(calls).await?;
        // A connection over which nothing is sent would not notice that it is lost.
        ping(&self.news).await
    }

    async fn next_news(&self) -> News {
        loop {
            if let Some(news) = lock(&self.shared).mailbox.take() {
                return news;
            }
            self.arrived.notified().await;
        }
    }
}

/// The seat of a session, if that is one of ours.
fn seat(document: &DocumentId, session: &str) -> Option<Seat> {
    Some(Seat {
        document: document.clone(),
        session: SessionId::parse(session).ok()?,
    })
}

/// Takes in what Redis, or the connection to it, tells by itself.
fn hear(shared: &mut Shared, keys: &Keys, push: &PushInfo) {
    let text = |value: Option<&Value>| match value {
        Some(Value::BulkString(bytes)) => bytes.clone(),
        _ => Vec::new(),
    };
    if push.kind == PushKind::Disconnection {
        shared.lost = shared.watched.clone();
    }
    let Some(document) = keys.document(&text(push.data.first())) else {
        return;
    };
    match push.kind {
        // The connection is back. What happened in between did not arrive.
        PushKind::Subscribe if shared.lost.remove(&document) => shared.mailbox.put(News::Missed),
        PushKind::Message => match Message::decode(&text(push.data.get(1))) {
            Some(Message { session, entries }) => shared.mailbox.put(News::Entries {
                seat: Seat { document, session },
                entries,
            }),
            None => tracing::warn!(
                "news of presence can't be read; does anything else use its channels?"
            ),
        },
        _ => {}
    }
}

/// What the keys of this deployment begin with.
#[derive(Clone)]
struct Keys(String);

impl Keys {
    /// The braces let a document's keys live together in a cluster.
    fn sessions(&self, document: &DocumentId) -> String {
        format!("{}:{{{document}}}", self.0)
    }

    fn entries(&self, document: &DocumentId) -> String {
        format!("{}-entries:{{{document}}}", self.0)
    }

    fn channel(&self, document: &DocumentId) -> String {
        self.sessions(document)
    }

    /// The document of a channel.
    fn document(&self, channel: &[u8]) -> Option<DocumentId> {
        let name = std::str::from_utf8(channel).ok()?;
        let braced = name.strip_prefix(&self.0)?.strip_prefix(":{")?;
        DocumentId::parse(braced.strip_suffix('}')?).ok()
    }
}

async fn ping(connection: &ConnectionManager) -> Result<(), PresenceStoreError> {
    let mut connection = connection.clone();
    in_time(redis::cmd("PING").exec_async(&mut connection)).await
}

/// Waits no longer than the store may take, its connecting included.
async fn in_time<T>(
    answer: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, PresenceStoreError> {
    let answer = timeout(PRESENCE_STORE_TIME_MAX, answer).await;
    answer
        .map_err(|elapsed| PresenceStoreError::Unavailable(elapsed.into()))?
        .map_err(unavailable)
}

fn unavailable(error: RedisError) -> PresenceStoreError {
    PresenceStoreError::Unavailable(error.into())
}

/// Every change is complete when it panics, if it ever does, so the state is still good.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
