use clock::Random;
use document_types::limits::{BATCH_BYTES_MAX, INSERTED_TEXT_PER_IMPORT_BYTES_MAX};
use document_types::{Advice, BatchId, ErrorCode, Permission, SessionId, UserId};
use std::collections::BTreeSet;
use std::time::Duration;
use sync_protocol::{Feature, JoinAnswer, PeerAnswer};

use super::*;

mod room;

use room::Room;

#[test]
fn an_edit_is_seen_at_once_and_by_others_when_it_is_logged() {
    let mut room = Room::with_all_joined(2);
    room.insert(0, 0, "hällo");
    assert_eq!(room.text(0), "hällo");
    assert_eq!(room.seats[0].replica.unacknowledged_operations(), 5);
    room.listen(0);
    assert_eq!(room.seats[0].replica.unacknowledged_operations(), 0);
    room.deliver(1);
    assert_eq!(room.text(1), "hällo");
    assert!(matches!(
        room.events(1).last(),
        Some(DocumentEvent::Imported { spans, .. }) if spans[0].len() == 5
    ));
}

#[test]
fn on_the_pulse_an_edit_waits_for_the_beat_and_is_made_on_top_of_it() {
    let mut room = Room::with_all_joined(2);
    room.insert(0, 0, "one three");
    room.settle();
    (0..2).for_each(|seat| room.pulse(seat));

    // Both type within a beat, each before the other's text.
    room.insert(0, 4, "two ");
    room.insert(1, 9, " four");
    let caret = room.seats[0].replica.add_mark(13).unwrap();
    assert!(room.listen(0).is_empty() && room.listen(1).is_empty());

    room.pulse(1);
    room.listen(1);
    room.events(0);
    room.pulse(0);
    assert_eq!(room.text(0), "one two three four");
    assert_eq!(room.seats[0].replica.mark(caret), Some(13));
    let events = room.events(0);
    let Some(DocumentEvent::Committed(committed)) = events.last() else {
        panic!("{events:?}")
    };
    assert!(
        committed.version.includes(&room.log.version().unwrap()),
        "it follows all of the beat"
    );
    room.listen(0);
    room.pulse(1);
    assert_eq!(room.assert_same_everywhere(), "one two three four");
}

#[test]
fn without_a_frame_an_edit_is_committed_after_two_beats() {
    let mut room = Room::with_all_joined(1);
    room.pulse(0);
    room.insert(0, 0, "x");
    let replica = &mut room.seats[0].replica;
    assert_eq!(
        replica.deadline(),
        Some(room.now + Duration::from_millis(120))
    );
    room.now += Duration::from_millis(119);
    assert!(room.listen(0).is_empty());
    room.now += Duration::from_millis(1);
    assert_eq!(room.listen(0).len(), 1);
}

#[test]
fn on_the_pulse_one_commit_is_under_way_at_a_time() {
    let mut room = Room::with_all_joined(1);
    room.pulse(0);
    room.insert(0, 0, "a");
    room.pulse(0);
    let Some(Message::DocUpdate {
        batch: Some(first), ..
    }) = room.seats[0].replica.next_message()
    else {
        panic!("an update")
    };
    room.insert(0, 1, "b");
    room.now += Duration::from_millis(60);
    room.pulse(0);
    assert!(
        room.seats[0].replica.next_message().is_none(),
        "the first has no answer yet"
    );
    room.seats[0].replica.acknowledge(first, None, room.now);
    assert!(
        room.seats[0].replica.next_message().is_none(),
        "the next beat is to come"
    );
    room.pulse(0);
    assert!(room.seats[0].replica.next_message().is_some());

    // But not for ever.
    room.insert(0, 2, "c");
    assert_eq!(
        room.seats[0].replica.deadline(),
        Some(room.now + PULSE_LATE_MAX)
    );
    room.now += PULSE_LATE_MAX;
    room.pulse(0);
    assert!(room.seats[0].replica.next_message().is_some());
}

#[test]
fn without_a_pulse_edits_are_grouped_while_one_is_under_way() {
    let mut room = Room::with_all_joined(1);
    room.insert(0, 0, "a");
    room.seats[0].replica.tick(room.now);
    let Some(Message::DocUpdate {
        batch: Some(first), ..
    }) = room.seats[0].replica.next_message()
    else {
        panic!("an idle replica sends at once")
    };
    room.insert(0, 1, "b");
    room.insert(0, 2, "c");
    room.seats[0].replica.tick(room.now);
    assert!(room.seats[0].replica.next_message().is_none());
    room.seats[0].replica.acknowledge(first, None, room.now);
    assert!(matches!(
        room.seats[0].replica.next_message(),
        Some(Message::DocUpdate { .. })
    ));
}

