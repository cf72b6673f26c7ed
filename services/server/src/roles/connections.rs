use std::convert::Infallible;
use std::pin::pin;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::serve::Listener;
use document_types::limits::{
    HTTP_HEADER_BYTES_MAX, HTTP_HEADER_TIME_MAX, HTTP_STREAMS_PER_CONNECTION_MAX,
    SERVICE_KEEPALIVE_INTERVAL, SERVICE_KEEPALIVE_TIME_MAX,
};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use service_runtime::TaskGroup;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Serves `routes` to whoever connects at `listener`, until the group is stopped; what is being answered then
/// is answered. Whoever says too little, too slowly or too much before the routes see a request is cut off:
/// axum's own loop sets no bounds there.
pub async fn serve<L>(mut listener: L, routes: Router, group: TaskGroup) -> Result<(), Infallible>
where
    L: Listener,
{
    let stop = group.stop_token();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_HEADER_TIME_MAX)
        .max_buf_size(HTTP_HEADER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP_STREAMS_PER_CONNECTION_MAX)
        .max_header_list_size(HTTP_HEADER_BYTES_MAX.try_into().unwrap_or(u32::MAX))
        .keep_alive_interval(SERVICE_KEEPALIVE_INTERVAL)
        .keep_alive_timeout(SERVICE_KEEPALIVE_TIME_MAX);
    let graceful = GracefulShutdown::new();
    loop {
        let (stream, _) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let asked = CancellationToken::new();
        let asking = asked.clone();
        let routes = routes
            .clone()
            .map_request(move |request: Request<Incoming>| {
                asking.cancel();
                request.map(Body::new)
            });
        let service = TowerToHyperService::new(routes);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let connection = graceful.watch(connection.into_owned());
        group.tracker().spawn(async move {
            let mut connection = pin!(connection);
            // Hyper's own timer begins only when it knows by what came which HTTP is spoken.
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = asked.cancelled() => connection.await,
                () = sleep(HTTP_HEADER_TIME_MAX) => return,
            };
            if let Err(error) = ended {
                // Whoever tries doors does that all day.
                tracing::debug!(error, "a connection failed");
            }
        });
    }
    // The listener is closed first, so that nobody waits there in vain.
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}
