use document_types::limits::CLIENT_TEXT_BYTES_MAX;
use document_types::{Advice, BatchId, DocumentId, ErrorCode, HlcTimestamp};
use serde::{Deserialize, Serialize};

/// What the server says to our clients in text messages. Stock clients, which ignore texts other
/// than keepalive, are sent none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerText {
    /// The room's beat: the updates before it are all of this beat; commit now.
    Pulse {
        /// Of which document.
        document: DocumentId,
        /// The beat's number: wall-clock milliseconds divided by the beat's length.
        beat: u64,
        /// The beat's length; 0 says that the pulse is off.
        beat_ms: u32,
        /// How many write at the moment.
        typists: u32,
    },
    /// A batch is durable. It comes right after the stock ack of the same batch.
    Ack {
        /// Of which document.
        document: DocumentId,
        /// Which.
        #[serde(with = "batch_hex")]
        batch: BatchId,
        /// The first update's stamp.
        #[serde(with = "decimal")]
        hlc_first: HlcTimestamp,
        /// The last update's stamp.
        #[serde(with = "decimal")]
        hlc_last: HlcTimestamp,
        /// The node that stamped them.
        node: u32,
        /// The position of the last record in the document's partition.
        offset: u64,
    },
    /// A batch was refused. It comes right after the stock ack with the status.
    Nack {
        /// Of which document.
        document: DocumentId,
        /// Which.
        #[serde(with = "batch_hex")]
        batch: BatchId,
        /// Why.
        #[serde(with = "code_name")]
        code: ErrorCode,
        /// What to do.
        #[serde(with = "advice_name")]
        advice: Advice,
        /// For the person.
        message: String,
    },
    /// Everything that the client's version lacked at the join has been sent.
    CaughtUp {
        /// Of which document.
        document: DocumentId,
    },
    /// This gateway is about to close its sockets: connect again at a random moment within the time.
    Draining {
        /// The time.
        reconnect_within_ms: u64,
    },
}

impl ServerText {
    /// The JSON of a text message.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers, texts and enums always serialise")
    }
}

/// What our clients say in text messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientText {
    /// The trace that the batch of this name belongs to. It comes before the batch.
    Trace {
        /// Of which document.
        document: DocumentId,
        /// Which.
        #[serde(with = "batch_hex")]
        batch: BatchId,
        /// W3C trace context, <https://www.w3.org/TR/trace-context/>.
        traceparent: String,
    },
    /// How long a traced batch has taken the client, once it is answered.
    Traced {
        /// Of which document.
        document: DocumentId,
        /// Which.
        #[serde(with = "batch_hex")]
        batch: BatchId,
        /// From the key press that it begins with until it was sent; absent if it begins with none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waited_us: Option<u32>,
        /// From there until the client had read the answer.
        answered_us: u32,
    },
    /// Something of another version.
    #[serde(other)]
    Unknown,
}

/// Why a text is none that a client may send.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// More bytes than a text may have.
    #[error("a text has {bytes} bytes, and {CLIENT_TEXT_BYTES_MAX} is the most it may have")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// Not JSON, or not of the form that its type has.
    #[error("the text is not one that a client may send")]
    Malformed(#[source] serde_json::Error),
}

impl ClientText {
    /// Reads a text message that is not keepalive. A type of another version is
    /// [`ClientText::Unknown`].
    ///
    /// # Errors
    /// [`TextError`] if it is too large or malformed.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        if text.len() > CLIENT_TEXT_BYTES_MAX {
            return Err(TextError::TooLarge { bytes: text.len() });
        }
        serde_json::from_str(text).map_err(TextError::Malformed)
    }
}

/// 64-bit numbers as decimal text: JSON numbers lose their last bits in JavaScript.
pub(crate) mod decimal {
    use document_types::{HlcTimestamp, PeerId};
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// A value that is a 64-bit number on the wire.
    pub(crate) trait Decimal: Sized {
        fn number(&self) -> u64;
        fn from_number(number: u64) -> Self;
    }

    impl Decimal for HlcTimestamp {
        fn number(&self) -> u64 {
            self.as_u64()
        }

        fn from_number(number: u64) -> Self {
            Self::from_u64(number)
        }
    }

    impl Decimal for PeerId {
        fn number(&self) -> u64 {
            self.0
        }

        fn from_number(number: u64) -> Self {
            Self(number)
        }
    }

    pub(crate) fn serialize<S: Serializer>(
        value: &impl Decimal,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&value.number())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: Decimal>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(T::from_number).map_err(de::Error::custom)
    }

    /// The same where there may be none.
    pub(crate) mod option {
        use super::Decimal;
        use serde::{Deserialize, Deserializer, Serializer, de};

        pub(crate) fn serialize<S: Serializer>(
            value: &Option<impl Decimal>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => super::serialize(value, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: Decimal>(
            deserializer: D,
        ) -> Result<Option<T>, D::Error> {
            let text = Option::<String>::deserialize(deserializer)?;
            text.map(|text| text.parse().map(T::from_number).map_err(de::Error::custom))
                .transpose()
        }
    }
}

/// A batch id as 16 hexadecimal digits.
mod batch_hex {
    use document_types::BatchId;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        batch: &BatchId,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(batch)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BatchId, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() != 16 {
            return Err(de::Error::custom("a batch id has 16 hexadecimal digits"));
        }
        u64::from_str_radix(&text, 16)
            .map(|number| BatchId(number.to_be_bytes()))
            .map_err(de::Error::custom)
    }
}

/// An error code by its name. A name of another version reads as [`ErrorCode::Internal`], whose
/// advice, to try again, is the one that loses nothing.
mod code_name {
    use document_types::ErrorCode;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        code: &ErrorCode,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(code.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<ErrorCode, D::Error> {
        let name = String::deserialize(deserializer)?;
        Ok(ErrorCode::from_name(&name).unwrap_or(ErrorCode::Internal))
    }
}

mod advice_name {
    use document_types::Advice;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        advice: &Advice,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(advice.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Advice, D::Error> {
        let name = String::deserialize(deserializer)?;
        [Advice::Retry, Advice::Rejoin, Advice::Fix, Advice::GiveUp]
            .into_iter()
            .find(|advice| advice.as_str() == name)
            .ok_or_else(|| de::Error::custom("an advice is retry, rejoin, fix or give_up"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_another_version_are_ignored_and_garbage_is_refused() {
        let parse = ClientText::parse;
        assert!(matches!(
            parse(r#"{"type":"wave","hands":2}"#),
            Ok(ClientText::Unknown)
        ));
        assert!(matches!(parse("pang"), Err(TextError::Malformed(_))));
        assert!(matches!(
            parse(r#"{"document":"x"}"#),
            Err(TextError::Malformed(_))
        ));
        assert!(matches!(
            parse(&"x".repeat(CLIENT_TEXT_BYTES_MAX + 1)),
            Err(TextError::TooLarge { .. })
        ));
    }

    #[test]
    fn a_code_of_another_version_reads_as_internal() {
        let text = r#"{"type":"nack","document":"d","batch":"00000000000000ff","code":"too_purple","advice":"fix","message":""}"#;
        let ServerText::Nack { code, batch, .. } = serde_json::from_str(text).unwrap() else {
            panic!("a nack")
        };
        assert_eq!(code, ErrorCode::Internal);
        assert_eq!(batch, BatchId([0, 0, 0, 0, 0, 0, 0, 0xff]));
    }
}