#[test]
fn what_was_not_acknowledged_is_offered_again_unless_the_log_has_it() {
    let mut room = Room::with_all_joined(1);
    room.insert(0, 0, "lost on the way");
    room.seats[0].replica.tick(room.now);
    assert!(matches!(
        room.seats[0].replica.next_message(),
        Some(Message::DocUpdate { .. })
    ));
    room.disconnect(0);
    room.connect(0);
    room.settle();
    assert_eq!(room.updates.len(), 1);

    // This time it arrives, and its ack is lost.
    room.insert(0, 0, "x");
    room.seats[0].replica.tick(room.now);
    let Some(Message::DocUpdate { updates, .. }) = room.seats[0].replica.next_message() else {
        panic!("an update")
    };
    room.log.import(&updates[0]).unwrap();
    room.disconnect(0);
    assert_eq!(room.seats[0].replica.unacknowledged_operations(), 1);
    room.connect(0);
    room.listen(0);
    assert_eq!(room.seats[0].replica.unacknowledged_operations(), 0);
    assert_eq!(room.updates.len(), 1, "it was not sent again");
}

#[test]
fn a_long_text_goes_out_in_updates_that_are_cheap_to_import() {
    let mut room = Room::with_all_joined(2);
    let long = "wörter ".repeat(40_000);
    room.insert(0, 0, &long);
    let mut sent = Vec::new();
    while room.seats[0].replica.unacknowledged_operations() > 0 {
        sent.extend(room.listen(0));
        room.now += Duration::from_millis(1);
    }
    for message in &sent {
        let Message::DocUpdate { updates, .. } = message else {
            panic!("{message:?}")
        };
        assert!(updates.iter().map(Bytes::len).sum::<usize>() <= BATCH_BYTES_MAX);
        for update in updates {
            // A little for the envelope, beside the text.
            assert!(update.len() < INSERTED_TEXT_PER_IMPORT_BYTES_MAX + 512);
        }
    }
    room.settle();
    assert_eq!(room.assert_same_everywhere(), long);
}

#[test]
fn a_batch_that_was_refused_for_now_is_sent_again_after_a_pause() {
    let mut room = Room::with_all_joined(1);
    room.refusals.push(ErrorCode::RateLimited);
    room.insert(0, 0, "x");
    assert_eq!(room.listen(0).len(), 1);
    assert!(room.listen(0).is_empty(), "not at once");
    room.now += RESEND_PAUSE_FIRST;
    assert_eq!(room.listen(0).len(), 1);
    assert_eq!(room.assert_same_everywhere(), "x");
}

#[test]
fn what_was_refused_for_good_is_taken_out_and_the_rest_carried_over() {
    let mut room = Room::with_all_joined(2);
    room.insert(0, 0, "good. ");
    room.settle();
    let old_peer = room.seats[0].replica.peer();

    // A refused batch, one on top of it that is on its way, and an edit that waits.
    room.insert(0, 6, "bad. ");
    room.seats[0].replica.tick(room.now);
    let Some(Message::DocUpdate {
        batch: Some(bad), ..
    }) = room.seats[0].replica.next_message()
    else {
        panic!("an update")
    };
    room.insert(0, 11, "kept. ");
    room.insert(0, 8, "(very) ");
    room.seats[0].replica.commit(room.now);
    room.insert(0, 0, "New: ");
    assert_eq!(room.text(0), "New: good. ba(very) d. kept. ");
    room.events(0);
    let code = ErrorCode::InvalidUpdate;
    room.seats[0]
        .replica
        .refuse(bad, code, Advice::GiveUp, "no".to_owned(), room.now);

    assert_eq!(room.text(0), "New: good. (very) kept. ");
    let events = room.events(0);
    let copy = events.iter().find_map(|event| match event {
        DocumentEvent::Recovered(copy) => Some(copy.clone()),
        _ => None,
    });
    let copy = copy.unwrap();
    assert_eq!(copy.text, "New: good. ba(very) d. kept. ");
    assert_ne!(copy.peer, old_peer);
    // The application can follow from the text that it showed.
    let shown = events.iter().fold(copy.text, |text, event| match event {
        DocumentEvent::Changed(change) => change.apply(&text).unwrap(),
        _ => text,
    });
    assert_eq!(shown, room.text(0));

    room.settle();
    assert_eq!(room.assert_same_everywhere(), "New: good. (very) kept. ");
}

