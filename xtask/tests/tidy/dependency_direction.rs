//! Arrows point one way: services → crates → document-types, and services never import each other.

use serde_json::Value;

use crate::workspace::{assert_none, folder, members};

/// Crates of others that only some of ours may know, and which those are. Tests may know them all.
const KNOWN_ONLY_BY: &[(&str, &[&str])] = &[
    ("loro", &["crdt-document", "collabedit-sdk"]),
    ("loro-internal", &["crdt-document"]),
    ("loro-protocol", &["sync-protocol", "collabedit-sdk"]),
    ("redb", &["document-store"]),
    ("redis", &["presence-store"]),
    ("axum", &["gateway", "server", "service-runtime"]),
    ("tokio-tungstenite", &["collabedit-sdk", "gateway"]),
    ("metrics-exporter-prometheus", &["service-runtime"]),
    ("tracing-subscriber", &["service-runtime"]),
    ("opentelemetry-proto", &["traces", "trace-collector"]),
];

/// Where a package stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    /// `crates/document-types`.
    Vocabulary,
    /// The other `crates/*`.
    Crate,
    /// `services/*` but the server.
    Service,
    /// `services/server`, which puts the services together.
    Server,
    /// `clients/*`, and what drives them.
    Client,
    /// `integration-tests/*`, `benchmarks`, `xtask`: nobody depends on these.
    Tool,
}

impl Layer {
    fn of(package: &Value) -> Self {
        let folder = folder(package);
        match folder.to_str().unwrap() {
            "crates/document-types" => Self::Vocabulary,
            "services/server" => Self::Server,
            // A client as the server's command `replay` runs it.
            "crates/replay" => Self::Client,
            path if path.starts_with("crates/") => Self::Crate,
            path if path.starts_with("services/") => Self::Service,
            path if path.starts_with("clients/") => Self::Client,
            _ => Self::Tool,
        }
    }

    fn may_depend_on(self, other: Self) -> bool {
        use Layer::{Client, Crate, Server, Service, Tool, Vocabulary};
        match self {
            Vocabulary => false,
            Crate | Service => matches!(other, Vocabulary | Crate),
            Client => matches!(other, Vocabulary | Crate | Client),
            Server => matches!(other, Vocabulary | Crate | Service | Client),
            Tool => matches!(other, Vocabulary | Crate | Service | Server | Client | Tool),
        }
    }
}

fn dependencies(package: &Value) -> impl Iterator<Item = (&str, bool)> {
    package["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|dependency| {
            (
                dependency["name"].as_str().unwrap(),
                dependency["kind"].as_str() == Some("dev"),
            )
        })
}

#[test]
fn arrows_point_one_way() {
    let members = members();
    let mut complaints = Vec::new();
    for package in &members {
        let name = package["name"].as_str().unwrap();
        for (dependency, _) in dependencies(package) {
            let Some(other) = members.iter().find(|member| member["name"] == dependency) else {
                continue;
            };
            let (from, to) = (Layer::of(package), Layer::of(other));
            if !from.may_depend_on(to) {
                complaints.push(format!(
                    "{name} ({from:?}) depends on {dependency} ({to:?})"
                ));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn what_a_crate_encapsulates_no_other_crate_knows() {
    let mut complaints = Vec::new();
    for package in members() {
        let name = package["name"].as_str().unwrap();
        for (dependency, for_tests) in dependencies(package) {
            let rule = KNOWN_ONLY_BY.iter().find(|(known, _)| *known == dependency);
            let Some((_, knowers)) = rule else { continue };
            if !for_tests && Layer::of(package) != Layer::Tool && !knowers.contains(&name) {
                complaints.push(format!("{name} knows {dependency}; only {knowers:?} may"));
            }
        }
    }
    assert_none(&complaints);
}

/// Crates that only tests need.
const FOR_TESTS: [&str; 3] = ["testkit", "test-parts", "kafka-broker"];

#[test]
fn what_tests_share_is_not_in_what_ships() {
    let mut complaints = Vec::new();
    for package in members() {
        let name = package["name"].as_str().unwrap();
        let ships = Layer::of(package) != Layer::Tool && !FOR_TESTS.contains(&name);
        // Replaying a plan of edits against a server is a command of the server's, and uses the plans.
        let replays = name == "replay";
        for (dependency, for_tests) in dependencies(package) {
            let may = for_tests || (replays && dependency == "testkit");
            if ships && !may && FOR_TESTS.contains(&dependency) {
                complaints.push(format!("{name} needs {dependency} outside of its tests"));
            }
        }
    }
    assert_none(&complaints);
}
