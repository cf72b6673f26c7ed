use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use collabedit_sdk::{Connector, Stream, TcpConnector};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Plain TCP that remembers when a client last handed bytes to the operating system: what it
/// committed before that has left its process.
#[derive(Clone, Default)]
pub(crate) struct Wire {
    last_write: Arc<Mutex<Option<Instant>>>,
}

impl Wire {
    /// When bytes were handed over last.
    pub(crate) fn last_write(&self) -> Option<Instant> {
        *self
            .last_write
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn note_write(&self) {
        let mut last_write = self
            .last_write
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last_write = Some(Instant::now());
    }
}

#[async_trait]
impl Connector for Wire {
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        let stream = TcpConnector.connect(host, port).await?;
        Ok(Box::new(WireStream {
            stream,
            wire: self.clone(),
        }))
    }
}

struct WireStream {
    stream: Box<dyn Stream>,
    wire: Wire,
}

impl AsyncRead for WireStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(1..)) = written {
            self.wire.note_write();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
