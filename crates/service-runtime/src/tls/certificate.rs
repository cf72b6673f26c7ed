use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use document_types::limits::CERTIFICATE_CHECK_INTERVAL;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

/// Where a listener's certificate is. Without it, the listener is not encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CertificateFiles {
    /// A file with the certificate and those that lead from it to an authority, in PEM. It is read again
    /// when it changes.
    pub certificate_file: Option<PathBuf>,
    /// A file with the certificate's private key, in PEM.
    pub key_file: Option<PathBuf>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// One of the two files is missing in the settings.
    #[error("a certificate and its key go together: set both `certificate_file` and `key_file`")]
    Half,
    /// A file can't be read.
    #[error("{} can't be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{} does not hold {what} in PEM", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: pem::Error,
    },
    /// The two files do not go together.
    #[error("the certificate can't be used with this key")]
    Unfit(#[from] rustls::Error),
}

/// The certificate that a listener shows at the moment.
#[derive(Debug)]
pub struct Certificate {
    certificate_file: PathBuf,
    key_file: PathBuf,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    /// What the files held.
    read: Pem,
    key: Arc<CertifiedKey>,
}

#[derive(Debug, PartialEq, Eq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificate {
    /// Reads it, if the settings name one.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn load(files: &CertificateFiles) -> Result<Option<Arc<Self>>, CertificateError> {
        let (certificate_file, key_file) = match (&files.certificate_file, &files.key_file) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
            _ => return Err(CertificateError::Half),
        };
        let read = Pem::read(&certificate_file, &key_file)?;
        let key = read.certified_key(&certificate_file, &key_file)?;
        Ok(Some(Arc::new(Self {
            certificate_file,
            key_file,
            current: RwLock::new(Current { read, key }),
        })))
    }

    /// How a listener that shows it speaks TLS, and one of `protocols` over it (ALPN), the first if a
    /// client leaves the choice.
    ///
    /// # Errors
    /// [`CertificateError::Unfit`], which would be a defect of the build.
    pub fn server_config(
        self: &Arc<Self>,
        protocols: &[&str],
    ) -> Result<Arc<ServerConfig>, CertificateError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = protocols
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        Ok(Arc::new(config))
    }

    /// Looks at the files from time to time, for ever. Connections that are open keep what they were shown.
    pub async fn keep_current(&self) {
        loop {
            sleep(CERTIFICATE_CHECK_INTERVAL).await;
            match self.read_again() {
                Ok(false) => {}
                Ok(true) => tracing::info!(
                    file = %self.certificate_file.display(),
                    "a renewed certificate is shown from now on"
                ),
                // While it is being replaced one file is new and the other old, for instance.
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the certificate's files have changed and can't be used; the old one is still shown"
                ),
            }
        }
    }

    /// Takes what the files hold now, and says whether that is new.
    ///
    /// # Errors
    /// [`CertificateError`]; what was shown before is shown on.
    pub fn read_again(&self) -> Result<bool, CertificateError> {
        let read = Pem::read(&self.certificate_file, &self.key_file)?;
        if self
            .current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .read
            == read
        {
            return Ok(false);
        }
        let key = read.certified_key(&self.certificate_file, &self.key_file)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Current { read, key };
        Ok(true)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(current.key.clone())
    }
}

impl Pem {
    fn read(certificate_file: &Path, key_file: &Path) -> Result<Self, CertificateError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| CertificateError::Read {
                path: path.to_owned(),
                source,
            })
        };
        Ok(Self {
            certificate: read(certificate_file)?,
            key: read(key_file)?,
        })
    }

    fn certified_key(
        &self,
        certificate_file: &Path,
        key_file: &Path,
    ) -> Result<Arc<CertifiedKey>, CertificateError> {
        let wrong = |path: &Path, what| {
            let path = path.to_owned();
            move |source| CertificateError::Pem { path, what, source }
        };
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|chain| match chain.is_empty() {
                true => Err(pem::Error::NoItemsFound),
                false => Ok(chain),
            })
            .map_err(wrong(certificate_file, "certificates"))?;
        let key =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(wrong(key_file, "a private key"))?;
        // It is an error here if the key is another certificate's.
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
        Ok(Arc::new(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn files(&self) -> CertificateFiles {
            CertificateFiles {
                certificate_file: Some(self.0.path().join("certificate.pem")),
                key_file: Some(self.0.path().join("key.pem")),
            }
        }

        fn write(&self, certificate: &str, key: &str) {
            std::fs::write(self.0.path().join("certificate.pem"), certificate).unwrap();
            std::fs::write(self.0.path().join("key.pem"), key).unwrap();
        }
    }

    fn new_certificate() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn shown(certificate: &Certificate) -> Vec<CertificateDer<'static>> {
        certificate.current.read().unwrap().key.cert.clone()
    }

    #[test]
    fn a_renewed_certificate_is_shown_once_both_files_are_there() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let ((first, first_key), (second, second_key)) = (new_certificate(), new_certificate());
        folder.write(&first, &first_key);
        let certificate = Certificate::load(&folder.files()).unwrap().unwrap();
        let before = shown(&certificate);
        assert!(!certificate.read_again().unwrap());

        folder.write(&second, &first_key);
        let half = certificate.read_again().unwrap_err();
        assert!(matches!(half, CertificateError::Unfit(_)), "{half}");
        assert_eq!(shown(&certificate), before);

        folder.write(&second, &second_key);
        assert!(certificate.read_again().unwrap());
        assert_ne!(shown(&certificate), before);
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said() {
        let folder = Folder(tempfile::tempdir().unwrap());
        assert!(
            Certificate::load(&CertificateFiles::default())
                .unwrap()
                .is_none()
        );
        let half = CertificateFiles {
            key_file: None,
            ..folder.files()
        };
        assert!(matches!(
            Certificate::load(&half),
            Err(CertificateError::Half)
        ));
        let missing = Certificate::load(&folder.files()).unwrap_err();
        assert!(
            matches!(missing, CertificateError::Read { .. }),
            "{missing}"
        );
        let (certificate, key) = new_certificate();
        for (certificate, key, what) in [
            ("", &*key, "certificates"),
            (&*certificate, "", "a private key"),
        ] {
            folder.write(certificate, key);
            let wrong = Certificate::load(&folder.files()).unwrap_err();
            assert!(wrong.to_string().contains(what), "{wrong}");
        }
    }
}
