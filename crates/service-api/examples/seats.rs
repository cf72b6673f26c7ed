//! How long batches take over one stream with thousands of documents, and whether some that are stuck
//! make a difference. `cargo run --release -p service-api --example seats`

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use service_api::Collaboration;
use support::{FLOODING, STUCK, TOKEN, batch, gateway, join_of, offer_and_wait, start_node};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

const DOCUMENTS: u64 = 5_000;
/// Between two batches of one document.
const PAUSE: Duration = Duration::from_secs(5);
const PHASE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() {
    let tasks = TaskTracker::new();
    let node = start_node(&tasks, false).await;
    let gateway = gateway(&[&node], TOKEN, &tasks);
    let mut seats = Vec::new();
    for number in 0..DOCUMENTS {
        let document = format!("doc_{number}");
        let joined = gateway.join(join_of(&document, "ses_1")).await;
        seats.push(joined.expect("a seat for each"));
    }
    println!("{DOCUMENTS} documents over one stream, a batch of each every {PAUSE:?}");
    for round in 0..2 {
        seats = phase(&format!("none is stuck ({round})"), seats).await;
        // One whose client reads nothing, and one whose room takes nothing.
        let deaf = gateway.join(join_of(FLOODING, "ses_deaf")).await;
        let stuck = gateway.join(join_of(STUCK, "ses_stuck")).await;
        let stuck = stuck.expect("a seat for the stuck one");
        let filling = async {
            for number in 0.. {
                let full = stuck.room.submit(batch(number, 64 * 1024)).await;
                full.expect("the room is there");
            }
        };
        let name = format!("two are stuck ({round})");
        seats = tokio::select! {
            () = filling => unreachable!("a stuck room does not take everything"),
            back = phase(&name, seats) => back,
        };
        drop(deaf);
    }
}

/// Offers batches for a while, and prints how long the answers took.
async fn phase(name: &str, seats: Vec<service_api::Joined>) -> Vec<service_api::Joined> {
    let start = Instant::now();
    let mut running = JoinSet::new();
    for (number, mut seat) in (0_u32..).zip(seats) {
        running.spawn(async move {
            let mut times = Vec::new();
            let offset = PAUSE * number / u32::try_from(DOCUMENTS).unwrap_or(u32::MAX);
            let mut next = start + offset;
            while next < start + PHASE {
                tokio::time::sleep_until(next).await;
                let asked = Instant::now();
                offer_and_wait(&mut seat, times.len() as u64).await;
                times.push(asked.elapsed());
                next += PAUSE;
            }
            (seat, times)
        });
    }
    let (mut back, mut times) = (Vec::new(), Vec::new());
    while let Some(done) = running.join_next().await {
        let (seat, its) = done.expect("a seat is not lost");
        back.push(seat);
        times.extend(its);
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "{name}: {} answers, p50 {:.2?}, p95 {:.2?}, p99 {:.2?}, longest {:.2?}",
        times.len(),
        at(50),
        at(95),
        at(99),
        at(100)
    );
    back
}
