use document_types::{ErrorCode, HlcTimestamp, LogOffset};

use super::*;

/// A history of one document, with a step a line.
#[derive(Default)]
struct Story {
    lines: Vec<HistoryLine>,
}

fn document() -> DocumentId {
    DocumentId::parse("notes").unwrap()
}

fn token(client: u32, number: u32) -> String {
    Token { client, number }.to_string()
}

fn span(peer: u32, start: u32, end: u32) -> CounterSpan {
    CounterSpan {
        peer: PeerId(u64::from(peer)),
        start,
        end,
    }
}

impl Story {
    fn add(mut self, client: u32, event: HistoryEvent) -> Self {
        let at_ms = self.lines.len() as u64;
        self.lines.push(HistoryLine {
            at_ms,
            client,
            document: document(),
            event,
        });
        self
    }

    fn edits(self, at: CounterSpan, inserted: &[String], deleted: &[String]) -> Self {
        let client = u32::try_from(at.peer.0).unwrap();
        let event = HistoryEvent::Invoke {
            span: at.into(),
            digest: String::new(),
            inserted: inserted.to_vec(),
            deleted: deleted.to_vec(),
        };
        self.add(client, event)
    }

    fn acked(self, at: CounterSpan) -> Self {
        self.add(
            0,
            HistoryEvent::Ack {
                spans: vec![at.into()],
                place: None,
            },
        )
    }

    fn acked_at(self, at: CounterSpan, offset: u64, stamps: [u64; 2]) -> Self {
        let [first, last] = stamps.map(HlcTimestamp::from_u64);
        let place = Some(LogPlace::new(NodeId(1), LogOffset(offset), first, last));
        self.add(
            0,
            HistoryEvent::Ack {
                spans: vec![at.into()],
                place,
            },
        )
    }

    fn refused(self, at: CounterSpan) -> Self {
        self.add(
            0,
            HistoryEvent::nack(vec![at.into()], ErrorCode::InvalidUpdate),
        )
    }
}

/// Client 1 writes two tokens, client 2 one; all are acknowledged.
fn story() -> Story {
    Story::default()
        .edits(span(1, 0, 5), &[token(1, 0)], &[])
        .edits(span(1, 5, 10), &[token(1, 1)], &[])
        .edits(span(2, 0, 5), &[token(2, 0)], &[])
        .acked(span(1, 0, 10))
        .acked(span(2, 0, 5))
}

fn replica(name: &str, text: &str, ends: &[(u64, u32)]) -> Replica {
    Replica {
        name: name.to_owned(),
        document: document(),
        text: text.to_owned(),
        state_hash: format!("hash of {text}"),
        version: ends
            .iter()
            .map(|(peer, end)| (PeerId(*peer), *end))
            .collect(),
    }
}

fn kinds(story: &Story, replicas: &[Replica]) -> Vec<String> {
    let name = |violation: &Violation| {
        let debug = format!("{violation:?}");
        debug.split([' ', '{']).next().unwrap().to_owned()
    };
    check(&story.lines, replicas).iter().map(name).collect()
}

const ALL: [(u64, u32); 2] = [(1, 10), (2, 5)];

#[test]
fn a_run_that_kept_its_promises_passes() {
    let text = "‹2.0›‹1.0›‹1.1›";
    let replicas = [replica("a", text, &ALL), replica("b", text, &ALL)];
    assert_eq!(kinds(&story(), &replicas), [""; 0]);
}

#[test]
fn a_lost_acknowledged_operation_is_found() {
    let lost = replica("a", "‹1.0›‹2.0›", &[(1, 5), (2, 5)]);
    assert_eq!(kinds(&story(), &[lost]), ["LostOperations"]);
    let named_but_not_there = replica("a", "‹1.0›‹2.0›", &ALL);
    assert_eq!(kinds(&story(), &[named_but_not_there]), ["LostText"]);
}

#[test]
fn a_doubled_operation_is_found() {
    let doubled = replica("a", "‹2.0›‹1.0›‹1.1›‹1.0›", &ALL);
    assert_eq!(kinds(&story(), &[doubled]), ["Doubled"]);
}

