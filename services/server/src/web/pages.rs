use std::path::{Component, Path, PathBuf};

use axum::http::HeaderValue;
use bytes::Bytes;
use document_types::Digest;
use rust_embed::Embed;

/// The editor as it was built when this program was compiled; empty if it was not.
#[derive(Embed)]
#[folder = "../../clients/web-editor/dist"]
#[allow_missing = true]
struct Embedded;

/// Where pages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pages {
    /// The binary.
    Embedded,
    /// This directory, read at each request: for those who work on the pages.
    Directory(PathBuf),
}

/// One file for a browser.
pub(super) struct Page {
    pub content: Bytes,
    /// Another one for other content.
    pub tag: HeaderValue,
}

impl Pages {
    /// The file of this name, if there is one.
    pub(super) async fn get(&self, name: &str) -> Option<Page> {
        let content = match self {
            Self::Embedded => match Embedded::get(name)?.data {
                std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                std::borrow::Cow::Owned(bytes) => Bytes::from(bytes),
            },
            Self::Directory(directory) => {
                // Nothing but names: no way up and out of the directory.
                let inside = |part: Component| matches!(part, Component::Normal(_));
                let path = Path::new(name);
                if !path.components().all(inside) {
                    return None;
                }
                Bytes::from(tokio::fs::read(directory.join(path)).await.ok()?)
            }
        };
        let tag = HeaderValue::from_str(&format!("\"{}\"", Digest::of(&content)));
        Some(Page {
            tag: tag.expect("a digest is hexadecimal"),
            content,
        })
    }
}
