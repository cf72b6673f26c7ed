//! The binary, as people and orchestrators meet it.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use collabedit_sdk::{Client, DocumentId, Options};
use serde_json::{Value, json};

fn collabedit(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_collabedit"));
    command.args(arguments);
    command
}

/// A server that runs until it is stopped or dropped.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(data: &Path) -> Self {
        let data = data.to_str().unwrap();
        let mut process = collabedit(&["dev", "--listen", "127.0.0.1:0", "--data", data])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim_end().strip_prefix("Editor: http://");
        let address = address.and_then(|rest| rest.strip_suffix('/'));
        let address = address.unwrap_or_else(|| panic!("{line:?} is not the editor's line"));
        Self {
            address: address.parse().unwrap(),
            process,
        }
    }

    fn get(&self, path: &str) -> String {
        self.get_as(path, &self.address.to_string())
    }

    fn get_as(&self, path: &str, host: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        String::from_utf8_lossy(&response).into_owned()
    }

    /// Asks it to stop, as an orchestrator does, and waits until it has.
    fn stop(mut self) -> Option<i32> {
        let id = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        self.process.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Neither has an effect on a process that has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn error_of(output: &Output) -> String {
    assert!(!output.status.success(), "it should have failed");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn output_of(output: Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn it_prints_its_address_serves_and_ends_in_order() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    assert!(server.get("/healthz").starts_with("HTTP/1.1 200"));
    let ready = server.get("/readyz");
    assert!(
        ready.starts_with("HTTP/1.1 200") && ready.contains("\"ready\":true"),
        "{ready}"
    );
    let metrics = server.get("/metrics");
    assert!(
        metrics.contains("collabedit_build_info{version="),
        "{metrics}"
    );
    assert!(server.get("/d/doc_1").contains("<!doctype html>"));
    assert_eq!(server.stop(), Some(0));
    assert!(data.path().join("FORMAT").is_file());
}

#[test]
fn it_starts_again_where_it_ended_and_where_it_was_killed() {
    let data = tempfile::tempdir().unwrap();
    assert_eq!(Server::start(data.path()).stop(), Some(0));
    drop(Server::start(data.path()));
    assert_eq!(Server::start(data.path()).stop(), Some(0));
}

#[test]
fn a_data_directory_has_one_server() {
    let data = tempfile::tempdir().unwrap();
    let _first = Server::start(data.path());
    let arguments = [
        "dev",
        "--listen",
        "127.0.0.1:0",
        "--data",
        data.path().to_str().unwrap(),
    ];
    let error = error_of(&collabedit(&arguments).output().unwrap());
    assert!(
        error.contains("another process uses the data directory"),
        "{error}"
    );
}

#[test]
fn an_address_that_is_taken_fails_at_once_and_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let arguments = [
        "dev",
        "--listen",
        &address,
        "--data",
        data.path().to_str().unwrap(),
    ];
    let error = error_of(&collabedit(&arguments).output().unwrap());
    assert!(
        error.contains(&format!("can't listen on {address}")),
        "{error}"
    );
    assert!(
        !data.path().join("FORMAT").exists(),
        "it worked before it listened"
    );
}

#[test]
fn a_name_that_others_give_out_gets_no_answer_from_a_local_server() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    assert!(
        server
            .get_as("/", "evil.example")
            .starts_with("HTTP/1.1 421")
    );
    assert!(
        server
            .get_as("/healthz", "localhost:1")
            .starts_with("HTTP/1.1 200")
    );
}

#[test]
fn the_log_is_shown_while_a_server_writes_it_and_afterwards() {
    let data = tempfile::tempdir().unwrap();
    let show = || {
        let directory = data.path().to_str().unwrap();
        collabedit(&["log", "show", "notes", "--data", directory])
            .output()
            .unwrap()
    };
    let error = error_of(&show());
    assert!(error.contains("no file FORMAT"), "{error}");
    let server = Server::start(data.path());
    assert_eq!(output_of(show()), "");
    assert_eq!(server.stop(), Some(0));
    assert_eq!(output_of(show()), "");
}

#[tokio::test]
async fn the_log_shows_who_wrote_what_and_on_top_of_what() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let client = Client::connect(Options::new(format!("http://{}", server.address))).unwrap();
    let notes = client.open(&DocumentId::parse("notes").unwrap()).unwrap();
    notes.wait_caught_up().await.unwrap();
    for (position, text) in [(0, "hello"), (5, " world")] {
        notes.insert(position, text).unwrap();
        notes.wait_acknowledged().await.unwrap();
    }
    notes.delete(0, 11).unwrap();
    notes.wait_acknowledged().await.unwrap();

    let directory = data.path().to_str().unwrap();
    let shown = collabedit(&["log", "show", "notes", "--data", directory])
        .output()
        .unwrap();
    let records: Vec<Value> = output_of(shown)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // What was written before the deletion is still there, as it was written.
    let texts: Vec<_> = records
        .iter()
        .map(|record| record["text"].as_str())
        .collect();
    assert_eq!(texts, [Some("hello"), Some(" world"), None], "{records:#?}");
    assert_eq!(records[2]["kinds"], json!(["delete"]));
    assert_eq!(records[1]["span"]["start"], 5);
    assert_eq!(records[1]["span"]["peer"], notes.peer().to_string());
    for record in &records {
        assert_eq!(record["author"], "usr_local");
        assert!(
            record["op_id"].as_str().unwrap().ends_with("@1"),
            "{record}"
        );
        assert_eq!(record["digest"].as_str().unwrap().len(), 64);
    }

    let from = records[1]["offset"].to_string();
    let later = ["log", "show", "notes", "--data", directory, "--from", &from];
    let later = output_of(collabedit(&later).output().unwrap());
    assert_eq!(later.lines().count(), 2);
    assert!(later.contains("\"text\":\" world\""), "{later}");
}

#[test]
fn settings_are_shown_with_their_origin_and_misspelt_ones_are_refused() {
    let shown = collabedit(&["config", "show", "--set", "node=7"])
        .env("COLLABEDIT_STORE_CACHE_BYTES", "1000000")
        .output()
        .unwrap();
    let shown = output_of(shown);
    assert!(
        shown.contains("node = 7  # from the flag for node"),
        "{shown}"
    );
    let from_environment =
        "cache_bytes = 1000000  # from the environment variable COLLABEDIT_STORE_CACHE_BYTES";
    assert!(shown.contains(from_environment), "{shown}");

    let mut misspelt = collabedit(&["config", "show"]);
    let error = error_of(&misspelt.env("COLLABEDIT_LISTN", "x").output().unwrap());
    assert!(
        error.contains("did you mean `COLLABEDIT_LISTEN`?"),
        "{error}"
    );
}

#[test]
fn help_teaches_by_examples() {
    let help = output_of(collabedit(&["--help"]).output().unwrap());
    for example in [
        "collabedit dev ",
        "collabedit log show ",
        "collabedit config show ",
    ] {
        assert!(help.contains(example), "{help}");
    }
    assert!(!help.contains("dry-run-worker"), "{help}");
}
