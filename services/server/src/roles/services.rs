use std::io;
use std::sync::Arc;

use axum::serve::Listener;
use futures::Stream;
use service_api::grpc::{ServedServices, ServiceToken, incoming, serve};
use service_api::{Collaboration, History};
use service_runtime::tls::{Certificate, CertificateError, TlsListener, TlsStream};
use service_runtime::{Shutdown, TaskGroup};
use tokio::net::TcpListener;

use super::http::keep_current;

/// The listener for other services. It ends after whatever is registered later, so that rooms still
/// answer over it while they close.
pub struct Services {
    group: TaskGroup,
}

impl Services {
    /// Registers the end of it.
    pub fn register(tasks: &TaskGroup, shutdown: &mut Shutdown) -> Self {
        let group = tasks.sibling();
        let ending = group.clone();
        shutdown.register("services", async move || ending.stop().await);
        Self { group }
    }

    /// Serves what this node has on `listener`, over TLS if there is a certificate.
    pub fn serve(
        &self,
        (listener, certificate): (TcpListener, Option<&Arc<Certificate>>),
        collaboration: Option<Arc<dyn Collaboration>>,
        history: Option<Arc<dyn History>>,
        token: &ServiceToken,
    ) -> Result<(), CertificateError> {
        let services = ServedServices {
            collaboration,
            history,
            token: token.clone(),
        };
        let (tasks, stop) = (self.group.tracker(), self.group.stop_token());
        match certificate {
            None => {
                let serving = serve(incoming(listener), services, tasks, stop);
                self.group.spawn("services", serving);
            }
            Some(certificate) => {
                let config = certificate.server_config(&["h2"])?;
                let incoming = encrypted(TlsListener::new(listener, config));
                let serving = serve(incoming, services, tasks, stop);
                self.group.spawn("services", serving);
                keep_current(&self.group, certificate);
            }
        }
        Ok(())
    }
}

/// What comes in at `listener`.
fn encrypted(listener: TlsListener) -> impl Stream<Item = io::Result<TlsStream>> + Send + 'static {
    futures::stream::unfold(listener, |mut listener| async {
        let (stream, _) = listener.accept().await;
        let settled = stream.get_ref().0.set_nodelay(true);
        Some((settled.map(|()| stream), listener))
    })
}
