use std::sync::Arc;

use document_types::limits::{COMMIT_GROUP_COUNT_MAX, UNSYNCED_BYTES_MAX};
use redb::{Database, Durability};
use tokio::sync::{mpsc, oneshot};

use super::snapshot::EmbeddedSnapshot;
use super::{ABOUT, ABOUT_VERSION, ENTRIES, failed};
use crate::optimistic::{CommitRequest, RecentCommits, Snapshot, WriteBuffer};
use crate::ordered_kv::{CommitVersion, KvError};

type Reply = oneshot::Sender<Result<CommitVersion, KvError>>;

/// What the writer is asked for.
pub(super) enum Command {
    /// Commit, if nothing conflicts.
    Commit {
        request: CommitRequest,
        reply: Reply,
    },
    /// Make all earlier commits durable.
    Sync { reply: Reply },
    /// Sync and end.
    Close,
}

/// The one that writes: decides on commits in the order in which they come, and applies them.
pub(super) struct Writer {
    database: Arc<Database>,
    version: CommitVersion,
    synced: CommitVersion,
    unsynced_bytes: usize,
    recent: RecentCommits,
}

/// A commit that was let in, and waits for its group to be written.
struct Decided {
    version: CommitVersion,
    writes: WriteBuffer,
    reply: Reply,
}

impl Writer {
    pub fn new(database: Arc<Database>) -> Result<Self, KvError> {
        let version = EmbeddedSnapshot::latest(Arc::clone(&database))?.version();
        Ok(Self {
            database,
            version,
            synced: version,
            unsynced_bytes: 0,
            recent: RecentCommits::new(version),
        })
    }

    /// Works until the store is closed, and syncs what is left.
    pub fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut commands = Vec::new();
        let mut open = true;
        while open && queue.blocking_recv_many(&mut commands, COMMIT_GROUP_COUNT_MAX) > 0 {
            open = self.work(&mut commands);
        }
        if let Err(error) = self.sync() {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the store was closed without a sync: what is unsynced is read from the log again"
            );
        }
    }

    /// Does what was asked for together, and says whether the store stays open.
    fn work(&mut self, commands: &mut Vec<Command>) -> bool {
        let mut open = true;
        let mut group = Vec::new();
        let mut syncs = Vec::new();
        for command in commands.drain(..) {
            match command {
                Command::Commit { request, reply } => match self.decide(&request) {
                    Ok(version) => {
                        group.push(Decided {
                            version,
                            writes: request.writes,
                            reply,
                        });
                        self.recent
                            .record(version, request.at, request.write_conflicts);
                    }
                    Err(error) => answer(reply, Err(error)),
                },
                Command::Sync { reply } => syncs.push(reply),
                Command::Close => open = false,
            }
        }
        if !group.is_empty() {
            self.commit_group(group);
        }
        if !syncs.is_empty() || self.unsynced_bytes > UNSYNCED_BYTES_MAX {
            let synced = self.sync();
            for reply in syncs {
                answer(reply, synced.clone());
            }
        }
        open
    }

    fn decide(&mut self, request: &CommitRequest) -> Result<CommitVersion, KvError> {
        self.recent.check(request.read_version, &request.reads)?;
        self.version = CommitVersion(self.version.0 + 1);
        Ok(self.version)
    }

    /// Writes the group in one step, unsynced, and answers.
    fn commit_group(&mut self, group: Vec<Decided>) {
        match self.write_group(&group) {
            Ok(()) => {
                for commit in group {
                    answer(commit.reply, Ok(commit.version));
                }
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the store can't write"
                );
                for commit in group {
                    answer(commit.reply, Err(error.clone()));
                }
            }
        }
    }

    fn write_group(&mut self, group: &[Decided]) -> Result<(), KvError> {
        let mut write = self.database.begin_write().map_err(failed)?;
        write.set_durability(Durability::None).map_err(failed)?;
        let mut entries = write.open_table(ENTRIES).map_err(failed)?;
        for commit in group {
            for range in commit.writes.cleared() {
                let range = range.begin.as_ref()..range.end.as_ref();
                entries
                    .retain_in::<&[u8], _>(range, |_, _| false)
                    .map_err(failed)?;
            }
            for (key, value) in commit.writes.keys() {
                self.unsynced_bytes += key.len() + value.map_or(0, bytes::Bytes::len);
                match value {
                    Some(value) => entries.insert(key.as_ref(), value.as_ref()),
                    None => entries.remove(key.as_ref()),
                }
                .map_err(failed)?;
            }
        }
        drop(entries);
        let mut about = write.open_table(ABOUT).map_err(failed)?;
        about
            .insert(ABOUT_VERSION, self.version.0)
            .map_err(failed)?;
        drop(about);
        write.commit().map_err(|error| KvError::Failed {
            maybe_committed: true,
            source: Arc::new(redb::Error::from(error)),
        })
    }

    /// Makes everything so far durable. The file is left such that opening it after a crash does
    /// not have to walk it.
    fn sync(&mut self) -> Result<CommitVersion, KvError> {
        if self.synced < self.version {
            let mut write = self.database.begin_write().map_err(failed)?;
            write
                .set_durability(Durability::Immediate)
                .map_err(failed)?;
            write.set_quick_repair(true);
            write.commit().map_err(failed)?;
            self.synced = self.version;
            self.unsynced_bytes = 0;
        }
        Ok(self.version)
    }
}

/// Someone who stopped waiting does not need the answer.
fn answer(reply: Reply, result: Result<CommitVersion, KvError>) {
    let _ = reply.send(result);
}
