//! What the server says a document is, over its HTTP interface.

use std::collections::BTreeMap;
use std::io;

use document_types::limits::REPLAY_ANSWER_BYTES_MAX;
use document_types::{Counter, DocumentId};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

/// Why the server did not say.
#[derive(Debug, thiserror::Error)]
pub enum ServerStateError {
    /// The URL is not of the kind `http://host:port`.
    #[error("the server's URL {url:?} is not of the kind http://host:port")]
    Url {
        /// What was given.
        url: String,
    },
    /// The server can't be reached.
    #[error("the server can't be reached")]
    Connect(#[from] io::Error),
    /// The exchange broke off.
    #[error("the exchange with the server failed")]
    Exchange(#[from] hyper::Error),
    /// The server answered with another status than 200.
    #[error("the server answered {status}: {body}")]
    Status {
        /// The status.
        status: StatusCode,
        /// What it said.
        body: String,
    },
    /// The answer is too large, or broke off.
    #[error("the server's answer could not be read: {reason}")]
    Body {
        /// Why.
        reason: String,
    },
    /// The answer is not what it should be.
    #[error("the server's answer is not a document's state")]
    Format(#[from] serde_json::Error),
}

/// A document as the server has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ServerState {
    /// Its text.
    pub text: String,
    /// The operations that it knows: peer ids and the ends of their operations.
    pub version: BTreeMap<String, Counter>,
    /// Its state hash.
    pub state_hash: String,
}

/// Asks the server at `url` what `document` is: `GET /v1/documents/{id}/text`.
///
/// # Errors
/// [`ServerStateError`].
pub async fn fetch(url: &str, document: &DocumentId) -> Result<ServerState, ServerStateError> {
    let path = format!("/v1/documents/{}/text", escaped(document.as_str()));
    Ok(serde_json::from_slice(&get(url, &path).await?)?)
}

/// What the server at `url` has at `path`, as JSON if it has it so.
///
/// # Errors
/// [`ServerStateError`], of any other status than 200 too.
pub async fn get(url: &str, path: &str) -> Result<Bytes, ServerStateError> {
    let wrong = || ServerStateError::Url {
        url: url.to_owned(),
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    let port = authority.port_u16().unwrap_or(80);
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let stream = TcpStream::connect((host, port)).await?;
    let (mut requests, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(HOST, authority.as_str())
        .header(ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|_| wrong())?;
    let exchange = async {
        let response = requests.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), REPLAY_ANSWER_BYTES_MAX)
            .collect()
            .await;
        Ok::<_, ServerStateError>((status, body))
    };
    // The connection carries the exchange, and is over with it.
    let (status, body) = tokio::select! {
        done = exchange => done?,
        failed = connection => {
            failed?;
            return Err(ServerStateError::Body { reason: "it broke off".to_owned() });
        }
    };
    let body = body
        .map_err(|error| ServerStateError::Body {
            reason: if error.is::<LengthLimitError>() {
                format!("it has more than {REPLAY_ANSWER_BYTES_MAX} bytes")
            } else {
                error.to_string()
            },
        })?
        .to_bytes();
    if status != StatusCode::OK {
        let body = String::from_utf8_lossy(&body).into_owned();
        return Err(ServerStateError::Status { status, body });
    }
    Ok(body)
}

/// A path segment, RFC 3986 section 2.1.
fn escaped(segment: &str) -> String {
    segment
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_any_name_is_one_path_segment() {
        assert_eq!(escaped("doc_1"), "doc_1");
        assert_eq!(escaped("notes/ü 7"), "notes%2F%C3%BC%207");
    }
}
