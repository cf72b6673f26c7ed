use document_types::CounterSpan;
use loro::{JsonOpContent, JsonTextOp};

use crate::engine::to_engine_span;
use crate::{CrdtDocument, CrdtError};

impl CrdtDocument {
    /// The text that the operations of `span` insert into texts, in the order in which they were made
    /// and wherever they insert it; for people who look into a log. Operations that the document does
    /// not hold add nothing.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn inserted_text(&self, span: CounterSpan) -> Result<String, CrdtError> {
        self.call(|doc| {
            let changes = doc.export_json_in_id_span(to_engine_span(span));
            let operations = changes.into_iter().flat_map(|change| change.ops);
            operations
                .filter_map(|operation| match operation.content {
                    JsonOpContent::Text(JsonTextOp::Insert { text, .. }) => Some(text),
                    _ => None,
                })
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use document_types::PeerId;

    #[test]
    fn a_span_says_what_it_inserts_whatever_became_of_it() {
        let peer = PeerId(7);
        let document = CrdtDocument::new(peer).unwrap();
        let text = document.engine().get_text("content");
        text.insert(0, "hello").unwrap();
        text.insert(5, " world").unwrap();
        text.delete(0, 11).unwrap();
        document.engine().commit();

        let reader = CrdtDocument::detached().unwrap();
        reader
            .import(&document.export_since(&Default::default()).unwrap())
            .unwrap();
        let inserted = |start, end| {
            reader
                .inserted_text(CounterSpan { peer, start, end })
                .unwrap()
        };
        assert_eq!(inserted(0, 22), "hello world");
        assert_eq!(inserted(3, 7), "lo w");
        assert_eq!(inserted(11, 22), "");
        assert_eq!(inserted(90, 99), "");
    }
}
