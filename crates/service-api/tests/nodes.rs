//! Gateways and nodes over real connections: what is slow, gone or foreign harms nobody else.
#![allow(clippy::unwrap_used)] // Tests.

mod support;

use std::time::Duration;

use document_types::ErrorCode;
use document_types::limits::{SEAT_CREDIT_BYTES, SOCKET_QUEUE_COUNT_MAX};
use service_api::grpc::check_collaboration;
use service_api::{Collaboration, SessionEvent};
use support::{
    FLOOD_UPDATE_BYTES, FLOODING, STUCK, TOKEN, batch, gateway, join_of, offer_and_wait,
    start_node, token,
};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// Longer than anything here takes; a test that gets there has failed.
const TIME_MAX: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_session_that_reads_nothing_holds_up_no_other_and_gets_no_more_than_its_credit() {
    let tasks = TaskTracker::new();
    let node = start_node(&tasks, false).await;
    let gateway = gateway(&[&node], TOKEN, &tasks);
    let mut deaf = gateway.join(join_of(FLOODING, "ses_deaf")).await.unwrap();
    // Its credit is spent once its first event is here and nothing more comes.
    assert!(matches!(
        deaf.events.recv().await,
        Some(SessionEvent::Updates(_))
    ));
    let mut typing = gateway.join(join_of("notes", "ses_typing")).await.unwrap();
    for number in 0..2_000 {
        timeout(TIME_MAX, offer_and_wait(&mut typing, number))
            .await
            .expect("a batch is answered while another session reads nothing");
    }
    let waiting = deaf.events.len();
    let most = SEAT_CREDIT_BYTES / FLOOD_UPDATE_BYTES + SOCKET_QUEUE_COUNT_MAX + 1;
    assert!(waiting <= most, "{waiting} events wait, {most} at most");
    // And it goes on once somebody reads.
    for _ in 0..200 {
        let event = timeout(TIME_MAX, deaf.events.recv()).await.unwrap();
        assert!(matches!(event, Some(SessionEvent::Updates(_))));
    }
}

#[tokio::test]
async fn a_room_that_takes_nothing_slows_its_own_writers_down_and_nobody_else() {
    let tasks = TaskTracker::new();
    let node = start_node(&tasks, false).await;
    let gateway = gateway(&[&node], TOKEN, &tasks);
    let stuck = gateway.join(join_of(STUCK, "ses_stuck")).await.unwrap();
    let mut typing = gateway.join(join_of("notes", "ses_typing")).await.unwrap();
    // The room's own queue takes many, but what is unanswered is bounded by bytes.
    let filling = async {
        for number in 0.. {
            stuck.room.submit(batch(number, 64 * 1024)).await.unwrap();
        }
    };
    let typing = async {
        for number in 0..2_000 {
            offer_and_wait(&mut typing, number).await;
        }
    };
    tokio::select! {
        () = filling => {}
        done = timeout(TIME_MAX, typing) => done.expect("others' batches are answered"),
    }
}

#[tokio::test]
async fn a_node_that_goes_is_told_and_another_takes_its_place() {
    let tasks = TaskTracker::new();
    let nodes = [
        start_node(&tasks, false).await,
        start_node(&tasks, false).await,
    ];
    let gateway = gateway(&[&nodes[0], &nodes[1]], TOKEN, &tasks);
    let mut joined = gateway.join(join_of("notes", "ses_1")).await.unwrap();
    offer_and_wait(&mut joined, 1).await;
    // One of them has it; both in turn have to let go.
    for node in nodes {
        drop(node);
        if let Ok(event) = timeout(Duration::from_secs(1), joined.events.recv()).await {
            let Some(SessionEvent::Closed { code, .. }) = event else {
                panic!("{event:?} is not the seat's end")
            };
            assert_eq!(code, ErrorCode::Unavailable);
            assert!(joined.room.submit(batch(2, 10)).await.is_err());
            let again = gateway.join(join_of("notes", "ses_1")).await;
            if let Ok(again) = again {
                joined = again;
                offer_and_wait(&mut joined, 3).await;
            }
        }
    }
    let refused = gateway.join(join_of("notes", "ses_1")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable);
}

#[tokio::test]
async fn a_node_that_drains_is_passed_over() {
    let tasks = TaskTracker::new();
    let (going, staying) = (
        start_node(&tasks, true).await,
        start_node(&tasks, false).await,
    );
    let only = gateway(&[&going], TOKEN, &tasks);
    let refused = only.join(join_of("notes", "ses_1")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Draining);
    let both = gateway(&[&going, &staying], TOKEN, &tasks);
    // Whichever of them the names of these documents prefer.
    for number in 0..20 {
        let document = format!("doc_{number}");
        let joined = timeout(TIME_MAX, async {
            loop {
                match both.join(join_of(&document, "ses_1")).await {
                    Ok(joined) => return joined,
                    // The other one is not connected to yet.
                    Err(error) => assert_eq!(error.code, ErrorCode::Draining),
                }
            }
        });
        let mut joined = joined.await.expect("the node that stays takes it");
        offer_and_wait(&mut joined, number).await;
    }
}

#[tokio::test]
async fn a_stranger_is_told_that_its_token_is_not_the_right_one() {
    let tasks = TaskTracker::new();
    let node = start_node(&tasks, false).await;
    check_collaboration(&node.address, &token(TOKEN))
        .await
        .unwrap();
    let other = token("the-token-of-somebody-else");
    let refused = check_collaboration(&node.address, &other)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("service token"), "{refused}");
    let stranger = gateway(&[&node], "the-token-of-somebody-else", &tasks);
    let refused = stranger.join(join_of("notes", "ses_1")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable);
}
