//! Keeps foreign pages out of a node that serves its own machine only.
//!
//! Such a node lets everybody write, since nobody else can reach it. But a page of a foreign site can
//! have its name resolve to 127.0.0.1 and is then, for the browser, of the same host as this node. So
//! a node on a loopback address answers only to names that nobody else can give out.

use std::net::IpAddr;

use axum::Router;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};

/// The routes, guarded if the node listens on a loopback address.
pub fn guard(routes: Router, listens_on: IpAddr) -> Router {
    if listens_on.is_loopback() {
        routes.layer(from_fn(refuse_foreign_names))
    } else {
        routes
    }
}

async fn refuse_foreign_names(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    let host = host.map(|host| host.to_str().unwrap_or_default());
    // HTTP/2 has it in the address.
    let host = host.or(request.uri().authority().map(Authority::as_str));
    // A request without a host is HTTP/1.0, which no browser speaks.
    if host.is_none_or(is_local) {
        return next.run(request).await;
    }
    let advice = "this server is for its own machine; open it as localhost or 127.0.0.1\n";
    (StatusCode::MISDIRECTED_REQUEST, advice).into_response()
}

/// Addresses resolve to nothing else, and `localhost` to nothing but loopback (RFC 6761).
fn is_local(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    let address = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    address.is_ok() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_else_gives_out_are_local() {
        for local in [
            "localhost",
            "localhost:8787",
            "127.0.0.1:1",
            "[::1]:80",
            "a.localhost",
        ] {
            assert!(is_local(local), "{local}");
        }
        for foreign in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
        ] {
            assert!(!is_local(foreign), "{foreign}");
        }
    }
}
