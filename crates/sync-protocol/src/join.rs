use document_types::limits::{
    INSERTED_TEXT_PER_IMPORT_BYTES_MAX, JOIN_PAYLOAD_BYTES_MAX, UPDATE_BYTES_MAX,
};
use document_types::{Counter, DeviceId, PeerId, SessionId, TraceRatio, UserId};
use serde::{Deserialize, Serialize};

use crate::text::decimal;

/// The version of our additions, announced under the key `collabedit`.
const ADDITIONS_VERSION: u32 = 1;

/// A name for the person is cut to this many characters.
const NAME_CHARACTERS_MAX: usize = 128;

/// What a client can do beyond the stock protocol. Names that a side does not know are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Commits on the room's beat.
    Pulse,
    /// Reads stamps with acks, and typed nacks.
    Stamps,
    /// Reads notices of regions lagging behind.
    Lag,
    /// A feature of another version.
    #[serde(other)]
    Unknown,
}

/// What a client puts into the join payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientPayload {
    /// A client of the stock protocol, whose payload means nothing to us.
    Stock,
    /// One of ours.
    CollabEdit(JoinPayload),
}

/// What one of our clients says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinPayload {
    /// The version of the additions, 1.
    pub collabedit: u32,
    /// The installation that it writes from.
    pub device: DeviceId,
    /// What to call the person.
    #[serde(default)]
    pub name: String,
    /// What it can do.
    #[serde(default)]
    pub features: Vec<Feature>,
    /// The peer id that it writes under; none for a reader.
    #[serde(default, with = "decimal::option")]
    pub peer: Option<PeerId>,
    /// What the peer id was derived from, together with user and device.
    #[serde(default)]
    pub nonce: Option<String>,
    /// A credential, where the deployment asks for one.
    #[serde(default)]
    pub token: Option<String>,
}

/// Why a join payload that announces itself as ours can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// More bytes than a join payload may have.
    #[error(
        "a join payload has {bytes} bytes, and {JOIN_PAYLOAD_BYTES_MAX} is the most it may have"
    )]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// A version of the additions that this server does not speak.
    #[error("version {version} of the additions is not spoken here")]
    Version {
        /// The announced version.
        version: u64,
    },
    /// A field is missing or of the wrong form.
    #[error("a field of the join payload is missing or malformed")]
    Malformed(#[source] serde_json::Error),
    /// The peer id is the one that the engine reserves.
    #[error("peer id {peer} is reserved by the engine")]
    ReservedPeer {
        /// The peer id.
        peer: PeerId,
    },
}

impl ClientPayload {
    /// Reads a join payload. Whatever is not a JSON object with the key `collabedit` is a stock
    /// client's.
    ///
    /// # Errors
    /// [`PayloadError`] if the payload is too large, or is ours and can't be used.
    pub fn parse(bytes: &[u8]) -> Result<Self, PayloadError> {
        if bytes.len() > JOIN_PAYLOAD_BYTES_MAX {
            return Err(PayloadError::TooLarge { bytes: bytes.len() });
        }
        let Ok(serde_json::Value::Object(object)) = serde_json::from_slice(bytes) else {
            return Ok(Self::Stock);
        };
        let Some(announced) = object.get("collabedit") else {
            return Ok(Self::Stock);
        };
        match announced.as_u64() {
            Some(version) if version != u64::from(ADDITIONS_VERSION) => {
                return Err(PayloadError::Version { version });
            }
            _ => {}
        }
        let mut payload: JoinPayload =
            serde_json::from_value(object.into()).map_err(PayloadError::Malformed)?;
        if let Some(peer) = payload.peer.filter(|peer| peer.0 == u64::MAX) {
            return Err(PayloadError::ReservedPeer { peer });
        }
        if let Some((end, _)) = payload.name.char_indices().nth(NAME_CHARACTERS_MAX) {
            payload.name.truncate(end);
        }
        payload
            .features
            .retain(|feature| *feature != Feature::Unknown);
        Ok(Self::CollabEdit(payload))
    }

    /// What this server and the client both can.
    pub fn negotiated(&self) -> Vec<Feature> {
        match self {
            Self::Stock => Vec::new(),
            Self::CollabEdit(payload) => [Feature::Pulse, Feature::Stamps]
                .into_iter()
                .filter(|feature| payload.features.contains(feature))
                .collect(),
        }
    }
}

