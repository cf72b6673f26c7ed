//! What a room follows: the log of its region, and the copies of other regions' logs.

use std::task::Poll;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

/// One of the sources can't be read on, so the room has to be opened anew.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended;

/// Records from several sources. Those of one source come in their order; between sources there is
/// none.
pub(super) struct Followed<T> {
    sources: Vec<mpsc::Receiver<T>>,
    /// The place of the source that is asked first: after each record the one behind it, so that a
    /// busy source holds up no other.
    first: usize,
}

impl<T> Followed<T> {
    pub(super) fn new(sources: Vec<mpsc::Receiver<T>>) -> Self {
        Self { sources, first: 0 }
    }

    /// The next record. Loses none if it is dropped.
    pub(super) async fn next(&mut self) -> Result<T, Ended> {
        std::future::poll_fn(|context| {
            for (place, source) in in_turn(&mut self.sources, self.first) {
                if let Poll::Ready(record) = source.poll_recv(context) {
                    self.first = place + 1;
                    return Poll::Ready(record.ok_or(Ended));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// The next record that is here already.
    pub(super) fn next_now(&mut self) -> Option<T> {
        for (place, source) in in_turn(&mut self.sources, self.first) {
            match source.try_recv() {
                Ok(record) => {
                    self.first = place + 1;
                    return Some(record);
                }
                // Whoever waits for the next record is told of the end.
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            }
        }
        None
    }
}

/// All of `sources` with their places, from the one at `first` on and around.
fn in_turn<T>(sources: &mut [T], first: usize) -> impl Iterator<Item = (usize, &mut T)> {
    let first = first % sources.len().max(1);
    let (before, from) = sources.split_at_mut(first);
    (first..).zip(from).chain((0..).zip(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_sources() -> ([mpsc::Sender<&'static str>; 2], Followed<&'static str>) {
        let (first, first_records) = mpsc::channel(8);
        let (second, second_records) = mpsc::channel(8);
        let followed = Followed::new(vec![first_records, second_records]);
        ([first, second], followed)
    }

    #[tokio::test]
    async fn a_busy_source_holds_up_no_other() {
        let ([busy, calm], mut followed) = two_sources();
        for record in ["a", "b", "c"] {
            busy.send(record).await.unwrap();
        }
        calm.send("x").await.unwrap();
        let mut heard = vec![followed.next().await.unwrap()];
        while let Some(record) = followed.next_now() {
            heard.push(record);
        }
        assert_eq!(heard, ["a", "x", "b", "c"]);
    }

    #[tokio::test]
    async fn the_end_of_one_source_is_the_end() {
        let ([first, second], mut followed) = two_sources();
        second.send("x").await.unwrap();
        drop(second);
        assert_eq!(followed.next().await, Ok("x"));
        assert_eq!(followed.next().await, Err(Ended));
        drop(first);
    }
}
