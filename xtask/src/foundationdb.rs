//! The document store in FoundationDB, whose client library and server no registry has: what can be
//! checked without them is checked in every run, and the rest where somebody has installed them.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::command::{cargo, command, output, run};
use crate::parts;
use crate::steps::Step;

/// The tests in a real cluster. They are no part of an ordinary run, which has no cluster.
pub const LIVE: Step = Step {
    name: "foundationdb",
    shows: "the store in a real FoundationDB cluster: conformance, conflicts, several processes, and \
            deployments over it and Kafka that are killed, the cluster and the brokers included",
    needs: &[],
    mostly_waits: false,
    run: test_live,
};

/// The feature, in all crates that have it.
const FEATURES: [&str; 2] = [
    "--features",
    "document-store/foundationdb,server/foundationdb,crash/foundationdb",
];
/// What `cargo xtask parts` calls a cluster of its own.
const PART: &str = "foundationdb";
/// The cluster file; FoundationDB's own tools know it by this name.
const CLUSTER_FILE: &str = "FDB_CLUSTER_FILE";
/// The folder of the client library, if the linker does not look there by itself.
const LIBRARY_FOLDER: &str = "FDB_CLIENT_LIB_PATH";

/// The features with which a linter sees the adapter, the server and the tests over it: that takes no
/// client library. Says what is not looked at, and that nothing is tested.
pub fn lintable_features() -> &'static [&'static str] {
    println!(
        "The tests in a real FoundationDB cluster are skipped. To run them: {CLUSTER_FILE}=FILE \
         {LIBRARY_FOLDER}=FOLDER cargo xtask test --foundationdb"
    );
    if has_libclang() {
        return &FEATURES;
    }
    println!(
        "libclang is missing, with which FoundationDB's bindings are made: its adapter is NOT checked.\n\
         On Debian: apt-get install libclang1 (or set LIBCLANG_PATH to its folder)"
    );
    &[]
}

fn test_live() -> anyhow::Result<()> {
    let mut parts = vec!["kafka", "kafka-cluster"];
    if env::var_os(CLUSTER_FILE).is_some() {
        println!("{CLUSTER_FILE} names somebody's cluster, which is used and not killed");
    } else if parts::is_installed(PART)? {
        parts.push(PART);
    } else {
        bail!(
            "there is no FoundationDB 7.3: put its fdbserver and fdbcli into the PATH, or start one and \
             name its cluster file in {CLUSTER_FILE}. The client library, libfdb_c.so, has to be where \
             the linker looks, or in {LIBRARY_FOLDER}"
        );
    }
    let test = ["test", "--locked", "--no-fail-fast"];
    let adapter = ["--package", "document-store", "--features", "foundationdb"];
    let units = ["--lib", "foundationdb::"];
    run(with_library(cargo(
        &[&test[..], &adapter, &units].concat(),
    ))?)?;
    // The server is built with a test of its own, and so with what the others are built with.
    let all = ["--workspace", "--exclude", "xtask"];
    let all = [&test[..], &all, &FEATURES].concat();
    let server = ["--test", "binary", "--no-run"];
    run(with_library(cargo(&[&all[..], &server].concat()))?)?;
    parts::with(&parts, |variables| {
        let live = ["--test", "foundationdb*"];
        let mut test = with_library(cargo(&[&all[..], &live].concat()))?;
        test.envs(variables.iter().map(|(name, value)| (name, value)));
        run(test)
    })
}

/// Lets the linker and the loader find the client library. The bindings' build script reads the folder as
/// well, but does not run again when it has changed.
fn with_library(mut command: Command) -> anyhow::Result<Command> {
    if let Some(folder) = env::var_os(LIBRARY_FOLDER) {
        for variable in ["LIBRARY_PATH", "LD_LIBRARY_PATH"] {
            let others = env::var_os(variable).unwrap_or_default();
            let folders = [Path::new(&folder).to_owned()]
                .into_iter()
                .chain(env::split_paths(&others));
            command.env(variable, env::join_paths(folders)?);
        }
    }
    Ok(command)
}

/// Whether bindgen will find libclang, by what it looks at first: its variable, what LLVM says of
/// itself, and what the loader knows.
fn has_libclang() -> bool {
    if env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let folder = output(command("llvm-config", &["--libdir"]));
    let in_folder = folder.is_some_and(|folder| {
        let entries = fs::read_dir(folder.trim()).into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.any(|name| is_libclang(&name))
    });
    let known = || {
        ["ldconfig", "/sbin/ldconfig"]
            .into_iter()
            .find_map(|program| output(command(program, &["-p"])))
            .is_some_and(|libraries| libraries.split_whitespace().any(is_libclang))
    };
    in_folder || known()
}

/// Whether a file is libclang, under one of the names that bindgen looks for: `libclang.so`,
/// `libclang.so.1`, `libclang-14.so.1`, but not `libclang-cpp.so.14`, which is something else.
fn is_libclang(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("libclang") else {
        return false;
    };
    let version = rest.strip_prefix('-').unwrap_or_default();
    rest.starts_with(".so") || (version.starts_with(char::is_numeric) && version.contains(".so"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libclang_is_told_from_what_is_called_like_it() {
        for name in [
            "libclang.so",
            "libclang.so.1",
            "libclang-14.so.1",
            "libclang-16.so.16.0.6",
        ] {
            assert!(is_libclang(name), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclangAST.a", "libLLVM-14.so.1", ""] {
            assert!(!is_libclang(name), "{name}");
        }
    }
}
