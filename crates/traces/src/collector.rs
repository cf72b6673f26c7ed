use std::fmt;
use std::str::FromStr;

use document_types::limits::{SERVICE_CONNECT_TIME_MAX, SPANS_EXPORT_TIME_MAX};
use tonic::transport::{Channel, Endpoint, Uri};

/// Where a collector takes spans over gRPC, as in `http://127.0.0.1:4317`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorAddress(Uri);

/// A text is not the address of a collector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the address of an OTLP collector, such as http://127.0.0.1:4317")]
pub struct CollectorAddressError(String);

impl FromStr for CollectorAddress {
    type Err = CollectorAddressError;

    fn from_str(text: &str) -> Result<Self, CollectorAddressError> {
        let wrong = || CollectorAddressError(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let is_plain = uri.scheme_str() == Some("http") && uri.path() == "/";
        if is_plain && uri.port().is_some() {
            Ok(Self(uri))
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for CollectorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl CollectorAddress {
    /// A channel that connects when it is first used, and again whenever the connection was lost.
    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from(self.0.clone())
            .connect_timeout(SERVICE_CONNECT_TIME_MAX)
            .timeout(SPANS_EXPORT_TIME_MAX)
            .connect_lazy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_a_port() {
        assert!("http://127.0.0.1:4317".parse::<CollectorAddress>().is_ok());
        assert!("http://jaeger:4317/".parse::<CollectorAddress>().is_ok());
        for wrong in [
            "127.0.0.1:4317",
            "https://a:1",
            "http://a",
            "http://a:1/v1/traces",
            "",
        ] {
            assert!(wrong.parse::<CollectorAddress>().is_err(), "{wrong}");
        }
    }
}
