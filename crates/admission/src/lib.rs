//! The fold that every reader of the log runs.
//!
//! The gate of a node decides what is appended, but the gates of two nodes can't be atomic with two
//! appends. So it is the log that decides: rooms, mergers, the archiver and a rebuild all judge the
//! records in log order by the rules here, and all come to the same answer. The first of two
//! conflicting spans counts, and the later one is void everywhere.
//!
//! The rules read nothing but [`Admission`] and the update itself: no clock, no store, no engine.
//! Where the answer hangs on content (an update that overlaps what is known, with other boundaries or
//! other bytes), the fold says [`Verdict::Compare`], and whoever runs it compares the operations.

use std::collections::BTreeMap;

use document_types::record::StampedUpdate;
use document_types::{Counter, CounterSpan, Digest, OpId, PeerId, Principal, VersionVector};

/// Spans whose digests are kept in memory for each peer. Older ones are asked for with
/// [`Verdict::NeedsSpans`].
pub const KNOWN_SPANS_PER_PEER_MAX: usize = 32;

/// What the fold makes of one update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It continues its peer's operations, and what it depends on is known: let it in.
    Admit,
    /// The same update was let in before. Whoever sent it may be told that it is safe.
    Known,
    /// An operation that it builds on is not known yet. It is kept until that one comes.
    Waits {
        /// The first operation that is missing.
        missing: OpId,
    },
    /// It overlaps known operations, whose digests are not in memory: load those of the span, hand
    /// them to [`Admission::learn_spans`], and judge again.
    NeedsSpans(CounterSpan),
    /// It overlaps known operations with other boundaries or other bytes. If its operations over
    /// `overlap` are the known ones, it is [`Verdict::Known`] where `rest` is `None`, and otherwise
    /// to be admitted, of which only `rest` is new. If they differ, it is void.
    Compare {
        /// The operations that both have.
        overlap: CounterSpan,
        /// The operations beyond them.
        rest: Option<CounterSpan>,
    },
    /// It does not count, in any region.
    Void(VoidReason),
}

/// Why an update does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoidReason {
    /// Its peer id belongs to another user or device.
    ForeignPeer,
    /// Its operations were logged before with other content.
    Equivocation,
}

/// The digest of one span that was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownSpan {
    /// The operations.
    pub span: CounterSpan,
    /// The digest of the update that brought them.
    pub digest: Digest,
}

/// What the fold knows of a document: how far each peer is, whose it is, and the digests of its
/// latest spans.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    version: VersionVector,
    owners: BTreeMap<PeerId, Principal>,
    /// For each peer the known spans, by their end.
    spans: BTreeMap<PeerId, BTreeMap<Counter, KnownSpan>>,
}

impl Admission {
    /// The fold's state after all operations of `version` were let in, written by `owners`.
    pub fn new(version: VersionVector, owners: BTreeMap<PeerId, Principal>) -> Self {
        Self {
            version,
            owners,
            spans: BTreeMap::new(),
        }
    }

    /// The operations that were let in.
    pub fn version(&self) -> &VersionVector {
        &self.version
    }

    /// Whom `peer` belongs to, if anyone wrote under it.
    pub fn owner(&self, peer: PeerId) -> Option<&Principal> {
        self.owners.get(&peer)
    }

    /// Takes digests that a store kept.
    pub fn learn_spans(&mut self, spans: impl IntoIterator<Item = KnownSpan>) {
        for known in spans {
            self.spans
                .entry(known.span.peer)
                .or_default()
                .insert(known.span.end, known);
        }
    }

    /// Judges an update. Nothing changes; [`Admission::admit`] moves on.
    pub fn judge(&self, update: &StampedUpdate) -> Verdict {
        self.judge_span(
            &update.stamp.author,
            update.span,
            update.digest,
            &update.dependencies,
        )
    }

    /// The same for an update that has no stamp yet.
    pub fn judge_span(
        &self,
        author: &Principal,
        span: CounterSpan,
        digest: Digest,
        dependencies: &[OpId],
    ) -> Verdict {
        judge(&[self], author, span, digest, dependencies)
    }

    /// Lets an update in, of which everything from the peer's known end on is new.
    pub fn admit(&mut self, update: &StampedUpdate) {
        self.admit_span(&update.stamp.author, update.span, update.digest);
    }

    /// The same for an update that has no stamp yet.
    pub fn admit_span(&mut self, author: &Principal, span: CounterSpan, digest: Digest) {
        let start = self.version.end(span.peer).max(span.start);
        self.version.include(span);
        self.owners
            .entry(span.peer)
            .or_insert_with(|| author.clone());
        let spans = self.spans.entry(span.peer).or_default();
        spans.insert(
            span.end,
            KnownSpan {
                span: CounterSpan { start, ..span },
                digest,
            },
        );
        while spans.len() > KNOWN_SPANS_PER_PEER_MAX {
            spans.pop_first();
        }
    }
}

