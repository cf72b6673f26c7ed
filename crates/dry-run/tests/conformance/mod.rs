//! What every adapter of the port does.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

use bytes::Bytes;
use crdt_document::CrdtDocument;
use document_types::{CounterSpan, PeerId, VersionVector};
use dry_run::{ClearRequest, Clearing, DryRun, DryRunError, Harm, Unclear, Verdict};

use crate::support::{Author, Mutant, id, mutants, verdicts};

const ROOT: loro::TreeParentId = loro::TreeParentId::Root;

pub async fn all(dry_run: &dyn DryRun) {
    a_document_is_asked_for_once_and_then_kept(dry_run).await;
    what_was_logged_elsewhere_is_taken_in_first(dry_run).await;
    a_replica_that_lags_behind_the_log_needs_a_base(dry_run).await;
    a_harmful_update_is_found_among_honest_ones(dry_run).await;
    a_harmful_update_alone_is_to_blame_where_the_log_is_all_there_is(dry_run).await;
    several_harmful_updates_are_found_wherever_they_stand(dry_run).await;
    updates_are_compared_and_cut(dry_run).await;
    a_history_that_can_t_be_loaded_is_blamed_on_nobody(dry_run).await;
    a_harmful_update_in_the_log_is_blamed_on_nobody(dry_run).await;
    an_update_that_does_not_follow_dangles(dry_run).await;
    an_update_that_is_malformed_is_refused(dry_run).await;
    a_node_that_the_tree_never_had_is_refused(dry_run).await;
    what_was_tried_and_not_appended_is_forgotten_on_request(dry_run).await;
    large_bases_load_in_steps(dry_run).await;
}

async fn a_document_is_asked_for_once_and_then_kept(dry_run: &dyn DryRun) {
    dry_run.forget(&id("doc_1")).await;
    let author = Author::new(1);
    let nothing = VersionVector::new();
    let first = author.types("hello");
    let request = author.request(nothing.clone(), None, vec![first.clone()]);
    assert!(matches!(
        dry_run.try_updates(request).await,
        Err(DryRunError::NeedsBase { suspect: false })
    ));
    let request = author.request(nothing, Some(vec![]), vec![first]);
    assert_eq!(verdicts(dry_run, request).await, [Verdict::Harmless]);
    let version = author.version();
    let next = vec![author.types("a"), author.types("b"), author.types("c")];
    let request = author.request(version, None, next);
    assert_eq!(verdicts(dry_run, request).await, vec![Verdict::Harmless; 3]);
}

async fn what_was_logged_elsewhere_is_taken_in_first(dry_run: &dyn DryRun) {
    dry_run.forget(&id("doc_1")).await;
    let (author, other) = (Author::new(1), Author::new(2));
    let request = author.request(VersionVector::new(), Some(vec![]), vec![]);
    assert_eq!(verdicts(dry_run, request).await, []);
    let theirs = other.types("theirs ");
    author.document.import(&theirs).unwrap();
    let own = author.types("mine ");
    let mut request = author.request(other.version(), None, vec![own]);
    request.applied = vec![theirs.clone(), theirs];
    assert_eq!(verdicts(dry_run, request).await, [Verdict::Harmless]);
}

async fn a_replica_that_lags_behind_the_log_needs_a_base(dry_run: &dyn DryRun) {
    dry_run.forget(&id("doc_1")).await;
    let author = Author::new(1);
    let request = author.request(VersionVector::new(), Some(vec![]), vec![]);
    verdicts(dry_run, request).await;
    author.types("not tried here");
    let version = author.version();
    let request = author.request(version, None, vec![author.types("next")]);
    assert!(matches!(
        dry_run.try_updates(request).await,
        Err(DryRunError::NeedsBase { .. })
    ));
}