#[test]
fn edits_outside_of_the_text_are_carried_over_too() {
    let mut room = Room::with_all_joined(2);
    room.insert(0, 0, "bad");
    room.seats[0].replica.tick(room.now);
    let Some(Message::DocUpdate {
        batch: Some(bad), ..
    }) = room.seats[0].replica.next_message()
    else {
        panic!("an update")
    };
    let now = room.now;
    let transaction: Transaction =
        Box::new(|doc| doc.get_map("meta").insert("title", "Notes").unwrap());
    room.seats[0].replica.transact(transaction, now).unwrap();
    room.seats[0].replica.commit(now);
    let code = ErrorCode::InvalidUpdate;
    room.seats[0]
        .replica
        .refuse(bad, code, Advice::GiveUp, "no".to_owned(), now);
    room.settle();
    assert_eq!(room.assert_same_everywhere(), "");
    let title = room.seats[1]
        .replica
        .content
        .crdt()
        .engine()
        .get_map("meta")
        .get("title");
    assert_eq!(title.unwrap().into_value().unwrap(), "Notes".into());
}

#[test]
fn without_the_right_to_write_everything_is_taken_back() {
    let mut room = Room::with_all_joined(1);
    room.refusals.push(ErrorCode::PermissionDenied);
    room.insert(0, 0, "x");
    room.listen(0);
    assert_eq!(room.text(0), "");
    let refused = room.seats[0].replica.splice(0, 0, "y", room.now);
    assert!(matches!(refused, Err(EditError::ReadOnly)));
    assert_eq!(room.seats[0].replica.unacknowledged_operations(), 0);
}

#[test]
fn a_peer_id_that_belongs_to_somebody_else_is_changed_and_nothing_lost() {
    let mut room = Room::new(1, 3);
    room.insert(0, 0, "written offline");
    room.seats[0].replica.commit(room.now);
    let peer = room.seats[0].replica.peer();
    room.connect(0);
    assert!(matches!(
        room.seats[0].replica.next_message(),
        Some(Message::JoinRequest { .. })
    ));
    let answer = JoinAnswer::new(
        SessionId::parse("ses_1").unwrap(),
        UserId::parse("usr_1").unwrap(),
        0,
        Some(PeerAnswer {
            end: 3,
            owned: false,
        }),
        vec![Feature::Stamps],
    );
    let version = VersionVector::new();
    room.seats[0]
        .replica
        .joined(Permission::Write, &version, Some(answer.into()), room.now);
    room.settle();
    assert_eq!(room.assert_same_everywhere(), "written offline");
    assert_eq!(room.log.version().unwrap().end(peer), 0);
}

#[test]
fn a_replica_that_the_engine_lost_is_loaded_again_with_everything_own_in_place() {
    let mut room = Room::with_all_joined(2);
    room.insert(1, 0, "base ");
    room.settle();
    room.disconnect(0);
    room.insert(0, 5, "unsent ");
    room.seats[0].replica.commit(room.now);
    room.insert(0, 12, "waiting");
    room.insert(1, 0, "elsewhere ");
    room.listen(1);
    room.connect(0);
    room.seats[0].replica.next_message();
    room.seats[0].replica.reload(&CrdtError::Poisoned, room.now);
    assert!(matches!(
        room.seats[0].replica.text(),
        Err(ReadError::Reloading)
    ));
    let refused = room.seats[0].replica.splice(0, 0, "y", room.now);
    assert!(matches!(refused, Err(EditError::Reloading)));
    room.settle();
    assert_eq!(
        room.assert_same_everywhere(),
        "elsewhere base unsent waiting"
    );
}

#[test]
fn a_document_that_always_fails_is_given_up() {
    let mut room = Room::with_all_joined(1);
    for _ in 0..=document_types::limits::RELOADS_MAX {
        room.seats[0].replica.reload(&CrdtError::Poisoned, room.now);
    }
    let standing = room.seats[0].replica.standing().borrow().clone();
    assert!(matches!(standing.status, Status::Closed { .. }));
}

#[test]
fn a_long_time_offline_leaves_few_updates_to_send() {
    let mut room = Room::with_all_joined(2);
    room.disconnect(0);
    let mut expected = String::new();
    for count in 0..3 * UNSENT_UPDATES_COUNT_MAX {
        room.insert(0, count, "x");
        expected.push('x');
        room.seats[0].replica.commit(room.now);
    }
    assert!(room.seats[0].replica.outbox.unsent_count() <= UNSENT_UPDATES_COUNT_MAX + 1);
    room.connect(0);
    room.settle();
    assert_eq!(room.assert_same_everywhere(), expected);
}

#[test]
fn a_batch_without_an_answer_leads_to_a_rejoin() {
    let mut room = Room::with_all_joined(1);
    room.insert(0, 0, "x");
    room.seats[0].replica.tick(room.now);
    assert!(room.seats[0].replica.next_message().is_some());
    room.now += ANSWER_WAIT_MAX;
    room.seats[0].replica.tick(room.now);
    assert_eq!(room.seats[0].replica.next_message(), Some(Message::Leave));
    room.settle();
    assert_eq!(room.assert_same_everywhere(), "x");
    assert_eq!(room.seats[0].replica.unacknowledged_operations(), 0);
    // An answer that comes after all names a batch that is no more.
    room.seats[0]
        .replica
        .acknowledge(BatchId([9; 8]), None, room.now);
}

