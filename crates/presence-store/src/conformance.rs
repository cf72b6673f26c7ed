//! What every adapter of [`PresenceStore`] has to do, as one suite. Run it within a runtime whose
//! time is paused, or against a real store.

use document_types::limits::{PRESENCE_SESSIONS_PER_DOCUMENT_MAX, PRESENCE_TIME_TO_LIVE};
use document_types::{DocumentId, SessionId};

use crate::{Entry, News, PresenceStore, PresenceStoreError, Seat, decode_entries};

/// A seat by plain names.
///
/// # Panics
/// If the names are no ids.
pub fn seat(document: &str, session: &str) -> Seat {
    Seat {
        document: DocumentId::parse(document).expect("a test's name"),
        session: SessionId::parse(session).expect("a test's name"),
    }
}

/// An entry with a small number as its value.
///
/// # Panics
/// If the key is too long for an entry.
pub fn entry(key: &str, value: u8, timestamp_ms: i64) -> Entry {
    assert!(
        value < 64 && timestamp_ms >= 0,
        "encoded here in its simplest form"
    );
    let mut bytes = vec![1];
    put_number(&mut bytes, key.len() as u64);
    bytes.extend_from_slice(key.as_bytes());
    // Present, an integer, its zigzag form.
    bytes.extend([1, 3, value << 1]);
    put_number(&mut bytes, timestamp_ms.unsigned_abs() << 1);
    let mut entries = decode_entries(&bytes).expect("the engine's encoding");
    entries.remove(0)
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Checks two nodes of one store.
///
/// # Panics
/// If the store does not do what the port says.
pub async fn check(first: &dyn PresenceStore, second: &dyn PresenceStore) {
    what_is_shown_reaches_the_watchers(first, second).await;
    the_newest_entry_counts(first, second).await;
    what_is_taken_away_is_gone_everywhere(first, second).await;
    what_is_not_renewed_is_gone(first, second).await;
    what_is_forgotten_has_to_be_shown_again(first).await;
    sessions_are_bounded(first).await;
}

const WELL: &str = "the store is reachable";

async fn entries_of(store: &dyn PresenceStore, of: &Seat) -> Vec<Entry> {
    match store.next_news().await {
        News::Entries { seat, entries } => {
            assert_eq!(&seat, of);
            entries
        }
        News::Missed => panic!("nothing was missed"),
    }
}

async fn what_is_shown_reaches_the_watchers(first: &dyn PresenceStore, second: &dyn PresenceStore) {
    let ada = seat("watched", "ada");
    let elsewhere = seat("elsewhere", "ada");
    first.watch(&ada.document).await.expect(WELL);
    second.watch(&ada.document).await.expect(WELL);
    first
        .show(&elsewhere, vec![entry("a", 1, 1)])
        .await
        .expect(WELL);
    first
        .show(&ada, vec![entry("a", 1, 1), entry("b", 2, 1)])
        .await
        .expect(WELL);
    for node in [first, second] {
        assert_eq!(
            entries_of(node, &ada).await,
            [entry("a", 1, 1), entry("b", 2, 1)]
        );
    }
    second.unwatch(&ada.document).await.expect(WELL);
    first.show(&ada, vec![entry("a", 2, 2)]).await.expect(WELL);
    assert_eq!(entries_of(first, &ada).await, [entry("a", 2, 2)]);
    first.unwatch(&ada.document).await.expect(WELL);
    let shown = second.shown(&ada.document).await.expect(WELL);
    assert_eq!(
        shown,
        [(ada.clone(), vec![entry("a", 2, 2), entry("b", 2, 1)])]
    );
    for seat in [ada, elsewhere] {
        first.take_away(&seat).await.expect(WELL);
    }
}

async fn the_newest_entry_counts(first: &dyn PresenceStore, second: &dyn PresenceStore) {
    let ada = seat("newest", "ada");
    first.show(&ada, vec![entry("a", 5, 5)]).await.expect(WELL);
    first.show(&ada, vec![entry("a", 4, 4)]).await.expect(WELL);
    let shown = second.shown(&ada.document).await.expect(WELL);
    assert_eq!(shown, [(ada.clone(), vec![entry("a", 5, 5)])]);
    first
        .show(&ada, vec![entry("a", 5, 5).removal()])
        .await
        .expect(WELL);
    let shown = second.shown(&ada.document).await.expect(WELL);
    assert!(shown.iter().all(|(_, entries)| entries.is_empty()));
    first.take_away(&ada).await.expect(WELL);
}

async fn what_is_taken_away_is_gone_everywhere(
    first: &dyn PresenceStore,
    second: &dyn PresenceStore,
) {
    let ada = seat("left", "ada");
    first
        .show(&ada, vec![entry("a", 1, 1), entry("b", 1, 1)])
        .await
        .expect(WELL);
    second.watch(&ada.document).await.expect(WELL);
    first.take_away(&ada).await.expect(WELL);
    let removals = [entry("a", 1, 1).removal(), entry("b", 1, 1).removal()];
    assert_eq!(entries_of(second, &ada).await, removals);
    assert!(second.shown(&ada.document).await.expect(WELL).is_empty());
    second.unwatch(&ada.document).await.expect(WELL);
}

async fn what_is_not_renewed_is_gone(first: &dyn PresenceStore, second: &dyn PresenceStore) {
    let [stays, dies] = ["stays", "dies"].map(|session| seat("renewed", session));
    for seat in [&stays, &dies] {
        first.show(seat, vec![entry("a", 1, 1)]).await.expect(WELL);
    }
    second.watch(&stays.document).await.expect(WELL);
    for _ in 0..3 {
        tokio::time::sleep(PRESENCE_TIME_TO_LIVE / 2).await;
        let unknown = first.renew(std::slice::from_ref(&stays)).await.expect(WELL);
        assert!(unknown.is_empty());
    }
    let shown = second.shown(&stays.document).await.expect(WELL);
    assert_eq!(shown, [(stays.clone(), vec![entry("a", 1, 1)])]);
    second.expire().await.expect(WELL);
    assert_eq!(
        entries_of(second, &dies).await,
        [entry("a", 1, 1).removal()]
    );
    second.unwatch(&stays.document).await.expect(WELL);
    first.take_away(&stays).await.expect(WELL);
}

async fn what_is_forgotten_has_to_be_shown_again(store: &dyn PresenceStore) {
    let [known, unknown] = ["known", "unknown"].map(|session| seat("forgotten", session));
    store
        .show(&known, vec![entry("a", 1, 1)])
        .await
        .expect(WELL);
    let forgotten = store
        .renew(&[known.clone(), unknown.clone()])
        .await
        .expect(WELL);
    assert_eq!(forgotten, [unknown]);
    store.take_away(&known).await.expect(WELL);
}

async fn sessions_are_bounded(store: &dyn PresenceStore) {
    let seats: Vec<Seat> = (0..=PRESENCE_SESSIONS_PER_DOCUMENT_MAX)
        .map(|session| seat("full", &session.to_string()))
        .collect();
    let (last, fitting) = seats.split_last().expect("there are some");
    for seat in fitting {
        store.show(seat, vec![entry("a", 1, 1)]).await.expect(WELL);
    }
    let refused = store.show(last, vec![entry("a", 1, 1)]).await;
    assert!(matches!(refused, Err(PresenceStoreError::Full)));
    for seat in fitting {
        store.take_away(seat).await.expect(WELL);
    }
}