/// What the server answers to one of our clients, beside the stock fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// The version of the additions, 1.
    pub collabedit: u32,
    /// The connection's id, for support and traces.
    pub session: SessionId,
    /// Who the session acts for.
    pub user: UserId,
    /// The server's wall clock, in milliseconds since the Unix epoch: beats are multiples of it.
    pub server_time_ms: u64,
    /// How the log knows the announced peer; none where none was announced.
    pub peer: Option<PeerAnswer>,
    /// What was negotiated.
    pub features: Vec<Feature>,
    /// What the client has to keep to.
    pub limits: JoinLimits,
    /// Which part of its batches the client is asked to have traced; absent where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_ratio: Option<TraceRatio>,
}

/// How the log knows a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAnswer {
    /// The end of its operations. A client whose own store is behind it was rolled back, and has to
    /// take a new peer id.
    pub end: Counter,
    /// Whether this session may write under it.
    pub owned: bool,
}

/// The limits that a client has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinLimits {
    /// The largest update.
    pub update_bytes_max: usize,
    /// The most text that one update may insert without being cut into slices.
    pub inserted_text_bytes_max: usize,
}

impl Default for JoinLimits {
    fn default() -> Self {
        Self {
            update_bytes_max: UPDATE_BYTES_MAX,
            inserted_text_bytes_max: INSERTED_TEXT_PER_IMPORT_BYTES_MAX,
        }
    }
}

impl JoinAnswer {
    /// An answer in the current version of the additions.
    pub fn new(
        session: SessionId,
        user: UserId,
        server_time_ms: u64,
        peer: Option<PeerAnswer>,
        features: Vec<Feature>,
    ) -> Self {
        let limits = JoinLimits::default();
        Self {
            collabedit: ADDITIONS_VERSION,
            session,
            user,
            server_time_ms,
            peer,
            features,
            limits,
            trace_ratio: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_does_not_announce_itself_is_a_stock_client() {
        for bytes in [
            &b""[..],
            b"\xff\x00",
            b"token",
            b"17",
            b"[]",
            b"{}",
            br#"{"auth":"x"}"#,
        ] {
            assert!(
                matches!(ClientPayload::parse(bytes), Ok(ClientPayload::Stock)),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn an_announced_payload_has_to_be_right() {
        let parse = |text: &str| ClientPayload::parse(text.as_bytes());
        assert!(matches!(
            parse(r#"{"collabedit":2}"#),
            Err(PayloadError::Version { version: 2 })
        ));
        assert!(matches!(
            parse(r#"{"collabedit":1}"#),
            Err(PayloadError::Malformed(_))
        ));
        assert!(matches!(
            parse(r#"{"collabedit":"1"}"#),
            Err(PayloadError::Malformed(_))
        ));
        assert!(matches!(
            parse(r#"{"collabedit":1,"device":"dev_a","peer":"18446744073709551615"}"#),
            Err(PayloadError::ReservedPeer { .. })
        ));
        assert!(matches!(
            parse(r#"{"collabedit":1,"device":"dev_a","peer":7}"#),
            Err(PayloadError::Malformed(_))
        ));
        let long = format!(
            r#"{{"collabedit":1,"device":"{}"}}"#,
            "x".repeat(JOIN_PAYLOAD_BYTES_MAX)
        );
        assert!(matches!(parse(&long), Err(PayloadError::TooLarge { .. })));
    }

    #[test]
    fn unknown_features_are_ignored_and_long_names_cut() {
        let text = format!(
            r#"{{"collabedit":1,"device":"dev_a","name":"{}","features":["pulse","time_travel"]}}"#,
            "ä".repeat(NAME_CHARACTERS_MAX + 1)
        );
        let payload = ClientPayload::parse(text.as_bytes()).unwrap();
        assert_eq!(payload.negotiated(), [Feature::Pulse]);
        let ClientPayload::CollabEdit(payload) = payload else {
            panic!("announced")
        };
        assert_eq!(payload.name.chars().count(), NAME_CHARACTERS_MAX);
        assert_eq!(payload.features, [Feature::Pulse]);
    }
}
