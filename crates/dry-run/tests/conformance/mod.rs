//! What every adapter of the port does.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

use bytes::Bytes;
use crdt_document::CrdtDocument;
use document_types::{PeerId, VersionVector};
use dry_run::{DryRun, DryRunError, Harm, Verdict};

use crate::support::{Author, id, mutants};

const ROOT: loro::TreeParentId = loro::TreeParentId::Root;

pub async fn all(dry_run: &dyn DryRun) {
    a_document_is_asked_for_once_and_then_kept(dry_run).await;
    what_was_logged_elsewhere_is_taken_in_first(dry_run).await;
    a_replica_that_lags_behind_the_log_needs_a_base(dry_run).await;
    a_harmful_update_is_found_among_honest_ones(dry_run).await;
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
        Err(DryRunError::NeedsBase)
    ));
    let request = author.request(nothing, Some(vec![]), vec![first]);
    assert_eq!(
        dry_run.try_updates(request).await.unwrap(),
        [Verdict::Harmless]
    );
    let version = author.version();
    let next = vec![author.types("a"), author.types("b"), author.types("c")];
    let request = author.request(version, None, next);
    assert_eq!(
        dry_run.try_updates(request).await.unwrap(),
        vec![Verdict::Harmless; 3]
    );
}

async fn what_was_logged_elsewhere_is_taken_in_first(dry_run: &dyn DryRun) {
    dry_run.forget(&id("doc_1")).await;
    let (author, other) = (Author::new(1), Author::new(2));
    let request = author.request(VersionVector::new(), Some(vec![]), vec![]);
    assert_eq!(dry_run.try_updates(request).await.unwrap(), []);
    let theirs = other.types("theirs ");
    author.document.import(&theirs).unwrap();
    let own = author.types("mine ");
    let mut request = author.request(other.version(), None, vec![own]);
    request.applied = vec![theirs.clone(), theirs];
    assert_eq!(
        dry_run.try_updates(request).await.unwrap(),
        [Verdict::Harmless]
    );
}

async fn a_replica_that_lags_behind_the_log_needs_a_base(dry_run: &dyn DryRun) {
    dry_run.forget(&id("doc_1")).await;
    let author = Author::new(1);
    let request = author.request(VersionVector::new(), Some(vec![]), vec![]);
    dry_run.try_updates(request).await.unwrap();
    author.types("not tried here");
    let version = author.version();
    let request = author.request(version, None, vec![author.types("next")]);
    assert!(matches!(
        dry_run.try_updates(request).await,
        Err(DryRunError::NeedsBase)
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
        let verdicts = dry_run.try_updates(request).await.unwrap();
        assert_eq!(
            verdicts,
            [Verdict::Harmless, harmful(&verdicts[1]), Verdict::Harmless],
            "{}",
            mutant.name
        );
        // It left no trace: the replica is there, at what was harmless.
        let request = author.request(author.version(), None, vec![author.types("more ")]);
        assert_eq!(
            dry_run.try_updates(request).await.unwrap(),
            [Verdict::Harmless]
        );

        // On a replica that was kept it may be the replica's fault.
        let request = author.request(version, None, vec![mutant.update.clone()]);
        assert!(matches!(
            dry_run.try_updates(request).await,
            Err(DryRunError::NeedsBase)
        ));
    }
}

/// The same verdict, if it says that the engine panicked or refused.
fn harmful(verdict: &Verdict) -> Verdict {
    match verdict {
        Verdict::Harmful(Harm::Panic | Harm::Refused(_)) => verdict.clone(),
        _ => Verdict::Harmful(Harm::Panic),
    }
}

async fn a_harmful_update_in_the_log_is_blamed_on_nobody(dry_run: &dyn DryRun) {
    let mutant = &mutants()[0];
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
        dry_run.try_updates(request).await.unwrap(),
        [Verdict::Harmful(Harm::Dangling), Verdict::Harmless]
    );
}

async fn an_update_that_is_malformed_is_refused(dry_run: &dyn DryRun) {
    dry_run.forget(&id("doc_1")).await;
    let author = Author::new(1);
    let candidates = vec![Bytes::from_static(b"no update"), author.types("a")];
    let request = author.request(VersionVector::new(), Some(vec![]), candidates);
    let verdicts = dry_run.try_updates(request).await.unwrap();
    assert!(matches!(verdicts[0], Verdict::Harmful(Harm::Refused(_))));
    assert_eq!(verdicts[1], Verdict::Harmless);
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
        let verdicts = dry_run.try_updates(request).await.unwrap();
        let refused = harmful(&verdicts[1]);
        assert_eq!(
            verdicts,
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
    dry_run.try_updates(request).await.unwrap();
    dry_run.forget(&id("doc_1")).await;
    let request = author.request(VersionVector::new(), None, vec![]);
    assert!(matches!(
        dry_run.try_updates(request).await,
        Err(DryRunError::NeedsBase)
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
    assert_eq!(
        dry_run.try_updates(request).await.unwrap(),
        [Verdict::Harmless]
    );
}
