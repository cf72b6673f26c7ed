//! Redis, from Debian's packages, without anything on disk.

use std::os::unix::fs::symlink;

use anyhow::Context;

use super::place::Place;
use super::{Part, Server, always, nothing};
use crate::command::command;
use crate::debian;

pub const PART: Part = Part {
    name: "redis",
    process_count: 1,
    is_installed: always,
    prepare,
    settle: nothing,
    variables: |places| {
        let address = format!("redis://127.0.0.1:{}", places[0].port("server")?);
        Ok(vec![("COLLABEDIT_TEST_REDIS", address)])
    },
};

/// The server, under the name by which the tools' package has it: it does what it is called. The package
/// `redis-server` only adds that name, and a service that the system starts.
const PROGRAM: &str = "/usr/bin/redis-check-rdb";

fn prepare(places: &[Place]) -> anyhow::Result<Vec<Server>> {
    let place = &places[0];
    debian::ensure("redis-check-rdb", "redis-tools", "the presence tests")?;
    let program = place.folder.join("redis-server");
    if !program.exists() {
        symlink(PROGRAM, &program).context("the server can't be given its name")?;
    }
    let port = place.port("server")?;
    let folder = place.folder.display();
    let settings = format!(
        "bind 127.0.0.1\nport {port}\ndir {folder}\nsave \"\"\nappendonly no\ndaemonize no\n"
    );
    let settings = place.write("redis.conf", &settings)?;
    Ok(vec![Server {
        command: command(program, &[&settings.to_string_lossy()]),
        ready_text: "Ready to accept connections",
    }])
}
