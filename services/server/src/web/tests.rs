use axum::body::to_bytes;
use axum::http::Request;
use tower::ServiceExt;

use super::*;

/// A built editor, small enough to read.
fn built() -> (tempfile::TempDir, Router) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("assets")).unwrap();
    for (name, content) in [
        ("index.html", "<title>editor</title>"),
        ("assets/app-1f3.js", "plain"),
        ("assets/app-1f3.js.gz", "gzipped"),
        ("assets/app-1f3.js.br", "brotli"),
        ("assets/engine-77.wasm", "wasm"),
        ("sw.js", "worker"),
    ] {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    let router = router(Pages::Directory(directory.path().to_owned()));
    (directory, router)
}

async fn get(router: &Router, path: &str, headers: &[(&str, &str)]) -> (Response, String) {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (
        Response::from_parts(head, Body::empty()),
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

#[tokio::test]
async fn every_document_begins_with_the_shell_which_is_asked_for_anew() {
    let (_directory, router) = built();
    for path in ["/", "/d/doc_1", "/d/notes/berlin%207"] {
        let (response, body) = get(&router, path, &[]).await;
        assert_eq!(body, "<title>editor</title>", "{path}");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-cache");
        let policy = response.headers()[CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(
            policy.contains("script-src 'self' 'wasm-unsafe-eval';"),
            "{policy}"
        );
    }
}

#[tokio::test]
async fn a_browser_gets_the_smallest_encoding_that_it_takes() {
    let (_directory, router) = built();
    for (accepted, body, encoding) in [
        ("gzip, deflate, br", "brotli", Some("br")),
        ("gzip;q=1.0, br;q=0", "gzipped", Some("gzip")),
        ("identity", "plain", None),
    ] {
        let (response, found) = get(
            &router,
            "/assets/app-1f3.js",
            &[("accept-encoding", accepted)],
        )
        .await;
        assert_eq!(found, body, "{accepted}");
        let named = response
            .headers()
            .get(CONTENT_ENCODING)
            .map(|name| name.to_str().unwrap());
        assert_eq!(named, encoding);
        assert_eq!(
            response.headers()[CONTENT_TYPE],
            "text/javascript; charset=utf-8"
        );
        assert!(
            response.headers()[CACHE_CONTROL]
                .to_str()
                .unwrap()
                .contains("immutable")
        );
    }
}

#[tokio::test]
async fn types_are_what_browsers_insist_on() {
    let (_directory, router) = built();
    let (wasm, _) = get(&router, "/assets/engine-77.wasm", &[]).await;
    assert_eq!(wasm.headers()[CONTENT_TYPE], "application/wasm");
    let (worker, _) = get(&router, "/sw.js", &[]).await;
    assert_eq!(worker.headers()[CACHE_CONTROL], "no-cache");
}

#[tokio::test]
async fn what_a_browser_has_is_not_sent_again() {
    let (_directory, router) = built();
    let (first, _) = get(&router, "/", &[]).await;
    let tag = first.headers()[ETAG].to_str().unwrap();
    let (second, body) = get(&router, "/", &[("if-none-match", tag)]).await;
    assert_eq!(
        (second.status(), body.as_str()),
        (StatusCode::NOT_MODIFIED, "")
    );
}

#[tokio::test]
async fn no_path_leads_out_of_the_directory() {
    let (directory, _) = built();
    let inner = router(Pages::Directory(directory.path().join("assets")));
    for path in ["/../index.html", "/./../index.html", "//etc/hostname"] {
        assert_eq!(
            get(&inner, path, &[]).await.0.status(),
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}

#[tokio::test]
async fn without_the_editor_the_page_says_how_to_build_it() {
    let nothing = tempfile::tempdir().unwrap();
    let router = router(Pages::Directory(nothing.path().to_owned()));
    let (response, body) = get(&router, "/d/doc_1", &[]).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(body.contains("cargo xtask dev"), "{body}");
    assert_eq!(
        get(&router, "/assets/app.js", &[]).await.0.status(),
        StatusCode::NOT_FOUND
    );
}