async fn a_harmful_update_is_found_among_honest_ones(dry_run: &dyn DryRun) {
    for mutant in mutants() {
        dry_run.forget(&id("doc_1")).await;
        let (author, version) = mutant.honest(77);
        let updates = vec![
            author.types("before "),
            mutant.update.clone(),
            author.types("after "),
        ];
        let base = Some(vec![mutant.snapshot.clone()]);
        let request = author.request(version.clone(), base, updates);
        let found = verdicts(dry_run, request).await;
        assert_eq!(
            found,
            [Verdict::Harmless, harmful(&found[1]), Verdict::Harmless],
            "{}",
            mutant.name
        );
        // It left no trace: the replica is there, at what was harmless.
        let request = author.request(author.version(), None, vec![author.types("more ")]);
        assert_eq!(verdicts(dry_run, request).await, [Verdict::Harmless]);

        // On a replica that was kept it may be the replica's fault.
        let suspects = vec![mutant.update.clone(), author.types("most ")];
        let request = author.request(version.clone(), None, suspects.clone());
        assert!(matches!(
            dry_run.try_updates(request).await,
            Err(DryRunError::NeedsBase { suspect: true })
        ));
        let logged = author.document.export_since(&version).unwrap();
        let base = Some(vec![mutant.snapshot.clone(), logged]);
        let mut request = author.request(version, base, suspects);
        request.suspect = true;
        let found = verdicts(dry_run, request).await;
        assert_eq!(found, [harmful(&found[0]), Verdict::Harmless]);
        let request = author.request(author.version(), None, vec![author.types("end ")]);
        assert_eq!(verdicts(dry_run, request).await, [Verdict::Harmless]);
    }
}

async fn a_harmful_update_alone_is_to_blame_where_the_log_is_all_there_is(dry_run: &dyn DryRun) {
    for mutant in mutants() {
        dry_run.forget(&id("doc_1")).await;
        let (author, version) = mutant.honest(77);
        let base = || Some(vec![mutant.snapshot.clone()]);
        let request = author.request(version.clone(), base(), vec![]);
        assert_eq!(verdicts(dry_run, request).await, []);
        let request = author.request(version.clone(), None, vec![mutant.update.clone()]);
        let found = verdicts(dry_run, request).await;
        assert_eq!(found, [harmful(&found[0])], "{}", mutant.name);
        // It has cost the replica, which is loaded when it is wanted next.
        let next = vec![author.types("next ")];
        let request = author.request(version.clone(), None, next.clone());
        assert!(matches!(
            dry_run.try_updates(request).await,
            Err(DryRunError::NeedsBase { suspect: false })
        ));
        let request = author.request(version, base(), next);
        assert_eq!(verdicts(dry_run, request).await, [Verdict::Harmless]);
    }
}

async fn several_harmful_updates_are_found_wherever_they_stand(dry_run: &dyn DryRun) {
    for suspect in [false, true] {
        for mutant in mutants() {
            dry_run.forget(&id("doc_1")).await;
            let (author, version) = mutant.honest(77);
            let bad = || mutant.update.clone();
            let candidates = vec![
                bad(),
                author.types("a"),
                bad(),
                bad(),
                author.types("b"),
                author.types("c"),
                bad(),
            ];
            let base = Some(vec![mutant.snapshot.clone()]);
            let mut request = author.request(version, base, candidates);
            request.suspect = suspect;
            let found = verdicts(dry_run, request).await;
            let harmless: Vec<bool> = found.iter().map(|v| *v == Verdict::Harmless).collect();
            assert_eq!(
                harmless,
                [false, true, false, false, true, true, false],
                "{}",
                mutant.name
            );
            let request = author.request(author.version(), None, vec![author.types("d")]);
            assert_eq!(verdicts(dry_run, request).await, [Verdict::Harmless]);
        }
    }
}