/// Updates that a gate is about to append, on top of what the log has let in. Dropping the layer
/// forgets them.
#[derive(Debug)]
pub struct Layer<'a> {
    base: &'a Admission,
    ahead: Admission,
}

impl<'a> Layer<'a> {
    /// An empty layer.
    pub fn over(base: &'a Admission) -> Self {
        Self {
            base,
            ahead: Admission::default(),
        }
    }

    /// Judges an update as [`Admission::judge_span`] does, after all that the layer holds.
    pub fn judge_span(
        &self,
        author: &Principal,
        span: CounterSpan,
        digest: Digest,
        dependencies: &[OpId],
    ) -> Verdict {
        judge(
            &[self.base, &self.ahead],
            author,
            span,
            digest,
            dependencies,
        )
    }

    /// Puts an update on the layer that was judged [`Verdict::Admit`].
    pub fn admit_span(&mut self, author: &Principal, span: CounterSpan, digest: Digest) {
        self.ahead.admit_span(author, span, digest);
    }
}

/// The rules, over what is known in one or more layers, the earlier operations first.
fn judge(
    layers: &[&Admission],
    author: &Principal,
    span: CounterSpan,
    digest: Digest,
    dependencies: &[OpId],
) -> Verdict {
    let contains = |operation: &OpId| {
        layers
            .iter()
            .any(|layer| layer.version.contains(*operation))
    };
    let owner = layers.iter().find_map(|layer| layer.owner(span.peer));
    if owner.is_some_and(|owner| owner != author) {
        return Verdict::Void(VoidReason::ForeignPeer);
    }
    let end = layers
        .iter()
        .map(|layer| layer.version.end(span.peer))
        .max()
        .unwrap_or(0);
    if span.start > end {
        return Verdict::Waits {
            missing: OpId {
                peer: span.peer,
                counter: span.start - 1,
            },
        };
    }
    if span.end > end
        && let Some(missing) = dependencies.iter().find(|dependency| !contains(dependency))
    {
        return Verdict::Waits { missing: *missing };
    }
    if span.start == end {
        return Verdict::Admit;
    }
    let overlap = CounterSpan {
        end: span.end.min(end),
        ..span
    };
    let Some(known) = known_over(layers, overlap) else {
        return Verdict::NeedsSpans(overlap);
    };
    if known
        .iter()
        .any(|known| known.span == span && known.digest == digest)
    {
        return Verdict::Known;
    }
    let rest = (span.end > end).then_some(CounterSpan { start: end, ..span });
    Verdict::Compare { overlap, rest }
}

