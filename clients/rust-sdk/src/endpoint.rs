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
use crate::trust::Trust;

/// The path of the gateway's socket.
const SOCKET_PATH: &str = "/v1/sync";

/// Bytes of the buffer that a connection reads into.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// A byte stream to a server.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes connections. [`TcpConnector`] is the ordinary one; proxies and simulated networks are others. TLS, where
/// the server's URL asks for it, is spoken on what they give.
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

/// How connections are made, and whom to believe that they are the server.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) trust: Trust,
}

/// Where a server is, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    protocol: Protocol,
    is_encrypted: bool,
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
        let (protocol, is_encrypted) = match uri.scheme_str() {
            Some("http" | "ws") => (Protocol::WebSocket, false),
            Some("https" | "wss") => (Protocol::WebSocket, true),
            Some("grpc") => (Protocol::Grpc, false),
            Some("grpcs") => (Protocol::Grpc, true),
            _ => return Err(wrong()),
        };
        let default_port = if is_encrypted { 443 } else { 80 };
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
            is_encrypted,
            host,
            port: uri.port_u16().unwrap_or(default_port),
        })
    }

    /// Connects. On a stream the credential goes with the call; on a socket replicas show it themselves.
    pub(crate) async fn connect(
        &self,
        way: &Way,
        credential: Option<&str>,
    ) -> Result<Carrier, EndpointError> {
        match self.protocol {
            Protocol::WebSocket => Ok(Carrier::Socket(Box::new(self.open_socket(way).await?))),
            Protocol::Grpc => {
                // What is below it, TLS or not, is no concern of the stream's.
                let uri = format!("http://{}", self.authority()).parse()?;
                let (way, endpoint) = (way.clone(), self.clone());
                let dial = move || {
                    let (way, endpoint) = (way.clone(), endpoint.clone());
                    async move { endpoint.dial(&way).await }
                };
                let (stream, reading) = ClientStream::open(uri, credential, dial).await?;
                Ok(Carrier::Stream(stream, reading.boxed()))
            }
        }
    }

    async fn dial(&self, way: &Way) -> io::Result<Box<dyn Stream>> {
        let stream = way.connector.connect(&self.host, self.port).await?;
        if !self.is_encrypted {
            return Ok(stream);
        }
        let protocol = match self.protocol {
            Protocol::WebSocket => "http/1.1",
            Protocol::Grpc => "h2",
        };
        way.trust.encrypt(stream, &self.host, protocol).await
    }

    async fn open_socket(&self, way: &Way) -> Result<Socket, EndpointError> {
        let stream = self.dial(way).await?;
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
        let secure = Endpoint::parse("grpcs://example.org").unwrap();
        assert!(secure.is_encrypted && secure.port == 443);
        assert_eq!(parse("ftp://example.org"), None);
        assert_eq!(parse("127.0.0.1:8787"), None);
        assert_eq!(parse(""), None);
    }
}