/// Updates that overlap what the document has, or insert too much at once.
async fn updates_are_compared_and_cut(dry_run: &dyn DryRun) {
    let author = Author::new(1);
    let known = author.types("known ");
    let version = author.version();
    let all_at_once =
        |author: &Author| author.document.export_since(&VersionVector::new()).unwrap();
    author.types(&"more ".repeat(8_000));
    let liar = Author::new(1);
    liar.types("other ");
    let dangling = Author::new(3);
    dangling.types("kept back ");
    let before = dangling.version();
    dangling.types("late");
    let overlap = CounterSpan {
        peer: PeerId(1),
        start: 0,
        end: version.end(PeerId(1)),
    };
    let rest = CounterSpan {
        start: overlap.end,
        end: author.version().end(PeerId(1)),
        ..overlap
    };
    let late = CounterSpan {
        peer: PeerId(3),
        start: before.end(PeerId(3)),
        end: dangling.version().end(PeerId(3)),
    };
    let unclear = |update: &Bytes, overlap, rest| Unclear {
        update: update.clone(),
        overlap,
        rest,
    };
    let request = ClearRequest {
        document: id("doc_1"),
        history: vec![known.clone()],
        candidates: vec![
            unclear(&known, Some(overlap), None),
            unclear(&all_at_once(&liar), Some(overlap), None),
            unclear(&all_at_once(&author), Some(overlap), Some(rest)),
            unclear(
                &dangling.document.export_since(&before).unwrap(),
                None,
                Some(late),
            ),
            unclear(&Bytes::from_static(b"no update"), Some(overlap), None),
        ],
    };
    let found = dry_run.clear(request).await.unwrap();
    assert_eq!(found[0], Clearing::Same(vec![]));
    assert_eq!(found[1], Clearing::Different);
    assert_eq!(found[3], Clearing::Harmful(Harm::Dangling));
    assert!(matches!(found[4], Clearing::Harmful(Harm::Refused(_))));
    let Clearing::Same(slices) = &found[2] else {
        panic!("{:?}", found[2]);
    };
    assert!(slices.len() > 1);
    let reader = CrdtDocument::new(PeerId(9)).unwrap();
    reader.import(&known).unwrap();
    for slice in slices {
        reader.import(&slice.bytes).unwrap();
    }
    assert_eq!(reader.text().unwrap(), author.document.text().unwrap());
}

async fn a_history_that_can_t_be_loaded_is_blamed_on_nobody(dry_run: &dyn DryRun) {
    let request = ClearRequest {
        document: id("doc_1"),
        history: vec![Bytes::from_static(b"no update")],
        candidates: vec![],
    };
    assert!(matches!(
        dry_run.clear(request).await,
        Err(DryRunError::Degraded)
    ));
}

/// The same verdict, if it says that the engine panicked or refused.
fn harmful(verdict: &Verdict) -> Verdict {
    match verdict {
        Verdict::Harmful(Harm::Panic | Harm::Refused(_)) => verdict.clone(),
        _ => Verdict::Harmful(Harm::Panic),
    }
}

/// Whether the engine can't import it; what others do is seen in the state that they leave.
fn stops_a_reader(mutant: &Mutant) -> bool {
    let reader = CrdtDocument::new(PeerId(9)).unwrap();
    reader.import(&mutant.snapshot).unwrap();
    reader.import(&mutant.update).is_err()
}

async fn a_harmful_update_in_the_log_is_blamed_on_nobody(dry_run: &dyn DryRun) {
    let mutants = mutants();
    let mutant = mutants.iter().find(|mutant| stops_a_reader(mutant));
    let mutant = mutant.expect("one of them");
    dry_run.forget(&id("doc_1")).await;
    let (author, version) = mutant.honest(77);
    let base = Some(vec![mutant.snapshot.clone(), mutant.update.clone()]);
    let request = author.request(version, base, vec![author.types("innocent ")]);
    assert!(matches!(
        dry_run.try_updates(request).await,
        Err(DryRunError::Degraded)
    ));
}

async fn an_update_that_does_not_follow_dangles(dry_run: &dyn DryRun) {
    dry_run.forget(&id("doc_1")).await;
    let author = Author::new(1);
    author.types("kept back ");
    let late = author.types("late ");
    let other = Author::new(2).types("other ");
    let request = author.request(VersionVector::new(), Some(vec![]), vec![late, other]);
    assert_eq!(
        verdicts(dry_run, request).await,
        [Verdict::Harmful(Harm::Dangling), Verdict::Harmless]
    );
}

async fn an_update_that_is_malformed_is_refused(dry_run: &dyn DryRun) {
    dry_run.forget(&id("doc_1")).await;
    let author = Author::new(1);
    let candidates = vec![Bytes::from_static(b"no update"), author.types("a")];
    let request = author.request(VersionVector::new(), Some(vec![]), candidates);
    let found = verdicts(dry_run, request).await;
    assert!(matches!(found[0], Verdict::Harmful(Harm::Refused(_))));
    assert_eq!(found[1], Verdict::Harmless);
}

