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
///
/// Nearly all sockets are idle nearly always, so what only a moment needs is in a box of that moment:
/// a future has room for all that it may ever hold, and for its arguments twice. So the parts are made
/// before the future, and what is rare or short in it is boxed.
pub(crate) fn serve(
    gateway: Arc<Gateway>,
    socket: WebSocket,
    session: SessionId,
    credentials: Credentials,
) -> impl Future<Output = ()> + Send {
    let (sink, stream) = socket.split();
    let (outbox, queue) = outbox();
    let mut writer = Writer::new(sink, queue);
    let mut reader = Reader::new(gateway, stream, session, credentials, outbox);
    Box::pin(async move {
        tracing::debug!("socket open");
        let end = tokio::select! {
            biased;
            end = writer.run() => end,
            end = reader.run() => end,
        };
        tracing::debug!(?end, "socket closing");
        // What is queued still goes out, then the close frame; then the tasks find the queue gone.
        let closing = Box::pin(writer.close(end));
        let _ = timeout(SOCKET_CLOSE_TIME_MAX, closing).await;
        drop(writer);
        let closing = Box::pin(reader.close());
        let _ = timeout(SOCKET_CLOSE_TIME_MAX, closing).await;
    })
}
