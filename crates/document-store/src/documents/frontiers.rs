//! Moving a document's frontiers forward by what the records say, without opening an update.

use document_types::limits::FRONTIERS_IN_HEAD_COUNT_MAX;
use document_types::{CounterSpan, OpId, PeerId};

use crate::values::{Head, Operation};

/// Takes in an update that was written over `span` on top of `dependencies`.
///
/// A peer's operations follow one another, so each peer is at most once among the frontiers; a
/// frontier goes when it is depended upon. Once there are more than fit, they are forgotten for good.
pub(super) fn advance(head: &mut Head, span: CounterSpan, dependencies: &[OpId]) {
    if head.frontiers_unknown {
        return;
    }
    head.frontiers.retain(|frontier| {
        let followed = |dependency: &OpId| {
            dependency.peer == PeerId(frontier.peer) && dependency.counter >= frontier.counter
        };
        frontier.peer != span.peer.0 && !dependencies.iter().any(followed)
    });
    head.frontiers.push(Operation {
        peer: span.peer.0,
        counter: span.end.saturating_sub(1),
    });
    if head.frontiers.len() > FRONTIERS_IN_HEAD_COUNT_MAX {
        head.frontiers.clear();
        head.frontiers_unknown = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer, the end of its new operation, and the operations that it depends on.
    type Step<'s> = (u64, u32, &'s [(u64, u32)]);

    fn advance_all(steps: &[Step<'_>]) -> Head {
        let mut head = Head::default();
        for (peer, end, dependencies) in steps {
            let dependencies: Vec<_> = dependencies
                .iter()
                .map(|(peer, counter)| OpId {
                    peer: PeerId(*peer),
                    counter: *counter,
                })
                .collect();
            let span = CounterSpan {
                peer: PeerId(*peer),
                start: end - 1,
                end: *end,
            };
            advance(&mut head, span, &dependencies);
        }
        head
    }

    fn named(head: &Head) -> Vec<String> {
        head.known_frontiers()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn what_is_followed_is_no_frontier_any_more() {
        assert_eq!(
            named(&advance_all(&[(1, 1, &[]), (2, 1, &[])])),
            ["0@1", "0@2"]
        );
        assert_eq!(
            named(&advance_all(&[(1, 1, &[]), (2, 1, &[(1, 0)])])),
            ["0@2"]
        );
        assert_eq!(
            named(&advance_all(&[(1, 1, &[]), (1, 2, &[]), (2, 1, &[(1, 0)])])),
            ["1@1", "0@2"]
        );
        let merged = advance_all(&[(1, 1, &[]), (2, 1, &[]), (3, 1, &[(1, 0), (2, 0)])]);
        assert_eq!(named(&merged), ["0@3"]);
    }

    #[test]
    fn too_many_are_forgotten() {
        let mut head = Head::default();
        for peer in 0..=FRONTIERS_IN_HEAD_COUNT_MAX as u64 {
            advance(
                &mut head,
                CounterSpan {
                    peer: PeerId(peer),
                    start: 0,
                    end: 1,
                },
                &[],
            );
        }
        assert_eq!(head.known_frontiers(), None);
    }
}
