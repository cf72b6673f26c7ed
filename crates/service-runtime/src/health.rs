use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::watch;

type Waiting = BTreeMap<&'static str, Option<String>>;

/// Which components of a process are ready to serve.
///
/// `/healthz` answers as long as the process can answer anything: whoever restarts processes asks
/// there. `/readyz` answers 200 only when every component is ready, and names those that are not:
/// whoever sends traffic asks there.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// What each component still waits for; `None` is ready.
    waiting: Arc<watch::Sender<Waiting>>,
}

impl Health {
    /// A process without components, which is ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a component, not ready at first because it waits for `reason`.
    pub fn component(&self, name: &'static str, reason: &str) -> ReadinessHandle {
        let handle = ReadinessHandle {
            health: self.clone(),
            name,
        };
        handle.not_ready(reason);
        handle
    }

    /// The components that are not ready, and what each waits for.
    pub fn waiting(&self) -> BTreeMap<&'static str, String> {
        let waiting = self.waiting.borrow();
        waiting
            .iter()
            .filter_map(|(name, why)| Some((*name, why.clone()?)))
            .collect()
    }

    /// Waits until every component is ready.
    pub async fn ready(&self) {
        let mut waiting = self.waiting.subscribe();
        let all_ready = |waiting: &Waiting| waiting.values().all(Option::is_none);
        // The sender lives in `self`, so the channel can't close meanwhile.
        let _ = waiting.wait_for(all_ready).await;
    }

    /// The routes `/healthz` and `/readyz`.
    pub fn router(&self) -> Router {
        let health = self.clone();
        Router::new().route("/healthz", get(async || "ok\n")).route(
            "/readyz",
            get(move || std::future::ready(health.readiness())),
        )
    }

    fn readiness(&self) -> Response {
        let waiting = self.waiting();
        let status = if waiting.is_empty() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let body = serde_json::json!({ "ready": waiting.is_empty(), "waiting": waiting });
        (status, Json(body)).into_response()
    }

    fn set(&self, name: &'static str, waits_for: Option<String>) {
        self.waiting
            .send_modify(|waiting| drop(waiting.insert(name, waits_for)));
    }
}

/// Says whether one component is ready.
#[derive(Clone, Debug)]
pub struct ReadinessHandle {
    health: Health,
    name: &'static str,
}

impl ReadinessHandle {
    /// The component is ready.
    pub fn ready(&self) {
        self.health.set(self.name, None);
    }

    /// The component is not ready because of `reason`.
    pub fn not_ready(&self, reason: &str) {
        self.health.set(self.name, Some(reason.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    async fn get(health: &Health, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = health.router().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 4096).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_names_what_is_not_ready_and_liveness_does_not_care() {
        let health = Health::new();
        let log = health.component("log", "recovering");
        let merger = health.component("merger", "600 records behind");
        log.ready();

        let (status, body) = get(&health, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("\"merger\":\"600 records behind\""), "{body}");
        assert!(!body.contains("log"), "{body}");
        assert_eq!(get(&health, "/healthz").await.0, StatusCode::OK);

        let (waiter, waits) = (health.clone(), async { merger.ready() });
        tokio::join!(waiter.ready(), waits);
        assert_eq!(get(&health, "/readyz").await.0, StatusCode::OK);

        log.not_ready("draining");
        assert_eq!(
            get(&health, "/readyz").await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
}
