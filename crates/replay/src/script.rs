//! Who writes what, and where.

use std::ops::Range;

use crate::trace::Trace;

/// A trace, shared out. Each client goes on from the text that the trace has where its share begins,
/// and writes within that text alone; a title stands before each, so that no two clients ever write
/// at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    /// The document before the first edit.
    pub(crate) start: String,
    /// The document after the last edit.
    pub(crate) end: String,
    pub(crate) parts: Vec<Part>,
}

/// One client's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its edits, of the trace's.
    pub(crate) edits: Range<usize>,
    /// Where its text begins in the document before the first edit, in characters.
    pub(crate) position: usize,
}

impl Script {
    pub(crate) fn new(trace: &Trace, clients: usize) -> Self {
        let shares = trace.shares(clients);
        let mut bounds: Vec<usize> = shares.iter().map(|share| share.start).collect();
        bounds.push(trace.edits.len());
        let texts = trace.texts_after(&bounds);
        let mut script = Self {
            start: String::new(),
            end: String::new(),
            parts: Vec::new(),
        };
        let mut characters = 0;
        for (number, share) in shares.into_iter().enumerate() {
            let title = match clients {
                1 => String::new(),
                _ => format!("\n== part {} of {clients} ==\n", number + 1),
            };
            characters += title.chars().count();
            script.parts.push(Part {
                edits: share,
                position: characters,
            });
            characters += texts[number].chars().count();
            script.start.extend([title.as_str(), &texts[number]]);
            script.end.extend([title.as_str(), &texts[number + 1]]);
        }
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Edit;

    fn trace() -> Trace {
        let edit = |position, deleted, inserted: &str| Edit {
            position,
            deleted,
            inserted: inserted.into(),
        };
        let edits = vec![
            edit(0, 0, "ü"),
            edit(1, 0, "b"),
            edit(0, 1, ""),
            edit(1, 0, "c"),
        ];
        Trace {
            start: "s".to_owned(),
            edits,
            end: "bcs".to_owned(),
        }
    }

    #[test]
    fn one_client_writes_the_trace_and_nothing_else() {
        let script = Script::new(&trace(), 1);
        assert_eq!((script.start.as_str(), script.end.as_str()), ("s", "bcs"));
        assert_eq!(
            script.parts,
            [Part {
                edits: 0..4,
                position: 0
            }]
        );
    }

    #[test]
    fn each_part_begins_with_the_text_that_its_share_begins_with() {
        let script = Script::new(&trace(), 2);
        assert_eq!(
            script.start,
            "\n== part 1 of 2 ==\ns\n== part 2 of 2 ==\nübs"
        );
        assert_eq!(
            script.end,
            "\n== part 1 of 2 ==\nübs\n== part 2 of 2 ==\nbcs"
        );
        let at = |part: usize| script.start.chars().nth(script.parts[part].position);
        assert_eq!((at(0), at(1)), (Some('s'), Some('ü')));
        assert_eq!(script.parts[1].edits, 2..4);
    }
}
