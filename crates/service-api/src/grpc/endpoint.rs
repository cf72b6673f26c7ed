use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use document_types::limits::{
    SERVICE_CONNECT_TIME_MAX, SERVICE_KEEPALIVE_INTERVAL, SERVICE_KEEPALIVE_TIME_MAX,
    STREAM_WINDOW_BYTES,
};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Error, Uri};

/// Where a service answers, as in `http://10.0.0.7:9090`, or `https://node-1:9090` with TLS.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServiceAddress {
    uri: Uri,
    /// Who vouches for it, in PEM; those whom the system trusts if none is named.
    authorities: Option<Arc<str>>,
}

/// A text is not the address of a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the address of a service, such as http://10.0.0.7:9090 or https://node-1:9090"
)]
pub struct AddressError(String);

impl FromStr for ServiceAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let uri: Uri = text.parse().map_err(|_| AddressError(text.to_owned()))?;
        let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
        if is_known && uri.path() == "/" && uri.port().is_some() {
            let authorities = None;
            Ok(Self { uri, authorities })
        } else {
            Err(AddressError(text.to_owned()))
        }
    }
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let authority = self.uri.authority().map_or("", |it| it.as_str());
        write!(f, "{scheme}://{authority}")
    }
}

impl fmt::Debug for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceAddress({self})")
    }
}

impl ServiceAddress {
    /// The same address, which has to show a certificate of one of these authorities, in PEM.
    #[must_use]
    pub fn vouched_for_by(self, authorities: Arc<str>) -> Self {
        let authorities = Some(authorities);
        Self {
            authorities,
            ..self
        }
    }

    /// How to connect there.
    ///
    /// # Errors
    /// If there is TLS, and nobody to trust.
    pub(super) fn endpoint(&self) -> Result<Endpoint, Error> {
        let endpoint = endpoint(self.uri.clone());
        if self.uri.scheme_str() != Some("https") {
            return Ok(endpoint);
        }
        let trusted = ClientTlsConfig::new();
        endpoint.tls_config(match &self.authorities {
            Some(authorities) => trusted.ca_certificate(Certificate::from_pem(&**authorities)),
            None => trusted.with_native_roots(),
        })
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
        for right in ["http://127.0.0.1:9090", "https://node-1:9090"] {
            let address: ServiceAddress = right.parse().unwrap();
            assert_eq!(address.to_string(), right);
        }
        for wrong in [
            "127.0.0.1:9090",
            "ftp://a:1",
            "http://a",
            "https://a",
            "http://a:1/b",
            "",
        ] {
            assert!(wrong.parse::<ServiceAddress>().is_err(), "{wrong}");
        }
    }
}
