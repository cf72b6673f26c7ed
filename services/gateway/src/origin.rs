use std::collections::BTreeSet;

use axum::http::{HeaderMap, header};

/// Which web pages may open sockets. Browsers send a page's origin with every upgrade and let any
/// page try, so this is the only defence against a foreign page using the person's network place.
/// Programs other than browsers send no origin and are not stopped by this; they need a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Pages of the host that the request names, and programs.
    SameHost,
    /// Pages of exactly these origins, as in `https://edit.example.com`, and programs.
    Exact(BTreeSet<String>),
}

impl OriginPolicy {
    /// Whether a request with these headers may open a socket.
    pub fn allows(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return true;
        };
        let (Ok(origin), None) = (origin.to_str(), origins.next()) else {
            return false;
        };
        match self {
            Self::Exact(allowed) => allowed.contains(origin),
            Self::SameHost => headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok())
                .zip(origin.split_once("://"))
                .is_some_and(|(host, (_, of_page))| host.eq_ignore_ascii_case(of_page)),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn allows(policy: &OriginPolicy, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::HOST,
            HeaderValue::from_static("edit.example.com:8080"),
        );
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        policy.allows(&headers)
    }

    #[test]
    fn an_exact_list_matches_exactly() {
        let policy = OriginPolicy::Exact(["https://edit.example.com".to_owned()].into());
        assert!(allows(&policy, Some("https://edit.example.com")));
        assert!(allows(&policy, None));
        for foreign in [
            "http://edit.example.com",
            "https://edit.example.com:8080",
            "https://edit.example.com.evil.net",
            "https://evil.net/https://edit.example.com",
            "https://EDIT.example.com",
            "https://edit.example.com/",
            "null",
            "",
        ] {
            assert!(!allows(&policy, Some(foreign)), "{foreign}");
        }
    }

    #[test]
    fn the_same_host_includes_the_port() {
        let policy = OriginPolicy::SameHost;
        assert!(allows(&policy, Some("http://edit.example.com:8080")));
        assert!(allows(&policy, Some("https://edit.example.com:8080")));
        assert!(allows(&policy, None));
        for foreign in [
            "http://edit.example.com",
            "http://localhost:8080",
            "null",
            "file://",
        ] {
            assert!(!allows(&policy, Some(foreign)), "{foreign}");
        }
    }

    #[test]
    fn two_origins_are_none() {
        let mut headers = HeaderMap::new();
        for origin in ["http://a", "http://b"] {
            headers.append(header::ORIGIN, HeaderValue::from_static(origin));
        }
        assert!(!OriginPolicy::Exact(["http://a".to_owned()].into()).allows(&headers));
    }
}
