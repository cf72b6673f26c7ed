use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use loro::LoroValue;
use loro::awareness::EphemeralStore;
use presence_store::{EntriesError, decode_entries_of_many};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How long the engine keeps what others show. Nothing of that is put into it.
const TIMEOUT_MS: i64 = 30_000;

/// What the names of flooders' cursors begin with.
const FLOODERS: &str = "flooder-";

/// A person's cursor, which moves and moves, as an editor encodes it.
pub(super) struct Cursor {
    shown: EphemeralStore,
    key: String,
    moves: Interval,
    count: i64,
}

impl Cursor {
    /// One that moves once in each `period`. A flooder's does so to harm the others, and is not measured.
    pub(super) fn new(person: u32, period: Duration, is_flooder: bool) -> Self {
        let name = if is_flooder { FLOODERS } else { "crowd-" };
        let mut moves = interval(period);
        moves.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            shown: EphemeralStore::new(TIMEOUT_MS),
            key: format!("{name}{person}"),
            moves,
            count: 0,
        }
    }

    /// Waits until it moves, and gives what is then shown. Dropping the future loses nothing.
    pub(super) async fn moved(&mut self) -> Bytes {
        self.moves.tick().await;
        self.count += 1;
        let place = |at: i64| LoroValue::from(at.to_be_bytes().repeat(2));
        let value = HashMap::from([
            ("name".to_owned(), LoroValue::from(self.key.as_str())),
            ("color".to_owned(), LoroValue::from("#3b82f6")),
            ("anchor".to_owned(), place(self.count)),
            ("head".to_owned(), place(self.count + 1)),
        ]);
        self.shown.set(&self.key, value);
        self.shown.encode(&self.key).into()
    }
}

/// How long ago each of the cursors moved that a server sends, but for flooders': entries carry their
/// authors' clocks, which are all this machine's.
///
/// # Errors
/// If it is no list of entries.
pub(super) fn ages(entries: &[u8]) -> Result<Vec<Duration>, EntriesError> {
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    let shown = decode_entries_of_many(entries)?;
    let moved = shown
        .iter()
        .filter(|entry| !entry.is_removal && !entry.key.starts_with(FLOODERS));
    Ok(moved
        .map(|entry| {
            let moved_ms = u128::try_from(entry.timestamp_ms).unwrap_or(0);
            let age_ms = u64::try_from(now_ms.saturating_sub(moved_ms)).unwrap_or(u64::MAX);
            Duration::from_millis(age_ms)
        })
        .collect())
}