/// The engine imports a move of a node in a tree that never had it without a word, and panics once it
/// takes in more.
async fn a_node_that_the_tree_never_had_is_refused(dry_run: &dyn DryRun) {
    dry_run.forget(&id("doc_1")).await;
    let author = Author::new(1);
    author.types("hello");
    let tree = author.document.engine().get_tree("tree");
    let (parent, node) = (tree.create(ROOT).unwrap(), tree.create(ROOT).unwrap());
    author.document.commit().unwrap();
    let snapshot = author.document.export_snapshot().unwrap();
    let version = author.version();
    let fork = |peer| Author {
        document: CrdtDocument::from_snapshot(&snapshot, PeerId(peer)).unwrap(),
    };
    type Edit<'a> = &'a dyn Fn(&loro::LoroTree);
    let edits: [Edit<'_>; 3] = [
        &|tree| tree.mov(node, parent).unwrap(),
        &|tree| {
            tree.create(parent).unwrap();
        },
        &|tree| tree.delete(node).unwrap(),
    ];
    for (peer, edit) in (10..).step_by(3).zip(edits) {
        let (mutant, honest, other) = (fork(peer), fork(peer + 1), fork(peer + 2));
        edit(&mutant.document.engine().get_tree("tree"));
        // What is created by a candidate counts for those behind it.
        let honest_tree = honest.document.engine().get_tree("tree");
        let child = honest_tree.create(parent).unwrap();
        let creates = honest.document.take_local_update().unwrap().unwrap();
        honest_tree.mov(child, node).unwrap();
        edit(&honest_tree);
        let moves = honest.document.take_local_update().unwrap().unwrap();
        let candidates = vec![
            creates,
            in_another_tree(&mutant, &snapshot),
            moves,
            other.types("text"),
        ];
        let base = Some(vec![snapshot.clone()]);
        let request = author.request(version.clone(), base, candidates);
        let found = verdicts(dry_run, request).await;
        let refused = harmful(&found[1]);
        assert_eq!(
            found,
            [
                Verdict::Harmless,
                refused,
                Verdict::Harmless,
                Verdict::Harmless
            ]
        );
    }
}

/// What the author wrote on top of the snapshot, with another name for the tree.
fn in_another_tree(author: &Author, snapshot: &Bytes) -> Bytes {
    author.document.commit().unwrap();
    let engine = author.document.engine();
    let scratch = CrdtDocument::from_snapshot(snapshot, PeerId(99)).unwrap();
    let (known, end) = (scratch.engine().oplog_vv(), engine.oplog_vv());
    let mut json = engine.export_json_updates_without_peer_compression(&known, &end);
    for op in json.changes.iter_mut().flat_map(|change| &mut change.ops) {
        op.container = loro::ContainerID::new_root("tsee", loro::ContainerType::Tree);
    }
    // A document without a state does not mind.
    scratch.detach().unwrap();
    let version = scratch.version().unwrap();
    scratch.engine().import_json_updates(json).unwrap();
    scratch.export_since(&version).unwrap()
}

async fn what_was_tried_and_not_appended_is_forgotten_on_request(dry_run: &dyn DryRun) {
    dry_run.forget(&id("doc_1")).await;
    let author = Author::new(1);
    let request = author.request(
        VersionVector::new(),
        Some(vec![]),
        vec![author.types("never logged")],
    );
    verdicts(dry_run, request).await;
    dry_run.forget(&id("doc_1")).await;
    let request = author.request(VersionVector::new(), None, vec![]);
    assert!(matches!(
        dry_run.try_updates(request).await,
        Err(DryRunError::NeedsBase { .. })
    ));
}

/// Half a megabyte in updates of 16 KB: as one import it would take seconds.
async fn large_bases_load_in_steps(dry_run: &dyn DryRun) {
    dry_run.forget(&id("doc_1")).await;
    let author = CrdtDocument::new(PeerId(1)).unwrap();
    author
        .insert_text("content", 0, &"x".repeat(500_000))
        .unwrap();
    author.commit().unwrap();
    let slices = author
        .export_since_in_slices(&VersionVector::new())
        .unwrap();
    let base = slices.into_iter().map(|slice| slice.bytes).collect();
    let version = author.version().unwrap();
    let author = Author { document: author };
    author.document.take_local_update().unwrap();
    let request = author.request(version, Some(base), vec![author.types("y")]);
    assert_eq!(verdicts(dry_run, request).await, [Verdict::Harmless]);
}
