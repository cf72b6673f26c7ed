//! A gateway and a node as processes of their own, without any other part.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use collabedit_sdk::{Client, DocumentId, Options, Trust};

fn collabedit(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_collabedit"));
    command.args(arguments);
    command
}

/// A node that runs until it is dropped, and what it says of itself.
struct Node {
    process: Child,
    says: Vec<(String, String)>,
}

impl Node {
    fn start(arguments: &[&str]) -> Self {
        let process = collabedit(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut node = Self {
            process,
            says: Vec::new(),
        };
        let output = node.process.stdout.take().unwrap();
        for line in BufReader::new(output).lines() {
            let line = line.unwrap();
            let (what, url) = line.split_once(": ").unwrap();
            node.says.push((what.to_owned(), url.to_owned()));
            if what != "Services" {
                return node;
            }
        }
        panic!("the node ended before it was ready");
    }

    fn url(&self, what: &str) -> &str {
        let said = self.says.iter().find(|(said, _)| said == what);
        &said
            .unwrap_or_else(|| panic!("{:?} without {what}", self.says))
            .1
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Neither has an effect on a process that has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn both(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn token(folder: &Path) -> String {
    let file = folder.join("token");
    std::fs::write(&file, "the-secret-of-this-test").unwrap();
    format!("services.token_file={}", file.display())
}

/// A certificate for this machine that vouches for itself, and the settings with which a node shows it to
/// clients and services, and believes others who do.
fn certificate(folder: &Path) -> (Trust, Vec<String>) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.display(), key.display());
    let settings = ["tls", "services.tls"]
        .iter()
        .flat_map(|listener| {
            [
                format!("--set={listener}.certificate_file={certificate}"),
                format!("--set={listener}.key_file={key}"),
            ]
        })
        .chain([format!("--set=services.authority_file={certificate}")]);
    (
        Trust::Authorities(made.cert.pem().into()),
        settings.collect(),
    )
}

#[tokio::test]
async fn what_is_written_at_a_gateway_is_in_the_node_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    both_have_it(folder.path(), Trust::System, &[]).await;
}

#[tokio::test]
async fn it_is_so_over_tls_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let (trust, settings) = certificate(folder.path());
    both_have_it(folder.path(), trust, &settings).await;
}

async fn both_have_it(folder: &Path, trust: Trust, tls: &[String]) {
    let (token, data) = (token(folder), folder.join("node"));
    let tls: Vec<_> = tls.iter().map(String::as_str).collect();
    let options = |url: &str| Options {
        trust: trust.clone(),
        ..Options::new(url)
    };
    let (data, token) = (
        format!("--data={}", data.display()),
        format!("--set={token}"),
    );
    let serve = [
        "serve",
        "--roles=collaboration,merger,history",
        "--listen=127.0.0.1:0",
        "--services-listen=127.0.0.1:0",
        &data,
        &token,
    ];
    let node = Node::start(&[&serve[..], &tls].concat());
    assert!(node.url("Health").ends_with("/readyz"));
    let collaboration = format!("services.collaboration=[{:?}]", node.url("Services"));
    let history = format!("services.history=[{:?}]", node.url("Services"));
    let data = folder.join("gateway");
    let settings = [
        format!("--data={}", data.display()),
        token,
        format!("--set={collaboration}"),
        format!("--set={history}"),
    ];
    let settings: Vec<_> = settings.iter().map(String::as_str).chain(tls).collect();
    let serve = ["serve", "--roles=gateway", "--listen=127.0.0.1:0"];
    let gateway = Node::start(&[&serve[..], &settings].concat());
    assert!(!data.exists(), "a gateway keeps nothing");

    let client = Client::connect(options(gateway.url("Editor").trim_end_matches('/'))).unwrap();
    let notes = client.open(&DocumentId::parse("notes").unwrap()).unwrap();
    notes.wait_caught_up().await.unwrap();
    notes.insert(0, "behind the gateway").unwrap();
    notes.wait_acknowledged().await.unwrap();
    let stream = gateway
        .url("Editor")
        .trim_end_matches('/')
        .replacen("http", "grpc", 1);
    let other = Client::connect(options(&stream)).unwrap();
    let same = other.open(&DocumentId::parse("notes").unwrap()).unwrap();
    same.wait_caught_up().await.unwrap();
    assert_eq!(same.text().unwrap(), "behind the gateway");
    // And back, more than one message takes.
    same.insert(0, &"0123456789abcde\n".repeat(40_000)).unwrap();
    same.wait_acknowledged().await.unwrap();
    let mut events = notes.subscribe();
    while notes.state_hash().unwrap() != same.state_hash().unwrap() {
        events.recv().await.unwrap();
    }
    assert_eq!(notes.text().unwrap().len(), 640_018);

    let only_that = [
        "check",
        "--set=roles=[\"gateway\"]",
        "--set=listen=127.0.0.1:0",
    ];
    let well = collabedit(&[&only_that[..], &settings].concat())
        .output()
        .unwrap();
    assert!(well.status.success(), "{}", both(&well));
    drop(node);
    let ill = collabedit(&[&only_that[..], &settings].concat())
        .output()
        .unwrap();
    let said = both(&ill);
    assert!(
        !ill.status.success() && said.contains("FAILED  collaboration node"),
        "{said}"
    );
}

#[test]
fn settings_that_make_no_node_are_refused_with_a_word_on_what_to_do() {
    for (arguments, advice) in [
        (&["serve", "--roles=gateway"][..], "services.collaboration"),
        (
            &["serve", "--roles=collaboration,gateway"],
            "log.kafka.bootstrap_servers",
        ),
        (
            &["serve", "--services-listen=127.0.0.1:0"],
            "services.token_file",
        ),
        (
            &["dev", "--set=store.foundationdb.cluster_file=none"],
            "foundationdb",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let data = format!("--data={}", folder.path().join("data").display());
        let refused = collabedit(&[arguments, &[&data]].concat())
            .output()
            .unwrap();
        let said = both(&refused).to_lowercase();
        assert!(
            !refused.status.success() && said.contains(advice),
            "{arguments:?}: {said}"
        );
    }
}
