use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::ws::WebSocket;
use document_types::limits::SOCKET_CLOSE_TIME_MAX;
use document_types::{ErrorCode, SessionId};
use futures::StreamExt;
use metrics::counter;
use sync_protocol::{CloseCode, WireRefusal};
use tokio::time::timeout;

use crate::Credentials;
use crate::metric_names::REFUSALS;
use crate::reader::Reader;
use crate::state::Gateway;
use crate::writer::{Writer, outbox};

/// How a socket ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// There is nobody to say anything to.
    Gone,
    /// With a close frame.
    Close {
        /// Its code.
        code: CloseCode,
        /// Its reason, at most 123 bytes.
        reason: Cow<'static, str>,
    },
}

impl End {
    /// The socket is refused with an error code.
    pub(crate) fn refused(code: ErrorCode) -> Self {
        counter!(REFUSALS, "code" => code.as_str(), "place" => "socket").increment(1);
        Self::Close {
            code: WireRefusal::of(code).close,
            reason: code.as_str().into(),
        }
    }
}

/// Serves one socket from its upgrade to its end.
pub(crate) async fn serve(
    gateway: Arc<Gateway>,
    socket: WebSocket,
    session: SessionId,
    credentials: Credentials,
) {
    let (sink, stream) = socket.split();
    let (outbox, queue) = outbox();
    let mut writer = Writer::new(sink, queue);
    let mut reader = Reader::new(gateway, stream, session, credentials, outbox);
    tracing::debug!("socket open");
    let end = tokio::select! {
        biased;
        end = writer.run() => end,
        end = reader.run() => end,
    };
    tracing::debug!(?end, "socket closing");
    // What is queued still goes out, then the close frame; then the tasks find the queue gone.
    let _ = timeout(SOCKET_CLOSE_TIME_MAX, writer.close(end)).await;
    let _ = timeout(SOCKET_CLOSE_TIME_MAX, reader.close()).await;
}
