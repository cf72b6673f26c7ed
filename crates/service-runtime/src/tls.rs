//! TLS for listeners: a certificate that is read again when it is renewed, and handshakes that hold up
//! nobody.

mod certificate;
mod listener;

pub use certificate::{Certificate, CertificateError, CertificateFiles};
pub use listener::{TlsListener, TlsStream};