#[test]
fn an_invented_operation_is_found() {
    let foreign_token = replica("a", "‹2.0›‹1.0›‹1.1›‹9.9›", &ALL);
    assert_eq!(kinds(&story(), &[foreign_token]), ["InventedText"]);
    let foreign_text = replica("a", "‹2.0›‹1.0›?‹1.1›", &ALL);
    assert_eq!(kinds(&story(), &[foreign_text]), ["InventedText"]);
    let foreign_peer = replica("a", "‹2.0›‹1.0›‹1.1›", &[(1, 10), (2, 5), (3, 1)]);
    assert_eq!(kinds(&story(), &[foreign_peer]), ["InventedOperations"]);
    let too_far = replica("a", "‹2.0›‹1.0›‹1.1›", &[(1, 11), (2, 5)]);
    assert_eq!(kinds(&story(), &[too_far]), ["InventedOperations"]);
}

#[test]
fn a_torn_token_is_found() {
    let torn = replica("a", "‹1.‹2.0›0›‹1.1›", &ALL);
    let found = kinds(&story(), &[torn]);
    assert!(found.contains(&"InventedText".to_owned()) && found.contains(&"LostText".to_owned()));
}

#[test]
fn a_refused_operation_must_not_be_there() {
    let story = story()
        .edits(span(2, 5, 10), &[token(2, 1)], &[])
        .refused(span(2, 5, 10));
    let text = "‹2.0›‹1.0›‹1.1›";
    assert_eq!(kinds(&story, &[replica("a", text, &ALL)]), [""; 0]);
    let there = replica("a", "‹2.0›‹1.0›‹1.1›‹2.1›", &[(1, 10), (2, 10)]);
    assert_eq!(kinds(&story, &[there]), ["RefusedAndPresent"]);
    let text_alone = replica("a", "‹2.0›‹1.0›‹1.1›‹2.1›", &ALL);
    assert_eq!(kinds(&story, &[text_alone]), ["InventedText"]);
}

#[test]
fn what_was_refused_may_be_written_again_under_another_name() {
    let story = story()
        .edits(span(2, 5, 10), &[token(2, 1)], &[])
        .refused(span(2, 5, 10))
        .edits(span(7, 0, 5), &[token(2, 1)], &[])
        .acked(span(7, 0, 5));
    let replica = replica("a", "‹2.0›‹1.0›‹1.1›‹2.1›", &[(1, 10), (2, 5), (7, 5)]);
    assert_eq!(kinds(&story, &[replica]), [""; 0]);
}

#[test]
fn without_an_answer_an_operation_is_there_once_or_not_at_all() {
    let story = story().edits(span(2, 5, 10), &[token(2, 1)], &[]);
    let without = replica("a", "‹2.0›‹1.0›‹1.1›", &ALL);
    let with = replica("a", "‹2.0›‹1.0›‹1.1›‹2.1›", &[(1, 10), (2, 10)]);
    assert_eq!(kinds(&story, std::slice::from_ref(&without)), [""; 0]);
    assert_eq!(kinds(&story, std::slice::from_ref(&with)), [""; 0]);
    let twice = replica("a", "‹2.0›‹2.1›‹1.0›‹1.1›‹2.1›", &[(1, 10), (2, 10)]);
    assert_eq!(kinds(&story, &[twice]), ["Doubled"]);
    let mut other = with;
    other.name = "b".to_owned();
    assert!(
        kinds(&story, &[without, other])
            .iter()
            .all(|kind| kind == "Diverged")
    );
}

#[test]
fn of_operations_that_are_known_in_part_the_text_may_be_there_or_not() {
    let story = story().edits(span(2, 5, 20), &[token(2, 1), token(2, 2)], &[token(1, 1)]);
    let part = [(1, 10), (2, 10)];
    for text in ["‹2.0›‹1.0›‹1.1›‹2.1›", "‹2.0›‹1.0›‹1.1›", "‹2.1›‹2.0›‹1.0›"]
    {
        assert_eq!(kinds(&story, &[replica("a", text, &part)]), [""; 0]);
    }
    let twice = replica("a", "‹2.0›‹1.0›‹1.1›‹2.1›‹2.1›", &part);
    assert_eq!(kinds(&story, &[twice]), ["Doubled"]);
}

