use std::fmt;

use loro::TextDelta;
use operational_transform::{Operation, OperationSeq};

/// One step of a [`TextChange`], which goes through a text from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextStep<'a> {
    /// This many characters stay.
    Retain(usize),
    /// This text comes here.
    Insert(&'a str),
    /// This many characters go.
    Delete(usize),
}

/// How a text becomes another, counted in Unicode characters.
///
/// The document's replicated text changes by the engine's rules alone. This is for what stands
/// before it: edits that wait for their commit are moved over what others did meanwhile, and editors
/// are told how to get from the text they show to the new one.
#[derive(Clone, PartialEq, Default)]
pub struct TextChange(OperationSeq);

impl TextChange {
    /// The change that leaves a text of `len` characters as it is.
    pub fn none(len: usize) -> Self {
        let mut steps = OperationSeq::default();
        steps.retain(len as u64);
        Self(steps)
    }

    /// Replaces `deleted` characters at `position` by `inserted`, in a text of `len` characters.
    /// `None` if the text is too short for that.
    pub fn splice(len: usize, position: usize, deleted: usize, inserted: &str) -> Option<Self> {
        let rest = len.checked_sub(position.checked_add(deleted)?)?;
        let mut steps = OperationSeq::default();
        steps.retain(position as u64);
        steps.insert(inserted);
        steps.delete(deleted as u64);
        steps.retain(rest as u64);
        Some(Self(steps))
    }

    /// The engine's description of a change to a text of `len_before` characters. The engine leaves
    /// out what stays at the end.
    pub(crate) fn from_engine(delta: &[TextDelta], len_before: usize) -> Self {
        let mut steps = OperationSeq::default();
        for part in delta {
            match part {
                TextDelta::Retain { retain, .. } => steps.retain(*retain as u64),
                TextDelta::Insert { insert, .. } => steps.insert(insert),
                TextDelta::Delete { delete } => steps.delete(*delete as u64),
            }
        }
        steps.retain(len_before.saturating_sub(steps.base_len()) as u64);
        Self(steps)
    }

    /// The steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = TextStep<'_>> {
        self.0.ops().iter().map(|step| match step {
            Operation::Retain(count) => TextStep::Retain(to_len(*count)),
            Operation::Insert(text) => TextStep::Insert(text),
            Operation::Delete(count) => TextStep::Delete(to_len(*count)),
        })
    }

    /// Whether it changes nothing.
    pub fn is_none(&self) -> bool {
        self.0.is_noop()
    }

    /// Characters of the text before it.
    pub fn len_before(&self) -> usize {
        self.0.base_len()
    }

    /// Characters of the text after it.
    pub fn len_after(&self) -> usize {
        self.0.target_len()
    }

    /// Characters that it inserts or deletes.
    pub(crate) fn operations(&self) -> u64 {
        self.steps()
            .map(|step| match step {
                TextStep::Retain(_) => 0,
                TextStep::Insert(text) => text.chars().count() as u64,
                TextStep::Delete(count) => count as u64,
            })
            .sum()
    }

    /// Bytes of the text that it inserts.
    pub(crate) fn inserted_bytes(&self) -> usize {
        self.steps()
            .map(|step| {
                if let TextStep::Insert(text) = step {
                    text.len()
                } else {
                    0
                }
            })
            .sum()
    }

    /// The text after the change, if `text` is the one before it.
    ///
    /// # Errors
    /// [`LengthMismatch`] if it is not.
    pub fn apply(&self, text: &str) -> Result<String, LengthMismatch> {
        self.0.apply(text).map_err(|_| LengthMismatch)
    }

    /// This change and then `next`, as one.
    ///
    /// # Errors
    /// [`LengthMismatch`] if `next` does not begin where this one ends.
    pub fn then(&self, next: &Self) -> Result<Self, LengthMismatch> {
        self.0
            .compose(&next.0)
            .map(Self)
            .map_err(|_| LengthMismatch)
    }

    /// This change as it is after `other`, and `other` as it is after this one; both begin at the
    /// same text, and in either order they give the same. Of two insertions at one place this one's
    /// comes first.
    ///
    /// # Errors
    /// [`LengthMismatch`] if they don't begin at the same text.
    pub fn transform(&self, other: &Self) -> Result<(Self, Self), LengthMismatch> {
        let (ours, theirs) = self.0.transform(&other.0).map_err(|_| LengthMismatch)?;
        Ok((Self(ours), Self(theirs)))
    }

    /// The change that takes this one back; `before` is the text before it.
    pub(crate) fn inverse(&self, before: &str) -> Self {
        Self(self.0.invert(before))
    }

    /// Cuts the change in two, of which the first inserts at most `inserted_bytes_max` of text; there
    /// is no second one if that is all. All deletions are in the first. Of an insertion that is cut
    /// the end comes first: the rest goes before it.
    pub(crate) fn split(&self, inserted_bytes_max: usize) -> (Self, Option<Self>) {
        let (mut first, mut second) = (OperationSeq::default(), OperationSeq::default());
        let mut left = inserted_bytes_max;
        for step in self.steps() {
            match step {
                TextStep::Retain(count) => {
                    first.retain(count as u64);
                    second.retain(count as u64);
                }
                TextStep::Delete(count) => first.delete(count as u64),
                TextStep::Insert(text) => {
                    let start = text.ceil_char_boundary(text.len().saturating_sub(left));
                    let (later, now) = text.split_at(start);
                    left -= now.len();
                    first.insert(now);
                    second.insert(later);
                    second.retain(now.chars().count() as u64);
                }
            }
        }
        let second = Self(second);
        (Self(first), (!second.is_none()).then_some(second))
    }

    /// Where the gap before the `position`-th character is after this change. What is inserted right
    /// there comes after it.
    pub fn position_after(&self, position: usize) -> usize {
        let mut before = 0;
        let mut after = 0;
        for step in self.steps() {
            if before >= position {
                break;
            }
            match step {
                TextStep::Retain(count) => {
                    let moved = count.min(position - before);
                    before += moved;
                    after += moved;
                }
                TextStep::Insert(text) => after += text.chars().count(),
                TextStep::Delete(count) => before += count.min(position - before),
            }
        }
        after
    }
}

