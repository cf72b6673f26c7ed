use document_types::SessionId;

use crate::{Entry, decode_entries};

/// What the script tells of one session: the entries that it newly shows, or that are gone with it.
pub(super) struct Message {
    pub(super) session: SessionId,
    pub(super) entries: Vec<Entry>,
}

impl Message {
    /// Reads what `presence.lua` has written; `None` for anything else.
    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let (kind, rest) = payload.split_first()?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let session = SessionId::parse(std::str::from_utf8(&rest[..end]).ok()?).ok()?;
        let mut entries = decode_entries(&rest[end + 1..]).ok()?;
        match kind {
            b'E' => {}
            b'G' => {
                entries.sort_by(|a, b| a.key.cmp(&b.key));
                entries
                    .iter_mut()
                    .for_each(|entry| *entry = entry.removal());
            }
            _ => return None,
        }
        Some(Self { session, entries })
    }
}
