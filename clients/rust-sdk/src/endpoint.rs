use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use document_types::limits::FRAME_BYTES_MAX;
use futures::FutureExt;
use futures::future::BoxFuture;
use service_api::grpc::ClientStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, http::Uri};

use crate::error::ConnectError;

/// The path of the gateway's socket.
const SOCKET_PATH: &str = "/v1/sync";

/// Bytes of the buffer that a connection reads into.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// A byte stream to a server.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes connections. [`TcpConnector`] is the ordinary one; TLS, proxies and simulated networks are
/// others.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// A stream to `host` and `port`.
    ///
    /// # Errors
    /// Whatever keeps it from being made; the client tries again later.
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>>;
}

/// Plain TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

#[async_trait]
impl Connector for TcpConnector {
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((host, port)).await?;
        // A keystroke is a small message that must not wait for company.
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// Where a server is, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    protocol: Protocol,
    host: String,
    port: u16,
}

/// What carries documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    WebSocket,
    Grpc,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("the server could not be reached")]
    Connect(#[from] io::Error),
    #[error("the WebSocket handshake failed")]
    Handshake(#[from] tungstenite::Error),
    #[error("there is no gRPC stream")]
    Stream(#[from] service_api::grpc::ConnectError),
    #[error("the server's address is none")]
    Address(#[from] tungstenite::http::uri::InvalidUri),
}

/// A connection that carries documents.
pub(crate) enum Carrier {
    Socket(Box<Socket>),
    /// A stream, and what reads it.
    Stream(ClientStream, BoxFuture<'static, String>),
}

pub(crate) type Socket = WebSocketStream<Box<dyn Stream>>;

impl Endpoint {
    pub(crate) fn parse(url: &str) -> Result<Self, ConnectError> {
        let wrong = || ConnectError::Url {
            url: url.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (protocol, default_port) = match uri.scheme_str() {
            Some("http" | "ws") => (Protocol::WebSocket, 80),
            Some("https" | "wss") => (Protocol::WebSocket, 443),
            Some("grpc") => (Protocol::Grpc, 80),
            Some("grpcs") => (Protocol::Grpc, 443),
            _ => return Err(wrong()),
        };
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(wrong)?;
        // An IPv6 address stands in brackets in a URL and nowhere else.
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Ok(Self {
            protocol,
            host,
            port: uri.port_u16().unwrap_or(default_port),
        })
    }

    /// Connects. On a stream the credential goes with the call; on a socket replicas show it themselves.
    pub(crate) async fn connect(
        &self,
        connector: &Arc<dyn Connector>,
        credential: Option<&str>,
    ) -> Result<Carrier, EndpointError> {
        match self.protocol {
            Protocol::WebSocket => Ok(Carrier::Socket(Box::new(
                self.open_socket(connector).await?,
            ))),
            Protocol::Grpc => {
                let uri = format!("http://{}", self.authority()).parse()?;
                let (connector, endpoint) = (Arc::clone(connector), self.clone());
                let dial = move || {
                    let (connector, endpoint) = (Arc::clone(&connector), endpoint.clone());
                    async move { connector.connect(&endpoint.host, endpoint.port).await }
                };
                let (stream, reading) = ClientStream::open(uri, credential, dial).await?;
                Ok(Carrier::Stream(stream, reading.boxed()))
            }
        }
    }

    async fn open_socket(&self, connector: &Arc<dyn Connector>) -> Result<Socket, EndpointError> {
        let stream = connector.connect(&self.host, self.port).await?;
        let url = format!("ws://{}{SOCKET_PATH}", self.authority());
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        let (socket, _) =
            tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await?;
        Ok(socket)
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_host_and_a_port() {
        let parse = |url| {
            Endpoint::parse(url)
                .map(|endpoint| (endpoint.host, endpoint.port))
                .ok()
        };
        assert_eq!(
            parse("http://127.0.0.1:8787"),
            Some(("127.0.0.1".to_owned(), 8787))
        );
        assert_eq!(parse("ws://[::1]:9/"), Some(("::1".to_owned(), 9)));
        assert_eq!(
            parse("http://example.org"),
            Some(("example.org".to_owned(), 80))
        );
        assert_eq!(
            parse("grpc://127.0.0.1:8787"),
            Some(("127.0.0.1".to_owned(), 8787))
        );
        assert_eq!(parse("ftp://example.org"), None);
        assert_eq!(parse("127.0.0.1:8787"), None);
        assert_eq!(parse(""), None);
    }
}