#[test]
fn a_deleted_text_is_gone_once_its_deletion_is_known() {
    let story = story().edits(span(2, 5, 10), &[], &[token(1, 0)]);
    let deleted = [(1, 10), (2, 10)];
    assert_eq!(
        kinds(&story, &[replica("a", "‹2.0›‹1.1›", &deleted)]),
        [""; 0]
    );
    assert_eq!(
        kinds(&story, &[replica("a", "‹2.0›‹1.0›‹1.1›", &deleted)]),
        ["Undeleted"]
    );
    assert_eq!(
        kinds(&story, &[replica("a", "‹2.0›‹1.0›‹1.1›", &ALL)]),
        [""; 0]
    );
    let both_wrong = replica("a", "‹2.0›‹1.0›", &deleted);
    assert_eq!(kinds(&story, &[both_wrong]), ["Undeleted", "LostText"]);
    let too_early = replica("a", "‹2.0›‹1.1›", &ALL);
    assert_eq!(kinds(&story, &[too_early]), ["LostText"]);
}

#[test]
fn replicas_that_differ_are_found() {
    let one = replica("a", "‹2.0›‹1.0›‹1.1›", &ALL);
    let order = replica("b", "‹1.0›‹2.0›‹1.1›", &ALL);
    assert_eq!(
        kinds(&story(), &[one.clone(), order]),
        ["Diverged", "Diverged"]
    );
    let mut hash = one.clone();
    hash.state_hash.push_str(" in other styles");
    assert_eq!(kinds(&story(), &[one, hash]), ["Diverged"]);
}

#[test]
fn an_answer_to_what_nobody_sent_is_found() {
    let story = story().acked(span(2, 5, 6));
    assert_eq!(
        kinds(&story, &[replica("a", "‹2.0›‹1.0›‹1.1›", &ALL)]),
        ["AnswerToNobody", "LostOperations"]
    );
}

#[test]
fn an_operation_can_not_be_acknowledged_and_refused() {
    let story = story().refused(span(1, 5, 10));
    let found = kinds(&story, &[replica("a", "‹2.0›‹1.0›‹1.1›", &ALL)]);
    assert_eq!(found, ["AckedAndRefused", "RefusedAndPresent"]);
}

#[test]
fn one_name_for_two_operations_is_found() {
    let story = story().edits(span(2, 3, 6), &[], &[]);
    let replica = replica("a", "‹2.0›‹1.0›‹1.1›", &ALL);
    assert_eq!(kinds(&story, &[replica]), ["MadeTwice"]);
}

#[test]
fn stamps_grow_along_the_log() {
    let text = "‹2.0›‹1.0›‹1.1›";
    let replicas = [replica("a", text, &ALL)];
    let in_order = story()
        .acked_at(span(1, 0, 5), 7, [10, 10])
        .acked_at(span(2, 0, 5), 7, [11, 12])
        // Begun in an earlier record.
        .acked_at(span(1, 5, 10), 8, [9, 13])
        // Sent again after its ack was lost.
        .acked_at(span(2, 0, 5), 7, [11, 12]);
    assert_eq!(kinds(&in_order, &replicas), [""; 0]);
    let back = story()
        .acked_at(span(1, 0, 5), 7, [10, 10])
        .acked_at(span(1, 5, 10), 8, [10, 11]);
    assert_eq!(kinds(&back, &replicas), ["StampsOutOfOrder"]);
    let twice = story()
        .acked_at(span(1, 0, 5), 7, [10, 12])
        .acked_at(span(2, 0, 5), 7, [12, 13]);
    assert_eq!(kinds(&twice, &replicas), ["StampsOutOfOrder"]);
}
