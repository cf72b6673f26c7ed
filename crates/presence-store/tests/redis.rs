//! Presence in a real Redis, which is killed, frozen and emptied. `cargo xtask test --only redis` runs it.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use document_types::limits::{PRESENCE_RENEWAL_INTERVAL, PRESENCE_STORE_TIME_MAX};
use presence_store::conformance::{self, entry, seat};
use presence_store::{
    Entry, News, PresenceStore, PresenceStoreError, RedisAddress, RedisPresenceStore, Seat,
};
use redis::aio::MultiplexedConnection;
use test_parts::{parts, variable};
use tokio::time::{Duration, Instant, sleep, timeout};

/// How long a test waits for what should come.
const TIME_MAX: Duration = Duration::from_secs(20);

fn address() -> RedisAddress {
    variable("COLLABEDIT_TEST_REDIS").parse().unwrap()
}

/// Two nodes that share what nobody else does.
fn nodes(prefix: &str) -> [RedisPresenceStore; 2] {
    [(), ()].map(|()| RedisPresenceStore::new(&address(), prefix).unwrap())
}

/// A connection of the test's own.
async fn connection() -> MultiplexedConnection {
    let client = redis::Client::open(variable("COLLABEDIT_TEST_REDIS")).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// Calls `renew` as a service does, until nothing that `seat` shows is known any more.
async fn renewed_until_unknown(store: &RedisPresenceStore, seat: &Seat) {
    let renewing = async {
        while store.renew(std::slice::from_ref(seat)).await.ok() != Some(vec![seat.clone()]) {
            // Expiring keeps the connection for news alive.
            let _ = store.expire().await;
            sleep(PRESENCE_RENEWAL_INTERVAL / 10).await;
        }
    };
    timeout(TIME_MAX, renewing).await.unwrap();
}

/// Waits until `store` is told that something was missed.
async fn missed(store: &RedisPresenceStore) {
    let hearing = async { while store.next_news().await != News::Missed {} };
    timeout(TIME_MAX, hearing).await.unwrap();
}

/// Waits until `store` is told that `seat` shows `value`, and nothing else before.
async fn hears(store: &RedisPresenceStore, seat: &Seat, value: u8) {
    let news = News::Entries {
        seat: seat.clone(),
        entries: shows(value),
    };
    let told = timeout(TIME_MAX, store.next_news()).await.unwrap();
    assert_eq!(told, news);
}

/// One entry, which is newer the larger its value is.
fn shows(value: u8) -> Vec<Entry> {
    vec![entry("a", value, value.into())]
}

/// Two nodes, of which the second has heard what a session shows at the first.
async fn nodes_that_hear(prefix: &str) -> ([RedisPresenceStore; 2], Seat) {
    let [first, second] = nodes(prefix);
    let ada = seat("d", "ada");
    second.watch(&ada.document).await.unwrap();
    first.show(&ada, shows(1)).await.unwrap();
    hears(&second, &ada, 1).await;
    ([first, second], ada)
}

// One after the other, since all are about the same Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis: cargo xtask test --only redis"]
async fn it_conforms_and_comes_back_by_itself() {
    let [first, second] = nodes("conforms");
    conformance::check(&first, &second).await;
    nothing_stays_behind("conforms").await;
    foreign_words_are_passed_over().await;
    a_redis_that_was_emptied_is_told_again().await;
    a_frozen_redis_holds_nobody_up().await;
    a_killed_redis_is_found_again().await;
    nobody_there_is_said_soon().await;
}

async fn nothing_stays_behind(prefix: &str) {
    let mut connection = connection().await;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{prefix}*"))
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(keys, Vec::<String>::new());
}

async fn foreign_words_are_passed_over() {
    let [store, _] = nodes("foreign");
    let ada = seat("d", "ada");
    store.watch(&ada.document).await.unwrap();
    let mut connection = connection().await;
    for words in [&b""[..], b"E", b"Eada", b"Eada\n\x05", b"Xada\n\x00"] {
        redis::cmd("PUBLISH")
            .arg("foreign:{d}")
            .arg(words)
            .exec_async(&mut connection)
            .await
            .unwrap();
    }
    store.show(&ada, shows(1)).await.unwrap();
    hears(&store, &ada, 1).await;
}

async fn a_redis_that_was_emptied_is_told_again() {
    let ([first, second], ada) = nodes_that_hear("emptied").await;
    let mut connection = connection().await;
    // Scripts are gone then as well.
    let (all, scripts) = (
        redis::cmd("FLUSHALL"),
        redis::cmd("SCRIPT").arg("FLUSH").clone(),
    );
    for emptying in [all, scripts] {
        emptying.exec_async(&mut connection).await.unwrap();
    }
    renewed_until_unknown(&first, &ada).await;
    first.show(&ada, shows(1)).await.unwrap();
    hears(&second, &ada, 1).await;
}

async fn a_frozen_redis_holds_nobody_up() {
    let ([first, second], ada) = nodes_that_hear("frozen").await;
    let mut connection = connection().await;
    let pause_ms = 3 * PRESENCE_STORE_TIME_MAX.as_millis();
    redis::cmd("CLIENT")
        .arg("PAUSE")
        .arg(pause_ms.to_string())
        .exec_async(&mut connection)
        .await
        .unwrap();
    let asked = Instant::now();
    let refused = first.show(&ada, shows(2)).await;
    assert!(matches!(refused, Err(PresenceStoreError::Unavailable(_))));
    // It goes on with what it was asked meanwhile.
    hears(&second, &ada, 2).await;
    assert!(asked.elapsed() < TIME_MAX);
    first.take_away(&ada).await.unwrap();
}

async fn a_killed_redis_is_found_again() {
    let [first, second] = nodes("killed");
    let (ada, bob) = (seat("d", "ada"), seat("other", "bob"));
    for store in [&first, &second] {
        store.watch(&ada.document).await.unwrap();
        store.watch(&bob.document).await.unwrap();
    }
    first.show(&ada, shows(1)).await.unwrap();
    hears(&second, &ada, 1).await;
    parts(&["kill", "redis"]).await;
    let refused = first.show(&ada, shows(2)).await;
    assert!(matches!(refused, Err(PresenceStoreError::Unavailable(_))));
    parts(&["up", "redis"]).await;
    renewed_until_unknown(&first, &ada).await;
    first.show(&ada, shows(2)).await.unwrap();
    // Whoever was not there when it was told is told to look.
    renewed_until_unknown(&second, &bob).await;
    missed(&second).await;
    let shown = second.shown(&ada.document).await.unwrap();
    assert_eq!(shown, [(ada.clone(), shows(2))]);
    second.show(&bob, shows(1)).await.unwrap();
    let entries = shows(1);
    let news = News::Entries { seat: bob, entries };
    let hearing = async { while first.next_news().await != news {} };
    timeout(TIME_MAX, hearing).await.unwrap();
}

async fn nobody_there_is_said_soon() {
    // Reserved for documentation: no machine has it.
    let nobody = "redis://192.0.2.1:6379".parse().unwrap();
    let store = RedisPresenceStore::new(&nobody, "nobody").unwrap();
    let refused = timeout(TIME_MAX, store.ping()).await.unwrap();
    assert!(matches!(refused, Err(PresenceStoreError::Unavailable(_))));
}
