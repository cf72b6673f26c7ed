//! The editor's pages, from the binary or from a directory.
//!
//! The build leaves `app.js`, `app.js.br` and `app.js.gz` beside one another, and names what is below
//! `assets/` by its content; so nothing is compressed here, and browsers keep what can't change.

mod pages;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, response};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use pages::Page;
pub use pages::Pages;

/// The page that every address of the editor begins with.
const SHELL: &str = "index.html";
/// Below here a file's name changes with its content.
const IMMUTABLE: &str = "assets/";
/// What pages may do: run our own scripts and the engine's WebAssembly, talk to this server, and
/// nothing else. CodeMirror writes its styles into the page, hence the styles' exception.
const POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";
/// What is shown where the editor is not there.
const NOT_BUILT: &str = include_str!("web/not_built.html");

/// The routes of the editor: the application at `/` and `/d/{document}`, its files elsewhere.
pub fn router(pages: Pages) -> Router {
    Router::new()
        .route("/", get(shell))
        .route("/d/{*document}", get(shell))
        .fallback(get(file))
        .with_state(Arc::new(pages))
}

async fn shell(State(pages): State<Arc<Pages>>, headers: HeaderMap) -> Response {
    match find(&pages, SHELL, &headers).await {
        Some(response) => response,
        None => (StatusCode::NOT_FOUND, Html(NOT_BUILT)).into_response(),
    }
}

async fn file(State(pages): State<Arc<Pages>>, uri: Uri, headers: HeaderMap) -> Response {
    let name = uri.path().trim_start_matches('/');
    match find(&pages, name, &headers).await {
        Some(response) => response,
        None => (StatusCode::NOT_FOUND, "there is nothing at this address\n").into_response(),
    }
}

/// The page, in the smallest encoding that is there and that the browser takes.
async fn find(pages: &Pages, name: &str, request: &HeaderMap) -> Option<Response> {
    for (encoding, suffix) in [("br", ".br"), ("gzip", ".gz")] {
        if accepts(request, encoding)
            && let Some(page) = pages.get(&format!("{name}{suffix}")).await
        {
            return Some(respond(name, page, Some(encoding), request));
        }
    }
    Some(respond(name, pages.get(name).await?, None, request))
}

fn respond(
    name: &str,
    page: Page,
    encoding: Option<&'static str>,
    request: &HeaderMap,
) -> Response {
    let mut response = response::Builder::new()
        .header(CONTENT_TYPE, content_type(name))
        .header(VARY, "accept-encoding")
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        // An address names its document, which is nobody else's business.
        .header(REFERRER_POLICY, "no-referrer")
        .header(CONTENT_SECURITY_POLICY, POLICY);
    let cached = if name.starts_with(IMMUTABLE) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    response = response
        .header(CACHE_CONTROL, cached)
        .header(ETAG, &page.tag);
    if request
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known == page.tag)
    {
        let unchanged = response
            .status(StatusCode::NOT_MODIFIED)
            .body(Body::empty());
        return unchanged.expect("every header here is printable");
    }
    if let Some(encoding) = encoding {
        response = response.header(CONTENT_ENCODING, encoding);
    }
    response
        .body(Body::from(page.content))
        .expect("every header here is printable")
}

/// Whether the browser takes `encoding`; a quality of 0 is a refusal (RFC 9110, 12.5.3).
fn accepts(request: &HeaderMap, encoding: &str) -> bool {
    let accepted = request
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|choice| {
        let (name, quality) = choice.split_once(';').unwrap_or((choice, ""));
        let quality = quality.trim().strip_prefix("q=").map(str::parse::<f32>);
        name.trim().eq_ignore_ascii_case(encoding) && quality != Some(Ok(0.0))
    })
}

fn content_type(name: &str) -> HeaderValue {
    HeaderValue::from_static(
        match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
            "html" => "text/html; charset=utf-8",
            "js" | "mjs" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "json" | "map" => "application/json",
            "webmanifest" => "application/manifest+json",
            "wasm" => "application/wasm",
            "svg" => "image/svg+xml",
            "png" => "image/png",
            "ico" => "image/x-icon",
            "woff2" => "font/woff2",
            "txt" => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        },
    )
}

#[cfg(test)]
mod tests;