/// The known spans that cover `overlap`, or `None` if some of them are not in memory.
fn known_over(layers: &[&Admission], overlap: CounterSpan) -> Option<Vec<KnownSpan>> {
    let spans = layers
        .iter()
        .filter_map(|layer| layer.spans.get(&overlap.peer))
        .flat_map(|spans| spans.range(overlap.start + 1..).map(|(_, known)| *known));
    let mut covered_to = overlap.start;
    let mut covering = Vec::new();
    for known in spans {
        if known.span.start > covered_to {
            return None;
        }
        covered_to = known.span.end;
        covering.push(known);
        if covered_to >= overlap.end {
            return Some(covering);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use document_types::{DeviceId, UserId};

    fn principal(user: &str) -> Principal {
        Principal {
            user: UserId::parse(user).unwrap(),
            device: DeviceId::parse("dev_1").unwrap(),
        }
    }

    fn span(peer: u64, start: u32, end: u32) -> CounterSpan {
        CounterSpan {
            peer: PeerId(peer),
            start,
            end,
        }
    }

    fn digest(content: &str) -> Digest {
        Digest::of(content.as_bytes())
    }

    /// Ada wrote 0..3 and 3..5 under peer 1.
    fn ada_wrote_five() -> Admission {
        let mut admission = Admission::default();
        admission.admit_span(&principal("ada"), span(1, 0, 3), digest("abc"));
        admission.admit_span(&principal("ada"), span(1, 3, 5), digest("de"));
        admission
    }

    fn judge(admission: &Admission, user: &str, over: CounterSpan, content: &str) -> Verdict {
        admission.judge_span(&principal(user), over, digest(content), &[])
    }

    #[test]
    fn what_continues_its_peer_is_let_in() {
        assert_eq!(
            judge(&ada_wrote_five(), "ada", span(1, 5, 6), "f"),
            Verdict::Admit
        );
        assert_eq!(
            judge(&ada_wrote_five(), "bob", span(2, 0, 1), "x"),
            Verdict::Admit
        );
    }

    #[test]
    fn a_gap_and_a_missing_dependency_wait_for_what_is_missing() {
        let admission = ada_wrote_five();
        let missing = OpId {
            peer: PeerId(1),
            counter: 6,
        };
        assert_eq!(
            judge(&admission, "ada", span(1, 7, 8), "h"),
            Verdict::Waits { missing }
        );
        let known = OpId {
            peer: PeerId(1),
            counter: 4,
        };
        let unknown = OpId {
            peer: PeerId(1),
            counter: 5,
        };
        let verdict = admission.judge_span(
            &principal("bob"),
            span(2, 0, 1),
            digest("x"),
            &[known, unknown],
        );
        assert_eq!(verdict, Verdict::Waits { missing: unknown });
    }

    #[test]
    fn nobody_writes_under_anothers_peer_id() {
        for over in [span(1, 5, 6), span(1, 0, 3), span(1, 9, 10)] {
            let verdict = judge(&ada_wrote_five(), "bob", over, "abc");
            assert_eq!(verdict, Verdict::Void(VoidReason::ForeignPeer));
        }
        let other_device = Principal {
            device: DeviceId::parse("dev_2").unwrap(),
            ..principal("ada")
        };
        let verdict = ada_wrote_five().judge_span(&other_device, span(1, 5, 6), digest("f"), &[]);
        assert_eq!(verdict, Verdict::Void(VoidReason::ForeignPeer));
    }

    #[test]
    fn the_same_update_again_is_known() {
        assert_eq!(
            judge(&ada_wrote_five(), "ada", span(1, 0, 3), "abc"),
            Verdict::Known
        );
        assert_eq!(
            judge(&ada_wrote_five(), "ada", span(1, 3, 5), "de"),
            Verdict::Known
        );
    }

    #[test]
    fn other_bytes_or_boundaries_are_compared_by_content() {
        let admission = ada_wrote_five();
        let compare = |overlap, rest| Verdict::Compare { overlap, rest };
        assert_eq!(
            judge(&admission, "ada", span(1, 0, 3), "xyz"),
            compare(span(1, 0, 3), None)
        );
        assert_eq!(
            judge(&admission, "ada", span(1, 1, 4), "bcd"),
            compare(span(1, 1, 4), None)
        );
        assert_eq!(
            judge(&admission, "ada", span(1, 3, 8), "defgh"),
            compare(span(1, 3, 5), Some(span(1, 5, 8)))
        );
    }

    #[test]
    fn digests_that_left_memory_are_asked_for() {
        let loaded: VersionVector = [(PeerId(1), 5)].into_iter().collect();
        let mut admission = Admission::new(loaded, BTreeMap::new());
        let over = span(1, 0, 3);
        assert_eq!(
            judge(&admission, "ada", over, "abc"),
            Verdict::NeedsSpans(over)
        );
        admission.learn_spans([KnownSpan {
            span: over,
            digest: digest("abc"),
        }]);
        assert_eq!(judge(&admission, "ada", over, "abc"), Verdict::Known);
        assert_eq!(
            judge(&admission, "ada", span(1, 2, 5), "cde"),
            Verdict::NeedsSpans(span(1, 2, 5))
        );
    }

    #[test]
    fn a_layer_continues_what_it_lies_upon_and_leaves_it_alone() {
        let admission = ada_wrote_five();
        let ada = principal("ada");
        let mut layer = Layer::over(&admission);
        let on_top = OpId {
            peer: PeerId(1),
            counter: 5,
        };
        let bob = |layer: &Layer| {
            layer.judge_span(&principal("bob"), span(2, 0, 1), digest("x"), &[on_top])
        };
        assert_eq!(bob(&layer), Verdict::Waits { missing: on_top });
        layer.admit_span(&ada, span(1, 5, 6), digest("f"));
        assert_eq!(bob(&layer), Verdict::Admit);
        assert_eq!(
            layer.judge_span(&ada, span(1, 5, 6), digest("f"), &[]),
            Verdict::Known
        );
        assert_eq!(
            layer.judge_span(&ada, span(1, 3, 7), digest("defg"), &[]),
            Verdict::Compare {
                overlap: span(1, 3, 6),
                rest: Some(span(1, 6, 7))
            }
        );
        assert_eq!(admission.version().end(PeerId(1)), 5);
    }

    #[test]
    fn memory_for_digests_is_bounded() {
        let mut admission = Admission::default();
        for i in 0..1_000 {
            admission.admit_span(&principal("ada"), span(1, i, i + 1), digest("x"));
        }
        assert_eq!(admission.spans[&PeerId(1)].len(), KNOWN_SPANS_PER_PEER_MAX);
        assert_eq!(
            judge(&admission, "ada", span(1, 999, 1_000), "x"),
            Verdict::Known
        );
    }

    #[test]
    fn the_rest_of_a_straddling_update_is_recorded_from_where_it_is_new() {
        let mut admission = ada_wrote_five();
        admission.admit_span(&principal("ada"), span(1, 3, 8), digest("defgh"));
        assert_eq!(admission.version().end(PeerId(1)), 8);
        assert_eq!(
            judge(&admission, "ada", span(1, 0, 3), "abc"),
            Verdict::Known,
            "earlier spans stay as they were"
        );
    }
}
