use std::io;
use std::sync::{Arc, OnceLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::endpoint::Stream;

/// Who vouches for the certificates of servers that are spoken to over TLS.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// The authorities that the system trusts.
    #[default]
    System,
    /// These authorities alone, in PEM, as a company's own.
    Authorities(Arc<str>),
}

impl Trust {
    /// Speaks TLS with `host` on `stream`, and `protocol` over it.
    pub(crate) async fn encrypt(
        &self,
        stream: Box<dyn Stream>,
        host: &str,
        protocol: &str,
    ) -> io::Result<Box<dyn Stream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(self.roots()?)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        Ok(Box::new(stream))
    }

    fn roots(&self) -> io::Result<Arc<RootCertStore>> {
        match self {
            Self::System => {
                // There may be hundreds, and they don't change while a program runs.
                static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
                Ok(SYSTEM.get_or_init(|| Arc::new(system_roots())).clone())
            }
            Self::Authorities(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    let certificate = certificate.map_err(io::Error::other)?;
                    roots.add(certificate).map_err(io::Error::other)?;
                }
                Ok(Arc::new(roots))
            }
        }
    }
}

fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!(%error, "the system's authorities can't all be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}