impl fmt::Debug for TextChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.steps()).finish()
    }
}

/// Two changes, or a change and a text, that don't fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the change is not one of this text")]
pub struct LengthMismatch;

/// A text's length fits the address space, so its parts' do.
fn to_len(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn change(len: usize, position: usize, deleted: usize, inserted: &str) -> TextChange {
        TextChange::splice(len, position, deleted, inserted).unwrap()
    }

    #[test]
    fn a_splice_past_the_end_is_refused() {
        assert!(TextChange::splice(3, 4, 0, "x").is_none());
        assert!(TextChange::splice(3, 2, 2, "").is_none());
        assert!(TextChange::splice(3, usize::MAX, 1, "").is_none());
    }

    #[test]
    fn a_position_moves_with_its_text() {
        let text = "one two three";
        let inserted = change(13, 0, 0, "zero ");
        assert_eq!(inserted.position_after(4), 9);
        // What comes at the very place stays behind it.
        assert_eq!(change(13, 4, 0, "and ").position_after(4), 4);
        // Within what goes, it stands where that was.
        assert_eq!(change(13, 2, 5, "").position_after(5), 2);
        assert_eq!(change(13, 2, 5, "").position_after(13), 8);
        assert_eq!(inserted.apply(text).unwrap(), "zero one two three");
    }

    #[test]
    fn a_change_that_is_cut_is_the_same_change() {
        let whole = change(5, 1, 2, "äöüß")
            .then(&change(7, 7, 0, "xyz"))
            .unwrap();
        let mut text = String::from("abcde");
        let expected = whole.apply(&text).unwrap();
        let mut rest = Some(whole);
        let mut inserted = Vec::new();
        while let Some(whole) = rest {
            let (now, later) = whole.split(5);
            inserted.push(now.inserted_bytes());
            text = now.apply(&text).unwrap();
            rest = later;
        }
        assert_eq!(text, expected);
        assert_eq!(inserted, [5, 5, 1], "of letters of two bytes, two fit");
    }

    proptest! {
        #[test]
        fn two_changes_give_the_same_text_in_either_order(
            text in "[a-zäöü]{0,20}",
            a in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), "[A-Z]{0,4}"),
            b in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), "[0-9]{0,4}"),
        ) {
            let len = text.chars().count();
            let draw = |(position, deleted, inserted): &(
                prop::sample::Index,
                prop::sample::Index,
                String,
            )| {
                let position = position.index(len + 1);
                change(len, position, deleted.index(len - position + 1), inserted)
            };
            let (ours, theirs) = (draw(&a), draw(&b));
            let (ours_after, theirs_after) = ours.transform(&theirs).unwrap();
            let one_way = ours.then(&theirs_after).unwrap().apply(&text).unwrap();
            let other_way = theirs.then(&ours_after).unwrap().apply(&text).unwrap();
            prop_assert_eq!(&one_way, &other_way);
            let back = ours.inverse(&text).apply(&ours.apply(&text).unwrap()).unwrap();
            prop_assert_eq!(back, text);
        }
    }
}
