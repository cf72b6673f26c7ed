//! A FoundationDB cluster of one process, where FoundationDB is installed.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::place::Place;
use super::{Part, Server};
use crate::command::{command, output};

/// Its server and its command line are in no package registry, and have to be in the PATH.
pub const PART: Part = Part {
    name: "foundationdb",
    process_count: 1,
    is_installed: || output(command("fdbserver", &["--version"])).is_some(),
    prepare,
    settle,
    variables: |places| Ok(vec![("FDB_CLUSTER_FILE", cluster_file(&places[0]))]),
};

/// How long the cluster may take until it answers, with the recovery of what it has stored.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

fn cluster_file(place: &Place) -> String {
    let file = place.folder.join("fdb.cluster");
    file.to_string_lossy().into_owned()
}

fn prepare(places: &[Place]) -> anyhow::Result<Vec<Server>> {
    let place = &places[0];
    let address = format!("127.0.0.1:{}", place.port("server")?);
    place.write("fdb.cluster", &format!("collabedit:parts@{address}\n"))?;
    let folder = |name: &str| place.folder.join(name).to_string_lossy().into_owned();
    let arguments = [
        "--cluster-file",
        &cluster_file(place),
        "--public-address",
        &address,
        "--datadir",
        &folder("data"),
        "--logdir",
        &folder("data"),
        // It takes what it is given; by default that is 8 GiB.
        "--memory",
        "4GiB",
        "--cache-memory",
        "256MiB",
    ];
    Ok(vec![Server {
        command: command("fdbserver", &arguments),
        ready_text: "FDBD joined cluster.",
    }])
}

/// Makes the database, if there is none yet, and waits until it answers.
fn settle(places: &[Place]) -> anyhow::Result<()> {
    let place = &places[0];
    let started = Instant::now();
    loop {
        if ask(place, "status minimal").contains("The database is available") {
            println!(
                "{}: answers after {:.1} s",
                place.name,
                started.elapsed().as_secs_f64()
            );
            return Ok(());
        }
        if started.elapsed() > ANSWER_TIME_MAX {
            bail!(
                "FoundationDB does not answer; it says: {}",
                ask(place, "status details")
            );
        }
        // Refused where there is a database.
        ask(place, "configure new single ssd");
        sleep(CHECK_INTERVAL);
    }
}

/// What `fdbcli` says of this.
fn ask(place: &Place, what: &str) -> String {
    let file = cluster_file(place);
    let arguments = ["-C", &file, "--timeout", "5", "--exec", what];
    output(command("fdbcli", &arguments)).unwrap_or_default()
}
