use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::serve::Listener;
use document_types::limits::{TLS_HANDSHAKE_TIME_MAX, TLS_HANDSHAKES_COUNT_MAX};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// A connection that is encrypted.
pub type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

type Handshake = Pin<Box<dyn Future<Output = io::Result<(TlsStream, SocketAddr)>> + Send>>;

/// Listens for connections that begin with TLS. Handshakes go on side by side, so that one which takes its
/// time holds up no other; while there are as many as there may be, new connections wait with the kernel.
pub struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    handshakes: FuturesUnordered<Handshake>,
}

impl TlsListener {
    /// Speaks TLS on `listener` as `config` says.
    pub fn new(listener: TcpListener, config: Arc<ServerConfig>) -> Self {
        Self {
            listener,
            acceptor: config.into(),
            handshakes: FuturesUnordered::new(),
        }
    }

    fn begin(&self, stream: TcpStream, address: SocketAddr) {
        let handshake = self.acceptor.accept(stream);
        self.handshakes.push(Box::pin(async move {
            let stream = timeout(TLS_HANDSHAKE_TIME_MAX, handshake).await??;
            Ok((stream, address))
        }));
    }
}

impl Listener for TlsListener {
    type Io = TlsStream;
    type Addr = SocketAddr;

    /// Dropping the future loses nothing.
    async fn accept(&mut self) -> (TlsStream, SocketAddr) {
        loop {
            let has_place = self.handshakes.len() < TLS_HANDSHAKES_COUNT_MAX;
            tokio::select! {
                Some(finished) = self.handshakes.next() => match finished {
                    Ok(connection) => return connection,
                    // Whoever tries doors does that all day.
                    Err(error) => tracing::debug!(%error, "a handshake failed"),
                },
                (stream, address) = Listener::accept(&mut self.listener), if has_place => {
                    self.begin(stream, address);
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::tls::{Certificate, CertificateFiles};

    /// A listener, and how to connect to it.
    async fn listener() -> (TlsListener, TlsConnector) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (certificate_file, key_file) = (folder.path().join("c"), folder.path().join("k"));
        std::fs::write(&certificate_file, made.cert.pem()).unwrap();
        std::fs::write(&key_file, made.signing_key.serialize_pem()).unwrap();
        let files = CertificateFiles {
            certificate_file: Some(certificate_file),
            key_file: Some(key_file),
        };
        let certificate = Certificate::load(&files).unwrap().unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = TlsListener::new(tcp, certificate.server_config(&["h2"]).unwrap());
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let mut client = ClientConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec()];
        (listener, TlsConnector::from(Arc::new(client)))
    }

    #[tokio::test]
    async fn a_handshake_that_takes_its_time_or_fails_holds_up_no_other() {
        let (mut listener, connector) = listener().await;
        let address = listener.local_addr().unwrap();
        let silent = TcpStream::connect(address).await.unwrap();
        let mut wrong = TcpStream::connect(address).await.unwrap();
        wrong.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let talking = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = connector.connect(name, stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            stream.write_all(b"hello").await.unwrap();
            stream
        };
        let (_client, (mut served, _)) = tokio::join!(talking, listener.accept());
        let mut heard = [0; 5];
        served.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        drop(silent);
    }
}