/// Everything that can happen, in an order drawn from a seed: each word that was typed is in
/// everybody's text exactly once, unless it was refused for good.
#[test]
fn nothing_is_lost_or_doubled_whatever_happens() {
    for seed in 0..60 {
        let random = Random::from_seed(seed);
        let mut room = Room::new(4, seed);
        let mut words = BTreeSet::new();
        for number in 0..150 {
            let seat = usize::try_from(random.below(4)).unwrap();
            match random.below(20) {
                0 => room.disconnect(seat),
                1..=3 => room.connect(seat),
                4 if random.chance(0.2) => {
                    let now = room.now;
                    room.seats[seat].replica.reload(&CrdtError::Poisoned, now);
                }
                5 if random.chance(0.5) => room.refusals.push(ErrorCode::RateLimited),
                6 if random.chance(0.3) => room.refusals.push(ErrorCode::MissingDependency),
                7..=9 => room.pulse(seat),
                10..=12 => drop(room.listen(seat)),
                13 => room.now += Duration::from_millis(random.below(3_000)),
                _ => {
                    let Ok(text) = room.seats[seat].replica.text() else {
                        continue;
                    };
                    // At a word's end, so that nobody cuts a word in two.
                    let ends: Vec<usize> = std::iter::once(0)
                        .chain(
                            text.chars()
                                .enumerate()
                                .filter(|c| c.1 == ' ')
                                .map(|(i, _)| i + 1),
                        )
                        .collect();
                    let at = ends[usize::try_from(random.below(ends.len() as u64)).unwrap()];
                    let word = format!("w{number:03} ");
                    room.insert(seat, at, &word);
                    words.insert(word.trim_end().to_owned());
                }
            }
        }
        (0..4).for_each(|seat| room.connect(seat));
        room.settle();
        let text = room.assert_same_everywhere();
        let found: Vec<&str> = text.split_whitespace().collect();
        let distinct: BTreeSet<String> = found.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(
            found.len(),
            distinct.len(),
            "seed {seed}: something is there twice"
        );
        assert_eq!(distinct, words, "seed {seed}: something is lost");
    }
}

/// Each seat writes in a part of its own, as somebody in a chapter does. Whatever comes in between,
/// its part becomes exactly what it wrote.
#[test]
fn each_seat_gets_the_text_that_it_wrote() {
    for seed in 0..150 {
        let random = Random::from_seed(seed);
        let below = |bound: usize| usize::try_from(random.below(bound as u64)).unwrap();
        let mut room = Room::with_all_joined(4);
        let title = |seat: usize| format!("\n{seat}:");
        let mut parts = vec!["some text".to_owned(); 4];
        let whole = |parts: &[String]| -> String {
            (0..4).map(|seat| title(seat) + &parts[seat]).collect()
        };
        let start = whole(&parts);
        room.insert(0, 0, &start);
        room.settle();
        let marks: Vec<u64> = (0..4)
            .map(|seat| {
                let position = start.find(&title(seat)).unwrap() + title(seat).len();
                room.seats[seat].replica.add_mark(position).unwrap()
            })
            .collect();
        (0..4).for_each(|seat| drop(room.events(seat)));
        for _ in 0..300 {
            let seat = below(4);
            match below(12) {
                0 => room.pulse(seat),
                1 => room.deliver(seat),
                2 => drop(room.listen(seat)),
                3 => room.now += Duration::from_millis(random.below(200)),
                _ => {
                    let part: Vec<char> = parts[seat].chars().collect();
                    let at = below(part.len() + 1);
                    let deleted = below(3).min(part.len() - at);
                    let inserted: String = (0..below(3))
                        .map(|_| char::from(b'a' + u8::try_from(below(26)).unwrap()))
                        .collect();
                    let shown = room.text(seat);
                    let (now, replica) = (room.now, &mut room.seats[seat].replica);
                    let base = replica.mark(marks[seat]).unwrap();
                    let there: String = shown.chars().skip(base).take(part.len()).collect();
                    assert_eq!(there, parts[seat], "seed {seed}, seat {seat}");
                    replica.splice(base + at, deleted, &inserted, now).unwrap();
                    parts[seat] = part[..at].iter().collect::<String>()
                        + &inserted
                        + &part[at + deleted..].iter().collect::<String>();
                }
            }
        }
        room.settle();
        assert_eq!(room.assert_same_everywhere(), whole(&parts), "seed {seed}");
    }
}
