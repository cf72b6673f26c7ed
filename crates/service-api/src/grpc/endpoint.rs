use std::fmt;
use std::str::FromStr;

use document_types::limits::{
    SERVICE_CONNECT_TIME_MAX, SERVICE_KEEPALIVE_INTERVAL, SERVICE_KEEPALIVE_TIME_MAX,
    STREAM_WINDOW_BYTES,
};
use tonic::transport::{Endpoint, Uri};

/// Where a service answers, as in `http://10.0.0.7:9090`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceAddress(Uri);

/// A text is not the address of a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the address of a service, such as http://10.0.0.7:9090")]
pub struct AddressError(String);

impl FromStr for ServiceAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let uri: Uri = text.parse().map_err(|_| AddressError(text.to_owned()))?;
        let plain = uri.scheme_str() == Some("http") && uri.path() == "/";
        if plain && uri.port().is_some() {
            Ok(Self(uri))
        } else {
            Err(AddressError(text.to_owned()))
        }
    }
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self
            .0
            .authority()
            .map_or("", |authority| authority.as_str());
        write!(f, "http://{authority}")
    }
}

impl ServiceAddress {
    /// How to connect there.
    pub(super) fn endpoint(&self) -> Endpoint {
        endpoint(self.0.clone())
    }
}

/// How to connect to `uri`: a dead peer is noticed also while nothing is said.
pub(super) fn endpoint(uri: Uri) -> Endpoint {
    Endpoint::from(uri)
        .connect_timeout(SERVICE_CONNECT_TIME_MAX)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(STREAM_WINDOW_BYTES)
        .http2_keep_alive_interval(SERVICE_KEEPALIVE_INTERVAL)
        .keep_alive_timeout(SERVICE_KEEPALIVE_TIME_MAX)
        .keep_alive_while_idle(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_a_port() {
        let address: ServiceAddress = "http://127.0.0.1:9090".parse().unwrap();
        assert_eq!(address.to_string(), "http://127.0.0.1:9090");
        for wrong in [
            "127.0.0.1:9090",
            "https://a:1",
            "http://a",
            "http://a:1/b",
            "",
        ] {
            assert!(wrong.parse::<ServiceAddress>().is_err(), "{wrong}");
        }
    }
}
