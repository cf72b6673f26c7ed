use std::collections::VecDeque;
use std::sync::Arc;

use document_types::limits::PRESENCE_NEWS_WAITING_MAX;
use tokio::sync::Notify;

use crate::News;

/// A node's news, until it asks for them.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    news: VecDeque<News>,
    arrived: Arc<Notify>,
}

impl Mailbox {
    /// What is notified when something has arrived. A notice that comes between a look and the wait is kept.
    pub(crate) fn arrived(&self) -> Arc<Notify> {
        self.arrived.clone()
    }

    pub(crate) fn put(&mut self, news: News) {
        if news == News::Missed || self.news.len() == PRESENCE_NEWS_WAITING_MAX {
            // Whoever reads this reads everything anew, so nothing older is needed.
            self.news.clear();
            self.news.push_back(News::Missed);
        } else {
            self.news.push_back(news);
        }
        self.arrived.notify_one();
    }

    pub(crate) fn take(&mut self) -> Option<News> {
        self.news.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{entry, seat};

    #[test]
    fn who_asks_too_late_is_told_that_something_was_missed() {
        let mut mailbox = Mailbox::default();
        let news = |time| News::Entries {
            seat: seat("d", "ada"),
            entries: vec![entry("ada", 1, time)],
        };
        for time in 0..=i64::try_from(PRESENCE_NEWS_WAITING_MAX).unwrap() {
            mailbox.put(news(time));
        }
        mailbox.put(news(0));
        assert_eq!(mailbox.take(), Some(News::Missed));
        assert_eq!(mailbox.take(), Some(news(0)));
        assert_eq!(mailbox.take(), None);
    }
}
