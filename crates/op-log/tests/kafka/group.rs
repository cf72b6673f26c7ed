//! Members of a group divide a topic's partitions.

use std::collections::BTreeSet;
use std::time::Duration;

use document_types::LogPartition;
use op_log::{KafkaGroupMember, PartitionShare};

use super::topic::new_topic;

/// How long a group may take to meet: a member that has just joined is waited for.
const MEETING_TIME_MAX: Duration = Duration::from_secs(60);

async fn until(share: &mut PartitionShare, wanted: impl Fn(&BTreeSet<LogPartition>) -> bool) {
    let meeting = async {
        while !wanted(&share.current()) {
            share.changed().await;
        }
    };
    let met = tokio::time::timeout(MEETING_TIME_MAX, meeting).await;
    met.expect("the group meets in time");
}

#[tokio::test]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn members_divide_the_partitions_and_take_over_from_one_that_leaves() {
    let topic = new_topic(&[]).await;
    let group = format!("{}.mergers", topic.topic);
    let (first, mut of_first) = KafkaGroupMember::join(&topic, &group).unwrap();
    until(&mut of_first, |share| share.len() == 2).await;

    let (second, mut of_second) = KafkaGroupMember::join(&topic, &group).unwrap();
    until(&mut of_second, |share| share.len() == 1).await;
    until(&mut of_first, |share| share.len() == 1).await;
    assert!(of_first.current().is_disjoint(&of_second.current()));

    first.leave().await;
    until(&mut of_second, |share| share.len() == 2).await;
    // Whoever has left keeps what it had: nobody tells it otherwise.
    assert_eq!(of_first.current().len(), 1);
    second.leave().await;
}

#[tokio::test]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn more_members_than_partitions_leave_some_with_none() {
    let topic = new_topic(&[]).await;
    let group = format!("{}.mergers", topic.topic);
    let mut members: Vec<_> = (0..3)
        .map(|_| KafkaGroupMember::join(&topic, &group).unwrap())
        .collect();
    for (_, share) in &mut members {
        tokio::time::timeout(MEETING_TIME_MAX, share.known())
            .await
            .expect("the group meets in time");
    }
    // They may have met in twos first.
    let counted = async {
        loop {
            let shares: Vec<_> = members
                .iter_mut()
                .map(|(_, share)| share.current())
                .collect();
            let all: BTreeSet<_> = shares.iter().flatten().collect();
            let count: usize = shares.iter().map(BTreeSet::len).sum();
            if (count, all.len()) == (2, 2) {
                return;
            }
            let changes = members
                .iter_mut()
                .map(|(_, share)| Box::pin(share.changed()));
            futures::future::select_all(changes).await;
        }
    };
    tokio::time::timeout(MEETING_TIME_MAX, counted)
        .await
        .expect("the group divides its partitions");
    for (member, _) in members {
        member.leave().await;
    }
}
