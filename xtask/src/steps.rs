use std::process::Command;

use crate::command::{cargo, command, output, run};
use crate::{debian, foundationdb, go, parts, web};

/// One thing that `cargo xtask test` does.
pub struct Step {
    /// What it is called in `--list`, `--only` and the summary.
    pub name: &'static str,
    /// What it shows when it passes.
    pub shows: &'static str,
    /// Steps that have to pass before it can run.
    pub needs: &'static [&'static str],
    /// Whether it waits more than it computes, so that the steps behind it need not wait for it.
    pub mostly_waits: bool,
    /// Does it.
    pub run: fn() -> anyhow::Result<()>,
}

/// All steps, in the order in which they run: the quick ones first, each after what it needs.
pub const STEPS: &[Step] = &[
    Step {
        name: "format",
        shows: "Rust sources are formatted",
        needs: &[],
        mostly_waits: false,
        run: || run(cargo(&["fmt", "--all", "--check"])),
    },
    Step {
        name: "tidy",
        shows: "house rules: dependency direction, files, manifests, licences, documents' links",
        needs: &[],
        mostly_waits: false,
        run: || {
            run(cargo(&[
                "test",
                "--quiet",
                "--locked",
                "--package",
                "xtask",
            ]))
        },
    },
    Step {
        name: "advisories",
        shows: "no dependency has a known vulnerability (where cargo-deny is installed)",
        needs: &[],
        mostly_waits: false,
        run: advisories,
    },
    Step {
        name: "lint",
        shows: "clippy has nothing to say, of the FoundationDB adapter neither (where libclang is)",
        needs: &[],
        mostly_waits: false,
        run: lint,
    },
    Step {
        name: "proto",
        shows: "buf has nothing to say of the gRPC API",
        needs: &[],
        mostly_waits: false,
        run: || {
            let buf = go::install("github.com/bufbuild/buf/cmd/buf", "v1.57.2")?;
            run(command(buf, &["lint", "proto"]))
        },
    },
    Step {
        name: "web-packages",
        shows: "npm packages install from the lock file",
        needs: &[],
        mostly_waits: false,
        run: web::install_packages,
    },
    Step {
        name: "web-check",
        shows: "TypeScript and Svelte sources are formatted, linted and type-checked",
        needs: &["web-packages"],
        mostly_waits: false,
        run: || web::run_script("check"),
    },
    Step {
        name: "web-unit",
        shows: "TypeScript unit tests, golden vectors included",
        needs: &["web-packages"],
        mostly_waits: false,
        run: || web::run_script("test"),
    },
    Step {
        name: "web-editor",
        shows: "the web editor builds",
        needs: &["web-packages"],
        mostly_waits: false,
        run: web::build_editor,
    },
    Step {
        name: "server",
        shows: "the server builds, with the editor in it, and so do all Rust tests",
        needs: &["web-editor"],
        mostly_waits: false,
        run: || run(rust_tests(&["--no-run"])),
    },
    Step {
        name: "kafka",
        shows: "the log in real Kafka brokers: conformance, kills, recovery, nodes that share it",
        needs: &["server"],
        mostly_waits: true,
        run: kafka,
    },
    Step {
        name: "rust",
        shows: "every Rust test: units, conformance suites, simulation, crashes, the real binary",
        needs: &["server"],
        mostly_waits: false,
        run: || run(rust_tests(&[])),
    },
    Step {
        name: "s3",
        shows: "blobs and attachments in a real S3 server: conformance, kills, recovery",
        needs: &["server"],
        mostly_waits: false,
        run: s3,
    },
    Step {
        name: "redis",
        shows: "presence in a real Redis: conformance, kills, freezes, gateways that share it",
        needs: &["server"],
        mostly_waits: false,
        run: || test_with_parts(&["redis"], "redis*"),
    },
    Step {
        name: "stock-clients",
        shows: "the Loro team's own client, unchanged, against the real server",
        needs: &["server"],
        mostly_waits: false,
        run: || {
            web::install_stock_clients()?;
            web::run_script_against_server("test:stock-clients")
        },
    },
    Step {
        name: "browser",
        shows: "the editor in real Chromium, against the real server",
        needs: &["server"],
        mostly_waits: false,
        run: || {
            debian::ensure("chromium", "chromium", "the browser tests")?;
            web::run_script_against_server("test:browser")
        },
    },
];

fn lint() -> anyhow::Result<()> {
    let lint = ["clippy", "--locked", "--workspace", "--all-targets"];
    let strict = ["--", "-D", "warnings"];
    run(cargo(
        &[&lint[..], foundationdb::lintable_features(), &strict].concat(),
    ))
}

/// `cargo test` of everything but this program, whose tests are those of "tidy". All that the steps build
/// is built by this one selection of packages: with another one cargo unites other features, and compiles
/// most dependencies and the server a second time.
fn rust_tests(arguments: &[&str]) -> Command {
    let test = ["test", "--locked", "--workspace", "--exclude", "xtask"];
    cargo(&[&test[..], &["--no-fail-fast"], arguments].concat())
}

fn kafka() -> anyhow::Result<()> {
    test_with_parts(
        &[
            "kafka",
            "kafka-cluster",
            "kafka-regions",
            "wide-area",
            "mirror-maker",
        ],
        "kafka*",
    )
}

fn s3() -> anyhow::Result<()> {
    test_with_parts(&["s3"], "s3*")
}

/// Runs the tests that are left out of an ordinary run in the test targets called like `targets`, while
/// these parts run, and tells them where the parts are.
fn test_with_parts(parts: &[&str], targets: &str) -> anyhow::Result<()> {
    parts::with(parts, |variables| {
        let mut test = rust_tests(&["--test", targets, "--", "--ignored"]);
        test.envs(variables.iter().map(|(name, value)| (name, value)));
        run(test)
    })
}

fn advisories() -> anyhow::Result<()> {
    if output(command("cargo-deny", &["--version"])).is_none() {
        println!(
            "cargo-deny is not installed (`cargo install --locked cargo-deny`): advisories are not \
             checked here; tidy has checked deny.toml's licences and bans"
        );
        return Ok(());
    }
    run(cargo(&["deny", "check"]))
}
