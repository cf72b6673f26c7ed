//! Documents and harmful updates for both adapters' tests.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.
#![allow(dead_code)] // Each test binary uses a part of it.

use bytes::Bytes;
use crdt_document::{CrdtDocument, quiet_guarded_panics};
use document_types::{DocumentId, PeerId, VersionVector};
use dry_run::{DryRun, DryRunRequest, Verdict};

/// An author, whose updates are tried.
pub struct Author {
    pub document: CrdtDocument,
}

impl Author {
    pub fn new(peer: u64) -> Self {
        quiet_guarded_panics();
        Self {
            document: CrdtDocument::new(PeerId(peer)).unwrap(),
        }
    }

    pub fn types(&self, text: &str) -> Bytes {
        self.document.insert_text("content", 0, text).unwrap();
        self.document.take_local_update().unwrap().unwrap()
    }

    /// An author, a base that also holds what someone else wrote meanwhile, and its version. What the
    /// author writes next is concurrent with that.
    pub fn in_company() -> (Self, Vec<Bytes>, VersionVector) {
        let author = Self::new(1);
        author.types("hello world");
        let snapshot = author.document.export_snapshot().unwrap();
        let document = CrdtDocument::from_snapshot(&snapshot, PeerId(2)).unwrap();
        let company = Self { document };
        let meanwhile = company.types("meanwhile ");
        (author, vec![snapshot, meanwhile], company.version())
    }

    /// Inserts so many characters in the midst of the text. Where others wrote at the same time, the
    /// engine imports that in a time that grows with their square.
    pub fn pastes(&self, characters: usize) -> Bytes {
        // As a client writes it that knows nothing of pieces.
        let content = self.document.engine().get_text("content");
        content.insert(5, &"x".repeat(characters)).unwrap();
        self.document.take_local_update().unwrap().unwrap()
    }

    pub fn version(&self) -> VersionVector {
        self.document.version().unwrap()
    }

    /// A request to try `candidates` on what the author knew at `version`.
    pub fn request(
        &self,
        version: VersionVector,
        base: Option<Vec<Bytes>>,
        candidates: Vec<Bytes>,
    ) -> DryRunRequest {
        DryRunRequest {
            document: id("doc_1"),
            version,
            base,
            applied: vec![],
            styled: false,
            thorough: true,
            patient: false,
            candidates,
            suspect: false,
        }
    }
}

/// The verdicts on a request that comes to some.
pub async fn verdicts(dry_run: &dyn DryRun, request: DryRunRequest) -> Vec<Verdict> {
    dry_run.try_updates(request).await.unwrap().verdicts
}

pub fn id(name: &str) -> DocumentId {
    DocumentId::parse(name).unwrap()
}

/// A mutant that makes the engine panic, and the snapshot of the document that it follows.
pub struct Mutant {
    pub name: &'static str,
    pub snapshot: Bytes,
    pub update: Bytes,
}

macro_rules! mutant {
    ($name:literal) => {
        Mutant {
            name: $name,
            snapshot: Bytes::from_static(include_bytes!(concat!(
                "../../testdata/",
                $name,
                ".snapshot"
            ))),
            update: Bytes::from_static(include_bytes!(concat!(
                "../../testdata/",
                $name,
                ".update"
            ))),
        }
    };
}

pub fn mutants() -> Vec<Mutant> {
    vec![
        mutant!("position_beyond_the_text"),
        mutant!("element_that_never_was"),
        mutant!("history_of_another_kind"),
        mutant!("snapshot_that_does_not_load"),
    ]
}

impl Mutant {
    /// A document that holds the snapshot, and an honest author's updates on top of it.
    pub fn honest(&self, peer: u64) -> (Author, VersionVector) {
        quiet_guarded_panics();
        let document = CrdtDocument::from_snapshot(&self.snapshot, PeerId(peer)).unwrap();
        let version = document.version().unwrap();
        (Author { document }, version)
    }
}
